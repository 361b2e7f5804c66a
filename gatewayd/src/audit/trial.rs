//! The ways in which each ability is tried, and the verdict about the outcomes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bincode::{Decode, Encode};
use ipc::probe::{Attempt, Inode};

use super::ability::{Ability, AbilityVerdict};

/// The targets of the attempts. All of them exist, as the process that starts the probes has checked.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The file of the identity key.
    pub identity_key: PathBuf,
    /// The file of the Sphinx key.
    pub sphinx_key: PathBuf,
    /// The ledger's directory.
    pub ledger: (PathBuf, Inode),
    /// The inboxes' directory.
    pub inboxes: (PathBuf, Inode),
    /// The gateway's folder, its configuration, and the folder of the account that runs it.
    pub homes: Vec<PathBuf>,
    /// Directories that other accounts may write to.
    pub directories: Vec<PathBuf>,
    /// Addresses that accept TCP connections.
    pub tcp: Vec<SocketAddr>,
    /// An address that receives datagrams.
    pub udp: SocketAddr,
    /// A Unix socket.
    pub socket: PathBuf,
    /// The processes of all other roles, and the supervisor.
    pub others: Vec<u32>,
    /// Users that no process in a jail may become.
    pub users: Vec<u32>,
}

/// One way to try an ability.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What to try.
    pub attempt: Attempt,
    /// Whether it leads only to the role's own data.
    pub own: bool,
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TrialOutcome {
    /// It worked.
    Allowed,
    /// The kernel answered with an error number.
    Denied(i32),
    /// The filter killed the process for this system call.
    Refused(u32),
    /// The filter killed the process, which did not report the call.
    Killed,
    /// The attempt itself went wrong.
    Broken(String),
}

/// Every way in which `ability` is tried.
pub fn trials(ability: Ability, on: &Targets) -> Vec<Trial> {
    let path = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let open = |file: &Path| Attempt::OpenFile { path: path(file) };
    let beneath = |file: &str| Attempt::OpenBeneath { path: file.into() };
    let others = on.others.iter().copied();
    let attempts = match ability {
        Ability::ReadIdentityKey => key(&on.identity_key, KEY_OF_IDENTITY, on),
        Ability::ReadSphinxKey => key(&on.sphinx_key, KEY_OF_SPHINX, on),
        Ability::ReadLedger => vec![Attempt::ReadDatabase { directory: on.ledger.1 }, open(&on.ledger.0)],
        Ability::ReadInbox => vec![Attempt::ReadDatabase { directory: on.inboxes.1 }, open(&on.inboxes.0)],
        Ability::OpenHome => {
            let homes = on.homes.iter().map(|path| open(path));
            homes.chain([beneath(".."), beneath("../.."), beneath("../../config/config.toml")]).collect()
        }
        Ability::Write => {
            let own = [on.ledger.1, on.inboxes.1].map(|directory| Attempt::WriteDatabase { directory });
            let own = own.into_iter().map(|attempt| Trial { attempt, own: true });
            let anywhere = on.directories.iter().map(|directory| Attempt::CreateFile { directory: path(directory) });
            return own.chain(anywhere.map(|attempt| Trial { attempt, own: false })).collect();
        }
        Ability::Connect => on.tcp.iter().map(|&to| Attempt::Connect { to }).collect(),
        Ability::SendDatagram => vec![Attempt::SendDatagram { to: on.udp }],
        Ability::BindPort => vec![Attempt::BindPort { at: ([127, 0, 0, 1], 0).into() }, Attempt::ListenUnbound],
        Ability::OpenUnixSocket => vec![Attempt::ConnectUnix { path: path(&on.socket) }],
        Ability::StartProgram => {
            let shell = || b"/bin/sh".to_vec();
            vec![
                Attempt::Fork,
                Attempt::ForkByClone3,
                Attempt::Execute { path: shell() },
                Attempt::ExecuteAt { path: shell() },
            ]
        }
        Ability::Trace => others.map(|pid| Attempt::Trace { pid }).collect(),
        Ability::Signal => others
            .flat_map(|pid| [Attempt::Signal { pid }, Attempt::SignalThread { pid }, Attempt::QueueSignal { pid }])
            .collect(),
        Ability::ReadMemory => others
            .flat_map(|pid| {
                [Attempt::ReadMemory { pid }, Attempt::OpenFile { path: format!("/proc/{pid}/mem").into() }]
            })
            .collect(),
        Ability::MakeExecutable => {
            vec![Attempt::MapExecutable, Attempt::ProtectExecutable, Attempt::ProtectExecutableByKey]
        }
        Ability::RegainUser => {
            let become_user = on.users.iter().map(|&uid| Attempt::BecomeUser { uid });
            become_user.chain([Attempt::NewUserNamespace]).collect()
        }
        Ability::SeeProcesses => others.flat_map(sight).collect(),
    };
    attempts.into_iter().map(|attempt| Trial { attempt, own: false }).collect()
}

