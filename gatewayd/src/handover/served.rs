//! Whom a gateway serves. A new build that serves nobody, although somebody was served right before, is at fault.
//!
//! *Trusts*: the workers about their own numbers. *Promises*: strangers cannot have it said of a gateway at which one honest client logs in,
//! and one packet of an honest client arrives, however much else is refused there.

use figures::{Page, Reading, client_edge::ATTACHED, mix_ingress};
use ipc::Role;
use serde::{Deserialize, Serialize};

/// Fewer refusals, or clients or packets before, say nothing: a client may be slow to come back, and programs that look whether the port is open are
/// refused, too.
const LEAST: u64 = 8;
/// Whatever `client-edge` answers with no, or closes.
const LOGINS_REFUSED: [&str; 4] = ["refusals", "upgrades_failed", "websocket_faults", "store_unavailable"];

/// Whom a gateway served before an upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Served {
    /// Clients that were logged in.
    clients: u64,
    /// Packets that were accepted within the last minute.
    packets: u64,
}

impl Served {
    /// What the pages show that `read` reads, at a gateway that has accepted so many packets within the last minute.
    pub(crate) fn of(read: impl Fn(Page) -> Reading, packets: u64) -> Self {
        Self { clients: read(Page::Worker(Role::ClientEdge)).sum(&ATTACHED), packets }
    }

    /// Whom the gateway whose pages `read` reads does not serve any more, for people. Nobody was served before these pages were made.
    pub(crate) fn is_over(self, read: impl Fn(Page) -> Reading) -> Option<String> {
        let [edge, ingress] = [Role::ClientEdge, Role::MixIngress].map(|role| read(Page::Worker(role)));
        let (came, refused) = (edge.sum(&["authentications", "registrations"]), edge.sum(&LOGINS_REFUSED));
        if self.clients >= LEAST && came == 0 && refused >= LEAST {
            let clients = self.clients;
            return Some(format!(
                "no client could log in, {refused} were refused, and {clients} were logged in before"
            ));
        }
        let (accepted, dropped) = (ingress.sum(&mix_ingress::ACCEPTED), ingress.sum(&mix_ingress::DROPPED));
        let refused = dropped.saturating_add(ingress.value("bad_frames"));
        (self.packets >= LEAST && accepted == 0 && refused >= LEAST).then(|| {
            let packets = self.packets;
            format!("no packet was accepted, {refused} were refused, and {packets} were accepted in the minute before")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(fields: &[(&str, u64)]) -> impl Fn(Page) -> Reading {
        move |page| {
            let value = |field| fields.iter().find(|(name, _)| *name == field).map_or(0, |(_, value)| *value);
            let values =
                page.table().iter().flat_map(|figure| std::iter::repeat_n(value(figure.field), figure.slots()));
            Reading::of_values(page, values.collect()).unwrap()
        }
    }

    #[test]
    fn a_build_that_serves_nobody_any_more_is_found() {
        let before = Served::of(pages(&[("attached_2021", 3), ("attached_2024", 5)]), 8);
        assert_eq!(before, Served { clients: 8, packets: 8 });
        let why = before.is_over(pages(&[("refusals", 8)])).unwrap();
        assert!(why.contains("8 were refused, and 8 were logged in"), "{why}");
        let why = before.is_over(pages(&[("unwrap_bad_mac", 5), ("bad_frames", 3)])).unwrap();
        assert!(why.contains("no packet was accepted, 8 were refused"), "{why}");
    }

    #[test]
    fn strangers_alone_cannot_have_an_upgrade_undone() {
        const RUBBISH: [(&str, u64); 3] = [("refusals", 9_000), ("upgrades_failed", 9_000), ("unwrap_bad_mac", 9_000)];
        // Few were served before.
        assert_eq!(Served { clients: 7, packets: 7 }.is_over(pages(&RUBBISH)), None);
        // One honest client, and one packet.
        let honest = [("authentications", 1), ("acks_paid", 1)];
        let before = Served { clients: 9_000, packets: 9_000 };
        assert_eq!(before.is_over(pages(&[RUBBISH.as_slice(), &honest].concat())), None);
        // Too few refusals.
        assert_eq!(before.is_over(pages(&[("refusals", 7), ("unwrap_bad_mac", 7)])), None);
    }
}
