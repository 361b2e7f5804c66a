//! From the first byte of a connection to the beginning of its websocket.
//!
//! *Trusts* nothing that is read. *Promises*: whoever speaks HTTP gets an HTTP answer and can read it, whatever else it has sent; a
//! request takes no more memory than [`REQUEST_LIMIT`]. The caller limits the time.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    http_request::{Answer, RequestHead},
    pace::Pace,
    websocket::CLOSE_LIMIT,
};

/// Bytes that a request may have.
const REQUEST_LIMIT: usize = 8 * 1024;
/// Bytes that most requests have.
const USUAL_REQUEST: usize = 512;

/// Why a connection becomes no websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWebsocket {
    /// The page for proxies and uptime checks was asked for.
    Page,
    /// Something was asked for that is not served, and the answer said so.
    Refused,
    /// The peer is gone.
    Gone,
}

/// Answers the request that comes over `socket`. Returns what came behind the request and belongs to the websocket.
///
/// # Errors
/// If the connection becomes no websocket.
pub(crate) async fn answer_request(socket: &mut TcpStream) -> Result<Vec<u8>, NoWebsocket> {
    let (answer, rest) = read_request(socket).await?;
    socket.write_all(&answer.to_bytes()).await.map_err(|_| NoWebsocket::Gone)?;
    let reason = match answer {
        Answer::Switch { .. } => return Ok(rest),
        Answer::Page { .. } => NoWebsocket::Page,
        Answer::UpgradeRequired | Answer::TooLarge | Answer::BadRequest => NoWebsocket::Refused,
    };
    // The peer that does not hang up by then has had time to read the answer.
    let _ = timeout(CLOSE_LIMIT, discard(socket)).await;
    Err(reason)
}

async fn read_request(socket: &mut TcpStream) -> Result<(Answer, Vec<u8>), NoWebsocket> {
    let mut bytes = Vec::with_capacity(USUAL_REQUEST);
    while bytes.len() < REQUEST_LIMIT {
        let before = bytes.len();
        let room = REQUEST_LIMIT.saturating_sub(before) as u64;
        let read = AsyncReadExt::take(&mut *socket, room).read_buf(&mut bytes).await;
        if read.map_err(|_| NoWebsocket::Gone)? == 0 {
            return Err(NoWebsocket::Gone);
        }
        // A request ends with a line. What can be none, such as TLS, is noticed at its first bytes. Parsing after every byte of a
        // slow peer would cost the gateway more than the peer.
        let has_new_line = bytes.get(before..).is_some_and(|new| new.contains(&b'\n'));
        if (before == 0 || has_new_line)
            && let Some(head) = RequestHead::read(&bytes)
        {
            return Ok((head.answer, bytes.split_off(head.len)));
        }
    }
    Ok((Answer::TooLarge, Vec::new()))
}

/// Reads on without understanding. A socket closed with unread bytes would take the answer back from the peer.
async fn discard(socket: &mut TcpStream) {
    let mut bytes = [0; 512];
    if socket.shutdown().await.is_ok() {
        let mut pace = Pace::default();
        while let Ok(len @ 1..) = socket.read(&mut bytes).await {
            pace.keep(len).await;
        }
    }
}
