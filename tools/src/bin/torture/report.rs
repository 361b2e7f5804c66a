//! What is said about a run, on standard output.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Result;
use harness::{mix_model::surge::Surges, oracle::Tally, output::say};

use crate::coverage::Coverage;

/// The counter of mail that is refused while the disk is full.
const NO_ROOM_ON_DISK: &str = "refused_storage_failed";
/// Of what there is too much to say.
const EXAMPLES: usize = 20;

/// Everything there is to say at the end.
pub(crate) struct Outcome {
    /// The oracle.
    pub(crate) tally: Tally,
    /// What the gateway counted.
    pub(crate) counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// What came of the faults.
    pub(crate) coverage: Coverage,
    /// When mix nodes sent all they could.
    pub(crate) surges: Arc<Surges>,
    /// Peak memory in KiB.
    pub(crate) peaks: BTreeMap<String, u64>,
    /// How many lines of logs were searched for what they must not say.
    pub(crate) log_lines: usize,
    /// Whatever else should not be.
    pub(crate) strange: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept.
    pub(crate) fn is_good(&self) -> bool {
        let Tally { lost, out_of_order, strange, unexplained, dropped, .. } = &self.tally;
        let refused = self.refused(|reason| reason != NO_ROOM_ON_DISK);
        [out_of_order, strange, unexplained, &self.strange].iter().all(|found| found.is_empty())
            && lost.is_empty()
            && dropped.len() as u64 <= refused
    }

    /// Messages that are known to have been refused: each is counted by `mix-ingress` and by `store`, and one of them
    /// may have been killed before it could tell. The others are lost with connections and processes, without an ack,
    /// or were refused by processes that were killed.
    fn refused(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let reasons: BTreeSet<&String> = self.counters.values().flat_map(BTreeMap::keys).collect();
        let told = |reason| self.counters.values().filter_map(move |counters| counters.get(reason).copied());
        let messages = reasons.into_iter().filter(|reason| reason.starts_with("refused_") && wanted(reason));
        messages.map(|reason| told(reason).max().unwrap_or_default()).sum()
    }

    /// Writes it.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn print(&self) -> Result<()> {
        let tally = &self.tally;
        say("")?;
        say(format_args!("sent                 {:>9}", tally.sent))?;
        say(format_args!("  in surges          {:>9}", self.surges.packets()))?;
        say(format_args!("  highest rate       {:>9.0} packets per second", self.surges.highest_rate()))?;
        say(format_args!("acked                {:>9}", tally.acked))?;
        say(format_args!("sent again           {:>9}", tally.replayed))?;
        say(format_args!("  known by then      {:>9}", tally.replayed_known))?;
        say(format_args!("acked more than once {:>9}", tally.acked_again))?;
        say(format_args!("delivered            {:>9}", tally.delivered))?;
        say(format_args!("duplicates           {:>9}", tally.duplicates))?;
        say(format_args!("out of order         {:>9}", tally.out_of_order.len()))?;
        say(format_args!("neither of both      {:>9}", tally.unanswered))?;
        say(format_args!("  known as refused   {:>9}", self.refused(|_| true).min(tally.unanswered as u64)))?;
        say(format_args!("  not lost by faults {:>9}", tally.dropped.len()))?;
        for (role, counters) in &self.counters {
            for (name, value) in counters.iter().filter(|(name, _)| is_refusal(name)) {
                say(format_args!("{value:>30} {name} ({role}, as far as its processes lived to tell)"))?;
            }
        }
        for (name, kib) in &self.peaks {
            say(format_args!("peak memory          {:>9} KiB {name}", kib))?;
        }
        say(format_args!("log lines searched   {:>9}", self.log_lines))?;
        if self.coverage.is_of_any() {
            say(&self.coverage)?;
        }
        for wrong in tally.out_of_order.iter().take(EXAMPLES) {
            say(format_args!("out of order: {wrong}"))?;
        }
        for (number, inbox) in tally.dropped.iter().take(EXAMPLES) {
            say(format_args!("neither refused nor lost by a fault: message {number} for client {inbox}"))?;
        }
        for what in tally.unexplained.iter().take(EXAMPLES) {
            say(format_args!("explained by no fault: {what}"))?;
        }
        for what in self.strange.iter().chain(tally.strange.iter().take(EXAMPLES)) {
            say(format_args!("must not be: {what}"))?;
        }
        for (number, inbox) in tally.lost.iter().take(EXAMPLES) {
            say(format_args!("lost: message {number} for client {inbox}"))?;
        }
        say(format_args!("acked but lost: {}", tally.lost.len()))
    }
}

fn is_refusal(counter: &str) -> bool {
    ["refused", "dropped", "replayed", "malformed"].iter().any(|word| counter.contains(word))
}
