//! What a gateway refuses for a fault of its own. A new build that refuses clearly more for it than the old one, or whose storage is worse, is at
//! fault.
//!
//! What is refused for the bytes that its sender sent (a wrong key, a login of nobody, a packet that is not for this gateway) is not in it:
//! strangers could have every upgrade undone with it. A build that refuses everybody is found by [`Served`](super::Served).
//!
//! *Trusts*: the workers about their own numbers. *Promises*: what was refused before the upgrade as often as after it counts for nothing.

use figures::{Page, Reading, mix_ingress};
use ipc::Role;
use serde::{Deserialize, Serialize};

/// Fewer refusals say nothing.
const LEAST: u64 = 8;
/// By so many hundredths the part that is refused may grow.
const TOLERATED: u64 = 25;
/// Packets that are lost by a fault of the gateway.
const FAULTS_AT_PACKETS: [&str; 2] = ["unwrap_panicked", "refused_storage_failed"];

/// What was taken, and what was refused for a fault of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    taken: u64,
    refused: u64,
}

impl Part {
    /// The part that was refused, in hundredths.
    fn refused_percent(self) -> u64 {
        let all = self.taken.saturating_add(self.refused);
        self.refused.saturating_mul(100).checked_div(all).unwrap_or(0)
    }

    fn is_worse_than(self, before: Self) -> bool {
        self.refused >= LEAST && self.refused_percent() > before.refused_percent().saturating_add(TOLERATED)
    }
}

/// What one supervisor has seen of logins, packets and storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusals {
    logins: Part,
    packets: Part,
    /// The gauge of that name; none if an earlier build did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage_trouble: Option<u64>,
}

impl Refusals {
    /// What the pages show that `read` reads.
    pub(crate) fn of(read: impl Fn(Page) -> Reading) -> Self {
        let [store, ingress, edge] =
            [Role::Store, Role::MixIngress, Role::ClientEdge].map(|role| read(Page::Worker(role)));
        Self {
            logins: Part {
                taken: store.sum(&["authenticated", "registered"]),
                refused: edge.value("store_unavailable"),
            },
            packets: Part { taken: ingress.sum(&mix_ingress::ACCEPTED), refused: ingress.sum(&FAULTS_AT_PACKETS) },
            storage_trouble: Some(store.value("storage_trouble")),
        }
    }

    /// What is clearly worse than `before`, for people.
    pub(crate) fn worse_than(self, before: Self) -> Option<String> {
        let worse = |what, now: Part, before: Part| {
            now.is_worse_than(before).then(|| {
                let (now, before) = (now.refused_percent(), before.refused_percent());
                format!("{now} % of {what}, and it were {before} % before")
            })
        };
        self.worse_storage(before)
            .or_else(|| {
                worse("the clients that came were not served, because store did not answer", self.logins, before.logins)
            })
            .or_else(|| {
                worse(
                    "the packets were lost by a fault or because they could not be stored",
                    self.packets,
                    before.packets,
                )
            })
    }

    fn worse_storage(self, before: Self) -> Option<String> {
        let (now, before) = (self.storage_trouble?, before.storage_trouble?);
        let what = match now {
            0 => return None,
            1 => "there is no room for new mail",
            2 => "there is no room for new mail and new clients",
            _ => "storage fails",
        };
        (now > before).then(|| format!("{what}, which was not so before"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_refused_clearly_more_often_is_worse() {
        let part = |taken, refused| Part { taken, refused };
        let cases = [
            (part(100, 0), part(0, 7), false),
            (part(100, 0), part(0, 8), true),
            (part(0, 0), part(24, 8), false),
            (part(0, 0), part(22, 8), true),
            // As bad before.
            (part(10, 90), part(1, 99), false),
            (part(50, 50), part(20, 80), true),
        ];
        for (before, now, is_worse) in cases {
            assert_eq!(now.is_worse_than(before), is_worse, "{before:?} {now:?}");
            let (before, now) =
                (Refusals { logins: before, ..Refusals::default() }, Refusals { logins: now, ..Refusals::default() });
            assert_eq!(now.worse_than(before).is_some(), is_worse);
        }
    }

    #[test]
    fn storage_that_became_worse_is_worse() {
        let with = |storage_trouble| Refusals { storage_trouble, ..Refusals::default() };
        let cases = [
            (Some(0), Some(1), true),
            (Some(1), Some(3), true),
            (Some(3), Some(1), false),
            (Some(2), Some(2), false),
            // The old build did not look.
            (None, Some(3), false),
        ];
        for (before, now, is_worse) in cases {
            assert_eq!(with(now).worse_than(with(before)).is_some(), is_worse, "{before:?} {now:?}");
        }
    }

    #[test]
    fn what_strangers_can_have_refused_counts_for_nothing() {
        let reading = |page: Page| {
            let of_strangers = |field: &str| {
                let of_gateway = ["store_unavailable", "storage_trouble"].iter().chain(&FAULTS_AT_PACKETS);
                !of_gateway.clone().any(|own| *own == field) && !mix_ingress::ACCEPTED.contains(&field)
            };
            let values = page.table().iter().flat_map(|figure| {
                let is_taken = ["authenticated", "registered"].contains(&figure.field);
                let value = if of_strangers(figure.field) && !is_taken { 1_000 } else { 0 };
                std::iter::repeat_n(value, figure.slots())
            });
            Reading::of_values(page, values.collect()).unwrap()
        };
        let before = Refusals { storage_trouble: Some(0), ..Refusals::default() };
        assert_eq!(Refusals::of(reading).worse_than(before), None);
    }
}
