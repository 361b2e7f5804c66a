//! The accounts of the workers, and of the program that asks the validators.
//!
//! Only a process with certain privileges can give accounts away: root, or the supervisor of systemd/gatewayd@.service. Each role has an
//! account of its own. If the machine has an account of the fixed name (systemd/sysusers.d makes them), the role gets that one. Else
//! it gets a number from a range that nothing else uses; such a number needs no entry anywhere. In a container that does not have these
//! numbers no account can be given. All workers then stay root, without capabilities.

use std::{fs, io};

use ipc::{Role, jail::Account};
use nix::unistd::{Gid, Group, Uid, User, geteuid};

use super::per_role::PerRole;

/// Accounts for all workers, or none for any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accounts {
    first: u32,
    may_be_given: bool,
}

/// How many numbers are taken, from the first on.
const COUNT: u32 = 6;
/// The names of the accounts, in the order of the numbers that replace them.
const NAMES: [&str; COUNT as usize] =
    ["gatewayd-ingress", "gatewayd-egress", "gatewayd-edge", "gatewayd-store", "gatewayd-query", "gatewayd-http"];

/// Why there are no accounts for the workers.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Another account has the number.
    #[error(
        "`first_account` in [sandbox] of config.toml gives the number {number} to {worker}, but on this machine it is {owner}; choose a \
         number from which {COUNT} in a row are free, such as 1879048192, or create the accounts of sysusers.d/gatewayd.conf"
    )]
    Taken {
        /// The number.
        number: u32,
        /// The role that would get it.
        worker: &'static str,
        /// The user or group that has it.
        owner: String,
    },
    /// The kernel does not tell which numbers exist.
    #[error("cannot look for accounts: {0}")]
    Unknown(#[from] io::Error),
}

impl Accounts {
    /// Roles without an account of a fixed name get numbers from `first` on.
    ///
    /// # Errors
    /// If a user or group has one of these numbers, or the kernel does not tell which numbers exist.
    pub(crate) fn choose(first: u32) -> Result<Self, AccountError> {
        let may_be_given = sandbox::may_change_account()
            && maps(&fs::read_to_string("/proc/self/uid_map")?, first)
            && maps(&fs::read_to_string("/proc/self/gid_map")?, first);
        if may_be_given {
            for (place, worker) in (0..COUNT).zip(NAMES) {
                if named(worker).is_none() {
                    refuse_if_taken(first + place, worker)?;
                }
            }
        }
        Ok(Self { first, may_be_given })
    }

    /// The workers' accounts.
    pub(crate) fn of_workers(self) -> PerRole<Option<Account>> {
        PerRole::new(|role| {
            let place = match role {
                Role::MixIngress => 0,
                Role::MixEgress => 1,
                Role::ClientEdge => 2,
                Role::Store => 3,
                Role::HttpApi => 5,
            };
            self.account(place)
        })
    }

    /// The account of `validator-query`, and of `node-check`.
    pub(crate) fn of_query(self) -> Option<Account> {
        self.account(4)
    }

    fn account(self, place: u32) -> Option<Account> {
        let name = NAMES.get(place as usize).filter(|_| self.may_be_given)?;
        Some(named(name).unwrap_or_else(|| numbered(self.first + place)))
    }
}

/// The account of this name. An entry that cannot be read counts as none.
fn named(name: &str) -> Option<Account> {
    let user = User::from_name(name).ok().flatten().filter(|user| !user.uid.is_root())?;
    Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

/// Refuses a number that a user or group has: a worker with that number could read their files.
fn refuse_if_taken(number: u32, worker: &'static str) -> Result<(), AccountError> {
    let user =
        User::from_uid(Uid::from_raw(number)).map_err(io::Error::from)?.map(|user| format!("the user {}", user.name));
    let group =
        || Group::from_gid(Gid::from_raw(number)).map(|group| group.map(|group| format!("the group {}", group.name)));
    let own = || (number == geteuid().as_raw()).then(|| "the account that starts gatewayd".to_owned());
    match user.or_else(own).map_or_else(|| group().map_err(io::Error::from), |user| Ok(Some(user)))? {
        Some(owner) => Err(AccountError::Taken { number, worker, owner }),
        None => Ok(()),
    }
}

const fn numbered(number: u32) -> Account {
    Account { uid: number, gid: number }
}

/// Whether a map of `/proc/self` (number inside, number outside, how many) has all numbers from `first` on.
fn maps(map: &str, first: u32) -> bool {
    let has = |number: u64| {
        map.lines().any(|line| {
            let mut fields = line.split_whitespace().map(str::parse::<u64>);
            let (Some(Ok(start)), _, Some(Ok(length))) = (fields.next(), fields.next(), fields.next()) else {
                return false;
            };
            (start..start.saturating_add(length)).contains(&number)
        })
    };
    (0..COUNT).all(|place| has(u64::from(first) + u64::from(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_must_be_in_the_map() {
        let everything = "         0          0 4294967295\n";
        assert!(maps(everything, 1_879_048_192));
        let container = "0 100000 65536\n";
        assert!(!maps(container, 1_879_048_192));
        assert!(maps(container, 65_530));
        assert!(!maps(container, 65_531));
        assert!(!maps("nonsense", 1) && !maps("", 1));
    }

    #[test]
    fn no_two_processes_share_an_account() {
        let accounts = Accounts { first: 70_000, may_be_given: true };
        let workers = accounts.of_workers();
        let query = accounts.of_query().unwrap();
        let all = Role::ALL.iter().map(|role| workers.get(*role).unwrap()).chain([query]);
        let uids: BTreeSet<u32> = all.map(|account| account.uid).collect();
        assert_eq!(uids.len(), 6);
        assert!(!uids.contains(&0));

        let none = Accounts { first: 70_000, may_be_given: false };
        assert!(none.of_workers().get(Role::Store).is_none());
        assert!(none.of_query().is_none());
    }

    #[test]
    fn a_number_of_another_account_is_refused() {
        let free = refuse_if_taken(1_879_048_192, "gatewayd-store");
        free.unwrap();
        let error = refuse_if_taken(0, "gatewayd-store").unwrap_err().to_string();
        for part in ["root", "first_account", "gatewayd-store", "1879048192"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
