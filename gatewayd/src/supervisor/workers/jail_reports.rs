//! Handles what workers report about their jails.

use ipc::{
    Role,
    jail::{ActiveLayers, Layer},
};

use super::Workers;
use crate::{launch::Death, plan::LEFT_OUT, syscall};

impl Workers {
    pub(super) fn on_jail_closed(&mut self, role: Role, layers: ActiveLayers) {
        self.slots.get_mut(role).layers = layers;
    }

    pub(super) fn on_refusal(&mut self, role: Role, number: u32) {
        self.slots.get_mut(role).refused = Some(number);
    }

    /// The name of the system call for which the filter killed the worker, if the filter killed it.
    pub(super) fn killing_call(&self, role: Role, death: &Death) -> Option<String> {
        death.is_refusal().then(|| self.slots.get(role).refused.map_or_else(|| "unknown".to_owned(), syscall::name))
    }

    /// Logs one warning for all missing layers, if there are any. Layers that are left out on purpose are logged, but are no warning.
    pub(super) fn log_missing_layers(&self) {
        let (missing, left_out) = (self.lacks(false), self.lacks(true));
        if !missing.is_empty() {
            tracing::warn!(id = "GWD-G034", "The jail is incomplete. {}", missing.join(". "));
        }
        if !left_out.is_empty() {
            tracing::info!("Left out of the jail on purpose, because {LEFT_OUT} names it: {}", left_out.join(". "));
        }
    }

    /// A line for each missing layer: for those left out on purpose, or for the others.
    pub(super) fn lacks(&self, on_purpose: bool) -> Vec<String> {
        let layers = Layer::ALL.into_iter();
        let layers = layers.filter(|layer| self.spec.plan.layers_left_out.contains(layer) == on_purpose);
        layers.filter_map(|layer| self.lack_of(layer, on_purpose)).collect()
    }

    fn lack_of(&self, layer: Layer, on_purpose: bool) -> Option<String> {
        let why = |role: Role| {
            let missing = &self.slots.get(role).layers.missing;
            missing.iter().find(|missing| missing.layer == layer).map(|missing| (role, missing.why.as_str()))
        };
        let without: Vec<(Role, &str)> = Role::ALL.into_iter().filter_map(why).collect();
        let (_, why) = without.first()?;
        let roles: Vec<&str> = without.iter().map(|(role, _)| role.name()).collect();
        let roles = roles.join(", ");
        // The reason contains advice, which an operator who left the layer out on purpose does not need.
        Some(if on_purpose { format!("{layer} in {roles}") } else { format!("{layer} is missing in {roles}: {why}") })
    }
}
