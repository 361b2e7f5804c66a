//! The jail: what a worker does to itself before it reads its first hostile byte.
//!
//! *Trusts*: the kernel, and the supervisor that started the process. *Promises*: the steps are taken in one order and in one
//! place ([`close()`]), before any other thread exists; a worker starts its threads only with [`Closed`] in hand, which can
//! be made in no other way; a step that fails ends the worker. What is not listed here is not done.
//!
//! The order, as every worker's `main` shows it:
//!
//! 1. [`descriptors::close_inherited`]: nothing but control link, standard output and log is open.
//! 2. The start message comes, with the descriptors the role needs.
//! 3. The key is read from its descriptor into [`secret::Locked`] memory, and the descriptor closed.
//! 4. [`close()`], whose order is the text of that function.
//! 5. Threads start; the worker reports ready.
//!
//! | file | idea |
//! |---|---|
//! | [`mod@close`] | the order of the steps |
//! | `step` | what may come of a step; which layers hold so far |
//! | `limits` | resource limits, ignored signals, death with the supervisor |
//! | `account` | the change of account, and the proof that there is no way back |
//! | `capabilities` | no capability in any set |
//! | `namespaces` | which network the process sees |
//! | `landlock` | which files, ports and processes the process can name |
//! | [`page`] | pages of numbers that one process writes and others read |
//! | [`policy`] | which system calls the process may make: one file per role, and a common one |
//! | `seccomp` | how a policy becomes a filter |
//! | `refusal` | the report of a system call that no policy lists |
//! | [`probe`] | one attempt per process to do what the jail forbids, for the audit |
//! | [`secret`] | locked memory for keys |
//! | [`descriptors`] | closing what was inherited |

mod account;
mod capabilities;
pub mod close;
pub mod descriptors;
mod landlock;
mod limits;
mod namespaces;
pub mod page;
pub mod policy;
pub mod probe;
mod refusal;
mod seccomp;
pub mod secret;
mod step;

pub use capabilities::may_change_account;
pub use close::{Closed, Jail, close, renounce};
pub use step::{JailError, Why};
