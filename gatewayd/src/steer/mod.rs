//! Commands that change what a running gateway does, without stopping it. They give orders at the admin socket.
//!
//! *Promises*: each says what has changed, or why nothing has. What they change holds until the gateway ends; an upgrade holds as long
//! as the programs are installed.
//!
//! | file | idea |
//! |---|---|
//! | [`config`] | `config show` and `config diff`: what is in force |
//! | [`reload`] | `reload`: the file is read again |
//! | [`newcomers`] | `drain` and `resume`: whether new clients are let in |
//! | [`upgrade_binary`] | `upgrade-binary`: other programs |
//! | [`level`] | `log`: what a process logs for a time |

pub mod config;
pub mod level;
pub mod newcomers;
pub mod reload;
pub mod upgrade_binary;
