//! The operator's questions to `store`. The supervisor makes a pair of sockets, has its loop lend one end to `store` with the question, and
//! reads the answer from the other. It reads no backup: there the command gets the other end.
//!
//! *Trusts* `store` with the answer, of which it reads no more than an answer has. *Promises*: each wait has a limit, and a `store` that
//! answers nothing holds up its own asker only.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as BlockingStream},
    time::Duration,
};

use ipc::{
    codec,
    operator::{ANSWER_LEN, StoreAnswer, StoreQuestion},
};
use link::descriptor::link_pair;
use tokio::{io::AsyncReadExt as _, net::UnixStream, time::timeout};

use super::{
    order::{OrderQueue, Task},
    wire::AdminAnswer,
};

/// The time for an answer: a forget waits for two commits, and a count reads all of the ledger.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// After this time a write of `store` to a reader that takes nothing returns, so that `store` can look whether it is to end.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

/// Asks `store`, and waits for its answer.
pub(super) async fn ask(orders: &OrderQueue, question: StoreQuestion) -> AdminAnswer {
    let socket = match borrow(orders, question).await {
        Ok(socket) => socket,
        Err(refusal) => return refusal,
    };
    match timeout(ANSWER_LIMIT, read(socket)).await {
        Ok(Ok(answer)) => AdminAnswer::Store(answer),
        Ok(Err(_)) => AdminAnswer::StoreAway,
        Err(_) => AdminAnswer::Late,
    }
}

/// Asks `store`. Returns the end from which the answer can be read.
pub(super) async fn borrow(orders: &OrderQueue, question: StoreQuestion) -> Result<OwnedFd, AdminAnswer> {
    let pair = || -> io::Result<_> {
        let (ours, theirs) = link_pair()?;
        let theirs = BlockingStream::from(theirs);
        theirs.set_write_timeout(Some(WRITE_LIMIT))?;
        Ok((ours, OwnedFd::from(theirs)))
    };
    let Ok((ours, theirs)) = pair() else { return Err(AdminAnswer::StoreAway) };
    match orders.carry_out(Task::AskStore { question, socket: theirs }).await {
        AdminAnswer::Done => Ok(ours),
        refusal => Err(refusal),
    }
}

async fn read(socket: OwnedFd) -> io::Result<StoreAnswer> {
    let socket = BlockingStream::from(socket);
    socket.set_nonblocking(true)?;
    let mut bytes = Vec::new();
    UnixStream::from_std(socket)?.take(ANSWER_LEN).read_to_end(&mut bytes).await?;
    codec::decode_one(&bytes).map_err(io::Error::other)
}
