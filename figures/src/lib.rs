//! What the gateway counts and measures.
//!
//! Each process has a page of 64-bit numbers in memory that it alone writes and others read. Which number means what is compiled in:
//! [`Page::table`] lists the figures of a page in their order. The page is made once for each gateway, so what was counted survives the
//! death of the process that counted it.
//!
//! *Trusts* nobody who writes a page: readers take numbers from fixed places, and nothing is parsed. A process that was taken over can lie
//! about itself only, and about what was lost on its link to `mix-egress`. *Promises*: labels come from closed lists and values are numbers, so no address, client, next hop or key can be
//! shown.
//!
//! | file | idea |
//! |---|---|
//! | [`number`] | one number in a page, and who may change it |
//! | [`declare`] | how a process declares its figures |
//! | [`page`] | the pages, and what is read of them |
//! | [`balance`] | sums that have to come out even |
//! | [`health`] | whether the gateway serves |
//! | [`exposition`] | names and text of metrics |
//! | [`privacy`] | what others than the operator may see |
//! | [`mix_ingress`], [`mix_egress`], [`client_edge`], [`store`], [`http_api`], [`supervisor`] | the figures of one process each |

pub mod balance;
pub mod client_edge;
pub mod declare;
pub mod exposition;
pub mod health;
pub mod http_api;
pub mod mix_egress;
pub mod mix_ingress;
pub mod number;
pub mod page;
pub mod privacy;
pub mod store;
pub mod supervisor;

pub use declare::{Figure, Figures, Kind, Unit};
pub use number::{Histogram, Number, Raised};
pub use page::{Page, Reading};
