//! Attackers, on threads of their own. In the world they have machines of their own: here they take of the processors only what
//! the gateway, and the clients that are measured meanwhile, leave them.

use anyhow::{Context, Result};
use rustix::process::setpriority_process;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// The lowest priority that there is.
const LAST_IN_LINE: i32 = 19;

/// Tasks that go on until this is dropped.
#[derive(Debug)]
pub struct Hostiles {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    tasks: JoinSet<Result<()>>,
}

impl Hostiles {
    /// No attacker yet.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn new() -> Result<Self> {
        // On Linux this sets the priority of the calling thread. Without it the measurement is only less exact.
        let give_way = || {
            let _ = setpriority_process(None, LAST_IN_LINE);
        };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(give_way).build();
        Ok(Self { runtime: Some(runtime.context("cannot start threads")?), tasks: JoinSet::new() })
    }

    /// Starts one more attacker.
    pub fn spawn(&mut self, task: impl Future<Output = Result<()>> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            self.tasks.spawn_on(task, runtime.handle());
        }
    }

    /// Waits until one ends, in a test in which none should; with none there it waits for ever.
    ///
    /// # Errors
    /// The error of the task, or that the task ended.
    pub async fn ended(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => ended?.and_then(|()| anyhow::bail!("one who means harm has given up")),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// What the first of them failed with.
    pub async fn all_ended(&mut self) -> Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

impl Drop for Hostiles {
    fn drop(&mut self) {
        // A runtime that waits for its threads cannot be dropped by one that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
