//! The changes that a further `init` makes to an existing configuration, for the operator.

use crate::console::Console;

/// A line of a configuration that sets a key.
#[derive(Debug, PartialEq, Eq)]
struct SettingLine<'a> {
    section: &'a str,
    key: &'a str,
    value: &'a str,
}

/// Prints each value that has changed, and that everything else is kept.
pub(super) fn print(before: &str, after: &str, console: &mut Console<'_>) {
    let changes = changes(before, after);
    if changes.is_empty() {
        console.line("Nothing has changed in it: keys and settings are kept");
    } else {
        console.line("Changed in it, while the keys and all other settings are kept:");
        for change in changes {
            console.line(format_args!("    {change}"));
        }
    }
}

fn changes(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (settings(before), settings(after));
    let change = |setting: &SettingLine<'_>| {
        let SettingLine { section, key, value } = setting;
        match before.iter().find(|old| old.section == *section && old.key == *key) {
            Some(old) if old.value == *value => None,
            Some(old) => Some(format!("[{section}] {key}: {} -> {value}", old.value)),
            None => Some(format!("[{section}] {key}: {value}, which was not set before")),
        }
    };
    after.iter().filter_map(change).collect()
}

fn settings(text: &str) -> Vec<SettingLine<'_>> {
    let mut section = "";
    let setting = |line| {
        let line = str::trim(line);
        if let Some(header) = line.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default();
            return None;
        }
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        Some(SettingLine { section, key: key.trim_end(), value: value.trim_start() })
    };
    text.lines().filter_map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_differ_are_told_with_both() {
        let before = "[a]\n# x = 1\nx = 1\ny = 'b'\n[b]\nx = 2\n";
        assert_eq!(changes(before, before), [""; 0]);
        let after = "[a]\n# x = 7\nx = 1\ny = 'c'\n[b]\nx = 3\nz = 4\n";
        assert_eq!(
            changes(before, after),
            ["[a] y: 'b' -> 'c'", "[b] x: 2 -> 3", "[b] z: 4, which was not set before"]
        );
    }
}
