//! The session keys of the clients that are logged in, in memory that was locked before the jail closed.
//!
//! *Promises*: a key is wiped, and its slot free for the next, as soon as its session is over. On its way from the link to its
//! slot a key passes through ordinary memory: the link's buffer and a message, which are wiped. In use, a key of 2021 and what HMAC
//! makes of it pass over the stack, which is not wiped.

use client_wire::{key::SessionKey, side::GatewayKey};
use sandbox::secret::{LockError, Locked, LockedArena};
use session_ipc::Rule;

/// Slots for each connection. One is for the session of the connection; the other is for the session before it, which lasts for
/// `store` until `store` has read of its end.
const PER_CONNECTION: usize = 2;

/// A session key in its slot, with the key that marks the gateway's nonces.
pub(crate) type HeldKey = Locked<GatewayKey>;

/// Slots for the keys of all sessions there can be, 65 bytes each.
#[derive(Clone, Debug)]
pub struct KeySlots(LockedArena<GatewayKey>);

impl KeySlots {
    /// Slots for `connections`, or for `descriptors` if that is less. If the limit on locked memory is lower, slots for as many
    /// connections as fit, with a warning. Returns for how many connections there are slots.
    ///
    /// # Errors
    /// If no memory can be locked.
    pub fn for_connections(connections: u32, descriptors: u64) -> Result<(Self, u32), LockError> {
        let wanted = u32::try_from(descriptors.min(connections.into())).unwrap_or(u32::MAX);
        let slots = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_mul(PER_CONNECTION);
        let (slots, fitting) = LockedArena::as_many_as_fit(slots)?;
        let possible = u32::try_from(fitting / PER_CONNECTION).unwrap_or(u32::MAX).min(wanted);
        if possible < wanted {
            tracing::warn!(
                id = "GWD-C003",
                wanted,
                possible,
                "the limit on locked memory allows fewer client connections than max_client_connections in [limits]: each \
                 takes {} bytes for its keys. Raise the limit (LimitMEMLOCK= in systemd, `ulimit -l`), or lower that number",
                PER_CONNECTION * size_of::<GatewayKey>()
            );
        }
        Ok((Self(slots), possible))
    }

    /// Keeps a key in the form in which the gateway uses it.
    ///
    /// # Errors
    /// The rule that `store` has broken, if no slot is free.
    pub(crate) fn keep(&self, key: &SessionKey) -> Result<HeldKey, Rule> {
        self.0.keep(|| GatewayKey::of(key)).ok_or(Rule::TooManyAttached)
    }
}

#[cfg(test)]
mod tests {
    use client_wire::key::CtrHmacKey;

    use super::*;

    /// README.privsep.md and the configuration say how much memory is locked.
    #[test]
    fn a_key_and_its_mark_take_65_bytes() {
        assert_eq!(size_of::<GatewayKey>(), 65);
    }

    #[test]
    fn each_possible_connection_has_slots_for_two_keys() {
        for (connections, descriptors) in [(2, u64::MAX), (u32::MAX, 2)] {
            let (slots, possible) = KeySlots::for_connections(connections, descriptors).unwrap();
            assert_eq!(possible, 2);
            let keep = || slots.keep(&SessionKey::CtrHmac(CtrHmacKey::from_bytes([7; 32])));
            let held: Vec<_> = (0..4).map(|_| keep().unwrap()).collect();
            assert_eq!(keep().unwrap_err(), Rule::TooManyAttached);
            drop(held);
            keep().unwrap();
        }
    }
}
