//! Where the session keys of attached clients are: in memory that was locked before the jail closed.
//!
//! *Promises*: a key is wiped, and its place free for the next, as soon as its session is over. From the link to its place a key
//! goes through ordinary memory, the link's buffer and a message, which are wiped as well, and over the stack, which is not.

use proto::{ipc::store_edge::SessionKey, wire::client::side::GatewayKey};
use sandbox::secret::{LockError, Locked, Places};

/// Places for each connection, as `store` counts sessions: its own, and that of one that has ended and whose end is on its way.
const PER_CONNECTION: usize = 2;

const RULE_TOO_MANY: &str = "more sessions were attached than there can be connections";

/// A session key in its place, and beside it the key that marks the gateway's nonces.
pub(crate) type HeldKey = Locked<GatewayKey>;

/// Room for the keys of all sessions there can be, 65 bytes each.
#[derive(Clone, Debug)]
pub struct KeyRoom(Places<GatewayKey>);

impl KeyRoom {
    /// For so many connections, and no more than there can be descriptors. If the limit on locked memory is lower, for as many
    /// as fit, with a warning; says for how many.
    ///
    /// # Errors
    /// If no memory can be locked.
    pub fn for_connections(connections: u32, descriptors: u64) -> Result<(Self, u32), LockError> {
        let wanted = u32::try_from(descriptors.min(connections.into())).unwrap_or(u32::MAX);
        let places = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_mul(PER_CONNECTION);
        let (room, fitting) = Places::as_many_as_fit(places)?;
        let possible = u32::try_from(fitting / PER_CONNECTION).unwrap_or(u32::MAX).min(wanted);
        if possible < wanted {
            tracing::warn!(
                wanted,
                possible,
                "the limit on locked memory allows fewer client connections than max_client_connections in [limits]: each \
                 takes {} bytes for its keys. Raise the limit (LimitMEMLOCK= in systemd, `ulimit -l`), or lower that number",
                PER_CONNECTION * size_of::<GatewayKey>()
            );
        }
        Ok((Self(room), possible))
    }

    /// Keeps a key as the gateway uses it.
    ///
    /// # Errors
    /// The rule that `store` has broken, if there is no place.
    pub(crate) fn keep(&self, key: &SessionKey) -> Result<HeldKey, &'static str> {
        self.0.keep(|| GatewayKey::of(key)).ok_or(RULE_TOO_MANY)
    }
}

#[cfg(test)]
mod tests {
    use proto::wire::client::key::CtrHmacKey;

    use super::*;

    /// README.privsep.md and the configuration say how much memory is locked.
    #[test]
    fn a_key_and_its_mark_take_65_bytes() {
        assert_eq!(size_of::<GatewayKey>(), 65);
    }

    #[test]
    fn there_is_room_for_two_keys_for_each_connection_that_settings_and_descriptors_allow() {
        for (connections, descriptors) in [(2, u64::MAX), (u32::MAX, 2)] {
            let (room, possible) = KeyRoom::for_connections(connections, descriptors).unwrap();
            assert_eq!(possible, 2);
            let keep = || room.keep(&SessionKey::CtrHmac(CtrHmacKey::from_bytes([7; 32])));
            let held: Vec<_> = (0..4).map(|_| keep().unwrap()).collect();
            assert_eq!(keep().unwrap_err(), RULE_TOO_MANY);
            drop(held);
            keep().unwrap();
        }
    }
}
