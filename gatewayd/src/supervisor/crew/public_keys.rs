//! The public keys that are announced, held against those that the workers derive from the private ones.
//!
//! *Trusts* the workers: `mix-ingress` and `store` have the private keys, which the supervisor never reads. *Promises*: a gateway
//! whose public key files are another gateway's does not start.

use ipc::Role;

use super::{Crew, CrewError, Phase};
use crate::keys::{Mismatch, PublicKeyFile};

impl Crew {
    /// Whether both key pairs are known to belong together.
    pub(in crate::supervisor) fn keys_are_proven(&self) -> bool {
        [Role::MixIngress, Role::Store].into_iter().all(|role| self.posts.get(role).has_proved_key)
    }

    pub(super) fn on_public_key(&mut self, role: Role, derived: [u8; 32]) -> Result<(), CrewError> {
        let (keys, paths) = (&self.equipment.public_keys, &self.equipment.key_paths);
        let file = match role {
            Role::MixIngress => PublicKeyFile::Sphinx,
            Role::Store => PublicKeyFile::Identity,
            Role::ClientEdge | Role::MixEgress => {
                self.condemn(role, "it reported a key, and was given none");
                return Ok(());
            }
        };
        match file.check(keys, paths, derived) {
            Ok(()) => self.posts.get_mut(role).has_proved_key = true,
            Err(mismatch) if self.phase == Phase::Opening => return Err(mismatch.into()),
            // The gateway ends, maybe because the other key is wrong as well, which has been said then.
            Err(Mismatch { .. }) if self.phase == Phase::Closing => {}
            // The private key is still that of the start: the worker is no longer to be trusted.
            Err(Mismatch { .. }) => self.condemn(role, "it reported another key than at the start"),
        }
        Ok(())
    }
}
