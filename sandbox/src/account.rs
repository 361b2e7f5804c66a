//! Who the process is: an account that owns nothing else, and no way back to the one that started it.

use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};
use proto::ipc::jail::Account;

use crate::close::{JailError, Why, step};

/// Changes to `account` for good. Without one there is nothing to change from: the supervisor is no root.
pub(crate) fn change(account: Option<Account>) -> Result<Result<(), Why>, JailError> {
    let Some(Account { uid, gid }) = account else {
        return Ok(Err(
            "gatewayd gave no account to change to, as it can only when started as root: start it as root \
                       (systemd does) to have one account for each role"
                .to_owned(),
        ));
    };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    step("leave all groups", setgroups(&[]))?;
    step("change the group", setresgid(gid, gid, gid))?;
    step("change the user", setresuid(uid, uid, uid))?;
    Ok(Ok(()))
}

/// Whether nothing is left of who the process was. To be asked when it has no capability any more: who changed by virtue of
/// one, and not as root, still has it right after.
pub(crate) fn is_for_good(Account { uid, gid }: Account) -> Result<(), JailError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let user = step("look at the user", getresuid())?;
    let group = step("look at the group", getresgid())?;
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
