//! What a changed configuration means for a running gateway: which workers it concerns, and what it cannot change.
//!
//! *Promises*: a configuration that is wrong, or that changes what only a start can change, changes nothing at all.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    admin::wire::{ReloadAnswer, ReloadReport},
    config::{ENVIRONMENT, SettingInForce},
    launch::{self, LaunchSpec},
    own_command::command_for,
    paths::GatewayId,
    plan::{self, LESS_MEMORY, OWN_ID, RunPlan},
};

/// A configuration that can be taken over.
#[derive(Debug)]
pub(super) struct Change {
    /// What the workers are to be started from.
    pub(super) spec: Arc<LaunchSpec>,
    /// What will happen, for the operator.
    pub(super) report: ReloadReport,
}

/// Reads the configuration again, with the flags and the environment of this process.
///
/// # Errors
/// If it is wrong, wants more memory than the machine has, or changes what only a start can change.
pub(super) fn read_again(running: &LaunchSpec) -> Result<Change, ReloadAnswer> {
    let wrong = |error: &dyn std::error::Error| ReloadAnswer::Wrong(error.to_string());
    let plan = plan::read_again(&running.plan).map_err(|error| wrong(&error))?;
    plan::check_more_memory(&running.plan.config, &plan.config, plan::total_memory())
        .map_err(|error| ReloadAnswer::Wrong(format!("{error}; {LESS_MEMORY}")))?;
    if plan.config.clients != running.plan.config.clients {
        let store = running.account_of_store();
        launch::refuse_foreign_data(&plan.config, &plan.guard, store).map_err(|error| wrong(&error))?;
    }
    let fixed = fixed(&running.plan, &plan);
    if !fixed.is_empty() {
        return Err(ReloadAnswer::NeedsStart(fixed));
    }
    let at_next_start = at_next_start(&running.plan, &plan);
    let doubtful = plan::check_id(&plan.config, &plan.id).err().map(|other| format!("{other}; {OWN_ID}"));
    let changed = changed(&running.plan.settings, &plan.settings);
    let spec = running.with_plan(plan).map_err(|error| wrong(&error))?;
    let replaced = running.differing(&spec);
    Ok(Change {
        spec: Arc::new(spec),
        report: ReloadReport { changed, replaced, at_next_start, doubtful: doubtful.into_iter().collect() },
    })
}

/// A setting that a reload does not take over, or several that are one thing.
struct StartOnly {
    /// For the operator.
    name: &'static str,
    section: &'static str,
    keys: &'static [&'static str],
    differs: fn(&RunPlan, &RunPlan) -> bool,
}

/// What needs a start: the ports and the data are open, the accounts are chosen, and the identity is the gateway's.
const FIXED: [StartOnly; 9] = [
    StartOnly {
        name: "the key files of [gateway]",
        section: "gateway",
        keys: &[
            "private_identity_key_file",
            "public_identity_key_file",
            "private_sphinx_key_file",
            "public_sphinx_key_file",
        ],
        differs: |old, new| old.config.keys != new.config.keys || old.public_keys != new.public_keys,
    },
    StartOnly {
        name: "[mixnet_endpoint] listening_address",
        section: "mixnet_endpoint",
        keys: &["listening_address"],
        differs: |old, new| old.config.mix.listen != new.config.mix.listen,
    },
    StartOnly {
        name: "[clients_endpoint] listening_address",
        section: "clients_endpoint",
        keys: &["listening_address"],
        differs: |old, new| old.config.clients.listen != new.config.clients.listen,
    },
    StartOnly {
        name: "[clients_endpoint] inboxes_directory",
        section: "clients_endpoint",
        keys: &["inboxes_directory"],
        differs: |old, new| old.config.clients.inboxes != new.config.clients.inboxes,
    },
    StartOnly {
        name: "[clients_endpoint] ledger_path",
        section: "clients_endpoint",
        keys: &["ledger_path"],
        differs: |old, new| old.config.clients.ledger != new.config.clients.ledger,
    },
    StartOnly {
        name: "[node] enabled",
        section: "node",
        keys: &["enabled"],
        differs: |old, new| old.config.node.enabled != new.config.node.enabled,
    },
    StartOnly {
        name: "[node] http_bind_address",
        section: "node",
        keys: &["http_bind_address"],
        differs: |old, new| {
            old.config.node.enabled && old.config.node.http_bind_address != new.config.node.http_bind_address
        },
    },
    StartOnly {
        name: "[metrics] listen",
        section: "metrics",
        keys: &["listen"],
        differs: |old, new| old.config.metrics.listen != new.config.metrics.listen,
    },
    StartOnly {
        name: "[sandbox] first_account",
        section: "sandbox",
        keys: &["first_account"],
        differs: |old, new| old.config.sandbox.first_account != new.config.sandbox.first_account,
    },
];

/// What matters at a start only.
const AT_NEXT_START: [StartOnly; 4] = [
    StartOnly {
        name: "[gateway] validator_rest_urls",
        section: "gateway",
        keys: &["validator_rest_urls"],
        differs: |old, new| old.config.validators != new.config.validators,
    },
    StartOnly {
        name: "[gateway] mixnet_contract_address",
        section: "gateway",
        keys: &["mixnet_contract_address"],
        differs: |old, new| old.config.contract != new.config.contract,
    },
    StartOnly {
        name: "[gateway] nym_root_directory",
        section: "gateway",
        keys: &["nym_root_directory"],
        differs: |old, new| old.config.root != new.config.root,
    },
    StartOnly {
        name: "[gateway] version",
        section: "gateway",
        keys: &["version"],
        differs: |old, new| old.config.version != new.config.version,
    },
];

