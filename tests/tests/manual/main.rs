//! The manual in `docs` and the front page are true: their commands do what they say, their settings and flags exist, and their links
//! lead somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod commands;
mod links;
mod pages;
mod settings;
mod spelling;
