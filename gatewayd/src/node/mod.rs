//! What the gateway says about itself to today's network: host information that `store` signs, and documents that `http-api` serves.
//!
//! *Trusts*: the operator's configuration, which it checks so that no reader in the network refuses a document for a value in it.
//! *Promises*: an address that the Internet cannot reach is not announced, unless packets may go to such addresses too.
//!
//! | file | idea |
//! |---|---|
//! | [`announced`] | the facts and the description, put together from the configuration |
//! | [`bonding`] | what a wallet asks for |
//! | [`check`] | what would be wrong, before the gateway is bonded |
//! | [`account`], [`country`], [`line`], [`name`], [`program`] | single values, and what is wrong with them |

mod account;
mod announced;
pub mod bonding;
pub mod check;
mod country;
mod line;
mod name;
mod program;

pub(crate) use self::check::clock_line;
pub use self::{
    account::Account,
    announced::{Announced, InvalidNode, check as check_announced},
    country::Country,
    line::Line,
    name::Name,
    program::Program,
};
