//! The bytes of a mix node's connection, in pieces of any length. However they are cut, the frames are the same, and each
//! is again the bytes it was read from.
#![no_main]

use bytes::{BufMut, Bytes};
use libfuzzer_sys::fuzz_target;
use wire::framing::{FrameBuffer, FrameHeader, FramingError};

type Frames = (Vec<(FrameHeader, Bytes)>, Option<FramingError>, bool);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Frames {
    let mut buffer = FrameBuffer::new();
    let mut frames = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let mut space = buffer.space();
            let len = piece.len().min(space.remaining_mut());
            assert!(len > 0, "no room to read");
            let (now, later) = piece.split_at(len);
            space.put_slice(now);
            drop(space);
            piece = later;
            loop {
                match buffer.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error), false),
                }
            }
        }
    }
    let partial = buffer.holds_partial_frame();
    (frames, None, partial)
}

fuzz_target!(|data: &[u8]| {
    let Some((&[cut, repeat], stream)) = data.split_first_chunk::<2>() else { return };
    // Several times the same, so that a short input makes a long stream.
    let stream = stream.repeat(usize::from(repeat % 16) + 1);
    let whole = read(std::iter::once(stream.as_slice()));
    let pieces = read(stream.chunks(usize::from(cut) + 1));
    assert_eq!(whole, pieces);
    let mut rest = stream.as_slice();
    for (header, packet) in &whole.0 {
        assert_eq!(packet.len(), header.size.packet_len());
        let frame = [&header.encode()[..], packet].concat();
        rest = rest.strip_prefix(frame.as_slice()).expect("a frame is not what was read");
    }
    assert!(whole.1.is_some() || whole.2 == !rest.is_empty());
});
