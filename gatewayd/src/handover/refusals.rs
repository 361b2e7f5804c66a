//! How much of what strangers bring is refused: logins and registrations, and packets. A new build that refuses clearly more than the old
//! one is at fault.
//!
//! *Trusts*: `store` and `mix-ingress` about their own numbers. *Promises*: what was refused before the upgrade as often as after it counts
//! for nothing. Strangers who begin to send rubbish in that minute can have the old programs come back. The operator is told, and can
//! upgrade again or restart.

use figures::{Page, Reading, mix_ingress};
use ipc::Role;
use serde::{Deserialize, Serialize};

/// Fewer refusals say nothing.
const LEAST: u64 = 8;
/// By so many hundredths the part that is refused may grow.
const TOLERATED: u64 = 25;

/// What was taken and what was refused.
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

/// What one supervisor has seen of logins and packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusals {
    logins: Part,
    packets: Part,
}

impl Refusals {
    /// What the pages show that `read` reads.
    pub(crate) fn of(read: impl Fn(Page) -> Reading) -> Self {
        let (store, ingress) = (read(Page::Worker(Role::Store)), read(Page::Worker(Role::MixIngress)));
        // After an upgrade all clients come at once, so what is refused for its pace is no fault.
        let for_cause = store.value("authentications_refused").saturating_sub(store.value("logins_refused_rate"));
        Self {
            logins: Part {
                taken: store.sum(&["authenticated", "registered"]),
                refused: for_cause.saturating_add(store.value("registrations_refused")),
            },
            packets: Part { taken: ingress.sum(&mix_ingress::ACCEPTED), refused: ingress.sum(&mix_ingress::DROPPED) },
        }
    }

    /// What is refused clearly more than `before`, for people.
    pub(crate) fn worse_than(self, before: Self) -> Option<String> {
        let worse = |what, now: Part, before: Part| {
            now.is_worse_than(before).then(|| {
                let (now, before) = (now.refused_percent(), before.refused_percent());
                format!("{now} % of {what} are refused, and {before} % were before")
            })
        };
        worse("logins and registrations", self.logins, before.logins)
            .or_else(|| worse("packets", self.packets, before.packets))
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
}
