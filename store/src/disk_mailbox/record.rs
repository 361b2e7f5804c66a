//! The form of stored mail before the mail log: a sled database in the folder of the inboxes.
//!
//! | key | value |
//! |---|---|
//! | address, 32 bytes | version 1, next sequence 8, messages 8, bytes 8 |
//! | address, 32 bytes; sequence, 8 | version 1, time of arrival in Unix milliseconds 8, message |
//!
//! Numbers are big-endian, so that an inbox is one run of keys in order of arrival, behind its summary. What is found there in
//! another form is moved, as it is and under the same key, to the tree `set_aside`.

use session_ipc::Sequence;
use wire::address::ClientAddress;

/// First byte of every value.
const VERSION: u8 = 1;
/// Bytes of a message's value before the message.
const HEAD: usize = 9;

#[cfg(test)]
pub(super) type MessageKey = [u8; ClientAddress::LEN + 8];

/// Where a message is.
#[cfg(test)]
pub(super) fn message_key(client: &ClientAddress, sequence: Sequence) -> MessageKey {
    let mut key = [0; ClientAddress::LEN + 8];
    let (address, number) = key.split_at_mut(ClientAddress::LEN);
    address.copy_from_slice(client.as_bytes());
    number.copy_from_slice(&sequence.0.to_be_bytes());
    key
}

/// The place that a key names, if it is one.
pub(super) fn sequence_of(key: &[u8]) -> Option<Sequence> {
    let number = key.get(ClientAddress::LEN..)?;
    Some(Sequence(u64::from_be_bytes(number.try_into().ok()?)))
}

/// The owner of a record, message or summary. No client has the address of all ones: it is no valid point, and no key comes behind it.
pub(super) fn owner_of(key: &[u8]) -> Option<ClientAddress> {
    key.first_chunk().filter(|address| **address != [u8::MAX; ClientAddress::LEN]).copied().map(ClientAddress)
}

/// The value of a message.
#[cfg(test)]
pub(super) fn encode_message(arrival_ms: u64, message: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD + message.len());
    value.push(VERSION);
    value.extend_from_slice(&arrival_ms.to_be_bytes());
    value.extend_from_slice(message);
    value
}

/// The message in a value, if it is one.
pub(super) fn decode_message(value: &[u8]) -> Option<&[u8]> {
    match value.split_first_chunk::<HEAD>() {
        Some(([VERSION, ..], message)) => Some(message),
        _ => None,
    }
}

/// When the message in a value arrived, in milliseconds since 1970, if it is one.
pub(super) fn arrival(value: &[u8]) -> Option<u64> {
    match value.split_first_chunk::<HEAD>() {
        Some(([VERSION, arrival @ ..], _)) => Some(u64::from_be_bytes(*arrival)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip(body: Vec<u8>, time: u64) {
            let value = encode_message(time, &body);
            prop_assert_eq!(arrival(&value), Some(time));
            prop_assert_eq!(decode_message(&value).unwrap(), body);
        }

        #[test]
        fn random_values_never_panic(value: Vec<u8>) {
            let _ = decode_message(&value);
            let _ = sequence_of(&value);
            let _ = owner_of(&value);
        }

        #[test]
        fn keys_sort_by_arrival(a: u64, b: u64) {
            let client = ClientAddress([9; 32]);
            let (ka, kb) = (message_key(&client, Sequence(a)), message_key(&client, Sequence(b)));
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b));
            prop_assert!(client.as_bytes().as_slice() < ka.as_slice());
        }
    }
}
