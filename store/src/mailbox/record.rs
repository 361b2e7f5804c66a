//! The form of what is on disk in the inboxes database.
//!
//! | key | value |
//! |---|---|
//! | address, 32 bytes | version 1, next sequence 8, messages 8, bytes 8 |
//! | address, 32 bytes; sequence, 8 | version 1, time of arrival in Unix milliseconds 8, message |
//!
//! Numbers are big-endian, so that an inbox is one run of keys in order of arrival, behind its summary. What is found there in
//! another form is moved, as it is and under the same key, to the tree `set_aside`.

use proto::{address::ClientAddress, ipc::store_edge::Sequence};

use super::Summary;

/// First byte of every value.
const VERSION: u8 = 1;
/// Bytes of a message's value before the message.
const HEAD: usize = 9;

pub(super) type MessageKey = [u8; ClientAddress::LEN + 8];

/// Where a message is.
pub(super) fn message_key(client: &ClientAddress, sequence: Sequence) -> MessageKey {
    let mut key = [0; ClientAddress::LEN + 8];
    let (address, number) = key.split_at_mut(ClientAddress::LEN);
    address.copy_from_slice(client.as_bytes());
    number.copy_from_slice(&sequence.0.to_be_bytes());
    key
}

/// What lies behind every key that begins with this address, however long, and not behind the next inbox.
pub(super) fn end_of_inbox(client: &ClientAddress) -> Vec<u8> {
    let mut end = client.as_bytes().to_vec();
    for byte in end.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    end
}

/// The place that a key names, if it is one.
pub(super) fn sequence_of(key: &[u8]) -> Option<Sequence> {
    let number = key.get(ClientAddress::LEN..)?;
    Some(Sequence(u64::from_be_bytes(number.try_into().ok()?)))
}

/// Whose record this is, message or summary. All ones are nobody's: that is no point in its only form, and nothing comes behind it.
pub(super) fn owner_of(key: &[u8]) -> Option<ClientAddress> {
    key.first_chunk().filter(|address| **address != [u8::MAX; ClientAddress::LEN]).copied().map(ClientAddress)
}

/// The value of a message.
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

/// How many bytes of a message a value of any form accounts for.
pub(super) const fn message_len(value: &[u8]) -> usize {
    value.len().saturating_sub(HEAD)
}

/// The value of a summary.
pub(super) fn encode_summary(summary: &Summary) -> Vec<u8> {
    let mut value = vec![VERSION];
    for number in [summary.next, summary.messages, summary.bytes] {
        value.extend_from_slice(&number.to_be_bytes());
    }
    value
}

/// The summary in a value, if it is one.
pub(super) fn decode_summary(value: &[u8]) -> Option<Summary> {
    let (&[VERSION], numbers) = value.split_first_chunk::<1>()? else { return None };
    let (chunks, rest) = numbers.as_chunks::<8>();
    match (chunks, rest) {
        ([next, messages, bytes], []) => Some(Summary {
            next: u64::from_be_bytes(*next),
            messages: u64::from_be_bytes(*messages),
            bytes: u64::from_be_bytes(*bytes),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip(next: u64, messages: u64, bytes: u64, body: Vec<u8>, arrival: u64) {
            let summary = Summary { next, messages, bytes };
            prop_assert_eq!(decode_summary(&encode_summary(&summary)).unwrap(), summary);
            let value = encode_message(arrival, &body);
            prop_assert_eq!(message_len(&value), body.len());
            prop_assert_eq!(decode_message(&value).unwrap(), body);
        }

        #[test]
        fn random_values_never_panic(value: Vec<u8>) {
            let _ = decode_summary(&value);
            let _ = decode_message(&value);
            let _ = sequence_of(&value);
            let _ = owner_of(&value);
        }

        #[test]
        fn an_inbox_ends_behind_all_its_keys_and_before_the_next(address: [u8; 32], last: u8, more: Vec<u8>) {
            let mut address = address;
            // Often, so that the next address differs in more than its last byte.
            address[31] = last | 0xf0;
            let key = [&address[..], &[0xff; 8], &more].concat();
            let end = end_of_inbox(&owner_of(&key).unwrap());
            prop_assert!(key < end);
            prop_assert!(end.len() == ClientAddress::LEN && end.as_slice() > address.as_slice());
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
