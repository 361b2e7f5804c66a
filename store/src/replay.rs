//! The marks of packets seen, kept for `mix-ingress` so that a restart of it, or of the whole gateway, forgets no replay.
//!
//! *Trusts* `mix-ingress` with what marks mean; not with how many there are, nor with the order of its requests. *Holds* one
//! directory, never a database: two files, one for each of two generations, and one that is being written. *Promises*: a
//! generation is replaced whole or not at all, whatever dies in between; a file that is not as it was written is put
//! aside and never offered; all this happens on a thread of its own, one piece at a time, so that mail waits for none of
//! it; the room that mail needs on the disk is left free.

mod file;
#[cfg(feature = "found-records")]
pub mod found;

use std::{io, os::fd::OwnedFd};

use proto::{
    ipc::{
        Opaque, Role,
        ingress_store::{GENERATION_LIMIT, MARKS_LEN, ReplayAnswer, ReplayGeneration, ReplayRequest, StoreToIngress},
    },
    link::duplex::LinkSender,
};
use sandbox::Closed;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::office::Fault;
use file::{Draft, Intact, OpenError};

/// One at work and, for a moment after its answer, the next; a new `mix-ingress` may come while its predecessor's is at work.
const REQUESTS: usize = 2;

const RULE_IMPATIENT: &str = "asked about marks before the last answer";
const RULE_TOO_LARGE: &str = "announced more marks than a generation may have";
const RULE_NO_SAVE: &str = "sent marks that it had not announced";
const RULE_UNFINISHED: &str = "committed marks that it had not sent";
const RULE_UNKNOWN: &str = "asked for marks that were not offered";

/// A request, and who gets the answer.
type Question = (ReplayRequest, LinkSender<StoreToIngress>);

/// The archive's counter: hands requests to its thread.
pub struct ReplayArchive {
    questions: mpsc::Sender<Question>,
}

impl ReplayArchive {
    /// Starts the thread that works in `directory`; it ends when this value is dropped.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn open(_: &Closed, directory: OwnedFd) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel(REQUESTS);
        let archivist = Archivist { directory, offered: Vec::new(), draft: None, is_failing: false };
        std::thread::Builder::new().name("replay".into()).spawn(move || archivist.work(asked))?;
        Ok(Self { questions })
    }

    /// Has a request answered, without waiting.
    ///
    /// # Errors
    /// If it came before the last one was answered, or the thread is gone.
    pub(crate) fn ask(&self, request: ReplayRequest, link: LinkSender<StoreToIngress>) -> Result<(), Fault> {
        self.questions.try_send((request, link)).map_err(|error| match error {
            TrySendError::Full(_) => Fault::Violation { peer: Role::MixIngress, rule: RULE_IMPATIENT },
            TrySendError::Closed(_) => Fault::JobDied,
        })
    }
}

/// Works on the files, alone.
struct Archivist {
    directory: OwnedFd,
    offered: Vec<Intact>,
    draft: Option<Draft>,
    /// Whether the last attempt to write failed, which is said once.
    is_failing: bool,
}

impl Archivist {
    fn work(mut self, mut asked: mpsc::Receiver<Question>) {
        while let Some((request, link)) = asked.blocking_recv() {
            match self.answer(request) {
                // A peer that is gone needs no answer, and one that asks one thing at a time has room for it.
                Ok(answer) => drop(link.control.try_send(StoreToIngress::AnswerReplay(answer))),
                Err(rule) => link.drop_link(rule),
            }
        }
    }

    /// What is answered, or which rule was broken.
    fn answer(&mut self, request: ReplayRequest) -> Result<ReplayAnswer, &'static str> {
        match request {
            ReplayRequest::ListGenerations => {
                self.draft = None;
                self.offered = self.list();
                let generations = self.offered.iter().map(Intact::generation).collect();
                Ok(ReplayAnswer::OfferGenerations { generations })
            }
            ReplayRequest::ReadMarks { generation, offset } => {
                let mut offered = self.offered.iter();
                let file = offered.find(|file| file.generation().number == generation).ok_or(RULE_UNKNOWN)?;
                let marks = file.read(offset, MARKS_LEN).unwrap_or_else(|error| {
                    tracing::error!(%error, generation, "marks of packets seen cannot be read any more");
                    Vec::new()
                });
                Ok(ReplayAnswer::GiveMarks { marks: Opaque(marks.into()) })
            }
            ReplayRequest::BeginSave { generation } => {
                if generation.len > GENERATION_LIMIT {
                    return Err(RULE_TOO_LARGE);
                }
                let begun = Draft::begin(&self.directory, generation);
                Ok(self.note(begun, |this, draft| this.draft = Some(draft)))
            }
            ReplayRequest::WriteMarks { marks } => {
                let draft = self.draft.as_mut().ok_or(RULE_NO_SAVE)?;
                let len = marks.0.len();
                if len > MARKS_LEN || len as u64 > draft.missing() {
                    return Err(RULE_NO_SAVE);
                }
                let written = draft.write(&marks.0);
                Ok(self.note(written, |_, ()| ()))
            }
            ReplayRequest::CommitSave => {
                let draft = self.draft.take().ok_or(RULE_NO_SAVE)?;
                if draft.missing() > 0 {
                    return Err(RULE_UNFINISHED);
                }
                let committed = draft.commit(&self.directory);
                Ok(self.note(committed, |_, ()| ()))
            }
        }
    }

    /// What is on disk and intact. Whatever is not is put aside.
    fn list(&self) -> Vec<Intact> {
        let mut intact = Vec::new();
        for name in file::NAMES {
            match Intact::open(&self.directory, name) {
                Ok(file) => intact.extend(file),
                Err(OpenError::Damaged(damage)) => {
                    tracing::error!(
                        file = name,
                        "the marks of packets seen cannot be used: {damage}; the file is put aside, and replays of \
                         packets it stood for will not be noticed"
                    );
                    if let Err(error) = file::put_aside(&self.directory, name) {
                        tracing::error!(file = name, %error, "the file cannot be put aside");
                    }
                }
                Err(OpenError::Io(error)) => {
                    tracing::error!(
                        file = name, %error,
                        "the marks of packets seen cannot be read; replays of packets it stood for will not be noticed"
                    );
                }
            }
        }
        intact
    }

    fn note<T>(&mut self, outcome: io::Result<T>, and: impl FnOnce(&mut Self, T)) -> ReplayAnswer {
        match outcome {
            Ok(value) => {
                and(self, value);
                if self.is_failing && self.draft.is_none() {
                    self.is_failing = false;
                    tracing::info!("the marks of packets seen are saved again");
                }
                ReplayAnswer::Proceed
            }
            Err(error) => {
                self.draft = None;
                file::discard_draft(&self.directory);
                if !self.is_failing {
                    self.is_failing = true;
                    tracing::error!(
                        %error,
                        "the marks of packets seen cannot be saved; replays may not be noticed after a restart"
                    );
                }
                ReplayAnswer::GiveUp
            }
        }
    }
}

#[cfg(test)]
mod tests;
