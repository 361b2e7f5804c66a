//! The memory that the settings allow, beside what the machine has.

use nix::sys::sysinfo::sysinfo;

use crate::config::{Config, MemoryBudgets};

/// What to do about settings that allow too much.
pub(crate) const LESS_MEMORY: &str = "lower `memory` in [limits] or in [replay], or give the machine more memory";

/// The settings allow more memory than the machine has. Both in bytes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings allow {} MiB of memory, and the machine has {}", allowed >> 20, total >> 20)]
pub(crate) struct TooMuchMemory {
    allowed: u64,
    total: u64,
}

/// The bytes that these settings allow.
pub(crate) fn allowed_memory(config: &Config) -> u64 {
    MemoryBudgets::of(&config.limits).sum().saturating_add(config.replay.memory.get())
}

/// The bytes that the machine has, if the kernel tells.
pub(crate) fn total_memory() -> Option<u64> {
    sysinfo().ok().map(|machine| machine.ram_total())
}

/// Checks that the settings allow no more than the `total` bytes of the machine.
///
/// # Errors
/// If they do.
pub(crate) fn check_memory(config: &Config, total: u64) -> Result<(), TooMuchMemory> {
    let allowed = allowed_memory(config);
    if allowed > total { Err(TooMuchMemory { allowed, total }) } else { Ok(()) }
}

/// Checks the settings `new` of a gateway that runs with `running`. What it runs with is not refused, or it could be told nothing else.
///
/// # Errors
/// If they allow more than before, and more than the `total` bytes of the machine.
pub(crate) fn check_more_memory(running: &Config, new: &Config, total: Option<u64>) -> Result<(), TooMuchMemory> {
    match total {
        Some(total) if allowed_memory(new) > allowed_memory(running) => check_memory(new, total),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::launch::fixtures;

    #[test]
    fn only_more_memory_than_before_and_there_is_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let small = fixtures::config(home.path());
        let mut large = small.clone();
        large.replay.memory = NonZeroU64::new(2 << 30).unwrap();
        let of_machine = Some(1 << 30);
        let error = check_more_memory(&small, &large, of_machine).unwrap_err().to_string();
        assert!(error.contains("and the machine has 1024"), "{error}");
        for (running, new, total) in [
            (&large, &large, of_machine),
            (&large, &small, of_machine),
            (&small, &large, None),
            (&small, &large, Some(4 << 30)),
        ] {
            assert_eq!(check_more_memory(running, new, total), Ok(()));
        }
    }
}
