//! What the store counts.

worker::counters! {
    /// The store's counters.
    pub struct StoreCounters {
        /// Messages that were accepted because their client proved receipt.
        accepted_by_receipt,
        /// Messages that were accepted because they were committed to disk.
        accepted_by_commit,
        /// Messages for an address that is not registered.
        refused_unknown_client,
        /// Messages for a full inbox.
        refused_inbox_full,
        /// Of those, messages for a client that had all of its share stored, though not a whole inbox.
        refused_inbox_share,
        /// Messages that came without a SURB-ack and gave way to newer ones.
        ackless_displaced,
        /// Messages that could not be written.
        refused_storage_failed,
        /// Messages that would crash a client of 2021.
        refused_unfit_for_client,
        /// Messages pushed to clients, repetitions included.
        pushed,
        /// Times that a client had been pushed as much as `client_buffer` allows without proof, and more of its mail had to
        /// wait on disk.
        client_buffers_full,
        /// Times that a message could not be pushed because the memory for all clients was in use.
        memory_short,
        /// Sessions ended because they held the most of that memory for the longest time.
        ended_for_memory,
        /// Messages removed because their client proved receipt.
        delivered,
        /// Records found in an inbox that are no messages.
        set_aside,
        /// Messages removed because they were too old.
        messages_expired,
        /// Clients forgotten because they were not seen for too long.
        clients_expired,
        /// Registrations completed.
        registered,
        /// Registrations refused.
        registrations_refused,
        /// Authentications completed.
        authenticated,
        /// Authentications refused.
        authentications_refused,
        /// Of those, logins of a client that had logged in as often in the hour as it may.
        logins_refused_rate,
        /// Sessions that a newer connection of the same client took over.
        superseded,
        /// Batches of mail committed.
        mail_commits,
        /// Batches of ledger entries committed.
        ledger_commits,
        /// Places where a segment of mail is damaged.
        mail_damaged,
        /// Stored messages that could not be read and were set aside.
        mail_unreadable,
        /// Segments of mail of which a write or a sync failed.
        mail_segments_failed,
        /// Segments of mail that were cleaned.
        mail_segments_cleaned,
        /// Bytes of mail copied by that.
        mail_bytes_copied,
        /// Starts at which the last commits before the end were written once more.
        mail_written_twice,
        /// Memory in use now, in bytes, for what clients were pushed and have not proved received.
        pushed_memory,
        /// Memory in use now, in bytes, for mail that was read from disk and is not pushed yet.
        read_ahead_memory,
    }
    refusals {
        refused_unknown_client, refused_unfit_for_client, ackless_displaced, ended_for_memory, set_aside, registrations_refused,
        authentications_refused, logins_refused_rate,
    }
    conditions {
        refused_inbox_full, refused_inbox_share, refused_storage_failed, memory_short,
    }
}
