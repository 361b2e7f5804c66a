//! How long the tests wait: long enough for a slow machine, and never for ever.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, bail};

/// For anything that should happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// For a whole test.
pub const TEST: Duration = Duration::from_secs(150);

/// The pause between two looks at something that cannot be awaited, such as a foreign process.
const LOOK: Duration = Duration::from_millis(10);

/// The pause between two attempts.
const BEFORE_RETRY: Duration = Duration::from_millis(100);

/// Awaits `event`, but no longer than [`SOON`].
///
/// # Errors
/// If the time is over; the text names `what` was awaited.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> Result<T> {
    within(SOON, what, event).await
}

/// Awaits `event`, but no longer than `limit`.
///
/// # Errors
/// If the time is over; the text names `what` was awaited.
pub async fn within<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(limit, event).await.with_context(|| format!("waited {limit:?} for {what}"))
}

/// Looks again and again until `condition` holds, but no longer than `limit`.
///
/// # Errors
/// If the time is over; the text names `what` was awaited.
pub async fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = tokio::time::Instant::now() + limit;
    while !condition() {
        if tokio::time::Instant::now() >= end {
            bail!("waited {limit:?} for {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Attempts again and again until it succeeds: after a fault a gateway may refuse for a while. Begins no attempt after [`SOON`], and drops
/// none in its middle, since a login may have brought mail by then; so an attempt needs time limits of its own.
///
/// # Errors
/// The last attempt's; the text names `what` was awaited.
pub async fn at_last<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = tokio::time::Instant::now() + SOON;
    loop {
        match attempt().await {
            Err(error) if tokio::time::Instant::now() >= end => {
                return Err(error).with_context(|| format!("waited {SOON:?} for {what}"));
            }
            Err(_) => tokio::time::sleep(BEFORE_RETRY).await,
            done => return done,
        }
    }
}

/// Runs a whole test within [`TEST`].
///
/// # Errors
/// The test's, or that its time is over.
pub async fn bounded(test: impl Future<Output = Result<()>>) -> Result<()> {
    within(TEST, "the end of the test", test).await?
}
