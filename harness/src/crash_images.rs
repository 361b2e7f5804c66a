//! What a loss of power may leave of a gateway's data: from a trace of all that was written, named and synced, every state of the
//! medium that a file system may have made of it can be built, and opened.
//!
//! *Promises*: a state is built only if a file system that keeps to POSIX may leave it. A sync of a file brings its bytes and its
//! length to the medium, and not its name; a sync of a folder brings the names in it, and not what they name. A name changes as a
//! whole. Whatever is not synced may be there or not, in any combination.

mod history;
mod image;
mod lottery;
mod opening;
mod promises;
mod recorder;
mod search;
#[cfg(test)]
mod tests;

pub use history::{Change, Found, History, Node, Synced};
pub use image::Image;
pub use lottery::{Left, Lottery};
pub use opening::Opened;
pub use promises::{Claim, Promises, Sockets};
pub use recorder::{CALLS, begin, record};
pub use search::{Case, Search};
