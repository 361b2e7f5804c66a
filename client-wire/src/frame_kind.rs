//! The kinds of sealed frames since protocol version 3, one list for each direction.

/// The kind of a frame, which is the number in its first byte. The two directions number their kinds separately.
pub trait FrameKind: Copy {
    /// The byte of this kind.
    fn code(self) -> u8;
    /// The kind with this code, if there is one.
    fn from_code(code: u8) -> Option<Self>;
}

/// The kinds of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// A packet to forward.
    Forward,
    /// A packet to forward, and the key rotation for which the packet was made. Sent by clients since protocol version 5.
    ForwardMarked,
}

/// The kinds of the gateway's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushKind {
    /// A message of the client's inbox.
    Message,
}

impl FrameKind for RequestKind {
    fn code(self) -> u8 {
        match self {
            Self::Forward => 1,
            Self::ForwardMarked => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Forward),
            2 => Some(Self::ForwardMarked),
            _ => None,
        }
    }
}

impl FrameKind for PushKind {
    fn code(self) -> u8 {
        match self {
            Self::Message => 1,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        (code == 1).then_some(Self::Message)
    }
}
