//! Asking validators, over HTTP, which gateways are bonded. Runs in `validator-query` only.
//!
//! `GET <validator>/wasm/contract/<contract>/smart/<base64 of a JSON question>?encoding=base64` is answered with
//! `{"result":{"smart":"<base64 of JSON>"}}`; inside is one page of nodes and the key of the next page, or null.
//!
//! Anybody can bond a gateway that claims our address, and a validator may lie. So all validators are asked, and none of
//! them decides alone: see [`Votes`].

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::seq::SliceRandom as _;
use serde::Deserialize;

use super::{
    message::{Answer, MAX_REASONS, Request},
    text::printable,
};

/// The largest reply in bytes, per page and in all.
const MAX_REPLY: u64 = 8 << 20;

/// The most pages of one validator.
const MAX_PAGES: usize = 200;

/// The longest reason that one validator did not answer, in characters.
const MAX_REASON: usize = 160;

/// The TCP ports of the validators. One whose address cannot be read has none, and will not be asked.
pub fn ports(request: &Request) -> Vec<u16> {
    let port = |validator: &String| {
        let address: ureq::http::Uri = validator.parse().ok()?;
        address.port_u16().or(match address.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        })
    };
    request.validators.iter().filter_map(port).collect()
}

/// Asks the validators in random order, each for an equal share of the time, until all were asked or one lists
/// our identity.
pub fn query(request: &Request, patience: Duration) -> Answer {
    let end = Instant::now() + patience;
    let mut validators: Vec<_> = request.validators.iter().collect();
    validators.shuffle(&mut rand::rng());
    let mut votes = Votes::default();
    let mut reasons = String::new();
    // Not a share of what is left: a silent one that comes last would be given all of it.
    let share = patience / u32::try_from(validators.len()).unwrap_or(u32::MAX).max(1);
    for validator in validators {
        match ask_one(validator, request, end.min(Instant::now() + share)) {
            Ok(Listed { ours: true, other }) => return Answer::SameIdentity { also: other }.printable(),
            Ok(Listed { ours: false, other }) => votes.count(other),
            Err(error) if reasons.len() < MAX_REASONS => {
                let separator = if reasons.is_empty() { "" } else { "; " };
                let reason = printable(&format!("{validator}: {error}"), MAX_REASON);
                reasons.push_str(separator);
                reasons.push_str(&reason);
            }
            Err(_) => {}
        }
    }
    votes.result(reasons).printable()
}

/// What one validator lists.
struct Listed {
    /// Our identity: with our address, or with another one beside a stranger that has ours.
    ours: bool,
    /// The first other identity that has our address.
    other: Option<String>,
}

/// What the validators say that do not list our identity.
///
/// Our address counts as taken if more than half of those that answered name the same other identity. Those that did not
/// answer have no vote.
#[derive(Default)]
struct Votes {
    answered: u32,
    others: HashMap<String, u32>,
}

impl Votes {
    fn count(&mut self, other: Option<String>) {
        self.answered += 1;
        if let Some(other) = other {
            *self.others.entry(other).or_default() += 1;
        }
    }

    fn result(self, reasons: String) -> Answer {
        let answered = self.answered;
        match self.others.into_iter().max_by_key(|(_, named_by)| *named_by) {
            None if answered == 0 => Answer::Unreachable { reasons },
            None => Answer::NoConflict,
            Some((identity, named_by)) if named_by > answered / 2 => Answer::Conflict { identity },
            Some((identity, named_by)) => Answer::Disputed { identity, named_by, answered },
        }
    }
}

