//! Compares the announced public keys with those that the workers derive from the private keys.
//!
//! *Trusts*: `mix-ingress` and `store`, which have the private keys; the supervisor never reads them. *Promises*: a gateway does not start
//! with the public key files of another gateway.

use ipc::Role;

use super::{GatewayPhase, Workers, error::WorkersError};
use crate::keys::{Mismatch, PublicKeyFile};

impl Workers {
    /// Whether both key pairs are known to belong together.
    pub(crate) fn keys_are_proven(&self) -> bool {
        [Role::MixIngress, Role::Store].into_iter().all(|role| self.slots.get(role).has_proved_key)
    }

    pub(super) fn on_public_key(&mut self, role: Role, derived: [u8; 32]) -> Result<(), WorkersError> {
        let (keys, paths) = (&self.spec.plan.public_keys, &self.spec.plan.config.keys);
        let file = match role {
            Role::MixIngress => PublicKeyFile::Sphinx,
            Role::Store => PublicKeyFile::Identity,
            Role::ClientEdge | Role::MixEgress | Role::HttpApi => {
                self.kill_for(role, "it reported a key and has none");
                return Ok(());
            }
        };
        match file.check(keys, paths, derived) {
            Ok(()) => self.slots.get_mut(role).has_proved_key = true,
            Err(mismatch) if self.phase == GatewayPhase::Opening => return Err(mismatch.into()),
            // The gateway ends already. If that is because the other key is wrong too, the error has been reported.
            Err(Mismatch { .. }) if self.phase == GatewayPhase::Closing => {}
            // The private key has not changed since the start, so that the report is false.
            Err(Mismatch { .. }) => self.kill_for(role, "it reported another key than at the start"),
        }
        Ok(())
    }
}
