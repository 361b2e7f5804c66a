//! Measures storage for the figures, at intervals and beside all other work.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ipc::control::StoreConfig;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    counters::StoreCounters,
    mailbox::{InboxSize, Mailbox, Measure},
};

/// Time between two measurements. Each goes through all clients and inboxes.
const PERIOD: Duration = Duration::from_secs(30);

/// Measures until dropped. The first measurement comes at once.
pub(super) fn keep<M: Mailbox>(
    mailbox: Arc<M>,
    counters: Arc<StoreCounters>,
    config: &StoreConfig,
) -> impl Future<Output = ()> + use<M> {
    let whole = InboxSize { messages: config.inbox_messages, bytes: config.inbox_bytes };
    counters.pushed_memory_limit.store(config.pushed_bytes, Relaxed);
    counters.read_ahead_memory_limit.store(config.read_ahead_bytes, Relaxed);
    counters.data_limit.store(config.data_bytes, Relaxed);
    async move {
        loop {
            let mailbox = Arc::clone(&mailbox);
            // While storage fails, what was measured last stays.
            if let Ok(Ok(measure)) = spawn_blocking(move || mailbox.measure(whole)).await {
                show(&counters, &measure);
            }
            sleep(PERIOD).await;
        }
    }
}

fn show(counters: &StoreCounters, measure: &Measure) {
    counters.clients_registered.store(measure.clients, Relaxed);
    counters.messages_stored.store(measure.messages, Relaxed);
    counters.messages_stored_size.store(measure.bytes, Relaxed);
    counters.inboxes_full.store(measure.full, Relaxed);
    counters.oldest_message_timestamp.store(measure.oldest.unwrap_or(0) / 1_000, Relaxed);
    counters.data_size.store(measure.data, Relaxed);
    counters.disk_free.store(measure.free, Relaxed);
    // A clock before 1970 was never set.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    counters.measured_timestamp.store(now.as_secs(), Relaxed);
}
