//! Two listeners of one gateway at the same place, or two directories: only one of them could be there.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::{
    admin::wire::SOCKET,
    config::{Config, MetricsAddress},
};

/// Two settings that name the same place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{first} and {second} are both {place}, where only one of them can listen; change one of the two in config.toml"
)]
pub struct SamePlace {
    first: &'static str,
    second: &'static str,
    place: String,
}

/// Two settings that name one directory, or a directory in that of the other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{first} and {second} are the same folder, or one is in the other ({} and {}); each needs a folder of its own: change one of the \
     two in config.toml", first_path.display(), second_path.display()
)]
pub struct SameFolder {
    first: &'static str,
    first_path: PathBuf,
    second: &'static str,
    second_path: PathBuf,
}

/// Checks that no directory of the data is another one, or in another one.
///
/// # Errors
/// Names the first two that are.
pub(crate) fn check_own_folders(config: &Config) -> Result<(), SameFolder> {
    let folders = [
        ("ledger_path", &config.clients.ledger),
        ("inboxes_directory", &config.clients.inboxes),
        ("the gateway's own folder data/replay", &config.replay_directory),
    ];
    let folders = folders.map(|(name, path)| (name, (path, real_folder(path))));
    let is_one_in_the_other =
        |(_, one): &(_, PathBuf), (_, other): &(_, PathBuf)| one.starts_with(other) || other.starts_with(one);
    match first_pair(&folders, is_one_in_the_other) {
        Some([(first, (one, _)), (second, (other, _))]) => {
            let [first_path, second_path] = [one, other].map(|path| path.to_path_buf());
            Err(SameFolder { first, first_path, second, second_path })
        }
        None => Ok(()),
    }
}

/// The first two places, in their order, of which only one can be used.
fn first_pair<'a, T>(
    places: &'a [(&'static str, T)],
    clash: impl Fn(&T, &T) -> bool,
) -> Option<[&'a (&'static str, T); 2]> {
    places.iter().enumerate().find_map(|(index, one)| {
        let other = places.iter().skip(index + 1).find(|other| clash(&one.1, &other.1))?;
        Some([one, other])
    })
}

/// The folder without links, as far as it exists.
fn real_folder(path: &Path) -> PathBuf {
    let real = |above: &Path| Some(above.canonicalize().ok()?.join(path.strip_prefix(above).ok()?));
    path.ancestors().find_map(real).unwrap_or_else(|| path.to_owned())
}

/// Checks that the listeners of `config`, and the admin socket in `run_dir`, are at places of their own.
///
/// # Errors
/// Names the first two that are not.
pub(crate) fn check_own_places(config: &Config, run_dir: &Path) -> Result<(), SamePlace> {
    let mut ports = vec![
        ("[mixnet_endpoint] listening_address", config.mix.listen),
        ("[clients_endpoint] listening_address", config.clients.listen),
    ];
    if config.node.enabled {
        ports.push(("[node] http_bind_address", config.node.http_bind_address));
    }
    match &config.metrics.listen {
        Some(MetricsAddress::Port(address)) => ports.push(("[metrics] listen", *address)),
        Some(MetricsAddress::Path(path)) if is_same_file(path, &run_dir.join(SOCKET)) => {
            let place = path.display().to_string();
            return Err(SamePlace { first: "[metrics] listen", second: "the admin socket", place });
        }
        Some(MetricsAddress::Path(_)) | None => {}
    }
    match first_pair(&ports, |one, other| would_clash(*one, *other)) {
        Some([(first, _), (second, place)]) => Err(SamePlace { first, second, place: place.to_string() }),
        None => Ok(()),
    }
}

/// Whether only one of two sockets could listen at these addresses. Port 0 stands for any that is free. An address for all takes the port of each.
pub(crate) fn would_clash(one: SocketAddr, other: SocketAddr) -> bool {
    let [one_ip, other_ip] = [one, other].map(|address| address.ip().to_canonical());
    let takes = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    one.port() != 0
        && one.port() == other.port()
        && (one_ip == other_ip || takes(one_ip, other_ip) || takes(other_ip, one_ip))
}

/// Whether two paths are one, as far as their folders exist.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok())?;
        Some(folder.join(path.file_name()?))
    };
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::fixtures;

    /// What is said of a configuration with metrics there.
    fn said_of(listen: &str, run_dir: &Path) -> String {
        let mut config = fixtures::node_config(run_dir);
        config.mix.listen = "127.0.0.1:1789".parse().unwrap();
        config.clients.listen = "0.0.0.0:9000".parse().unwrap();
        config.node.http_bind_address = "[::]:8080".parse().unwrap();
        config.metrics.listen = Some(listen.parse().unwrap());
        check_own_places(&config, run_dir).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn two_folders_of_the_data_that_are_one_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let config = fixtures::config(folder.path());
        assert_eq!(check_own_folders(&config), Ok(()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(config.home.join("data"), &link).unwrap();
        let (inboxes, replay) = (&config.clients.inboxes, &config.replay_directory);
        for (ledger, second) in [
            (inboxes.clone(), "inboxes_directory"),
            (inboxes.join("deep/ledger"), "inboxes_directory"),
            (config.home.join("data"), "inboxes_directory"),
            (link.join("inboxes/ledger"), "inboxes_directory"),
            (replay.join("ledger"), "data/replay"),
        ] {
            let mut config = config.clone();
            config.clients.ledger = ledger.clone();
            let said = check_own_folders(&config).unwrap_err().to_string();
            let parts = ["ledger_path and", second, "are the same folder", ledger.to_str().unwrap()];
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn two_listeners_at_one_place_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("run");
        std::fs::create_dir(&run_dir).unwrap();
        let cases = [
            ("127.0.0.1:1789", "[mixnet_endpoint] listening_address and [metrics] listen"),
            ("127.0.0.1:9000", "[clients_endpoint] listening_address and [metrics] listen"),
            ("127.0.0.1:8080", "[node] http_bind_address and [metrics] listen"),
            ("[::1]:8080", "[node] http_bind_address and [metrics] listen"),
        ];
        for (listen, names) in cases {
            let said = said_of(listen, &run_dir);
            assert!(said.contains(names) && said.contains(listen), "{listen}: {said}");
        }
        for admin in ["admin.sock", "../run/admin.sock"] {
            let said = said_of(run_dir.join(admin).to_str().unwrap(), &run_dir);
            assert!(said.contains("[metrics] listen and the admin socket"), "{said}");
        }
        for good in ["127.0.0.1:9179", "127.0.0.2:1789", "127.0.0.1:0", "[::1]:9000"] {
            assert_eq!(said_of(good, &run_dir), "", "{good}");
        }
        assert_eq!(said_of(run_dir.join("metrics.sock").to_str().unwrap(), &run_dir), "");
    }
}
