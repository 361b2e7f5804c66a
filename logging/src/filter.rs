//! The filter of the log: the value of `RUST_LOG`.
//!
//! A filter is a list of directives with commas between them: a level for everything (`debug`), for one process by the name that
//! the log prints (`mix-ingress=debug`), or for a module of it (`mix_ingress::replay=trace`). The names of nym-gateway 0.10,
//! which operators have in their units, mean everything. *Promises*: warnings and errors are logged with every filter. A
//! directive that is not understood is reported and changes nothing.

use std::{fmt, str::FromStr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use ipc::Role;

/// The name of the supervisor in the log.
pub const SUPERVISOR: &str = "gatewayd";
/// The crate of nym-gateway 0.10, whose modules `RUST_LOG` named.
const PREDECESSOR: &str = "nym_gateway";
/// Our libraries that log. Their lines appear under the name of the process.
const LIBRARIES: [&str; 3] = ["link", "sandbox", "worker"];

/// A filter, without the directives that were not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    everywhere: LevelFilter,
    /// Levels by the name of a process or the path of a module, with underscores.
    named: Vec<(String, LevelFilter)>,
}

/// A directive that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownDirective {
    /// The directive names no level.
    #[error(
        "RUST_LOG: `{0}` is no level; the levels are error, warn, info, debug and trace, for everything (`debug`) or for one \
         process (`store=debug`)"
    )]
    NoLevel(String),
    /// The directive names no process.
    #[error("RUST_LOG: there is no process `{name}`; the names are {}", names().join(", "))]
    NoProcess {
        /// The name that it gives.
        name: String,
    },
}

/// The names of processes in the log.
fn names() -> Vec<&'static str> {
    std::iter::once(SUPERVISOR).chain(Role::ALL.map(Role::name)).collect()
}

impl Default for Filter {
    fn default() -> Self {
        Self { everywhere: LevelFilter::INFO, named: Vec::new() }
    }
}

impl Filter {
    /// Reads a filter, and returns the directives that were not understood.
    pub fn parse(text: &str) -> (Self, Vec<UnknownDirective>) {
        let mut filter = Self::default();
        let mut complaints = Vec::new();
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            if let Err(complaint) = filter.add(directive) {
                complaints.push(complaint);
            }
        }
        (filter, complaints)
    }

    fn add(&mut self, directive: &str) -> Result<(), UnknownDirective> {
        let (name, level) = match directive.split_once('=') {
            Some((name, level)) => (name.trim(), Some(level.trim())),
            None => (directive, None),
        };
        let no_level = || UnknownDirective::NoLevel(directive.to_owned());
        let Some(level) = level else {
            if let Some(level) = parse_level(name) {
                self.everywhere = level;
                return Ok(());
            }
            // As in 0.10, a name without a level means every level.
            let path = path_of(name).ok_or_else(no_level)?;
            self.set(path, LevelFilter::TRACE);
            return Ok(());
        };
        let level = parse_level(level).ok_or_else(no_level)?;
        let path = path_of(name).ok_or_else(|| UnknownDirective::NoProcess { name: name.to_owned() })?;
        self.set(path, level);
        Ok(())
    }

    fn set(&mut self, path: String, level: LevelFilter) {
        if path == PREDECESSOR {
            self.everywhere = level;
        } else {
            self.named.push((path, level));
        }
    }

    /// Whether anything is logged as `trace`, which names the addresses of peers.
    pub fn names_peers(&self) -> bool {
        self.everywhere == LevelFilter::TRACE || self.named.iter().any(|(_, level)| *level == LevelFilter::TRACE)
    }

    /// The filter for `process`. Its level is that of its name, or else that of everything.
    pub(super) fn targets(&self, process: &str) -> Targets {
        let process = process.replace('-', "_");
        let own = self.named.iter().rev().find(|(name, _)| *name == process).map(|(_, level)| *level);
        let modules = self.named.iter().filter(|(name, _)| name.contains("::") || LIBRARIES.contains(&name.as_str()));
        Targets::new()
            .with_default(at_least_warnings(own.unwrap_or(self.everywhere)))
            .with_targets(modules.map(|(name, level)| (name.clone(), at_least_warnings(*level))))
    }
}

/// In the form that [`Filter::parse`] reads.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.everywhere)?;
        self.named.iter().try_for_each(|(name, level)| write!(f, ",{name}={level}"))
    }
}

