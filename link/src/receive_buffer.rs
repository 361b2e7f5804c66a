//! The bytes that have come over a link. Frames are decoded in place and wiped.
//!
//! *Promises*: no byte is copied unless a frame does not fit behind the one before. Bytes that were taken are wiped, since
//! they may be a session key.

use zeroize::Zeroizing;

/// First size of the buffer, in bytes. It grows to the largest frame that has come.
const FIRST: usize = 64 * 1024;

/// The buffer, and which part of it is unread. Not `Debug`, since it may hold a key.
pub(super) struct ReceiveBuffer {
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl ReceiveBuffer {
    /// An empty buffer.
    pub(super) fn new() -> Self {
        Self { buffer: Zeroizing::new(vec![0; FIRST]), start: 0, end: 0 }
    }

    /// The unread bytes.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The space for the next bytes, if `wanted` bytes are to be unread together. Never empty while fewer are unread.
    pub(super) fn space(&mut self, wanted: usize) -> &mut [u8] {
        if self.start.saturating_add(wanted) > self.buffer.len() {
            self.move_to_front(wanted);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that `len` bytes of the space were filled.
    pub(super) fn filled(&mut self, len: usize) {
        self.end = self.end.saturating_add(len).min(self.buffer.len());
    }

    /// Takes and wipes the first `len` unread bytes.
    pub(super) fn take(&mut self, len: usize) {
        let taken = self.start.saturating_add(len).min(self.end);
        // Plain stores are many times faster than volatile ones. The compiler cannot drop them, since the buffer is used again.
        self.buffer.get_mut(self.start..taken).unwrap_or_default().fill(0);
        self.start = taken;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    fn move_to_front(&mut self, wanted: usize) {
        let unread = self.unread().len();
        if wanted > self.buffer.len() {
            // Not `resize`, which would leave the old memory unwiped.
            let mut larger = Zeroizing::new(vec![0; wanted]);
            if let Some(front) = larger.get_mut(..unread) {
                front.copy_from_slice(self.unread());
            }
            self.buffer = larger;
        } else {
            self.buffer.copy_within(self.start..self.end, 0);
            self.buffer.get_mut(unread..self.end).unwrap_or_default().fill(0);
        }
        (self.start, self.end) = (0, unread);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(buffer: &mut ReceiveBuffer, wanted: usize, bytes: &[u8]) -> usize {
        let space = buffer.space(wanted);
        let len = space.len().min(bytes.len());
        space[..len].copy_from_slice(&bytes[..len]);
        buffer.filled(len);
        len
    }

    proptest! {
        #[test]
        fn bytes_in_any_pieces_stay_in_order_and_are_wiped_once_taken(
            frames in prop::collection::vec(1_usize..100_000, 1..20),
            piece in 1_usize..80_000,
        ) {
            let total: usize = frames.iter().sum();
            // No byte is zero, so that what is left anywhere is seen.
            let stream: Vec<u8> = (0..total).map(|n| (n % 251) as u8 + 1).collect();
            let zeroes = vec![0; total.max(FIRST)];
            let (mut buffer, mut put_in, mut taken) = (ReceiveBuffer::new(), 0, 0);
            for frame in frames {
                while buffer.unread().len() < frame {
                    let more = (total - put_in).min(piece);
                    let came = put(&mut buffer, frame, &stream[put_in..put_in + more]);
                    prop_assert!(came > 0);
                    put_in += came;
                }
                prop_assert_eq!(buffer.unread(), &stream[taken..put_in]);
                buffer.take(frame);
                taken += frame;
                let taken_or_free = [&buffer.buffer[..buffer.start], &buffer.buffer[buffer.end..]];
                prop_assert!(taken_or_free.into_iter().all(|part| *part == zeroes[..part.len()]));
            }
        }
    }
}
