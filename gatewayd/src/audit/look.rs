//! A process as the kernel shows it from outside (`/proc/<pid>`). It tells whether a live worker is in the jail that was measured.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// The lines of `/proc/<pid>/status` that show what a process may do.
const LINES: [&str; 11] = [
    "Uid",
    "Gid",
    "Groups",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
];
/// The kinds of namespaces that are compared.
const NAMESPACES: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "user"];

/// What the kernel shows of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Look {
    /// Its number.
    pub pid: u32,
    /// The lines of each thread. Threads with the same lines are one entry.
    pub threads: BTreeSet<BTreeMap<&'static str, String>>,
    /// Namespaces that it does not share with the supervisor; none if this account may not see them.
    pub own_namespaces: Option<BTreeSet<&'static str>>,
    /// The kinds of its descriptors; none if this account may not see them.
    pub descriptors: Option<BTreeSet<String>>,
}

/// Reads what the kernel shows of process `pid`, whose supervisor is `supervisor`.
///
/// # Errors
/// If the process is gone.
pub fn look(pid: u32, supervisor: u32) -> io::Result<Look> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let mut threads = BTreeSet::new();
    for thread in fs::read_dir(process.join("task"))? {
        match fs::read_to_string(thread?.path().join("status")) {
            Ok(status) => {
                threads.insert(lines(&status));
            }
            // The thread ended meanwhile.
            Err(error) if matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ESRCH)) => {}
            Err(error) => return Err(error),
        }
    }
    let supervisor = PathBuf::from(format!("/proc/{supervisor}"));
    Ok(Look {
        pid,
        threads,
        own_namespaces: own_namespaces(&process, &supervisor).ok(),
        descriptors: descriptors(&process).ok(),
    })
}

fn lines(status: &str) -> BTreeMap<&'static str, String> {
    let fields: BTreeMap<_, _> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    LINES.into_iter().filter_map(|name| Some((name, words(fields.get(name)?)))).collect()
}

fn own_namespaces(process: &Path, supervisor: &Path) -> io::Result<BTreeSet<&'static str>> {
    let mut own = BTreeSet::new();
    for kind in NAMESPACES {
        if fs::read_link(process.join("ns").join(kind))? != fs::read_link(supervisor.join("ns").join(kind))? {
            own.insert(kind);
        }
    }
    Ok(own)
}

fn descriptors(process: &Path) -> io::Result<BTreeSet<String>> {
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(process.join("fd"))? {
        match fs::read_link(entry?.path()) {
            Ok(target) => {
                kinds.insert(kind(&target));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(kinds)
}

/// The path of a descriptor, or its kind if it has no path.
fn kind(target: &Path) -> String {
    let text = target.to_string_lossy();
    match text.strip_prefix("anon_inode:") {
        Some(inode) => inode.to_owned(),
        None => text.split_once(":[").map_or(&*text, |(kind, _)| kind).to_owned(),
    }
}

/// Descriptors that the threads of a runtime open for themselves.
const OF_THE_RUNTIME: [&str; 2] = ["[eventpoll]", "[eventfd]"];

impl Look {
    /// The differences between this live worker and a probe of its role.
    pub fn differences(&self, probe: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for thread in &self.threads {
            for jail in &probe.threads {
                for name in LINES {
                    if thread.get(name) != jail.get(name) {
                        let of = |lines: &BTreeMap<_, String>| lines.get(name).cloned().unwrap_or_default();
                        differences.push(format!("{name} is `{}`, of the probe `{}`", of(thread), of(jail)));
                    }
                }
            }
        }
        if self.own_namespaces != probe.own_namespaces {
            differences.push(format!(
                "namespaces of its own are {:?}, of the probe {:?}",
                self.own_namespaces, probe.own_namespaces
            ));
        }
        if let (Some(live), Some(given)) = (&self.descriptors, &probe.descriptors) {
            // A file in a directory that the role was given is the role's own.
            let is_given = |kind: &str| given.iter().any(|given| Path::new(kind).starts_with(given));
            let more = live.iter().filter(|kind| !is_given(kind) && !OF_THE_RUNTIME.contains(&kind.as_str()));
            differences.extend(more.map(|kind| format!("it has {kind} open, the probe has not")));
        }
        differences
    }

    /// What holds for every process in a jail, and does not hold for this one.
    pub fn holes(&self) -> Vec<String> {
        let wanted = |name| match name {
            "NoNewPrivs" => Some("1"),
            "Seccomp" => Some("2"),
            "CapInh" | "CapPrm" | "CapEff" | "CapAmb" => Some("0000000000000000"),
            _ => None,
        };
        let lines = self.threads.iter().flatten();
        lines
            .filter_map(|(name, value)| {
                let wanted = wanted(name)?;
                (value != wanted).then(|| format!("{name} is `{value}`, not `{wanted}`"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_no_jail_and_like_itself() {
        let pid = std::process::id();
        let seen = look(pid, pid).unwrap();
        assert_eq!(seen.differences(&seen), Vec::<String>::new());
        assert!(seen.holes().iter().any(|hole| hole.starts_with("Seccomp") || hole.starts_with("NoNewPrivs")));
        assert_eq!(seen.own_namespaces, Some(BTreeSet::new()));
        assert!(look(u32::MAX >> 1, pid).is_err());
    }

    #[test]
    fn every_difference_is_named() {
        let pid = std::process::id();
        let probe = look(pid, pid).unwrap();
        let mut live = probe.clone();
        live.threads = live
            .threads
            .into_iter()
            .map(|mut lines| {
                lines.insert("CapEff", "1".into());
                lines
            })
            .collect();
        live.own_namespaces = Some(BTreeSet::from(["net"]));
        live.descriptors.as_mut().unwrap().extend([
            "/etc/shadow".to_owned(),
            "[eventpoll]".to_owned(),
            "/granted/db".to_owned(),
        ]);
        let mut probe = probe;
        probe.descriptors.as_mut().unwrap().insert("/granted".to_owned());
        let differences = live.differences(&probe).join("\n");
        for part in ["CapEff is `1`", "{\"net\"}", "/etc/shadow"] {
            assert!(differences.contains(part), "{differences}");
        }
        assert!(!differences.contains("eventpoll") && !differences.contains("/granted"), "{differences}");
        assert!(live.holes().iter().any(|hole| hole == "CapEff is `1`, not `0000000000000000`"));
    }

    #[test]
    fn descriptors_have_kinds() {
        for (target, expected) in [
            ("socket:[17]", "socket"),
            ("pipe:[18]", "pipe"),
            ("anon_inode:[eventpoll]", "[eventpoll]"),
            ("/g/data/private_identity.pem", "/g/data/private_identity.pem"),
        ] {
            assert_eq!(kind(Path::new(target)), expected);
        }
    }
}
