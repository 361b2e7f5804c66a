//! Cuts the stream of a connection into frames.
//!
//! *Trusts* nothing. *Holds* the bytes that were read and not yet taken. *Promises*: never holds more than one maximal frame
//! and one read, whatever the stream contains and however it is cut.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::{FrameHeader, FramingError, MAX_FRAME_LEN};

/// Cuts a byte stream into frames. A read may end anywhere in a frame.
///
/// Read into [`space`](Self::space), then take frames until there are none left, and begin again. Packets share the
/// memory of the read; nothing is copied.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    buffer: BytesMut,
    broken: Option<FramingError>,
}

impl FrameBuffer {
    /// The most that one read adds, in bytes: seven regular packets, or forty of acknowledgements.
    pub const READ_LEN: usize = 16 * 1024;

    /// The most that a large read adds, in bytes: thirty-three regular packets.
    pub const LARGE_READ_LEN: usize = 80 * 1024;

    /// The most that is ever held, in bytes: a frame that lacks its last byte, and a large read.
    pub const MAX_LEN: usize = MAX_FRAME_LEN + Self::LARGE_READ_LEN;

    /// An empty buffer. Its memory is allocated by the first read.
    pub fn new() -> Self {
        Self::default()
    }

    /// The space for the next read. It is empty while [`MAX_LEN`](Self::MAX_LEN) bytes wait, and a read into no space
    /// looks like the end of the stream. This cannot happen if all frames are taken after each read.
    pub fn space(&mut self) -> impl BufMut + '_ {
        self.space_of(Self::READ_LEN)
    }

    /// As [`space`](Self::space), for a peer that sends much at once.
    pub fn large_space(&mut self) -> impl BufMut + '_ {
        self.space_of(Self::LARGE_READ_LEN)
    }

    fn space_of(&mut self, read_len: usize) -> impl BufMut + '_ {
        let len = read_len.min(Self::MAX_LEN.saturating_sub(self.buffer.len()));
        self.buffer.reserve(len);
        (&mut self.buffer).limit(len)
    }

    /// Takes the next whole frame: its header, and its packet of exactly the announced size.
    ///
    /// # Errors
    /// [`FramingError`]. Every further call fails with the same error, so nothing behind a malformed header is handed out.
    pub fn next_frame(&mut self) -> Result<Option<(FrameHeader, Bytes)>, FramingError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let decoded = FrameHeader::decode(&self.buffer).inspect_err(|error| {
            self.broken = Some(*error);
            self.buffer = BytesMut::new();
        })?;
        let Some((header, header_len)) = decoded else {
            return Ok(None);
        };
        let frame_len = header_len + header.size.packet_len();
        if self.buffer.len() < frame_len {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(frame_len).freeze();
        frame.advance(header_len);
        Ok(Some((header, frame)))
    }

    /// Bytes of a frame that has begun and not ended. To be called when all whole frames are taken.
    pub fn partial_len(&self) -> usize {
        self.buffer.len()
    }

    /// Frees memory beyond the bytes that are held. To be called before a wait, since of many connections few read at a time.
    pub fn let_go_of_space(&mut self) {
        // `BytesMut` has no `shrink_to_fit`, and the bytes may share their memory with packets under way.
        self.buffer = BytesMut::from(self.buffer.as_ref());
    }

    /// Whether a frame has begun and not ended. To be called when all whole frames are taken.
    pub fn holds_partial_frame(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        framing::header::{
            Framing,
            tests::{any_header, known_frames},
        },
        packet::PacketSize,
    };

    /// Feeds `stream` in pieces of the given lengths, over and over, and checks the bounds on the way.
    fn feed(
        frames: &mut FrameBuffer,
        mut stream: &[u8],
        pieces: &[usize],
    ) -> Result<Vec<(FrameHeader, Bytes)>, FramingError> {
        let mut taken = Vec::new();
        for piece in pieces.iter().cycle() {
            let mut space = frames.space();
            let len = (*piece).min(stream.len()).min(space.remaining_mut());
            let (now, later) = stream.split_at(len);
            space.put_slice(now);
            drop(space);
            assert!(frames.buffer.len() <= FrameBuffer::MAX_LEN);
            assert!(frames.buffer.capacity() <= 2 * FrameBuffer::MAX_LEN);
            while let Some(frame) = frames.next_frame()? {
                taken.push(frame);
            }
            assert!(frames.buffer.len() < MAX_FRAME_LEN);
            stream = later;
            if stream.is_empty() {
                break;
            }
        }
        Ok(taken)
    }

    #[test]
    fn all_eras_share_one_stream() {
        let known = known_frames();
        let stream: Vec<u8> = known.iter().flat_map(|(.., frame)| frame.clone()).collect();
        let expected: Vec<_> = known.into_iter().map(|(h, p, _)| (h, p)).collect();
        for pieces in [&[1][..], &[2, 3, 389], &[FrameBuffer::READ_LEN]] {
            let mut frames = FrameBuffer::new();
            assert_eq!(feed(&mut frames, &stream, pieces).unwrap(), expected);
            assert!(!frames.holds_partial_frame());
        }
    }

    #[test]
    fn a_frame_that_has_begun_is_partial_until_its_end() {
        let (.., frame) = known_frames().swap_remove(0);
        let (last, begun) = frame.split_last().unwrap();
        let mut frames = FrameBuffer::new();
        assert!(!frames.holds_partial_frame());
        frames.space().put_slice(begun);
        assert_eq!(frames.next_frame(), Ok(None));
        assert!(frames.holds_partial_frame());
        frames.space().put_slice(&[*last]);
        assert!(frames.next_frame().unwrap().is_some() && !frames.holds_partial_frame());
    }

    #[test]
    fn an_error_sticks_and_what_came_before_it_is_kept() {
        let (header, packet, frame) = known_frames().swap_remove(0);
        let mut frames = FrameBuffer::new();
        frames.space().put_slice(&frame);
        frames.space().put_slice(&[9]);
        assert_eq!(frames.next_frame(), Ok(Some((header, packet))));
        let error = Err(FramingError::UnknownVersion(9));
        assert_eq!(frames.next_frame(), error);
        frames.space().put_slice(&frame);
        assert_eq!(frames.next_frame(), error);
    }

    #[test]
    fn a_buffer_nobody_empties_stops_growing() {
        let mut frames = FrameBuffer::new();
        for _ in 0..100 {
            let len = frames.large_space().remaining_mut();
            frames.large_space().put_bytes(1, len);
        }
        assert_eq!(frames.buffer.len(), FrameBuffer::MAX_LEN);
        assert_eq!(frames.space().remaining_mut(), 0);
    }

    #[test]
    fn what_waits_keeps_no_more_memory_than_it_takes() {
        let (header, packet, frame) = known_frames().swap_remove(0);
        let mut frames = FrameBuffer::new();
        let (start, rest) = frame.split_at(5);
        frames.space().put_slice(start);
        frames.let_go_of_space();
        assert_eq!((frames.partial_len(), frames.buffer.capacity()), (5, 5));
        frames.space().put_slice(rest);
        assert_eq!(frames.next_frame(), Ok(Some((header, packet))));
        frames.let_go_of_space();
        assert_eq!((frames.partial_len(), frames.buffer.capacity()), (0, 0));
    }

    #[test]
    fn packets_share_the_memory_of_the_read() {
        let mut frames = FrameBuffer::new();
        let header = FrameHeader { framing: Framing::V7, size: PacketSize::Ack };
        frames.space().put_slice(&header.encode());
        frames.space().put_bytes(0, 386);
        let start = frames.buffer.as_ptr();
        let (_, packet) = frames.next_frame().unwrap().unwrap();
        assert_eq!(packet.as_ptr(), start.wrapping_add(3));
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_how_the_stream_is_cut(
            headers in proptest::collection::vec(any_header(), 1..8),
            pieces in proptest::collection::vec(1..=FrameBuffer::READ_LEN, 1..40),
            seed: u8,
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (index, header) in headers.into_iter().enumerate() {
                let packet = Bytes::from(vec![seed.wrapping_add(index as u8); header.size.packet_len()]);
                stream.extend_from_slice(&header.encode());
                stream.extend_from_slice(&packet);
                expected.push((header, packet));
            }
            let mut frames = FrameBuffer::new();
            prop_assert_eq!(feed(&mut frames, &stream, &pieces).unwrap(), expected);
            prop_assert!(!frames.holds_partial_frame());
        }

        #[test]
        fn random_streams_never_panic_and_stay_bounded(
            start in prop_oneof![
                any_header().prop_map(|header| header.encode().to_vec()),
                proptest::collection::vec(any::<u8>(), 0..5),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..100_000),
            pieces in proptest::collection::vec(1..=FrameBuffer::READ_LEN, 1..20),
        ) {
            let stream = [start, rest].concat();
            let mut frames = FrameBuffer::new();
            if let Err(error) = feed(&mut frames, &stream, &pieces) {
                prop_assert_eq!(frames.next_frame(), Err(error));
            }
        }
    }
}
