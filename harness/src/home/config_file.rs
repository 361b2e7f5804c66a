//! The configuration of a gateway, read and changed as an operator does it: in the text.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::Home;

impl Home {
    /// The number that the configuration has for this key, if it has one.
    ///
    /// # Errors
    /// If it cannot be read, or this is no number.
    pub fn configured_number(&self, section: &str, key: &str) -> Result<Option<u64>> {
        let text = fs::read_to_string(self.config_file())?;
        let header = format!("[{section}]");
        let lines = text.lines().skip_while(|line| line.trim_end() != header).skip(1);
        let mut of_section = lines.take_while(|line| !line.starts_with('['));
        let value = of_section.find_map(|line| line.split_once('=').filter(|(name, _)| name.trim_end() == key));
        value.map(|(_, value)| value.trim().parse()).transpose().with_context(|| format!("{key} in {header}"))
    }

    /// Changes one line of the configuration; the key must be there. `value` is TOML.
    ///
    /// # Errors
    /// If it is not.
    pub fn set_config(&self, section: &str, key: &str, value: &str) -> Result<()> {
        let text = fs::read_to_string(self.config_file())?;
        let header = format!("[{section}]");
        let mut in_section = false;
        let mut changed = false;
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            if line.starts_with('[') {
                in_section = line.trim_end() == header;
            }
            let is_it = in_section && line.split_once('=').is_some_and(|(name, _)| name.trim_end() == key);
            lines.push(if is_it { format!("{key} = {value}") } else { line.to_owned() });
            changed |= is_it;
        }
        ensure!(changed, "the configuration has no key {key} in {header}");
        fs::write(self.config_file(), lines.join("\n") + "\n")?;
        Ok(())
    }
}