/// The ways to find out whether a process exists.
fn sight(pid: u32) -> [Attempt; 8] {
    [
        Attempt::LookAt { pid },
        Attempt::HoldProcess { pid },
        Attempt::AskAffinity { pid },
        Attempt::ReadClock { pid },
        Attempt::AskClock { pid },
        Attempt::SleepByClock { pid },
        Attempt::TakeLock { pid },
        Attempt::OpenFile { path: format!("/proc/{pid}/status").into() },
    ]
}

const KEY_OF_IDENTITY: &str = "-----BEGIN ED25519 PRIVATE KEY";
const KEY_OF_SPHINX: &str = "-----BEGIN X25519 PRIVATE KEY";

fn key(file: &Path, begin: &str, on: &Targets) -> Vec<Attempt> {
    let mut attempts = vec![
        Attempt::OpenFile { path: file.as_os_str().as_encoded_bytes().to_vec() },
        Attempt::FindByPosition { begin: begin.into() },
        Attempt::FindByRewinding { begin: begin.into() },
        Attempt::FindByReading { begin: begin.into() },
    ];
    // One step up from a directory that `store` was given.
    if let Some(name) = file.file_name().filter(|_| file.parent() == on.ledger.0.parent()) {
        let path = [b"../".as_slice(), name.as_encoded_bytes()].concat();
        attempts.push(Attempt::OpenBeneath { path });
    }
    attempts
}

/// The verdict about an ability after all outcomes. Each comes with whether it is about the role's own data only.
pub fn verdict<'a>(outcomes: impl IntoIterator<Item = (bool, &'a TrialOutcome)>) -> AbilityVerdict {
    let (mut own_data, mut unknown) = (false, false);
    for (own, outcome) in outcomes {
        match outcome {
            TrialOutcome::Allowed if !own => return AbilityVerdict::Yes,
            TrialOutcome::Allowed => own_data = true,
            TrialOutcome::Broken(_) => unknown = true,
            TrialOutcome::Denied(_) | TrialOutcome::Refused(_) | TrialOutcome::Killed => {}
        }
    }
    match (unknown, own_data) {
        (true, _) => AbilityVerdict::Unknown,
        (false, true) => AbilityVerdict::Own,
        (false, false) => AbilityVerdict::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_open_way_is_enough_and_doubt_is_never_no() {
        let broken = || TrialOutcome::Broken("x".into());
        let of = |outcomes: &[(bool, TrialOutcome)]| verdict(outcomes.iter().map(|(own, outcome)| (*own, outcome)));
        assert_eq!(
            of(&[(false, TrialOutcome::Denied(1)), (false, TrialOutcome::Refused(2)), (true, TrialOutcome::Killed)]),
            AbilityVerdict::No
        );
        assert_eq!(of(&[(true, TrialOutcome::Allowed), (false, TrialOutcome::Denied(1))]), AbilityVerdict::Own);
        assert_eq!(
            of(&[(true, TrialOutcome::Allowed), (false, TrialOutcome::Allowed), (false, broken())]),
            AbilityVerdict::Yes
        );
        assert_eq!(of(&[(false, broken()), (false, TrialOutcome::Denied(1))]), AbilityVerdict::Unknown);
    }
}
