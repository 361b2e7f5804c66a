//! Capabilities: none, in no set, bounding set included.

use caps::{CapSet, Capability, errors::CapsError, runtime::thread_all_supported};

use crate::step::Why;

const REMEDY: &str = "start gatewayd as root, or allow user namespaces (sysctl user.max_user_namespaces)";

/// Whether this process, root or not, may give files to another account and start processes that change to it.
pub fn may_change_account() -> bool {
    [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_CHOWN]
        .into_iter()
        .all(|capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false))
}

/// Empties the bounding set, so that no program started from here could gain a capability. To be called while the process still
/// holds the capability that this takes.
pub(crate) fn empty_bounding_set() -> Result<(), Why> {
    let empty = || {
        for capability in thread_all_supported() {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
        Ok(())
    };
    empty().map_err(|error: CapsError| Why::new(error, REMEDY))
}

/// Gives up all capabilities, and checks that none is left.
pub(crate) fn drop_all() -> Result<(), Why> {
    const SETS: [CapSet; 4] = [CapSet::Ambient, CapSet::Effective, CapSet::Permitted, CapSet::Inheritable];
    let drop = || {
        for set in SETS {
            caps::clear(None, set)?;
        }
        let mut left = 0;
        for set in SETS.into_iter().chain([CapSet::Bounding]) {
            left += caps::read(None, set)?.len();
        }
        Ok(left)
    };
    match drop() {
        Ok(0) => Ok(()),
        Ok(left) => Err(Why::new(format!("{left} capabilities are still there"), REMEDY)),
        Err::<_, CapsError>(error) => Err(Why::new(error, REMEDY)),
    }
}