/// Why a validator gave no answer.
#[derive(Debug, thiserror::Error)]
enum QueryError {
    #[error("no answer in time")]
    Time,
    #[error("{0}")]
    Http(#[from] ureq::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it refused: {0}")]
    Refused(String),
    #[error("its answer is not what a validator says")]
    Nonsense,
    #[error("its answer has too many pages or bytes")]
    TooLong,
}

/// The outer reply; validators put refusals into `error` or `message`.
#[derive(Deserialize)]
struct Reply {
    result: Option<SmartResult>,
    error: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct SmartResult {
    smart: String,
}

#[derive(Deserialize)]
struct Page {
    nodes: Vec<Node>,
    start_next_after: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    gateway: Gateway,
}

#[derive(Deserialize)]
struct Gateway {
    mix_host: String,
    clients_host: String,
    identity_key: String,
}

fn ask_one(validator: &str, request: &Request, end: Instant) -> Result<Listed, QueryError> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A validator must not send us anywhere else, such as into the operator's own network.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .build(),
    );
    let mut left = MAX_REPLY;
    let mut start_after = None;
    let mut starts = HashSet::new();
    let (mut ours_elsewhere, mut ours_here, mut other) = (false, false, None);
    for _ in 0..MAX_PAGES {
        let page = fetch(&agent, validator, &request.contract, start_after.as_deref(), end, &mut left)?;
        for Node { gateway } in page.nodes {
            let is_here = gateway.announces_one_of(request);
            if gateway.identity_key == request.identity {
                ours_here |= is_here;
                ours_elsewhere |= !is_here;
            } else if is_here {
                other.get_or_insert(gateway.identity_key);
            }
        }
        match page.start_next_after {
            None => return Ok(Listed { ours: ours_here || (ours_elsewhere && other.is_some()), other }),
            Some(next) if starts.insert(next.clone()) => start_after = Some(next),
            Some(_) => return Err(QueryError::Nonsense),
        }
    }
    Err(QueryError::TooLong)
}

fn fetch(
    agent: &ureq::Agent,
    validator: &str,
    contract: &str,
    start_after: Option<&str>,
    end: Instant,
    left: &mut u64,
) -> Result<Page, QueryError> {
    let patience = end.saturating_duration_since(Instant::now());
    if patience.is_zero() {
        return Err(QueryError::Time);
    }
    let start_after = serde_json::to_string(&start_after).map_err(|_| QueryError::Nonsense)?;
    let question = format!(r#"{{"get_gateways":{{"start_after":{start_after},"limit":null}}}}"#);
    let url = format!(
        "{}/wasm/contract/{contract}/smart/{}?encoding=base64",
        validator.trim_end_matches('/'),
        // Of the characters of base64, only these two mean something else in a path.
        STANDARD.encode(question).replace('+', "%2B").replace('/', "%2F"),
    );
    let mut response = agent.get(url).config().timeout_global(Some(patience)).build().call()?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(*left).read_to_vec();
    let body = body.map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => QueryError::TooLong,
        error => error.into(),
    })?;
    *left = left.saturating_sub(body.len() as u64).max(1);

    let reply: Reply = serde_json::from_slice(&body).map_err(|_| match status.is_success() {
        true => QueryError::Nonsense,
        false => QueryError::Status(status.as_u16()),
    })?;
    let Some(SmartResult { smart }) = reply.result else {
        return Err(match reply.error.or(reply.message) {
            Some(words) => QueryError::Refused(words),
            None => QueryError::Nonsense,
        });
    };
    let page = STANDARD.decode(smart).map_err(|_| QueryError::Nonsense)?;
    serde_json::from_slice(&page).map_err(|_| QueryError::Nonsense)
}

impl Gateway {
    fn announces_one_of(&self, request: &Request) -> bool {
        same_host(&self.mix_host, &request.mix_host) || same_host(&self.clients_host, &request.clients_host)
    }
}

/// Host names have no case, and a URL may end in a slash.
fn same_host(theirs: &str, ours: &str) -> bool {
    let [theirs, ours] = [theirs, ours].map(|host| host.trim().trim_end_matches('/'));
    theirs.eq_ignore_ascii_case(ours)
}

#[cfg(test)]
mod tests;
