//! The figures of `store`.

crate::figures! {
    /// The store's counters.
    pub struct StoreCounters {
        /// Messages that `mix-ingress` delivered, those that it sent again among them.
        counter messages_delivered,
        /// Messages that were accepted because their client proved receipt.
        counter accepted_by_receipt,
        /// Messages that were accepted because they were committed to disk.
        counter accepted_by_commit,
        /// Messages for an address that is not registered.
        counter refused_unknown_client,
        /// Messages for a full inbox.
        counter refused_inbox_full,
        /// Of those, messages for a client that had all of its share stored, though not a whole inbox.
        counter refused_inbox_share,
        /// Messages that came without a SURB-ack and gave way to newer ones.
        counter ackless_displaced,
        /// Messages that could not be written.
        counter refused_storage_failed,
        /// Messages that would crash a client of 2021.
        counter refused_unfit_for_client,
        /// Messages that a process which died had neither accepted nor refused. `mix-ingress` sends them again.
        counter messages_lost_at_death,
        /// Messages pushed to clients, repetitions included.
        counter pushed,
        /// Times that a client had been pushed as much as `client_buffer` allows without proof, and more of its mail had to
        /// wait on disk.
        counter client_buffers_full,
        /// Times that a message could not be pushed because the memory for all clients was in use.
        counter memory_short,
        /// Sessions ended because they held the most of that memory for the longest time.
        counter ended_for_memory,
        /// Messages removed because their client proved receipt.
        counter delivered,
        /// Records found in an inbox that are no messages.
        counter set_aside,
        /// Messages removed because they were too old.
        counter messages_expired,
        /// Clients forgotten because they were not seen for too long.
        counter clients_expired,
        /// Registrations completed.
        counter registered,
        /// Registrations refused.
        counter registrations_refused,
        /// Authentications completed.
        counter authenticated,
        /// Authentications refused.
        counter authentications_refused,
        /// Of those, logins of a client that had logged in as often in the hour as it may.
        counter logins_refused_rate,
        /// Sessions that a newer connection of the same client took over.
        counter superseded,
        /// Batches of mail committed.
        counter mail_commits,
        /// Batches of ledger entries committed.
        counter ledger_commits,
        /// Places where a segment of mail is damaged.
        counter mail_damaged,
        /// Stored messages that could not be read and were set aside.
        counter mail_unreadable,
        /// Segments of mail of which a write or a sync failed.
        counter mail_segments_failed,
        /// Segments of mail that were cleaned.
        counter mail_segments_cleaned,
        /// Mail that was copied by cleaning of segments.
        counter mail_copied (bytes),
        /// Starts at which the last commits before the end were written once more.
        counter mail_written_twice,
        /// Memory in use now, in bytes, for what clients were pushed and have not proved received.
        gauge pushed_memory (bytes),
        /// Memory in use now, in bytes, for mail that was read from disk and is not pushed yet.
        gauge read_ahead_memory (bytes),
        /// The most memory for what clients were pushed and have not proved received.
        gauge pushed_memory_limit (bytes),
        /// The most memory for mail that was read from disk and is not pushed yet.
        gauge read_ahead_memory_limit (bytes),
        /// Messages that are neither accepted nor refused yet.
        gauge messages_pending,
        /// Registered clients.
        gauge clients_registered,
        /// Messages on disk.
        gauge messages_stored,
        /// Bytes of messages on disk that came with a SURB-ack.
        gauge messages_stored_size (bytes),
        /// Inboxes that hold as much as an inbox may hold.
        gauge inboxes_full,
        /// When the oldest message on disk came, in seconds since 1970; 0 if there is none.
        gauge oldest_message_timestamp (seconds),
        /// Bytes of ledger and mail on disk, with the parts that are free.
        gauge data_size (bytes),
        /// The most bytes of ledger and mail on disk.
        gauge data_limit (bytes),
        /// Bytes that are free on the disk.
        gauge disk_free (bytes),
        /// When clients, messages, inboxes, data and disk were last counted, in seconds since 1970: every half minute, unless storage fails.
        gauge measured_timestamp (seconds),
        /// 0: storage works; 1: there is no room for mail; 2: nor for clients; 3: it fails.
        gauge storage_trouble,
        /// How long it took to write a batch of mail and have it on the medium.
        histogram mail_commit_time (seconds),
    }
    refusals {
        refused_unknown_client, refused_unfit_for_client, ackless_displaced, ended_for_memory, set_aside, registrations_refused,
        authentications_refused, logins_refused_rate,
    }
    conditions {
        refused_inbox_full, refused_inbox_share, refused_storage_failed, memory_short,
    }
}

/// Messages delivered that were accepted, by how.
pub const ACCEPTED: [&str; 2] = ["accepted_by_receipt", "accepted_by_commit"];

/// Messages delivered that were not accepted, by reason.
pub const REFUSED: [&str; 5] = [
    "refused_unknown_client",
    "refused_inbox_full",
    "refused_storage_failed",
    "refused_unfit_for_client",
    "messages_lost_at_death",
];
