//! What the operator asks `store`. A question comes on the control link, with a descriptor to which the answer is written.
//!
//! *store trusts the operator*, who comes through `gatewayd`. *gatewayd* passes question and descriptor on, and reads no answer that has
//! mail in it. The answer is one [`StoreAnswer`], encoded; to [`StoreQuestion::BackUp`] it is a stream, see [`crate::backup`]. A
//! descriptor that ends without an answer means that `store` is busy with other questions, or has died.

use std::time::Duration;

use bincode::{Decode, Encode};
use wire::address::ClientAddress;

/// Longest encoding of a [`StoreAnswer`], in bytes.
pub const ANSWER_LEN: u64 = 256;
/// A day: the times in answers are whole ones.
pub const DAY: Duration = Duration::from_secs(86_400);

/// What the operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreQuestion {
    /// How many clients are registered?
    CountClients,
    /// What is known of a client?
    ShowClient {
        /// Which.
        #[bincode(with_serde)]
        client: ClientAddress,
    },
    /// Remove a client's registration and its mail.
    ForgetClient {
        /// Which.
        #[bincode(with_serde)]
        client: ClientAddress,
    },
    /// Write everything to the descriptor; see [`crate::backup`].
    BackUp,
}

/// What `store` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreAnswer {
    /// To [`StoreQuestion::CountClients`].
    Counted(ClientCount),
    /// To [`StoreQuestion::ShowClient`].
    Shown(ClientFacts),
    /// To [`StoreQuestion::ForgetClient`]: nothing of the client is on the medium any more.
    Forgotten,
    /// No client of this address is registered.
    NotRegistered,
    /// A login or a registration of the client is being decided, or it is being forgotten already.
    Contested,
    /// Another question of this kind is being answered.
    Busy,
    /// The ledger cannot be read or written.
    StorageFailed,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ClientKind {
    /// By a token, with a key of 2021.
    Of2021,
    /// By a token, with a key of version 3 or later.
    Token,
    /// By a signature.
    Signed,
}

/// Registered clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ClientCount {
    /// Of 2021.
    pub of_2021: u64,
    /// With later keys and tokens.
    pub token: u64,
    /// That sign their logins.
    pub signed: u64,
}

/// What is known of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClientFacts {
    /// How it proves who it is.
    pub kind: ClientKind,
    /// Whether it is connected now.
    pub connected: bool,
    /// The day on which it was last seen, counted from 1970; nothing if that was never written down.
    pub last_seen: Option<u64>,
    /// What waits for it.
    pub mail: Mail,
    /// What may wait for it.
    pub quota: Mail,
}

/// Mail of one inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Mail {
    /// Messages that came with a SURB-ack.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that came without.
    pub without_ack: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{self, golden::pin};

    #[test]
    fn bytes_are_pinned() {
        let client = ClientAddress([1; 32]);
        let address = "01".repeat(32);
        pin(StoreQuestion::CountClients, "00");
        pin(StoreQuestion::ShowClient { client }, &format!("01{address}"));
        pin(StoreQuestion::ForgetClient { client }, &format!("02{address}"));
        pin(StoreQuestion::BackUp, "03");
        pin(StoreAnswer::Counted(ClientCount { of_2021: 1, token: 2, signed: 3 }), "00010203");
        let facts = ClientFacts {
            kind: ClientKind::Signed,
            connected: true,
            last_seen: Some(4),
            mail: Mail { messages: 5, bytes: 6, without_ack: 7 },
            quota: Mail { messages: 8, bytes: 9, without_ack: 10 },
        };
        pin(StoreAnswer::Shown(facts), "010201010405060708090a");
        for (answer, byte) in [
            (StoreAnswer::Forgotten, "02"),
            (StoreAnswer::NotRegistered, "03"),
            (StoreAnswer::Contested, "04"),
            (StoreAnswer::Busy, "05"),
            (StoreAnswer::StorageFailed, "06"),
        ] {
            pin(answer, byte);
        }
    }

    #[test]
    fn the_longest_answer_fits() {
        let most = Mail { messages: u64::MAX, bytes: u64::MAX, without_ack: u64::MAX };
        let facts = ClientFacts {
            kind: ClientKind::Signed,
            connected: true,
            last_seen: Some(u64::MAX),
            mail: most,
            quota: most,
        };
        assert!(codec::encode_one(&StoreAnswer::Shown(facts)).unwrap().len() as u64 <= ANSWER_LEN);
    }
}
