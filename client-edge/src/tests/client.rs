//! A websocket client that does nothing by itself: it answers a Ping or a Close only when told to.

use std::{net::SocketAddr, time::Duration};

use client_wire::{control::request::ClientRequest, frame, key::CtrHmacKey, token::AuthenticationToken};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use wire::address::ClientAddress;

use super::gateway::SOON;

/// Small socket buffers, in bytes. With the smallest that the kernel allows, TCP spends seconds on probing its window.
pub(super) const NARROW: u32 = 16 * 1024;
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// What the gateway sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// With the code of the Close; 1005 stands for none.
    Close(u16),
    /// The TCP connection is over.
    End,
}

pub(super) struct Client {
    socket: BufReader<TcpStream>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::upgrade(TcpStream::connect(address).await.unwrap()).await
    }

    /// A client with small socket buffers.
    pub(super) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(NARROW).unwrap();
        socket.set_send_buffer_size(NARROW).unwrap();
        Self::upgrade(socket.connect(address).await.unwrap()).await
    }

    pub(super) async fn upgrade(socket: TcpStream) -> Self {
        let mut socket = BufReader::new(socket);
        let request = "GET /any/path HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(timeout(TIMEOUT, socket.read_u8()).await.unwrap().unwrap());
        }
        assert!(response.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
        Self { socket }
    }

    /// Sends the same text again and again, without reading, until no more can be sent for a while. Returns how many were sent
    /// whole; a part of the next one may have been sent, too.
    pub(super) async fn flood(&mut self, text: &str) -> usize {
        let frame = frame_of(1, text.as_bytes());
        let many = frame.repeat(100);
        let mut sent = 0;
        while let Ok(written) = timeout(SOON, self.socket.write(&many[sent % frame.len()..])).await {
            sent += written.unwrap();
            assert!(sent < 1 << 20, "the gateway does not stop reading");
        }
        sent / frame.len()
    }

    pub(super) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let frame = frame_of(opcode, payload);
        // A connection that has ended is noticed by reading.
        let _ = self.socket.write_all(&frame).await;
    }

    /// Sends a fragment `count` times. It begins a message, or continues one if `opcode` is 0.
    pub(super) async fn fragments(&mut self, opcode: u8, payload: &[u8], count: usize) {
        // A connection that has ended is noticed by reading.
        let _ = self.socket.write_all(&fragment_of(opcode, payload).repeat(count)).await;
    }

    /// Sends the first `sent` bytes of a frame with a payload of `payload` bytes.
    pub(super) async fn begin(&mut self, payload: usize, sent: usize) {
        let frame = frame_of(2, &vec![0; payload]);
        // A connection that has ended is noticed by reading.
        let _ = self.socket.write_all(&frame[..sent]).await;
    }

    pub(super) async fn text(&mut self, text: impl ToString) {
        self.send(1, text.to_string().as_bytes()).await;
    }

    pub(super) async fn binary(&mut self, bytes: &[u8]) {
        self.send(2, bytes).await;
    }

    pub(super) async fn pong(&mut self, payload: &[u8]) {
        self.send(10, payload).await;
    }

    pub(super) async fn close(&mut self, code: u16) {
        self.send(8, &code.to_be_bytes()).await;
    }

    pub(super) async fn hear(&mut self) -> Heard {
        timeout(TIMEOUT, self.frame()).await.expect("the gateway says nothing").unwrap_or(Heard::End)
    }

    async fn frame(&mut self) -> std::io::Result<Heard> {
        let opcode = self.socket.read_u8().await?;
        let len = match self.socket.read_u8().await? {
            126 => usize::from(self.socket.read_u16().await?),
            127 => usize::try_from(self.socket.read_u64().await?).unwrap(),
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        self.socket.read_exact(&mut payload).await?;
        Ok(match opcode {
            0x81 => Heard::Text(String::from_utf8(payload).unwrap()),
            0x82 => Heard::Binary(payload),
            0x88 => Heard::Close(payload.first_chunk().copied().map_or(1005, u16::from_be_bytes)),
            0x89 => Heard::Ping(payload),
            0x8a => Heard::Pong(payload),
            other => panic!("frame of unknown kind {other:#x}"),
        })
    }

    /// The gateway sends nothing more, and has not reset the connection.
    pub(super) async fn hear_orderly_end(&mut self) {
        assert_eq!(timeout(TIMEOUT, self.socket.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    }

    pub(super) async fn hear_text(&mut self, expected: &str) {
        assert_eq!(self.hear().await, Heard::Text(expected.to_owned()));
    }

    pub(super) async fn hear_error(&mut self, message: &str) {
        self.hear_text(&format!(r#"{{"type":"error","message":"{message}"}}"#)).await;
    }

    /// Hears the Close, answers it, and sees the connection end.
    pub(super) async fn hear_close(&mut self, code: u16) {
        assert_eq!(self.hear().await, Heard::Close(code));
        self.close(code).await;
        assert_eq!(self.hear().await, Heard::End);
    }

    pub(super) async fn hear_mail(&mut self, message: &[u8]) {
        assert_eq!(self.hear().await, Heard::Binary(frame::seal(&key(), message).to_vec()));
    }

    pub(super) async fn hear_ping(&mut self) -> Vec<u8> {
        match self.hear().await {
            Heard::Ping(payload) => payload,
            other => panic!("no Ping but {other:?}"),
        }
    }
}

fn frame_of(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = fragment_of(opcode, payload);
    if let Some(first) = frame.first_mut() {
        *first |= 0x80;
    }
    frame
}

/// A frame that does not end its message.
fn fragment_of(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | u8::try_from(len).unwrap()),
        len @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    // A mask of zeros leaves the payload as it is.
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The session key of every client in these tests.
pub(super) fn key() -> CtrHmacKey {
    CtrHmacKey::from_bytes([0x42; 32])
}

pub(super) fn token() -> AuthenticationToken {
    AuthenticationToken::create(&key(), ClientAddress([7; 32]), [0x99; 16])
}

/// What a client sends to authenticate.
pub(super) fn authenticate() -> String {
    let base58 = |bytes: &[u8]| match bytes.len() {
        32 => ClientAddress(bytes.try_into().unwrap()).to_string(),
        // The token has 16 bytes of 0x99.
        _ => "Ky6byeeMTP4Q73eeYcw2Cx".to_owned(),
    };
    let token = token();
    ClientRequest::Authenticate {
        protocol_version: None,
        address: base58(token.address.as_bytes()),
        enc_address: base58(&token.enc_address),
        iv: base58(&token.iv),
    }
    .to_string()
}
