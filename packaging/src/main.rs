//! Writes what a package has of texts: `package-texts FOLDER` makes the manual pages and the shell completions there.
//!
//! *Promises*: every page comes from the text that the program itself shows. The same program writes the same bytes.
//!
//! | file | idea |
//! |---|---|
//! | [`command_pages`] | gatewayd(8), and a page for each command, from its help |
//! | [`settings_page`] | gatewayd.toml(5), from the comments of a new configuration file |

mod command_pages;
mod settings_page;

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use clap_complete::{Shell, generate_to};

/// The two names of the program.
const NAMES: [&str; 2] = ["gatewayd", "nym-gateway"];

fn main() -> Result<()> {
    let folder = env::args_os().nth(1).context("name the folder to write to")?;
    let folder = Path::new(&folder);
    for (part, write) in [
        ("man8", command_pages::write as fn(&Path) -> Result<()>),
        ("man5", settings_page::write),
        ("completions", write_completions),
    ] {
        let folder = folder.join(part);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    }
    Ok(())
}

fn write_completions(folder: &Path) -> Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        for name in NAMES {
            generate_to(shell, &mut gatewayd::cli::command(), name, folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn each_command_has_a_page_that_man_can_show() {
        let folder = tempfile::tempdir().unwrap();
        command_pages::write(folder.path()).unwrap();
        let mut root = gatewayd::cli::command();
        root.build();
        let of_commands = root.get_subcommands().filter(|command| command.get_name() != "help");
        for name in of_commands.map(|command| format!("gatewayd-{}", command.get_name())).chain(["gatewayd".into()]) {
            let page = fs::read_to_string(folder.path().join(format!("{name}.8"))).unwrap();
            for part in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH \"EXAMPLES AND NOTES\""] {
                assert!(page.contains(part), "{name} has no {part}");
            }
        }
        // What man itself would warn about, where there is a man.
        for page in fs::read_dir(folder.path()).unwrap() {
            let path = page.unwrap().path();
            // It only names another page, where that is installed.
            if path.ends_with("nym-gateway.8") {
                continue;
            }
            let Ok(shown) = Command::new("man").args(["--warnings", "--local-file"]).arg(&path).output() else {
                return;
            };
            assert!(shown.stderr.is_empty(), "{}: {}", path.display(), String::from_utf8_lossy(&shown.stderr));
        }
    }
}
