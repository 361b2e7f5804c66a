//! One file for each figure.

mod acked;
mod fetch;
mod filled;
mod half_load;
mod idle;
mod inboxes;
mod jail;
mod latency;
mod online;
mod seed;
mod sessions;
mod spread;
mod start;
mod stored;

use anyhow::Result;

use crate::{Era, Scale, report::Round};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Packets pushed to one client.
    Online,
    /// Packets pushed to many clients in turn.
    Spread,
    /// Packets stored for offline clients.
    Stored,
    /// Packets stored in many inboxes that hold many, and fetched.
    Inboxes,
    /// A large inbox, fetched.
    Fetch,
    /// Memory of clients that do nothing.
    Idle,
    /// How long a packet takes at a steady rate.
    Latency,
    /// Registrations and logins.
    Sessions,
    /// How long the ack of a stored packet takes under half of the highest load.
    HalfLoad,
    /// What the jail costs.
    Jail,
    /// A start with much that is kept, and the memory that takes.
    Start,
    /// The memory of a gateway with clients, mail and messages under way, all of them together.
    Filled,
}

impl Figure {
    /// All of them, in the order of their letters.
    pub(crate) const ALL: [Self; 12] = [
        Self::Online,
        Self::Spread,
        Self::Stored,
        Self::Inboxes,
        Self::Fetch,
        Self::Idle,
        Self::Latency,
        Self::Sessions,
        Self::HalfLoad,
        Self::Jail,
        Self::Start,
        Self::Filled,
    ];

    /// Its short name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Online => "a",
            Self::Spread => "a2",
            Self::Stored => "b",
            Self::Inboxes => "b2",
            Self::Fetch => "c",
            Self::Idle => "d",
            Self::Latency => "e",
            Self::Sessions => "f",
            Self::HalfLoad => "g",
            Self::Jail => "h",
            Self::Start => "i",
            Self::Filled => "j",
        }
    }

    /// Measures it once.
    ///
    /// # Errors
    /// If the gateway does not do what is to be measured.
    pub(crate) async fn measure(self, era: Era, scale: Scale) -> Result<Round> {
        match self {
            Self::Online => online::measure(era, scale).await,
            Self::Spread => spread::measure(era, scale).await,
            Self::Inboxes => inboxes::measure(era, scale).await,
            Self::Stored => stored::measure(era, scale).await,
            Self::Fetch => fetch::measure(era, scale).await,
            Self::Idle => idle::measure(era, scale).await,
            Self::Latency => latency::measure(era, scale).await,
            Self::Sessions => sessions::measure(era, scale).await,
            Self::HalfLoad => half_load::measure(era, scale).await,
            Self::Jail => jail::measure(era, scale).await,
            Self::Start => start::measure(scale).await,
            Self::Filled => filled::measure(era, scale).await,
        }
    }
}

/// How many per second, from the first moment to the last.
fn rate(count: usize, time: std::time::Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
