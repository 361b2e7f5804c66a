//! The log on a shelf in memory that fails.

mod damage;
mod every_call;
mod full_disk;
mod golden;
mod history;
mod rules;
mod threads;
mod world;
