//! Asks validators one question for the supervisor, and ends: request on standard input, answer on standard output.
//!
//! *Trusts* the supervisor; it gives up account, capabilities, files and system calls before it asks anybody. *Holds* nothing.
//! *May do*: connect to the ports of the validators that the request names, ask name servers, and read how this machine finds
//! an address by its name. *On compromise*: it can say that the address is taken or free; the worst is a gateway that does
//! not start.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use gatewayd::validator::{
    message::{MAX_REQUEST, Request},
    query::{ports, query},
};

/// A little less than the supervisor waits, so that "nobody answered" still arrives.
const PATIENCE: Duration = Duration::from_millis(4500);

fn main() -> ExitCode {
    let mut bytes = Vec::new();
    let read = io::stdin().take(MAX_REQUEST as u64 + 1).read_to_end(&mut bytes);
    let (Ok(_), Ok(request)) = (read, Request::decode(&bytes)) else {
        return ExitCode::FAILURE;
    };
    if sandbox::renounce(request.account, &ports(&request)).is_err() {
        return ExitCode::FAILURE;
    }
    let sent = query(&request, PATIENCE).encode().map(|answer| io::stdout().write_all(&answer));
    match sent {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
