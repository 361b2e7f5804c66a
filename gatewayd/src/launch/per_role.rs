//! A map with one value for each of the five workers. No value can be missing.

use ipc::Role;

/// One `T` for each role.
#[derive(Clone, Debug)]
pub(crate) struct PerRole<T> {
    mix_ingress: T,
    mix_egress: T,
    client_edge: T,
    store: T,
    http_api: T,
}

impl<T> PerRole<T> {
    /// Makes the value of each role. The first error ends it.
    pub(crate) fn try_new<E>(mut make: impl FnMut(Role) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            mix_ingress: make(Role::MixIngress)?,
            mix_egress: make(Role::MixEgress)?,
            client_edge: make(Role::ClientEdge)?,
            store: make(Role::Store)?,
            http_api: make(Role::HttpApi)?,
        })
    }

    /// Makes the value of each role.
    pub(crate) fn new(mut make: impl FnMut(Role) -> T) -> Self {
        Self {
            mix_ingress: make(Role::MixIngress),
            mix_egress: make(Role::MixEgress),
            client_edge: make(Role::ClientEdge),
            store: make(Role::Store),
            http_api: make(Role::HttpApi),
        }
    }

    /// The value of `role`.
    pub(crate) const fn get(&self, role: Role) -> &T {
        match role {
            Role::MixIngress => &self.mix_ingress,
            Role::MixEgress => &self.mix_egress,
            Role::ClientEdge => &self.client_edge,
            Role::Store => &self.store,
            Role::HttpApi => &self.http_api,
        }
    }

    /// The value of `role`, to change it.
    pub(crate) const fn get_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::MixIngress => &mut self.mix_ingress,
            Role::MixEgress => &mut self.mix_egress,
            Role::ClientEdge => &mut self.client_edge,
            Role::Store => &mut self.store,
            Role::HttpApi => &mut self.http_api,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_own_value() {
        let mut names = PerRole::new(Role::name);
        for role in Role::ALL {
            assert_eq!(*names.get(role), role.name());
            assert_eq!(*names.get_mut(role), role.name());
        }
        assert_eq!(
            PerRole::<()>::try_new(|role| if role == Role::Store { Err(role) } else { Ok(()) }).unwrap_err(),
            Role::Store
        );
    }
}
