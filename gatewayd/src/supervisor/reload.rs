//! What a changed configuration means for a running gateway: which workers it concerns, and what it cannot change.
//!
//! *Promises*: a configuration that is wrong, or that changes what only a start can change, changes nothing at all.

use std::sync::Arc;

use crate::{
    admin::wire::{ReloadAnswer, ReloadReport},
    config::{ENVIRONMENT, SettingInForce},
    launch::LaunchSpec,
    plan::{self, RunPlan},
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
/// If it is wrong, or changes what only a start can change.
pub(super) fn read_again(running: &LaunchSpec) -> Result<Change, ReloadAnswer> {
    let wrong = |error: &dyn std::error::Error| ReloadAnswer::Wrong(error.to_string());
    let plan = plan::read_again(&running.plan).map_err(|error| wrong(&error))?;
    let fixed = fixed(&running.plan, &plan);
    if !fixed.is_empty() {
        return Err(ReloadAnswer::NeedsStart(fixed));
    }
    let at_next_start = at_next_start(&running.plan, &plan);
    let changed = changed(&running.plan.settings, &plan.settings);
    let spec = running.with_plan(plan).map_err(|error| wrong(&error))?;
    let replaced = running.differing(&spec);
    Ok(Change { spec: Arc::new(spec), report: ReloadReport { changed, replaced, at_next_start } })
}

/// What has changed and needs a start: the ports and the data are open, the accounts are chosen, and the identity is the gateway's.
fn fixed(old: &RunPlan, new: &RunPlan) -> Vec<String> {
    let (a, b) = (&old.config, &new.config);
    named([
        ("[gateway] id", a.id != b.id),
        ("the key files of [gateway]", a.keys != b.keys || old.public_keys != new.public_keys),
        ("[mixnet_endpoint] listening_address", a.mix.listen != b.mix.listen),
        ("[clients_endpoint] listening_address", a.clients.listen != b.clients.listen),
        ("[clients_endpoint] inboxes_directory", a.clients.inboxes != b.clients.inboxes),
        ("[clients_endpoint] ledger_path", a.clients.ledger != b.clients.ledger),
        ("[node] enabled", a.node.enabled != b.node.enabled),
        ("[node] http_bind_address", a.node.enabled && a.node.http_bind_address != b.node.http_bind_address),
        ("[metrics] listen", a.metrics.listen != b.metrics.listen),
        ("[sandbox] first_account", a.sandbox.first_account != b.sandbox.first_account),
    ])
}

/// What has changed and matters at a start only.
fn at_next_start(old: &RunPlan, new: &RunPlan) -> Vec<String> {
    let (a, b) = (&old.config, &new.config);
    named([
        ("[gateway] validator_rest_urls", a.validators != b.validators),
        ("[gateway] mixnet_contract_address", a.contract != b.contract),
        ("[gateway] nym_root_directory", a.root != b.root),
        ("[gateway] version", a.version != b.version),
    ])
}

fn named<const N: usize>(changes: [(&str, bool); N]) -> Vec<String> {
    changes.into_iter().filter(|(_, has_changed)| *has_changed).map(|(name, _)| name.to_owned()).collect()
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
        config::Config,
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
        let cases: [(Edit, &str); 10] = [
            (|config| config.id.push('x'), "[gateway] id"),
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
}
