//! What the workers are started from: programs, configurations, jails, and the descriptors that each of them is given.
//!
//! *Trusts*: the operator. *Holds*: listening sockets, key files that it never reads, locked data directories. *Promises*: a worker
//! gets what [`resources`], [`links`] and [`pages`] list for its role, and nothing else.
//!
//! | file | idea |
//! |---|---|
//! | [`spec`] | all of it, put together from a plan |
//! | [`resources`], [`listeners`], [`listener_settings`], [`metrics_listener`], [`data_folders`] | the descriptors of each role |
//! | [`inherited`], [`passed`] | what this process was given before it began: listeners that a service manager has opened, or what a former program hands over |
//! | [`links`] | which workers may talk to each other |
//! | [`pages`] | the pages of figures |
//! | [`accounts`], [`ownership`] | the account of each process, and who owns the data |
//! | [`data_content`], [`trial_folders`] | what the data may contain, and what a dry run has in its place |
//! | [`worker_config`], [`own_addresses`] | what each worker needs to know |
//! | [`binaries`], [`worker`] | the programs, and one running process |
//! | [`one_shot`] | a program that answers one request and ends |
//! | [`predecessor`], [`lock_holder`] | what is left of a gateway that was killed, and who uses the data |
//! | [`late_address`], [`open_files`] | what a machine may lack at the start |

mod accounts;
mod binaries;
mod data_content;
mod data_folders;
#[cfg(test)]
pub(crate) mod fixtures;
mod inherited;
mod late_address;
mod links;
mod listener_settings;
mod listeners;
mod lock_holder;
mod metrics_listener;
mod one_shot;
mod open_files;
mod own_addresses;
mod ownership;
mod pages;
mod passed;
mod per_role;
mod predecessor;
mod resources;
mod spec;
mod trial_folders;
mod worker;
mod worker_config;

pub use self::{
    accounts::AccountError,
    binaries::BinaryError,
    data_folders::FolderError,
    listeners::ListenError,
    lock_holder::LockHolder,
    metrics_listener::{MetricsError, MetricsSocketError},
    one_shot::OneShotError,
    passed::PassedError,
    resources::ResourceError,
    spec::LaunchError,
};
pub(crate) use self::{
    accounts::Accounts,
    binaries::{MissingProgram, find as find_program, look_at_programs},
    data_folders::{look_at_folders, refuse_foreign_data, user_of_data},
    inherited::Inherited,
    links::{LinkEnd, WaitingEnds, peers},
    listeners::try_ports,
    metrics_listener::look_at_metrics_socket,
    one_shot::{Answered, OneShot, log_missing_layers},
    open_files::{shortage_of_files, warn_if_few},
    pages::FiguresPages,
    per_role::PerRole,
    predecessor::{PREDECESSOR, process_exists},
    resources::{WorkerResources, open_identity_key},
    spec::{LaunchSpec, open_data},
    trial_folders::open_trial_data,
    worker::{Death, EventKind, Worker, WorkerEvent},
};

#[cfg(test)]
pub(crate) use self::binaries::Program;
