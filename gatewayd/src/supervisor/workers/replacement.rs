//! The replacement of some workers by others with another configuration: who takes part, and how far it is.

use std::{sync::Arc, time::Instant};

use ipc::Role;
use tokio::sync::oneshot;

use crate::{
    admin::wire::{AdminAnswer, ReloadReport},
    launch::LaunchSpec,
};

/// A replacement that is under way.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) roles: Vec<Role>,
    pub(super) stage: Stage,
    /// What they are started from if the new ones do not start.
    pub(super) before: Arc<LaunchSpec>,
    pub(super) report: ReloadReport,
    /// Why a new worker did not start.
    pub(super) failed: Option<String>,
    pub(super) asker: Option<oneshot::Sender<AdminAnswer>>,
}

/// What a replacement waits for.
#[derive(Debug)]
pub(super) enum Stage {
    /// They end. Their successors are started from `next`.
    Ending { since: Instant, next: Arc<LaunchSpec> },
    /// The successors start.
    Starting,
}
