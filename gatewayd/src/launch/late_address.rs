//! Waits for an address that this machine does not have yet.
//!
//! At boot a service may start before DHCP or a tunnel has brought the address to listen on. Under a service manager the gateway waits,
//! because a service that gives up at boot stays down until the operator notices. A gateway that is started by hand fails at once, because
//! there a wrong address is most likely a typing error.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::systemd;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The time between two log lines about the wait.
const REMINDER: Duration = Duration::from_secs(60);

/// Calls `bind`. Under a service manager it is called again while this machine lacks the address, without a time limit: either the
/// address comes, or the operator ends the wait.
pub(super) fn wait_for<T>(address: impl std::fmt::Display, mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    wait_with_pause(PAUSE, systemd::is_there(), address, &mut bind)
}

fn wait_with_pause<T>(
    pause: Duration,
    may_wait: bool,
    address: impl std::fmt::Display,
    bind: &mut impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut said: Option<Instant> = None;
    loop {
        match bind() {
            Err(error) if may_wait && error.kind() == io::ErrorKind::AddrNotAvailable => {
                if said.is_none_or(|said| said.elapsed() >= REMINDER) {
                    said = Some(Instant::now());
                    tracing::warn!(
                        id = "GWD-G005", %address,
                        "this machine does not have the address to listen on yet: waiting for it"
                    );
                }
                systemd::still_starting(REMINDER * 2);
                thread::sleep(pause);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coming_at_the(attempt: u32) -> impl FnMut() -> io::Result<u32> {
        let mut attempts = 0;
        move || {
            attempts += 1;
            if attempts >= attempt { Ok(attempts) } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
        }
    }

    #[test]
    fn an_address_that_comes_late_is_waited_for() {
        let found = wait_with_pause(Duration::ZERO, true, "192.0.2.1:1", &mut coming_at_the(5));
        assert_eq!(found.unwrap(), 5);
    }

    #[test]
    fn by_hand_and_for_other_errors_there_is_no_wait() {
        let found = wait_with_pause(Duration::ZERO, false, "192.0.2.1:1", &mut coming_at_the(2));
        assert_eq!(found.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        let mut denied = || Err::<(), _>(io::ErrorKind::PermissionDenied.into());
        assert!(wait_with_pause(Duration::ZERO, true, "192.0.2.1:1", &mut denied).is_err());
    }
}
