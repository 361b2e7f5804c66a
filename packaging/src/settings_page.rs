//! gatewayd.toml(5), from the comments of a new configuration file.

use std::{fs, path::Path};

use anyhow::Result;
use gatewayd::config::TEMPLATE;
use roff::{Roff, bold, roman};

const PAGE: &str = "gatewayd.toml";
const SECTION: &str = "5";

/// A line of the template, as the page sees it.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// `##### Sending into the mixnet #####`
    Heading(&'a str),
    /// `[egress]`
    Table(&'a str),
    /// `key = value`, and the comment above it. A key that a new file has as a comment is one too.
    Setting(&'a str, String),
    /// A comment that belongs to no key.
    Note(String),
}

/// Writes the page to `folder`.
pub(crate) fn write(folder: &Path) -> Result<()> {
    fs::write(folder.join(format!("{PAGE}.{SECTION}")), page())?;
    Ok(())
}

fn page() -> String {
    let mut page = Roff::new();
    let version = concat!("gatewayd ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [PAGE, SECTION, "", version, "gatewayd"]);
    page.control("SH", ["NAME"]);
    page.text([roman("gatewayd.toml - configuration of a mixnet gateway")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "Each gateway has such a file, config/config.toml in its folder: /var/lib/gatewayd/ID under systemd, \
         $HOME/.nym/gateways/ID otherwise. `gatewayd init` makes it with all keys, comments and defaults. The file is TOML. A \
         key that is missing has its default, which is shown here. `gatewayd check` says what is wrong in it, `gatewayd \
         reload` has a running gateway take it over, and `gatewayd config show` shows what is in force.",
    )]);
    for part in parts(TEMPLATE) {
        match part {
            Part::Heading(heading) => drop(page.control("SH", [heading.to_uppercase().as_str()])),
            Part::Table(table) => drop(page.control("SS", [table])),
            Part::Setting(setting, text) => {
                page.control("TP", []);
                page.text([bold(setting)]);
                page.text([roman(text)]);
            }
            Part::Note(text) => {
                page.control("PP", []);
                page.text([roman(text)]);
            }
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("gatewayd(8), gatewayd-check(8), gatewayd-reload(8), gatewayd-config(8)")]);
    page.to_roff()
}

fn parts(template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut comment = String::new();
    for line in template.lines() {
        let is_heading = line.starts_with("#####");
        let text = line.strip_prefix('#').map(str::trim_start);
        match text {
            Some(_) if is_heading => parts.push(Part::Heading(line.trim_matches(['#', ' ']))),
            Some(text) if is_setting(text) => parts.push(Part::Setting(text, std::mem::take(&mut comment))),
            Some(text) => {
                let gap = if comment.is_empty() { "" } else { " " };
                comment = format!("{comment}{gap}{text}");
            }
            None if line.starts_with('[') => parts.push(Part::Table(line)),
            None if is_setting(line) => {
                let text = match parts.pop_if(|last| is_example_of(last, line)) {
                    Some(Part::Setting(example, text)) => format!("{text} {example}"),
                    _ => std::mem::take(&mut comment),
                };
                parts.push(Part::Setting(line, text));
            }
            None if !comment.is_empty() => parts.push(Part::Note(std::mem::take(&mut comment))),
            None => {}
        }
    }
    parts
}

/// Whether the comment above `line` ends with a value for its key.
fn is_example_of(last: &Part<'_>, line: &str) -> bool {
    let key = |setting: &str| setting.split_once(" = ").map(|(key, _)| key.to_owned());
    matches!(last, Part::Setting(example, _) if key(example) == key(line))
}

/// Whether a line, or what stands in a comment, is `key = value`.
fn is_setting(line: &str) -> bool {
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    line.split_once(" = ").is_some_and(|(key, _)| is_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_headings_tables_and_settings() {
        let template = "# A file.\n\n##### Mail #####\n\n[limits]\n# How many.\n# In all.\n# most = 9\nmost = 7\n\n# For proxies.\n# proxies = []\n";
        let expected = [
            Part::Note("A file.".into()),
            Part::Heading("Mail"),
            Part::Table("[limits]"),
            Part::Setting("most = 7", "How many. In all. most = 9".into()),
            Part::Setting("proxies = []", "For proxies.".into()),
        ];
        assert_eq!(parts(template), expected);
    }

    #[test]
    fn the_page_has_every_key_of_a_new_file_with_a_text() {
        let parts = parts(TEMPLATE);
        let keys = TEMPLATE.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
        let settings = parts.iter().filter(|part| matches!(part, Part::Setting(..))).count();
        assert!(settings >= keys, "{settings} of {keys}");
        let silent: Vec<_> =
            parts.iter().filter(|part| matches!(part, Part::Setting(_, text) if text.is_empty())).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }
}
