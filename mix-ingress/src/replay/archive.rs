//! Asking `store` about marks: one question at a time, over whatever link there is.
//!
//! *Trusts* `store` to give back what it was given; an answer of the wrong kind ends the link.

use proto::{
    ipc::ingress_store::{IngressToStore, ReplayAnswer, ReplayGeneration, ReplayRequest},
    link::duplex::LinkSender,
};
use tokio::sync::mpsc;

const RULE_UNFIT: &str = "an answer about marks that does not fit the question";

/// The link to one incarnation of `store`, as far as marks are concerned.
pub(crate) struct Line {
    /// Takes questions.
    pub(crate) store: LinkSender<IngressToStore>,
    /// Brings answers. Ends with the link.
    pub(crate) answers: mpsc::Receiver<ReplayAnswer>,
}

/// Why a question came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no store, or it went away before it answered.
    #[error("there is no link to store")]
    NoLink,
    /// It cannot.
    #[error("store cannot write them")]
    GivenUp,
}

/// The marks in the hands of `store`.
pub(crate) struct Archive {
    lines: mpsc::Receiver<Line>,
    line: Option<Line>,
}

impl Archive {
    /// `lines` brings one line for each incarnation of `store`.
    pub(crate) const fn new(lines: mpsc::Receiver<Line>) -> Self {
        Self { lines, line: None }
    }

    /// Waits for the next incarnation of `store`: as long as it takes, because without it nothing can be delivered either.
    /// To be called whenever there is nothing to ask, so that nobody waits for this.
    pub(crate) async fn next_line(&mut self) {
        match self.lines.recv().await {
            Some(line) => self.line = Some(line),
            // Nobody is left to bring one.
            None => std::future::pending().await,
        }
    }

    /// What is kept.
    pub(crate) async fn list(&mut self) -> Result<Vec<ReplayGeneration>, AskError> {
        match self.ask(ReplayRequest::ListGenerations).await? {
            ReplayAnswer::OfferGenerations { generations } => Ok(generations),
            _ => Err(self.unfit()),
        }
    }

    /// Marks of a generation, from byte `offset` on; none if `store` cannot read them.
    pub(crate) async fn read(&mut self, generation: u64, offset: u64) -> Result<bytes::Bytes, AskError> {
        match self.ask(ReplayRequest::ReadMarks { generation, offset }).await? {
            ReplayAnswer::GiveMarks { marks } => Ok(marks.0),
            _ => Err(self.unfit()),
        }
    }

    /// One step of saving.
    pub(crate) async fn step(&mut self, request: ReplayRequest) -> Result<(), AskError> {
        match self.ask(request).await? {
            ReplayAnswer::Proceed => Ok(()),
            ReplayAnswer::GiveUp => Err(AskError::GivenUp),
            _ => Err(self.unfit()),
        }
    }

    async fn ask(&mut self, request: ReplayRequest) -> Result<ReplayAnswer, AskError> {
        let line = self.line.as_mut().ok_or(AskError::NoLink)?;
        // No time limit: the answer comes, or the link ends.
        let answer = match line.store.control.send(IngressToStore::AskReplay(request)).await {
            Ok(()) => line.answers.recv().await,
            Err(_) => None,
        };
        if answer.is_none() {
            self.line = None;
        }
        answer.ok_or(AskError::NoLink)
    }

    fn unfit(&mut self) -> AskError {
        if let Some(line) = self.line.take() {
            line.store.drop_link(RULE_UNFIT);
        }
        AskError::NoLink
    }
}
