//! `validator-query`: asks the validators one question for the supervisor, and ends.
//!
//! The query comes on the control link, which is standard input. The answer goes to standard output.
//!
//! *Trusts*: the supervisor. *Holds*: nothing; it gives up its account, capabilities, files and system calls before it asks the first
//! validator. *May do*: connect to the ports of the validators that the query names, ask name servers, and read how this machine
//! finds an address by its name. *On compromise*: it can say that the address is taken or free; the worst result is a gateway that
//! does not start.

mod validators;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use ipc::validator_query::ValidatorQuery;
use sandbox::policy::VALIDATOR_QUERY;
use worker::{birth::Birth, build};

/// A little less than the supervisor waits, so that "no validator answered" still arrives.
const TIME_LIMIT: Duration = Duration::from_millis(4500);

/// The program.
pub fn main() -> ExitCode {
    if build::answer_if_asked() {
        return ExitCode::SUCCESS;
    }
    let Ok(birth) = Birth::inherited() else { return ExitCode::FAILURE };
    let query = birth.receive_bytes().map(|bytes| ValidatorQuery::decode(&bytes));
    let Ok(Ok(query)) = query else { return ExitCode::FAILURE };
    let Ok(closed) = sandbox::renounce(&VALIDATOR_QUERY, query.account, &validators::ports(&query)) else {
        return ExitCode::FAILURE;
    };
    birth.report_jail(closed.layers());
    let sent = validators::ask_all(&query, TIME_LIMIT).encode().map(|answer| io::stdout().write_all(&answer));
    match sent {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
