//! The oracle: every message that was sent, whether it was acknowledged, and whether its client received it.
//!
//! | file | idea |
//! |---|---|
//! | `book` | what is entered |
//! | `state`, `session`, `names` | how it is kept |
//! | `again`, `order`, `continuity` | what was repeated, came out of order, or is missing |
//! | `disruption`, `gap` | what was done to the gateway, and what that excuses |
//! | `figures`, `tally` | how much and how fast, and the verdict |

mod again;
mod book;
mod continuity;
mod disruption;
mod figures;
mod gap;
mod names;
mod order;
mod session;
mod state;
mod tally;

pub use book::Oracle;
pub use disruption::{Disruption, Harm};
pub use figures::{Figures, percentile};
pub use gap::Gap;
pub use names::{Inbox, Link, Stream};
pub use tally::Tally;
