//! Programs, ports, folders and accounts.

use std::net::SocketAddr;

use ipc::{
    Role,
    jail::{Account, Layer},
};

use super::{Findings, in_use::PlacesInUse};
use crate::{
    config::{Config, MetricsAddress},
    findings::Line,
    launch::{self, Accounts, FolderError},
    path_guard::PathGuard,
};

/// Checks them. What a running gateway has in use is left alone; without `in_use` it may be anything.
pub(super) fn look(config: &Config, guard: &PathGuard, in_use: Option<&PlacesInUse>, findings: &mut Findings) {
    let lines = &mut findings.machine;
    let accounts = match Accounts::choose(config.sandbox.first_account.get()) {
        Ok(accounts) => accounts.of_workers().get(Role::Store).is_some().then_some(accounts),
        Err(error) => {
            lines.push(Line::bad(error.to_string(), "correct this, and check again"));
            None
        }
    };
    lines.extend(account_line(config, accounts.is_some()));
    lines.extend(programs(config));
    if let Some(in_use) = in_use {
        lines.extend(ports(config, in_use));
        lines.extend(metrics_socket(config, guard, in_use));
        let store = accounts.and_then(|accounts| *accounts.of_workers().get(Role::Store));
        folders(config, guard, store, in_use, findings);
    }
}

fn account_line(config: &Config, are_separate: bool) -> Option<Line> {
    const REMEDY: &str = "start gatewayd as root, or with systemd/gatewayd@.service";
    match (are_separate, config.sandbox.require.contains(&Layer::Account)) {
        (true, _) => Some(Line::good("each worker has an account of its own")),
        (false, true) => Some(Line::bad("[sandbox] require names `account`, and this account cannot give any", REMEDY)),
        (false, false) => Some(Line::doubtful("all workers would share this account", REMEDY)),
    }
}

fn programs(config: &Config) -> Vec<Line> {
    const REMEDY: &str =
        "install all programs of gatewayd together, beside it or in ../libexec/gatewayd; each has to be executable";
    let roles: Vec<Role> = config.roles().collect();
    let errors = launch::look_at_programs(&roles);
    if errors.is_empty() {
        return vec![Line::good(format!("the programs of all {} workers are there", roles.len()))];
    }
    errors.into_iter().map(|error| Line::bad(error.to_string(), REMEDY)).collect()
}

fn ports(config: &Config, in_use: &PlacesInUse) -> Vec<Line> {
    const REMEDY: &str = "free the port or choose another, as the line says; if gatewayd@.socket keeps it for this gateway, nothing is wrong";
    let (free, refused): (Vec<_>, Vec<_>) =
        launch::try_ports(config, |address| tried_as(address, in_use)).into_iter().partition(Result::is_ok);
    let mut lines: Vec<Line> =
        refused.into_iter().filter_map(Result::err).map(|error| Line::bad(error.to_string(), REMEDY)).collect();
    if lines.is_empty() && !free.is_empty() {
        lines.push(Line::good(format!("all {} ports are free", free.len())));
    }
    lines
}

/// What is tried in the place of an address: nothing if the gateway listens there now. If it keeps the port from being tried, then the
/// address with any port, which says whether the machine has that address.
fn tried_as(address: SocketAddr, in_use: &PlacesInUse) -> Option<SocketAddr> {
    match (in_use.has_port(address), in_use.is_in_the_way_of(address)) {
        (true, _) => None,
        (false, true) => Some(SocketAddr::new(address.ip(), 0)),
        (false, false) => Some(address),
    }
}

fn metrics_socket(config: &Config, guard: &PathGuard, in_use: &PlacesInUse) -> Option<Line> {
    let Some(MetricsAddress::Path(path)) = &config.metrics.listen else { return None };
    if in_use.has_socket(path) {
        return None;
    }
    Some(match launch::look_at_metrics_socket(path, guard) {
        Ok(()) => Line::good("the socket for metrics can be made"),
        Err(error) => Line::bad(error.to_string(), "make the folder, or choose another path, as the line says"),
    })
}

