//! What a check has found: each finding with a verdict, and with a remedy unless it is good.

use serde::Serialize;

use crate::console::Console;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Good,
    /// The gateway works, but less well than it could, or it could not be found out.
    Doubtful,
    /// The gateway cannot start, or clients or the directory stay away.
    Bad,
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) verdict: Verdict,
    /// What was looked at, or what is wrong with it.
    pub(crate) what: String,
    /// What to do; empty if nothing is to be done.
    pub(crate) remedy: String,
}

impl Line {
    /// Nothing is to be done.
    pub(crate) fn good(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, what: what.into(), remedy: String::new() }
    }

    /// Something could be better, or is not known.
    pub(crate) fn doubtful(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Doubtful, what: what.into(), remedy: remedy.into() }
    }

    /// Something has to be mended.
    pub(crate) fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, what: what.into(), remedy: remedy.into() }
    }

    /// Prints it, with its remedy on a line of its own.
    pub(crate) fn print(&self, console: &mut Console<'_>) {
        let word = match self.verdict {
            Verdict::Good => "ok   ",
            Verdict::Doubtful => "note ",
            Verdict::Bad => "WRONG",
        };
        console.line(format_args!("{word}  {}", self.what));
        if !self.remedy.is_empty() {
            console.line(format_args!("       -> {}", self.remedy));
        }
    }
}
