//! Which faults, and when: drawn from a seed before anything starts, so that the same seed gives the same schedule.

use std::{fmt, time::Duration};

use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IteratorRandom, SliceRandom},
};

use crate::fault::{Condition, Fault, Kind, millis};

/// From one fault to the next, in milliseconds: in the first round so short that all kinds come up within half a
/// minute.
const FIRST_GAPS: (u64, u64) = (100, 1_100);
const LATER_GAPS: (u64, u64) = (100, 2_500);

/// What is planned for one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happening {
    /// A fault that is over as soon as it is done.
    Sudden(Fault),
    /// A condition, and what happens in the middle of it.
    Lasting { condition: Condition, lasts: Duration, meanwhile: Option<Meanwhile> },
}

/// What happens while something else lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meanwhile {
    /// Since that began.
    pub(crate) after: Duration,
    /// The fault's kind.
    pub(crate) kind: Kind,
    /// What happens.
    pub(crate) fault: Fault,
}

/// A happening and its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// Its kind. Every kind comes up once before any comes up again.
    pub(crate) kind: Kind,
    /// Whether its kind comes up for the first time, so that it takes place even if the time is over.
    pub(crate) is_first: bool,
    /// What happens.
    pub(crate) happening: Happening,
}

/// Draws a schedule: a whole round of all kinds at least.
pub(crate) fn draw(seed: u64, duration: Duration, kinds: &[Kind]) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut schedule: Vec<Planned> = Vec::new();
    let mut bag: Vec<Kind> = Vec::new();
    let mut at = Duration::from_secs(1);
    let mut was_alone = true;
    while at < duration || schedule.len() < kinds.len() {
        if bag.is_empty() {
            bag.extend_from_slice(kinds);
            bag.shuffle(&mut random);
        }
        let Some(kind) = bag.pop() else { break };
        let is_first = schedule.len() < kinds.len();
        let Some(happening) = Happening::draw(kind, kinds, was_alone, &mut random) else { break };
        if let Happening::Lasting { meanwhile, .. } = happening {
            was_alone = meanwhile.is_none();
        }
        schedule.push(Planned { at, kind, is_first, happening });
        let (shortest, longest) = if is_first { FIRST_GAPS } else { LATER_GAPS };
        at += happening.usual_duration() + millis(&mut random, shortest, longest);
    }
    schedule
}

impl Happening {
    /// Of two that last one after the other, one has something happen meanwhile at least: `was_alone` is about the
    /// last.
    fn draw(kind: Kind, kinds: &[Kind], was_alone: bool, random: &mut StdRng) -> Option<Self> {
        let Some(condition) = Condition::draw(kind, random) else {
            return Fault::draw(kind, None, random).map(Self::Sudden);
        };
        let lasts = condition.draw_duration(random);
        let meanwhile =
            if was_alone || random.random() { Meanwhile::draw(condition, lasts, kinds, random) } else { None };
        Some(Self::Lasting { condition, lasts, meanwhile })
    }

    fn usual_duration(self) -> Duration {
        match self {
            Self::Sudden(fault) => fault.usual_duration(),
            Self::Lasting { lasts, meanwhile: None, .. } => lasts,
            Self::Lasting { lasts, meanwhile: Some(inner), .. } => {
                lasts.max(inner.after + inner.fault.usual_duration())
            }
        }
    }
}

impl Meanwhile {
    /// Early enough to be over, as a rule, before the condition is; none if there is no kind that can happen then.
    fn draw(condition: Condition, lasts: Duration, kinds: &[Kind], random: &mut StdRng) -> Option<Self> {
        let kind = kinds.iter().copied().filter(|kind| condition.allows(*kind)).choose(random)?;
        let after = lasts.mul_f64(random.random_range(0.1..0.4));
        let fault = Fault::draw(kind, condition.spared(), random)?;
        Some(Self { after, kind, fault })
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sudden(fault) => write!(f, "{fault}"),
            Self::Lasting { condition, lasts, meanwhile: None } => write!(f, "{condition} for {lasts:?}"),
            Self::Lasting { condition, lasts, meanwhile: Some(Meanwhile { after, fault, .. }) } => {
                write!(f, "{condition} for {lasts:?}, and {after:.1?} into it {fault}")
            }
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.2} s  {}", self.at.as_secs_f64(), self.happening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, seconds: u64) -> Vec<Planned> {
        draw(seed, Duration::from_secs(seconds), &Kind::ALL)
    }

    fn printed(seed: u64) -> Vec<String> {
        drawn(seed, 600).iter().map(Planned::to_string).collect()
    }

    #[test]
    fn a_seed_is_a_schedule_and_every_kind_comes_up() {
        assert_eq!(printed(7), printed(7));
        assert_ne!(printed(7), printed(8));
        let all = printed(7).join("\n");
        for words in [
            "SIGKILL store\n",
            "times in a row",
            "again",
            "into a registration",
            "to be forgotten",
            "SIGSTOP",
            "reset",
            "garbage",
            "SIGTERM",
            "full",
            "torn",
        ] {
            assert!(all.contains(words), "{words}");
        }
    }

    /// However short the round is. As a rule, all kinds come up within half a minute.
    #[test]
    fn every_kind_comes_up_in_the_first_round() {
        for seconds in [1, 30] {
            let first: Vec<_> = drawn(7, seconds).into_iter().filter(|planned| planned.is_first).collect();
            assert!(Kind::ALL.iter().all(|kind| first.iter().any(|planned| planned.kind == *kind)));
            assert_eq!(first.len(), Kind::ALL.len());
        }
        let lasts = |seed| drawn(seed, 1).last().map(|planned| planned.at + planned.happening.usual_duration());
        let in_time = (0..100).filter(|seed| lasts(*seed) < Some(Duration::from_secs(30))).count();
        assert!(in_time > 80, "{in_time} of 100 first rounds");
    }

    /// At least a third of the faults that last have another one happen meanwhile.
    #[test]
    fn a_third_of_lasting_faults_and_not_all_overlap_another() {
        for seed in 0..20 {
            let (mut alone, mut overlapping) = (0, 0);
            for planned in drawn(seed, 600) {
                let Happening::Lasting { condition, lasts, meanwhile } = planned.happening else { continue };
                let Some(inner) = meanwhile else {
                    alone += 1;
                    continue;
                };
                overlapping += 1;
                assert!(inner.after < lasts && condition.allows(inner.kind), "{planned}");
                let Fault::Kill { worker } = inner.fault else { continue };
                assert_ne!(condition.spared(), Some(worker), "{planned}");
            }
            assert!(alone > 0 && overlapping * 3 >= alone + overlapping, "{alone} alone, {overlapping} overlapping");
        }
    }
}
