//! The account of the process: one that owns nothing else, with no way back to the account that started the process.

use ipc::jail::Account;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

use crate::step::{JailError, Step, Why, must};

const NO_ACCOUNT: &str = "gatewayd gave no account to change to, as it can only when started as root";
const REMEDY: &str = "start it as root (systemd does) to have one account for each role";

/// Changes to `account` for good. Without an account there is nothing to change from: the supervisor is not root.
pub(crate) fn change(account: Option<Account>) -> Step {
    account.map_or_else(|| Step::Unavailable(Why::new(NO_ACCOUNT, REMEDY)), |account| change_to(account).into())
}

fn change_to(Account { uid, gid }: Account) -> Result<(), JailError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    must("leave all groups", setgroups(&[]))?;
    must("change the group", setresgid(gid, gid, gid))?;
    must("change the user", setresuid(uid, uid, uid))
}

/// Checks that nothing is left of the old account. To be called when all capabilities are gone: a process that changed its account
/// by a capability, and not as root, still has that capability right after the change.
pub(crate) fn is_for_good(Account { uid, gid }: Account) -> Result<(), JailError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let user = must("read the user", getresuid())?;
    let group = must("read the group", getresgid())?;
    if [user.real, user.effective, user.saved] != [uid; 3] || [group.real, group.effective, group.saved] != [gid; 3] {
        return Err(JailError::Hole("an account given up is still there"));
    }
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    let back = [
        setresuid(root.0, root.0, root.0).is_ok(),
        setresgid(root.1, root.1, root.1).is_ok(),
        setgroups(&[root.1]).is_ok(),
    ];
    if back.contains(&true) { Err(JailError::Hole("the process can become root again")) } else { Ok(()) }
}
