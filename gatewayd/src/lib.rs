//! `gatewayd`: the gateway's command line and supervisor.
//!
//! # Trusts
//! The operator: the command line, the environment, the configuration file. Nothing that comes from the network: the question to
//! the validators before the start goes through a short-lived program of its own ([`validator`]), and this crate links no HTTP
//! and no TLS client.
//!
//! # Holds
//! No secret while the gateway runs. `init` makes the key pairs, in memory that is wiped, and ends.
//!
//! # May do
//! Write the gateway's folder: keys, `config.toml` and its backups, each written aside and then renamed into place.
//! Start the workers, and replace them. With root's privileges it opens paths through [`path_guard`] only, so that no other account
//! can have it write or give away what is not the gateway's.
//!
//! # On compromise
//! The worst case: it can open the key files and start programs. That is why it reads nothing from the network.

pub mod atomic;
pub mod audit;
pub mod banner;
pub mod cli;
pub mod config;
pub mod console;
pub mod endpoint;
pub mod init;
pub mod keys;
pub mod launch;
mod log;
pub mod overrides;
pub mod path_guard;
pub mod paths;
pub mod plan;
pub mod run;
pub mod supervisor;
mod syscall;
mod system_error;
mod systemd;
pub mod upgrade;
pub mod validator;
pub mod version;
