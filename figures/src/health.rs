//! Whether the gateway serves, from its figures.

use std::fmt;

use ipc::Role;

use crate::{Page, Reading, supervisor::BALANCE_OFF};

/// How the gateway is, the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All is well.
    Good,
    /// It serves, and something is wrong.
    Impaired(Reason),
    /// It does not serve.
    Down(Reason),
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A worker is not at work.
    WorkerAway(Role),
    /// Storage fails.
    StorageFails,
    /// There is no room for new mail.
    NoRoomForMail,
    /// There is no room for new clients.
    NoRoomForClients,
    /// Packets are not accounted for.
    BalanceOff,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerAway(role) => write!(f, "the worker {role} is not at work; see the log"),
            Self::StorageFails => f.write_str("storage fails, so new mail is refused; see the log of store"),
            Self::NoRoomForMail => {
                f.write_str("there is no room for new mail; free space on the disk, or raise data_bytes in [limits]")
            }
            Self::NoRoomForClients => f.write_str(
                "there is no room for new mail and new clients; free space on the disk, or raise data_bytes in [limits]",
            ),
            Self::BalanceOff => f.write_str("packets are not accounted for (gatewayd_balance_off); please report this"),
        }
    }
}

/// The workers without which the gateway does not serve.
const NEEDED: [(Role, &str); 4] = [
    (Role::Store, "ready_store"),
    (Role::MixEgress, "ready_mix_egress"),
    (Role::ClientEdge, "ready_client_edge"),
    (Role::MixIngress, "ready_mix_ingress"),
];

/// How the gateway with these figures is.
pub fn of(readings: &[Reading]) -> Health {
    let value = |page, field| readings.iter().find(|reading| reading.page() == page).map_or(0, |r| r.value(field));
    if let Some((role, _)) = NEEDED.iter().find(|(_, ready)| value(Page::Supervisor, ready) == 0) {
        return Health::Down(Reason::WorkerAway(*role));
    }
    match value(Page::Worker(Role::Store), "storage_trouble") {
        0 => {}
        1 => return Health::Impaired(Reason::NoRoomForMail),
        2 => return Health::Impaired(Reason::NoRoomForClients),
        _ => return Health::Down(Reason::StorageFails),
    }
    let is_off = BALANCE_OFF.iter().any(|field| value(Page::Supervisor, field) > 0);
    if is_off { Health::Impaired(Reason::BalanceOff) } else { Health::Good }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fields: &[(Page, &str, u64)]) -> Health {
        let readings: Vec<Reading> = Page::ALL
            .into_iter()
            .map(|page| {
                let value =
                    |field| fields.iter().find(|(of, name, _)| (*of, *name) == (page, field)).map(|(_, _, v)| *v);
                let ready = |field: &str| u64::from(field.starts_with("ready_"));
                let values = page.table().iter().flat_map(|figure| {
                    let value = value(figure.field).unwrap_or_else(|| ready(figure.field));
                    std::iter::repeat_n(value, figure.slots())
                });
                Reading::of_values(page, values.collect()).unwrap()
            })
            .collect();
        of(&readings)
    }

    #[test]
    fn health_names_what_is_wrong_and_the_worst_first() {
        let store = Page::Worker(Role::Store);
        assert_eq!(with(&[]), Health::Good);
        assert_eq!(with(&[(store, "storage_trouble", 1)]), Health::Impaired(Reason::NoRoomForMail));
        assert_eq!(with(&[(store, "storage_trouble", 2)]), Health::Impaired(Reason::NoRoomForClients));
        assert_eq!(with(&[(store, "storage_trouble", 3)]), Health::Down(Reason::StorageFails));
        assert_eq!(with(&[(store, "storage_trouble", 99)]), Health::Down(Reason::StorageFails));
        assert_eq!(
            with(&[(Page::Supervisor, "ready_mix_egress", 0), (store, "storage_trouble", 1)]),
            Health::Down(Reason::WorkerAway(Role::MixEgress))
        );
        assert_eq!(with(&[(Page::Supervisor, "ready_http_api", 0)]), Health::Good, "it only describes the gateway");
        for off in BALANCE_OFF {
            assert_eq!(with(&[(Page::Supervisor, off, 2)]), Health::Impaired(Reason::BalanceOff), "{off}");
        }
    }
}
