//! Asks validators one question for the supervisor, and ends: request on the control link, answer on standard output.
//!
//! *Trusts* the supervisor; it gives up account, capabilities, files and system calls before it asks anybody. *Holds* nothing.
//! *May do*: connect to the ports of the validators that the request names, ask name servers, and read how this machine finds
//! an address by its name. *On compromise*: it can say that the address is taken or free; the worst is a gateway that does
//! not start.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use gatewayd::validator::{
    message::Request,
    query::{ports, query},
};
use worker::birth::Birth;

/// A little less than the supervisor waits, so that "nobody answered" still arrives.
const PATIENCE: Duration = Duration::from_millis(4500);

fn main() -> ExitCode {
    let Ok(birth) = Birth::inherited() else { return ExitCode::FAILURE };
    let request = birth.receive_bytes().map(|bytes| Request::decode(&bytes));
    let Ok(Ok(request)) = request else { return ExitCode::FAILURE };
    let Ok(closed) = sandbox::renounce(request.account, &ports(&request)) else { return ExitCode::FAILURE };
    birth.report_jail(closed.layers());
    let sent = query(&request, PATIENCE).encode().map(|answer| io::stdout().write_all(&answer));
    match sent {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
