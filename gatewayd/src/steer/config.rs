//! `gatewayd config show` and `gatewayd config diff`.

use serde::Serialize;

use super::reload::{self, ReloadError};
use crate::{
    admin::{
        client::{AdminError, give_order},
        wire::{AdminAnswer, ConfigInForce, Order},
    },
    config::{Config, ENVIRONMENT, LoadError, Origin, SettingInForce, Stages, in_force},
    console::Console,
    own_command::command,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    supervisor::InForce,
};

/// Why the configuration is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The gateway does not tell it.
    #[error(transparent)]
    Running(#[from] AdminError),
    /// The file cannot be compared with it.
    #[error("{0}\nThe running gateway goes on with what it has; `{reload}` would refuse this file", reload = command("reload"))]
    File(#[from] LoadError),
    /// The gateway would refuse the file.
    #[error("{0}\nThe running gateway goes on with what it has; `{reload}` would refuse this file", reload = command("reload"))]
    Wrong(String),
    /// It could not be written as JSON.
    #[error("cannot write the result: {0}")]
    Json(#[from] serde_json::Error),
}

/// A setting that is not the same in the file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    section: String,
    key: String,
    in_force: String,
    pub(crate) origin: Origin,
    in_file: String,
    /// When the value in the file comes into force.
    pub(crate) taken_over: InForce,
}

impl Difference {
    /// The name of the setting: `[section] key`.
    pub(crate) fn name(&self) -> String {
        format!("[{}] {}", self.section, self.key)
    }
}

/// The configuration file of a running gateway, and what in it is not as in force.
#[derive(Debug)]
pub(crate) struct Compared {
    /// The file.
    pub(crate) file: String,
    /// In the order of a new file.
    pub(crate) differences: Vec<Difference>,
}

/// Compares what a running gateway has in force with its file.
///
/// # Errors
/// If the gateway does not tell, or the file cannot be read.
pub(crate) fn compare_with_file(id: &GatewayId, root: &Root) -> Result<Compared, ConfigError> {
    let running = ask(id, root)?;
    let paths = GatewayPaths::new(root, id);
    let loaded = Config::load(running.file.as_ref(), &paths, &PathGuard::for_reading(paths.home()))?;
    let config = &loaded.config;
    let of_file = in_force(Stages { text: &loaded.text, of_file: config, with_flags: config, in_force: config });
    // The gateway shortens what it tells.
    let of_file: Vec<_> = of_file.into_iter().map(SettingInForce::shortened).collect();
    Ok(Compared { differences: compare(&running.settings, &of_file, &paths), file: running.file })
}

/// Has a running gateway tell what it has in force.
///
/// # Errors
/// If it does not.
pub(crate) fn ask(id: &GatewayId, root: &Root) -> Result<ConfigInForce, AdminError> {
    match give_order(id, root, Order::ShowConfig)? {
        AdminAnswer::Config(config) => Ok(config),
        other => Err(AdminError::of_other_answer(&other)),
    }
}

/// Prints what is in force, and where each value comes from.
///
/// # Errors
/// If the gateway does not tell.
pub fn show(id: &GatewayId, root: &Root, json: bool, console: &mut Console<'_>) -> Result<(), ConfigError> {
    let config = ask(id, root)?;
    if json {
        console.line(serde_json::to_string_pretty(&config)?);
        return Ok(());
    }
    console.line(format_args!("# What gateway {id} runs with. Its file is {}", config.file));
    let mut section = None;
    for setting in &config.settings {
        if section != Some(&setting.section) {
            section = Some(&setting.section);
            console.line(format_args!("\n[{}]", setting.section));
        }
        console.line(format_args!("{} = {}  # {}", setting.key, setting.value, setting.origin.name()));
    }
    Ok(())
}

/// Why the gateway would refuse its file, if it would.
fn refusal(id: &GatewayId, root: &Root) -> Result<Option<String>, AdminError> {
    match reload::order(id, root, true) {
        Err(ReloadError::Wrong(why)) => Ok(Some(why)),
        Err(ReloadError::Running(error)) => Err(error),
        // What only a start can change is among the differences.
        _ => Ok(None),
    }
}

/// Prints what in the file is not as in force.
///
/// # Errors
/// If the gateway does not tell, if the file cannot be read, or if the gateway would refuse it.
pub fn diff(id: &GatewayId, root: &Root, json: bool, console: &mut Console<'_>) -> Result<(), ConfigError> {
    let Compared { file, differences } = compare_with_file(id, root)?;
    let refusal = refusal(id, root)?;
    if json {
        console.line(serde_json::to_string_pretty(&differences)?);
        return refusal.map_or(Ok(()), |why| Err(ConfigError::Wrong(why)));
    }
    for Difference { section, key, in_force, origin, in_file, taken_over } in &differences {
        let why = match origin {
            Origin::Flag => ", by a flag of `run`",
            Origin::Environment => ", by the environment",
            Origin::File | Origin::Default => "",
        };
        let when = match taken_over {
            InForce::ByReload => "",
            InForce::AtNextStart => ", from the next start on",
            InForce::ByStartOnly => "; only a restart changes it, and until then a reload is refused",
        };
        console.line(format_args!("[{section}] {key}: {in_force} in force{why}; {in_file} in the file{when}"));
    }
    if let Some(why) = refusal {
        return Err(ConfigError::Wrong(why));
    }
    if differences.is_empty() {
        console.line(format_args!("What is in force is what {file} says."));
    } else {
        console.line(format_args!("`{} --dry-run` says what a reload would do.", command("reload")));
    }
    Ok(())
}

fn compare(running: &[SettingInForce], of_file: &[SettingInForce], paths: &GatewayPaths) -> Vec<Difference> {
    let differs = |setting: &SettingInForce| {
        let other = of_file.iter().find(|other| other.is(setting))?;
        (!means_the_same(setting, other, paths)).then(|| Difference {
            section: setting.section.clone(),
            key: setting.key.clone(),
            in_force: setting.value.clone(),
            origin: setting.origin,
            in_file: other.value.clone(),
            taken_over: InForce::of(&setting.section, &setting.key),
        })
    };
    running.iter().filter(|setting| setting.section != ENVIRONMENT).filter_map(differs).collect()
}

/// Whether two values are one, perhaps in two spellings: `1day` and `24h`.
fn means_the_same(one: &SettingInForce, other: &SettingInForce, paths: &GatewayPaths) -> bool {
    let read = |setting: &SettingInForce| {
        Config::parse(&format!("[{}]\n{} = {}\n", setting.section, setting.key, setting.value), paths)
    };
    one.value == other.value
        || match (read(one), read(other)) {
            (Ok((one, _)), Ok((other, _))) => one == other,
            // Some values are valid only beside others.
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(section: &str, key: &str, value: &str) -> SettingInForce {
        SettingInForce { section: section.into(), key: key.into(), value: value.into(), origin: Origin::File }
    }

    #[test]
    fn two_spellings_of_a_value_are_no_difference() {
        let paths = GatewayPaths::new(&Root::new(Some("/r".into()), None).unwrap(), &"demo".parse().unwrap());
        let running = [
            setting("replay", "period", "\"1day\""),
            setting("limits", "inbox_messages", "5"),
            setting(ENVIRONMENT, "RUST_LOG", "\"debug\""),
        ];
        let of_file = [setting("replay", "period", "\"24h\""), setting("limits", "inbox_messages", "6")];
        let differences = compare(&running, &of_file, &paths);
        assert_eq!(differences.len(), 1, "{differences:?}");
        let [Difference { key, in_force, in_file, .. }] = &differences[..] else { panic!("{differences:?}") };
        assert_eq!((&**key, &**in_force, &**in_file), ("inbox_messages", "5", "6"));
    }
}
