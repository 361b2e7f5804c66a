//! Accepts connections on a [`Listener`], and owns the tasks that serve them.
//!
//! *Promises*: every connection that is accepted or rejected is counted. A task that fails is logged, and ends no other.

use std::{future::Future, pin::pin, sync::atomic::AtomicU64};

use tokio::{
    select,
    task::{JoinError, JoinSet},
};

use super::{
    limit::LimitReached,
    listener::{Accepted, Listener, Rejected},
};
use crate::{counter::count, drain::Drain};

/// The counters that every port has.
#[derive(Clone, Copy, Debug)]
pub struct PortCounters<'a> {
    /// Connections that were accepted.
    pub accepted: &'a AtomicU64,
    /// Connections that were evicted for another one.
    pub evicted: &'a AtomicU64,
    /// Connections that were rejected at the limit of all connections.
    pub refused_limit: &'a AtomicU64,
    /// Connections that were rejected at the limit of their network.
    pub refused_prefix: &'a AtomicU64,
    /// Connections that were rejected for want of a descriptor.
    pub refused_descriptors: &'a AtomicU64,
}

/// The listener and the tasks of its connections.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    serving: Serving,
}

/// The tasks of connections.
#[derive(Debug, Default)]
pub struct Serving(JoinSet<()>);

impl Acceptor {
    /// Accepts on `listener`, within its limit of connections.
    pub fn new(listener: Listener) -> Self {
        Self { listener, serving: Serving::default() }
    }

    /// Waits for the next connection. `None` once the worker drains.
    pub async fn next(&mut self, drain: &Drain, counters: PortCounters<'_>) -> Option<Accepted> {
        let mut begun = pin!(drain.begun());
        loop {
            select! {
                biased;
                () = &mut begun => return None,
                Some(ended) = self.serving.0.join_next() => log_failure(ended),
                arrival = self.listener.next() => match arrival {
                    Ok(accepted) => {
                        count(counters.accepted);
                        if accepted.evicted_another {
                            count(counters.evicted);
                        }
                        return Some(accepted);
                    }
                    Err(rejected) => counters.count_rejected(rejected),
                },
            }
        }
    }

    /// Serves a connection in a task of its own.
    pub fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.serving.0.spawn(connection);
    }

    /// Stops listening. The connections go on.
    pub fn stop(self) -> Serving {
        self.serving
    }
}

impl PortCounters<'_> {
    fn count_rejected(self, rejected: Rejected) {
        count(match rejected {
            Rejected::LimitReached(LimitReached::InAll) => self.refused_limit,
            Rejected::LimitReached(LimitReached::ForPrefix) => self.refused_prefix,
            Rejected::NoDescriptor => self.refused_descriptors,
        });
    }
}

impl Serving {
    /// Waits until every connection has ended.
    pub async fn ended(&mut self) {
        while let Some(ended) = self.0.join_next().await {
            log_failure(ended);
        }
    }

    /// Ends the connections that are left, and returns how many there were.
    pub async fn cut(mut self) -> usize {
        let left = self.0.len();
        self.0.shutdown().await;
        left
    }
}

fn log_failure(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(id = "GWD-W006", %error, "the task of a connection failed");
    }
}
