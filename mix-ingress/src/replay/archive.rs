//! Saves marks in `store` and reads them back: one question at a time, over the present link.
//!
//! *Trusts* `store` to return the marks that it was given. An answer of the wrong kind ends the link.

use ipc::ingress_store::{IngressToStore, ReplayAnswer, ReplayGeneration, ReplayRequest, Rule};
use tokio::sync::mpsc;
use worker::duplex::LinkSender;

/// A link to one incarnation of `store`, for questions about marks.
pub(crate) struct ArchiveLink {
    /// Takes questions.
    pub(crate) store: LinkSender<IngressToStore>,
    /// Brings answers, and ends with the link.
    pub(crate) answers: mpsc::Receiver<ReplayAnswer>,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no `store`, or it ended before it answered.
    #[error("there is no link to store")]
    NoLink,
    /// `store` cannot write the marks.
    #[error("store cannot write them")]
    GivenUp,
}

/// The marks that `store` keeps.
pub(crate) struct Archive {
    links: mpsc::Receiver<ArchiveLink>,
    link: Option<ArchiveLink>,
}

impl Archive {
    /// `links` brings one link for each incarnation of `store`.
    pub(crate) const fn new(links: mpsc::Receiver<ArchiveLink>) -> Self {
        Self { links, link: None }
    }

    /// Waits for the next incarnation of `store`, without limit, because nothing can be delivered without `store` either. To be
    /// called whenever no question is open, so that the sender of links does not wait long.
    pub(crate) async fn next_link(&mut self) {
        match self.links.recv().await {
            Some(link) => self.link = Some(link),
            // The sender is gone, so no link will come.
            None => std::future::pending().await,
        }
    }

    /// The generations that `store` keeps.
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
        let link = self.link.as_mut().ok_or(AskError::NoLink)?;
        // No time limit: the answer comes, or the link ends.
        let answer = match link.store.control.send(IngressToStore::AskReplay(request)).await {
            Ok(()) => link.answers.recv().await,
            Err(_) => None,
        };
        if answer.is_none() {
            self.link = None;
        }
        answer.ok_or(AskError::NoLink)
    }

    fn unfit(&mut self) -> AskError {
        if let Some(link) = self.link.take() {
            link.store.drop_link(Rule::UnfitReplayAnswer);
        }
        AskError::NoLink
    }
}
