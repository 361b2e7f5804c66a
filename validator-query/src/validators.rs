//! Asks validators over HTTP which gateways are bonded.
//!
//! `GET <validator>/wasm/contract/<contract>/smart/<base64 of a JSON question>?encoding=base64` is answered with
//! `{"result":{"smart":"<base64 of JSON>"}}`; inside is one page of nodes and the key of the next page, or null.
//!
//! Anybody can bond a gateway that claims our address, and a validator may lie. All validators are asked for this reason, and none
//! of them decides alone; see [`Votes`].

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::seq::SliceRandom as _;
use serde::Deserialize;

use ipc::validator_query::{MAX_REASONS, ValidatorAnswer, ValidatorQuery, printable};

/// The largest reply in bytes, per page and in all.
const MAX_REPLY: u64 = 8 << 20;

/// The most pages of one validator.
const MAX_PAGES: usize = 200;

/// The longest reason that one validator did not answer, in characters.
const MAX_REASON: usize = 160;

/// The TCP ports of the validators. A validator whose address cannot be parsed has none and is not asked.
pub(crate) fn ports(query: &ValidatorQuery) -> Vec<u16> {
    let port = |validator: &String| {
        let address: ureq::http::Uri = validator.parse().ok()?;
        address.port_u16().or(match address.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        })
    };
    query.validators.iter().filter_map(port).collect()
}

/// Asks the validators in random order, each within an equal share of `time_limit`, until all were asked or one lists our identity.
pub(crate) fn ask_all(query: &ValidatorQuery, time_limit: Duration) -> ValidatorAnswer {
    let end = Instant::now() + time_limit;
    let mut validators: Vec<_> = query.validators.iter().collect();
    validators.shuffle(&mut rand::rng());
    let mut votes = Votes::default();
    let mut reasons = String::new();
    // A share of the whole time, not of the time left: a silent validator that comes last would get all of the rest.
    let share = time_limit / u32::try_from(validators.len()).unwrap_or(u32::MAX).max(1);
    for validator in validators {
        match ask_one(validator, query, end.min(Instant::now() + share)) {
            Ok(Listed { ours: true, other }) => return ValidatorAnswer::SameIdentity { also: other }.printable(),
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
    /// Whether it lists our identity, with our address, or with another address while a stranger has ours.
    ours: bool,
    /// The first other identity that has our address.
    other: Option<String>,
}

/// What the validators say that do not list our identity.
///
/// Our address counts as taken if more than half of the validators that answered name the same other identity. A validator that
/// did not answer has no vote.
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

    fn result(self, reasons: String) -> ValidatorAnswer {
        let answered = self.answered;
        match self.others.into_iter().max_by_key(|(_, named_by)| *named_by) {
            None if answered == 0 => ValidatorAnswer::Unreachable { reasons },
            None => ValidatorAnswer::NoConflict,
            Some((identity, named_by)) if named_by > answered / 2 => ValidatorAnswer::Conflict { identity },
            Some((identity, named_by)) => ValidatorAnswer::Disputed { identity, named_by, answered },
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

/// The outer reply. Validators put refusals into `error` or `message`.
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
struct ListPage {
    nodes: Vec<ListedNode>,
    start_next_after: Option<String>,
}

#[derive(Deserialize)]
struct ListedNode {
    gateway: BondedGateway,
}

#[derive(Deserialize)]
struct BondedGateway {
    mix_host: String,
    clients_host: String,
    identity_key: String,
}

fn ask_one(validator: &str, query: &ValidatorQuery, end: Instant) -> Result<Listed, QueryError> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A validator must not redirect us, for example into the operator's own network.
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
        let page = fetch(&agent, validator, &query.contract, start_after.as_deref(), end, &mut left)?;
        for ListedNode { gateway } in page.nodes {
            let is_here = gateway.announces_one_of(query);
            if gateway.identity_key == query.identity {
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
) -> Result<ListPage, QueryError> {
    let time_limit = end.saturating_duration_since(Instant::now());
    if time_limit.is_zero() {
        return Err(QueryError::Time);
    }
    let start_after = serde_json::to_string(&start_after).map_err(|_| QueryError::Nonsense)?;
    let question = format!(r#"{{"get_gateways":{{"start_after":{start_after},"limit":null}}}}"#);
    let url = format!(
        "{}/wasm/contract/{contract}/smart/{}?encoding=base64",
        validator.trim_end_matches('/'),
        // Only these two characters of base64 have another meaning in a path.
        STANDARD.encode(question).replace('+', "%2B").replace('/', "%2F"),
    );
    let mut response = agent.get(url).config().timeout_global(Some(time_limit)).build().call()?;
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

impl BondedGateway {
    fn announces_one_of(&self, query: &ValidatorQuery) -> bool {
        same_host(&self.mix_host, &query.mix_host) || same_host(&self.clients_host, &query.clients_host)
    }
}

/// Host names have no case, and a URL may end in a slash.
fn same_host(theirs: &str, ours: &str) -> bool {
    let [theirs, ours] = [theirs, ours].map(|host| host.trim().trim_end_matches('/'));
    theirs.eq_ignore_ascii_case(ours)
}

#[cfg(test)]
mod tests;
