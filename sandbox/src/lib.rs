//! The jail: what a worker does to itself before it reads its first hostile byte.
//!
//! *Trusts*: the kernel, and the supervisor that started the process. *Promises*: the steps are taken in one order and in one
//! place ([`close`]), before any other thread exists; a worker starts its threads only with [`Closed`] in hand, which can
//! be had in no other way; a step that fails ends the worker. What is not listed here is not done.
//!
//! The order, as every worker's `main` shows it:
//!
//! 1. [`descriptors::close_inherited`]: nothing but control link, standard output and log is open.
//! 2. The start message comes, with the descriptors the role needs.
//! 3. The key is read from its descriptor into [`secret::Locked`] memory, and the descriptor closed.
//! 4. [`close`]: resource limits; signals meant for the supervisor ignored; death with the supervisor; not dumpable; no
//!    new privileges.
//! 5. Threads start; the worker reports ready.
//!
//! Accounts, namespaces, Landlock and seccomp are not part of this version.

pub mod descriptors;
pub mod probe;
pub mod secret;
mod steps;

pub use steps::{Closed, JailError, Limits, close};
