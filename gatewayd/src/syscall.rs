//! Names of system calls, for the log.

use syscalls::Sysno;

/// The name of the call with this number on this architecture; the number itself, if it has none.
pub(crate) fn name(number: u32) -> String {
    usize::try_from(number).ok().and_then(Sysno::new).map_or_else(|| number.to_string(), |call| call.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_names_and_unknown_ones_numbers() {
        assert_eq!(name(u32::try_from(nix::libc::SYS_execve).unwrap()), "execve");
        assert_eq!(name(u32::MAX), "4294967295");
    }
}
