//! gatewayd(8), and a page for each command, such as gatewayd-backup(8).

use std::{fs, path::Path};

use anyhow::Result;
use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

const SECTION: &str = "8";
const NAME: &str = "gatewayd";
const SOURCE: &str = concat!("gatewayd ", env!("CARGO_PKG_VERSION"));

/// Writes all pages to `folder`.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let mut root = gatewayd::cli::command().name(NAME).bin_name(NAME).display_name(NAME);
    root.build();
    fs::write(folder.join(format!("{NAME}.{SECTION}")), page(&root, NAME)?)?;
    fs::write(folder.join(format!("nym-gateway.{SECTION}")), format!(".so man{SECTION}/{NAME}.{SECTION}\n"))?;
    write_below(&root, NAME, folder)
}

fn write_below(command: &Command, name: &str, folder: &Path) -> Result<()> {
    for below in below(command) {
        let name = format!("{name}-{}", below.get_name());
        let below = below.clone().display_name(name.clone());
        fs::write(folder.join(format!("{name}.{SECTION}")), page(&below, &name)?)?;
        write_below(&below, &name, folder)?;
    }
    Ok(())
}

/// The commands of a command, as `show` of `gatewayd config`.
fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| below.get_name() != "help")
}

/// The page called `name`.
fn page(command: &Command, name: &str) -> Result<Vec<u8>> {
    let man = Man::new(command.clone()).section(SECTION).source(SOURCE).manual("gatewayd").date("");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut more = Roff::new();
    if command.has_subcommands() {
        more.control("SH", ["COMMANDS"]);
    }
    for below in below(command) {
        more.control("TP", []);
        more.text([bold(format!("{name}-{}", below.get_name())), roman(format!("({SECTION})"))]);
        more.text([roman(below.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
    if let Some(examples) = command.get_after_help() {
        more.control("SH", ["EXAMPLES AND NOTES"]);
        // It is laid out already.
        more.control("nf", []);
        for line in examples.to_string().lines() {
            more.text([roman(line)]);
        }
        more.control("fi", []);
    }
    more.control("SH", ["SEE ALSO"]);
    more.text([roman(format!("{NAME}({SECTION}), gatewayd.toml(5), /usr/share/doc/gatewayd/README.md"))]);
    more.to_writer(&mut text)?;
    Ok(text)
}
