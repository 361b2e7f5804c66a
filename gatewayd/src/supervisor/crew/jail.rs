//! What a crew makes of what its workers say of their jails.

use ipc::{
    Role,
    jail::{ActiveLayers, Layer},
};

use super::Crew;
use crate::{run::LEFT_OUT, supervisor::worker::Death, syscall};

impl Crew {
    pub(super) fn on_jail_closed(&mut self, role: Role, held: ActiveLayers) {
        self.posts.get_mut(role).held = held;
    }

    pub(super) fn on_refusal(&mut self, role: Role, number: u32) {
        self.posts.get_mut(role).refused = Some(number);
    }

    /// The system call that a worker died of, if it died of one.
    pub(super) fn killing_call(&self, role: Role, death: &Death) -> Option<String> {
        death.is_refusal().then(|| self.posts.get(role).refused.map_or_else(|| "unknown".to_owned(), syscall::name))
    }

    /// One warning for all that is missing, or none; what is left out on purpose is said, but is no reason to worry.
    pub(super) fn tell_of_missing_layers(&self) {
        let (missing, left_out) = (self.lacks(false), self.lacks(true));
        if !missing.is_empty() {
            tracing::warn!("The jail is incomplete. {}", missing.join(". "));
        }
        if !left_out.is_empty() {
            tracing::info!("Left out of the jail on purpose, as {LEFT_OUT} says: {}", left_out.join(". "));
        }
    }

    /// Layers that are missing, and are left out on purpose or not.
    pub(super) fn lacks(&self, on_purpose: bool) -> Vec<String> {
        let layers = Layer::ALL.into_iter();
        let layers = layers.filter(|layer| self.equipment.layers_left_out.contains(layer) == on_purpose);
        layers.filter_map(|layer| self.lack_of(layer, on_purpose)).collect()
    }

    fn lack_of(&self, layer: Layer, on_purpose: bool) -> Option<String> {
        let why = |role: Role| {
            let missing = &self.posts.get(role).held.missing;
            missing.iter().find(|missing| missing.layer == layer).map(|missing| (role, missing.why.as_str()))
        };
        let without: Vec<(Role, &str)> = Role::ALL.into_iter().filter_map(why).collect();
        let (_, why) = without.first()?;
        let roles: Vec<&str> = without.iter().map(|(role, _)| role.name()).collect();
        let roles = roles.join(", ");
        // The reason comes with advice, which is not for whoever wanted it so.
        Some(if on_purpose { format!("{layer} in {roles}") } else { format!("{layer} is missing in {roles}: {why}") })
    }
}
