//! What came of the faults: which kinds were brought about, and why others were not.

use std::fmt;

use crate::fault::Kind;

/// What came of one fault.
#[derive(Debug)]
pub(crate) enum Effect {
    /// It was brought about, and in which way, if there is more to say.
    Done(String),
    /// It was not.
    NotDone(String),
}

impl Effect {
    /// Brought about, and no more to say.
    pub(crate) const DONE: Self = Self::Done(String::new());
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(how) if how.is_empty() => write!(f, "done"),
            Self::Done(how) => write!(f, "done; {how}"),
            Self::NotDone(why) => write!(f, "not done: {why}"),
        }
    }
}

/// The kinds of faults of a run.
#[derive(Debug)]
pub(crate) struct Coverage {
    /// Each with whether it was brought about, and otherwise why it was not the last time.
    kinds: Vec<(Kind, Option<Effect>)>,
    /// Faults that happened while something else lasted.
    overlapping: usize,
}

impl Coverage {
    /// Nothing has happened yet.
    pub(crate) fn of(kinds: &[Kind]) -> Self {
        Self { kinds: kinds.iter().map(|kind| (*kind, None)).collect(), overlapping: 0 }
    }

    /// Whether there are any kinds.
    pub(crate) fn is_of_any(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// A fault of this kind had this effect.
    pub(crate) fn note(&mut self, kind: Kind, effect: Effect) {
        for (_, known) in self.kinds.iter_mut().filter(|(known, _)| *known == kind) {
            if !matches!(known, Some(Effect::Done(_))) {
                *known = Some(effect);
                return;
            }
        }
    }

    /// As [`note`](Self::note), of a fault in the middle of something else.
    pub(crate) fn note_overlapping(&mut self, kind: Kind, effect: Effect) {
        self.overlapping += usize::from(matches!(effect, Effect::Done(_)));
        self.note(kind, effect);
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.kinds.iter().filter(|(_, effect)| !matches!(effect, Some(Effect::Done(_))));
        let done = self.kinds.len() - missing.clone().count();
        writeln!(f, "faults in the middle of others: {}", self.overlapping)?;
        write!(f, "kinds of faults brought about: {done} of {}", self.kinds.len())?;
        for (kind, effect) in missing {
            match effect {
                Some(effect) => write!(f, "\nnot brought about: {}, {effect}", kind.name())?,
                None => write!(f, "\nnot brought about: {}", kind.name())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_brought_about_is_named_with_the_last_reason() {
        let mut coverage = Coverage::of(&[Kind::Kill, Kind::Garbage, Kind::Stop]);
        coverage.note(Kind::Stop, Effect::DONE);
        coverage.note_overlapping(Kind::Kill, Effect::NotDone("no".into()));
        coverage.note_overlapping(Kind::Kill, Effect::DONE);
        coverage.note(Kind::Kill, Effect::NotDone("never mind".into()));
        coverage.note(Kind::Garbage, Effect::NotDone("no link".into()));
        assert_eq!(
            coverage.to_string(),
            "faults in the middle of others: 1\nkinds of faults brought about: 2 of 3\n\
             not brought about: garbage, not done: no link"
        );
    }
}