fn folders(config: &Config, guard: &PathGuard, store: Option<Account>, in_use: &PlacesInUse, findings: &mut Findings) {
    let found = launch::look_at_folders(config, guard, store, |folder| !in_use.has_folder(folder));
    for error in found.iter().filter_map(|folder| folder.as_ref().err()) {
        let is_of_setting = matches!(error, FolderError::Foreign { .. });
        let lines = if is_of_setting { &mut findings.configuration } else { &mut findings.machine };
        lines.push(Line::bad(error.to_string(), "correct the folder or the setting, as the line says"));
    }
    if found.iter().all(Result::is_ok) && !found.is_empty() {
        let missing = found.iter().filter(|folder| matches!(folder, Ok(false))).count();
        findings.machine.push(Line::good(match missing {
            0 => "the folders of the data can be used".to_owned(),
            missing => {
                format!("the folders of the data can be used; {missing} of them are missing: the start makes them")
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::wire::ConfigInForce, config::SettingInForce, findings::Verdict, launch::fixtures};
    use std::net::TcpListener;

    #[test]
    fn every_port_in_use_is_named_and_a_free_one_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let mut config = fixtures::node_config(home.path());
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        config.mix.listen = taken.local_addr().unwrap();
        config.clients.listen = taken.local_addr().unwrap();
        let lines = ports(&config, &PlacesInUse::default());
        assert_eq!(lines.iter().filter(|line| line.verdict == Verdict::Bad).count(), 2, "{lines:?}");
        assert!(lines[0].what.contains("is in use by another process"), "{lines:?}");
        drop(taken);
        // The two are one port, so that the second is in use by the first.
        assert_eq!(ports(&config, &PlacesInUse::default()).len(), 1);
        config.clients.listen = "127.0.0.1:0".parse().unwrap();
        assert_eq!(ports(&config, &PlacesInUse::default()), [Line::good("all 3 ports are free")]);
        config.metrics.listen = "127.0.0.1:0".parse().ok();
        assert_eq!(ports(&config, &PlacesInUse::default()), [Line::good("all 4 ports are free")]);
    }

    #[test]
    fn a_port_that_the_running_gateway_has_is_not_tried() {
        let home = tempfile::tempdir().unwrap();
        let mut config = fixtures::config(home.path());
        let [own, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let _listener = TcpListener::bind(own).unwrap();
        let setting = SettingInForce {
            section: "mixnet_endpoint".into(),
            key: "listening_address".into(),
            value: format!("'{own}'"),
            origin: crate::config::Origin::File,
        };
        let running = ConfigInForce { file: String::new(), settings: vec![setting] };
        let in_use = PlacesInUse::of(&running, &config.replay_directory);
        config.mix.listen = own;
        config.clients.listen = other;
        assert_eq!(ports(&config, &in_use), [Line::good("all 1 ports are free")]);
        // At the next start it has let its own port go.
        config.mix.listen = SocketAddr::new("0.0.0.0".parse().unwrap(), own.port());
        assert_eq!(ports(&config, &in_use), [Line::good("all 2 ports are free")]);
        let _taken = TcpListener::bind(other).unwrap();
        let lines = ports(&config, &in_use);
        assert!(lines.len() == 1 && lines[0].what.contains("is in use by another process"), "{lines:?}");
    }

    #[test]
    fn a_socket_for_metrics_is_tried_and_not_made() {
        let home = tempfile::tempdir().unwrap();
        let mut config = fixtures::config(home.path());
        let guard = PathGuard::new(&config.home);
        assert_eq!(metrics_socket(&config, &guard, &PlacesInUse::default()), None);
        let path = home.path().join("metrics.sock");
        config.metrics.listen = Some(MetricsAddress::Path(path.clone()));
        assert_eq!(
            metrics_socket(&config, &guard, &PlacesInUse::default()),
            Some(Line::good("the socket for metrics can be made"))
        );
        assert!(!path.exists());
        config.metrics.listen = Some(MetricsAddress::Path(path.join("no")));
        assert_eq!(
            metrics_socket(&config, &guard, &PlacesInUse::default()).map(|line| line.verdict),
            Some(Verdict::Bad)
        );
    }

    #[test]
    fn folders_that_are_missing_are_not_made() {
        let home = tempfile::tempdir().unwrap();
        let mut config = fixtures::config(home.path());
        let guard = PathGuard::new(&config.home);
        let look_for = |store, config: &Config| {
            let mut findings = Findings::default();
            folders(config, &guard, store, &PlacesInUse::default(), &mut findings);
            findings
        };
        let look = |config: &Config| look_for(None, config);
        assert!(look(&config).machine[0].what.contains("3 of them are missing: the start makes them"));
        assert!(!config.clients.ledger.exists() && !config.replay_directory.exists());
        config.clients.inboxes = config.keys.private_sphinx.join("x");
        let lines = look(&config).machine;
        assert!(lines[0].verdict == Verdict::Bad && lines[0].what.contains("inboxes_directory"), "{lines:?}");
        config.clients.inboxes = config.home.join("data");
        assert!(look(&config).configuration.is_empty());
        let lines = look_for(Some(Account { uid: 70_003, gid: 70_004 }), &config).configuration;
        let parts = ["inboxes_directory", "private_identity.pem", "nothing was changed"];
        assert!(lines.len() == 1 && parts.iter().all(|part| lines[0].what.contains(part)), "{lines:?}");
    }
}
