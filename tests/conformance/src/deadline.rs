//! How long the tests wait: long enough for a slow machine, and never for ever.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result};

/// For anything that should happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// For a whole test.
pub const TEST: Duration = Duration::from_secs(120);

/// Awaits `event`, but no longer than [`SOON`].
///
/// # Errors
/// If the time is over; the text names `what` was awaited.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(SOON, event).await.with_context(|| format!("waited {SOON:?} for {what}"))
}

/// Runs a whole test within [`TEST`].
///
/// # Errors
/// The test's, or that its time is over.
pub async fn bounded(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(TEST, test).await.with_context(|| format!("the test took longer than {TEST:?}"))?
}