fn fixed(old: &RunPlan, new: &RunPlan) -> Vec<String> {
    named(&FIXED, old, new)
}

fn at_next_start(old: &RunPlan, new: &RunPlan) -> Vec<String> {
    named(&AT_NEXT_START, old, new)
}

fn named(settings: &[StartOnly], old: &RunPlan, new: &RunPlan) -> Vec<String> {
    settings.iter().filter(|setting| (setting.differs)(old, new)).map(|setting| setting.name.to_owned()).collect()
}

/// When a changed setting comes into force, the soonest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InForce {
    /// By a reload.
    ByReload,
    /// A reload passes it over, and the next start takes it.
    AtNextStart,
    /// By a start. Until the change is taken back, a reload is refused.
    ByStartOnly,
}

impl InForce {
    /// When this setting does.
    pub(crate) fn of(section: &str, key: &str) -> Self {
        let has = |settings: &[StartOnly]| {
            settings.iter().any(|setting| setting.section == section && setting.keys.contains(&key))
        };
        match (has(&FIXED), has(&AT_NEXT_START)) {
            (true, _) => Self::ByStartOnly,
            (false, true) => Self::AtNextStart,
            (false, false) => Self::ByReload,
        }
    }

    /// What the operator of gateway `id` can do about a file that was edited, if this is the latest of its changes.
    pub(crate) fn remedy(self, id: &GatewayId) -> String {
        match self {
            Self::ByReload | Self::AtNextStart => {
                format!("take the file over with `{}`, or take the changes back", command_for("reload", id))
            }
            Self::ByStartOnly => {
                "restart the gateway, because a running one cannot change this, or take the changes back".to_owned()
            }
        }
    }
}

fn changed(old: &[SettingInForce], new: &[SettingInForce]) -> Vec<String> {
    let change = |setting: &SettingInForce| {
        let before = old.iter().find(|before| before.is(setting))?;
        let name = setting.name();
        (before.value != setting.value).then(|| match &*setting.key {
            // A URL may have a password in it, and this goes to the log.
            "validator_rest_urls" => format!("{name}: another list"),
            _ => format!("{name}: {} -> {}", before.value, setting.value),
        })
    };
    new.iter().filter(|setting| setting.section != ENVIRONMENT).filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Stages, in_force},
        launch::{PerRole, fixtures},
    };

    /// A change of a configuration.
    type Edit = fn(&mut Config);

    /// What is said of a configuration with this change.
    fn said_of(change: Edit) -> (Vec<String>, Vec<String>) {
        let home = tempfile::tempdir().unwrap();
        let old = fixtures::spec(fixtures::node_config(home.path()), PerRole::new(|_| None)).plan;
        let mut new = old.clone();
        change(&mut new.config);
        (fixed(&old, &new), at_next_start(&old, &new))
    }

    #[test]
    fn a_change_shows_both_values_but_no_url() {
        let setting = |key: &str, value: &str| SettingInForce {
            section: "gateway".into(),
            key: key.into(),
            value: value.into(),
            origin: crate::config::Origin::File,
        };
        let old = [setting("id", "'a'"), setting("validator_rest_urls", "['http://a']"), setting("version", "'1'")];
        let new = [setting("id", "'b'"), setting("validator_rest_urls", "['http://u:p@a']"), setting("version", "'1'")];
        assert_eq!(changed(&old, &new), ["[gateway] id: 'a' -> 'b'", "[gateway] validator_rest_urls: another list"]);
    }

    #[test]
    fn what_only_a_start_can_change_is_named() {
        let cases: [(Edit, &str); 9] = [
            (|config| config.keys.public_sphinx.push("x"), "the key files of [gateway]"),
            (|config| config.mix.listen.set_port(1), "[mixnet_endpoint] listening_address"),
            (|config| config.clients.listen.set_port(1), "[clients_endpoint] listening_address"),
            (|config| config.clients.inboxes.push("x"), "[clients_endpoint] inboxes_directory"),
            (|config| config.clients.ledger.push("x"), "[clients_endpoint] ledger_path"),
            (|config| config.node.enabled = false, "[node] enabled"),
            (|config| config.node.http_bind_address.set_port(1), "[node] http_bind_address"),
            (|config| config.metrics.listen = "127.0.0.1:9100".parse().ok(), "[metrics] listen"),
            (
                |config| config.sandbox.first_account = config.sandbox.first_account.saturating_add(1),
                "[sandbox] first_account",
            ),
        ];
        for (change, name) in cases {
            assert_eq!(said_of(change), (vec![name.to_owned()], vec![]));
        }
        let (fixed, at_next_start) = said_of(|config| config.validators.push("http://a:1317".to_owned()));
        assert_eq!((fixed, at_next_start), (vec![], vec!["[gateway] validator_rest_urls".to_owned()]));
        assert_eq!(said_of(|config| config.limits.memory = config.limits.memory.saturating_add(1)), (vec![], vec![]));
    }

    #[test]
    fn each_setting_that_only_a_start_changes_exists() {
        let home = tempfile::tempdir().unwrap();
        let config = &fixtures::config(home.path());
        let settings = in_force(Stages { text: "", of_file: config, with_flags: config, in_force: config });
        for setting in FIXED.iter().chain(&AT_NEXT_START) {
            for key in setting.keys {
                let exists = settings.iter().any(|one| one.section == setting.section && one.key == *key);
                assert!(exists, "[{}] {key}", setting.section);
                assert_ne!(InForce::of(setting.section, key), InForce::ByReload);
            }
        }
        assert_eq!(InForce::of("limits", "memory"), InForce::ByReload);
    }
}
