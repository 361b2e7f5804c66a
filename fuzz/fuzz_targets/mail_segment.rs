//! A segment of stored mail whose heads are valid and say anything, and which a disk has changed: what is read of it is in order,
//! and a body passes only for the message that it was written for.
//! Input: how many bytes are changed, how many entries the first frame has, the changes, the entries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::disk_mailbox::found::read_segment;

fuzz_target!(|data: &[u8]| {
    let Some((&[changed, first], rest)) = data.split_first_chunk::<2>() else { return };
    let (changes, entries) = rest.split_at(rest.len().min(usize::from(changed % 8) * 5));
    let changes: Vec<(u32, u8)> =
        changes.as_chunks::<5>().0.iter().map(|&[a, b, c, d, byte]| (u32::from_le_bytes([a, b, c, d]), byte)).collect();
    let (head, tail) = entries.split_at(entries.len().min(usize::from(first) * 64));
    let (messages, whole) = read_segment(&[head, tail], &changes);
    assert!(whole <= messages);
});
