//! `gatewayd`: the gateway's command line and supervisor.
//!
//! # Trusts
//! The operator: the command line, the environment, the configuration file. Nothing that comes from the network: the question to
//! the validators before the start goes through a short-lived program of its own ([`validator`]), and this crate links no HTTP
//! and no TLS client.
//!
//! # Holds
//! No secret while the gateway runs. `init` creates the key pairs, in memory that is wiped, and ends.
//!
//! # May do
//! Write the gateway's folder: keys, `config.toml` and its backups. Each file is written aside and then renamed into place. Start and
//! replace the workers. With root's privileges it opens paths only through [`path_guard`], so that no other account can make it write or
//! give away files that are not the gateway's.
//!
//! # On compromise
//! The worst case: an attacker can open the key files and start programs. For this reason it reads nothing from the network.
//!
//! # Rooms
//! | module | idea |
//! |---|---|
//! | [`cli`] | commands, flags, exit codes |
//! | [`init`], [`upgrade`] | create and change keys and configuration |
//! | [`run`] | composes a running gateway from the rooms below |
//! | [`check`], [`findings`] | what would keep a gateway from starting or serving |
//! | [`plan`] | what a gateway is to run with, before any process starts |
//! | [`launch`] | what workers are started from, and one worker process |
//! | [`supervisor`] | keeps the workers alive, and ends them in order |
//! | [`handover`] | the supervisor becomes another program, and the old one again |
//! | [`validator`] | asks the validators before the start |
//! | [`admin`] | the socket at which a running gateway answers commands |
//! | [`steer`] | commands that change what a running gateway does |
//! | [`clients`], [`backup`], [`support`] | commands about clients, for a backup, and for whoever helps |
//! | [`audit`] | measures what each process can do |
//! | [`config`], [`overrides`], [`endpoint`] | the settings: file, flags, addresses |
//! | [`node`] | what is announced to today's network |
//! | [`keys`], [`paths`], [`path_guard`], [`atomic`] | files: keys, where they are, how they are opened and written |
//! | [`console`], [`banner`], [`log`], [`systemd`] | what the operator and the service manager are told |
//! | [`own_command`] | commands in texts for the operator |
//! | [`version`], [`syscall`], [`system_error`] | the version of the network, names of system calls, failed system calls |

pub mod admin;
pub mod atomic;
pub mod audit;
pub mod backup;
pub mod banner;
pub mod check;
pub mod cli;
pub mod clients;
pub mod config;
pub mod console;
pub mod endpoint;
mod findings;
pub mod handover;
pub mod init;
pub mod keys;
pub mod launch;
mod log;
pub mod node;
pub mod overrides;
mod own_command;
pub mod path_guard;
pub mod paths;
pub mod plan;
pub mod run;
pub mod sign;
pub mod status;
pub mod steer;
pub mod supervisor;
pub mod support;
mod syscall;
mod system_error;
mod systemd;
pub mod upgrade;
pub mod validator;
pub mod version;
