//! What a crew makes of what its workers say of their jails.

use proto::ipc::{
    Role,
    jail::{Held, Layer},
};

use super::Crew;
use crate::{supervisor::worker::Death, syscall};

impl Crew {
    pub(super) fn on_jail_closed(&mut self, role: Role, held: Held) {
        self.posts.get_mut(role).held = held;
    }

    pub(super) fn on_refusal(&mut self, role: Role, number: u32) {
        self.posts.get_mut(role).refused = Some(number);
    }

    /// The system call that a worker died of, if it died of one.
    pub(super) fn killing_call(&self, role: Role, death: &Death) -> Option<String> {
        death.is_refusal().then(|| self.posts.get(role).refused.map_or_else(|| "unknown".to_owned(), syscall::name))
    }

    /// One line for all that is missing, or none.
    pub(super) fn warn_of_missing_layers(&self) {
        let missing: Vec<String> = Layer::ALL.into_iter().filter_map(|layer| self.lack_of(layer)).collect();
        if !missing.is_empty() {
            tracing::warn!("The jail is incomplete. {}", missing.join(". "));
        }
    }

    fn lack_of(&self, layer: Layer) -> Option<String> {
        let why = |role: Role| {
            let missing = &self.posts.get(role).held.missing;
            missing.iter().find(|missing| missing.layer == layer).map(|missing| (role, missing.why.as_str()))
        };
        let without: Vec<(Role, &str)> = Role::ALL.into_iter().filter_map(why).collect();
        let (_, why) = without.first()?;
        let roles: Vec<&str> = without.iter().map(|(role, _)| role.name()).collect();
        Some(format!("{layer} is missing in {}: {why}", roles.join(", ")))
    }
}
