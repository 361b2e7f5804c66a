//! Step 3: secrets live in memory that is never swapped, never dumped, never inherited, and wiped at the end.
#![allow(unsafe_code)]

mod arena;
mod locked;
mod pages;
mod slots;
mod stack;

pub use arena::LockedArena;
pub use locked::Locked;
pub use pages::LockError;
pub use stack::with_stack_overwritten;