/// A level by its name, or `off`. The library takes numbers too; they are refused here.
fn parse_level(text: &str) -> Option<LevelFilter> {
    if text.chars().all(|c| c.is_ascii_alphabetic()) {
        LevelFilter::from_str(text).ok().filter(|_| !text.is_empty())
    } else {
        None
    }
}

fn at_least_warnings(level: LevelFilter) -> LevelFilter {
    level.max(LevelFilter::WARN)
}

/// The path of one of our processes or modules, with underscores.
fn path_of(name: &str) -> Option<String> {
    let path = name.replace('-', "_");
    let (first, rest) = path.split_once("::").map_or((path.as_str(), None), |(first, rest)| (first, Some(rest)));
    if first == PREDECESSOR {
        return Some(PREDECESSOR.to_owned());
    }
    let is_ours = names().iter().any(|ours| ours.replace('-', "_") == first) || LIBRARIES.contains(&first);
    (is_ours && rest != Some("")).then(|| path.clone())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn level_in(text: &str, process: &str, target: &str) -> LevelFilter {
        let targets = Filter::parse(text).0.targets(process);
        let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        levels.into_iter().find(|level| targets.would_enable(target, level)).map_or(LevelFilter::OFF, LevelFilter::from)
    }

    #[test]
    fn names_that_the_log_prints_are_names_of_a_filter() {
        for (text, ingress, store) in [
            ("debug", LevelFilter::DEBUG, LevelFilter::DEBUG),
            ("mix-ingress=debug", LevelFilter::DEBUG, LevelFilter::INFO),
            ("warn,mix_ingress=trace", LevelFilter::TRACE, LevelFilter::WARN),
            ("store=debug, mix-ingress = warn", LevelFilter::WARN, LevelFilter::DEBUG),
            ("nym_gateway=debug", LevelFilter::DEBUG, LevelFilter::DEBUG),
            ("nym_gateway::node::client_handling=debug", LevelFilter::DEBUG, LevelFilter::DEBUG),
            ("", LevelFilter::INFO, LevelFilter::INFO),
        ] {
            assert_eq!(Filter::parse(text).1, [], "{text}");
            assert_eq!(level_in(text, "mix-ingress", "mix_ingress::replay"), ingress, "{text}");
            assert_eq!(level_in(text, "mix-ingress", "link::stream"), ingress, "{text}");
            assert_eq!(level_in(text, "store", "store::clock"), store, "{text}");
        }
    }

    #[test]
    fn a_module_has_a_level_of_its_own() {
        let text = "info,mix_ingress::replay=trace";
        assert_eq!(level_in(text, "mix-ingress", "mix_ingress::replay::keeper"), LevelFilter::TRACE);
        assert_eq!(level_in(text, "mix-ingress", "mix_ingress::accept"), LevelFilter::INFO);
    }

    #[test]
    fn warnings_and_errors_are_logged_whatever_the_filter_says() {
        for text in ["off", "error", "store=off", "store=error", "store::clock=off"] {
            assert_eq!(
                level_in(text, "store", "store::clock").max(LevelFilter::WARN),
                level_in(text, "store", "store::clock")
            );
        }
    }

    #[test]
    fn what_means_nothing_is_named_and_the_rest_counts() {
        let (filter, complaints) = Filter::parse("inffo,store=loud,mixnode=debug,client-edge=debug,5");
        let texts: Vec<_> = complaints.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(texts[0].contains("`inffo` is no level") && texts[1].contains("`store=loud`"), "{texts:?}");
        assert!(
            texts[2].contains("no process `mixnode`") && texts[2].contains("gatewayd, store, mix-egress"),
            "{texts:?}"
        );
        assert_eq!(filter.targets("client-edge"), Filter::parse("client-edge=debug").0.targets("client-edge"));
        assert_eq!(filter.everywhere, LevelFilter::INFO);
    }

    #[test]
    fn a_filter_is_read_as_it_is_written() {
        for text in ["info", "debug,store=trace,mix_ingress::replay=warn"] {
            let filter = Filter::parse(text).0;
            assert_eq!(filter.to_string(), text);
            assert_eq!(Filter::parse(&filter.to_string()), (filter, Vec::new()));
        }
    }

    #[test]
    fn peers_are_named_at_trace_alone() {
        assert!(Filter::parse("info,store=trace").0.names_peers() && Filter::parse("store").0.names_peers());
        assert!(!Filter::parse("debug").0.names_peers());
    }
}
