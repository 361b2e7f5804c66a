//! The marks of packets seen, kept for `mix-ingress` so that a restart of it, or of the whole gateway, forgets no replay.
//!
//! *Trusts* `mix-ingress` with what marks mean; not with how many there are, nor with the order of its requests. *Holds* one
//! directory, never a database: a file for each generation, and one that is being written. *Promises*: the files of all
//! generations together take no more than the bytes of the configuration (`memory` in `[replay]`), and the one that is being
//! written no more than that again; a generation is replaced whole or not at all, whatever dies in between; a file that is
//! not as it was written is put aside and never offered; all this happens on a thread of its own, one piece at a time, so
//! that mail waits for none of it; the room that mail needs on the disk is left free.

mod file;
#[cfg(feature = "found-records")]
pub mod found;

use std::{fs::File, io, os::fd::OwnedFd};

use nix::{errno::Errno, fcntl::OFlag};

use ipc::{
    Opaque,
    ingress_store::{
        GENERATION_LIMIT, GENERATIONS_LIMIT, MARKS_LEN, ReplayAnswer, ReplayGeneration, ReplayRequest, Rule,
        StoreToIngress,
    },
};
use sandbox::Closed;
use tokio::sync::mpsc::{self, error::TrySendError};
use worker::duplex::LinkSender;

use crate::{core::Fault, plain_file};
use file::{Draft, Intact, OpenError};

/// One at work and, for a moment after its answer, the next; a new `mix-ingress` may come while its predecessor's is at work.
const REQUESTS: usize = 2;

/// A request, and the link for the answer.
type Question = (ReplayRequest, LinkSender<StoreToIngress>);

/// The files of generations that are saved now, and their names. Each stays as it is while it is open.
pub(crate) fn saved(directory: &OwnedFd) -> io::Result<Vec<(String, File)>> {
    let mut files = Vec::new();
    for name in file::names() {
        match plain_file::open(directory, &name, OFlag::O_RDONLY) {
            Ok(file) => files.push((name, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Hands requests to the archive's thread.
pub struct ReplayArchive {
    questions: mpsc::Sender<Question>,
}

impl ReplayArchive {
    /// Starts the thread that works in `directory`, where it keeps so many bytes of marks; it ends when this value is dropped.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn open(_: &Closed, directory: OwnedFd, bytes: u64) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel(REQUESTS);
        let archivist = Archivist::new(directory, bytes);
        std::thread::Builder::new().name("replay".into()).spawn(move || archivist.work(asked))?;
        Ok(Self { questions })
    }

    /// Hands over a request; its answer goes to `link`.
    ///
    /// # Errors
    /// If it came before the last one was answered, or the thread is gone.
    pub(crate) fn ask(&self, request: ReplayRequest, link: LinkSender<StoreToIngress>) -> Result<(), Fault> {
        self.questions.try_send((request, link)).map_err(|error| match error {
            TrySendError::Full(_) => Fault::IngressViolation(Rule::ReplayRequestTooEarly),
            TrySendError::Closed(_) => Fault::JobDied,
        })
    }
}

/// Works on the files, alone.
struct Archivist {
    directory: OwnedFd,
    /// The most bytes of marks in all files together.
    bytes: u64,
    /// Each file and the generation in it. None before the first listing.
    kept: Option<Vec<(String, ReplayGeneration)>>,
    /// What can be read.
    offered: Vec<Intact>,
    draft: Option<Save>,
    /// The last attempt to write failed, and that has been logged.
    is_failing: bool,
}

/// A generation that is being saved.
struct Save {
    draft: Draft,
    generation: ReplayGeneration,
    /// The numbers of all generations that stay when this one is durable.
    live: Vec<u64>,
}

impl Archivist {
    const fn new(directory: OwnedFd, bytes: u64) -> Self {
        Self { directory, bytes, kept: None, offered: Vec::new(), draft: None, is_failing: false }
    }

    fn work(mut self, mut asked: mpsc::Receiver<Question>) {
        while let Some((request, link)) = asked.blocking_recv() {
            match self.answer(request) {
                // A peer that is gone needs no answer, and a peer that asks one thing at a time has room for it.
                Ok(answer) => drop(link.control.try_send(StoreToIngress::AnswerReplay(answer))),
                Err(rule) => link.drop_link(rule),
            }
        }
    }

    /// The answer, or the rule that was broken.
    fn answer(&mut self, request: ReplayRequest) -> Result<ReplayAnswer, Rule> {
        match request {
            ReplayRequest::ListGenerations => {
                self.draft = None;
                self.offered = self.list();
                let generations = self.offered.iter().map(Intact::generation).collect();
                Ok(ReplayAnswer::OfferGenerations { generations })
            }
            ReplayRequest::ReadMarks { generation, offset } => {
                let mut offered = self.offered.iter();
                let file = offered.find(|file| file.generation().number == generation).ok_or(Rule::UnofferedMarks)?;
                let marks = file.read(offset, MARKS_LEN).unwrap_or_else(|error| {
                    tracing::error!(
                        id = "GWD-S049", %error, generation,
                        "marks of packets seen cannot be read any more"
                    );
                    Vec::new()
                });
                Ok(ReplayAnswer::GiveMarks { marks: Opaque(marks.into()) })
            }
            ReplayRequest::BeginSave { generation, live } => self.begin(generation, live),
            ReplayRequest::WriteMarks { marks } => {
                let draft = &mut self.draft.as_mut().ok_or(Rule::UnannouncedMarks)?.draft;
                let len = marks.0.len();
                if len > MARKS_LEN || len as u64 > draft.missing() {
                    return Err(Rule::UnannouncedMarks);
                }
                let written = draft.write(&marks.0);
                Ok(self.note(written, |_, ()| ()))
            }
            ReplayRequest::CommitSave => {
                let save = self.draft.take().ok_or(Rule::UnannouncedMarks)?;
                if save.draft.missing() > 0 {
                    return Err(Rule::MissingMarks);
                }
                let committed = save.draft.commit(&self.directory);
                Ok(self.note(committed, |this, ()| this.replace(save.generation, &save.live)))
            }
        }
    }

    /// Begins to save a generation, if the generations that stay leave room for it.
    fn begin(&mut self, generation: ReplayGeneration, live: Vec<u64>) -> Result<ReplayAnswer, Rule> {
        if generation.len > GENERATION_LIMIT {
            return Err(Rule::GenerationTooLarge);
        }
        if live.len() > GENERATIONS_LIMIT {
            return Err(Rule::TooManyMarks);
        }
        // A removed file takes its room for as long as it is open.
        self.offered.clear();
        if self.kept.is_none() {
            self.list();
        }
        let place = file::name_of(generation.number);
        let stays = |(name, kept): &&(String, ReplayGeneration)| {
            *name != place && kept.number != generation.number && live.contains(&kept.number)
        };
        let beside = self.kept.iter().flatten().filter(stays).map(|(_, kept)| kept.len);
        if beside.fold(generation.len, u64::saturating_add) > self.bytes {
            return Err(Rule::TooManyMarks);
        }
        let begun = Draft::begin(&self.directory, generation);
        Ok(self.note(begun, |this, draft| this.draft = Some(Save { draft, generation, live })))
    }

    /// Removes the files that a durable generation has made useless.
    fn replace(&mut self, generation: ReplayGeneration, live: &[u64]) {
        let place = file::name_of(generation.number);
        let mut kept = self.kept.take().unwrap_or_default();
        kept.retain(|(name, other)| {
            if *name == place {
                return false;
            }
            let is_useless = other.number == generation.number || !live.contains(&other.number);
            !(is_useless && self.is_removed(name))
        });
        kept.push((place, generation));
        self.kept = Some(kept);
    }

    /// Removes a file. A file that cannot be removed still takes its room, and the next save tries again.
    fn is_removed(&self, name: &str) -> bool {
        match file::remove(&self.directory, name) {
            Ok(()) | Err(Errno::ENOENT) => true,
            Err(error) => {
                tracing::error!(id = "GWD-S050", file = name, %error, "old marks of packets seen cannot be removed");
                false
            }
        }
    }

    /// Lists the intact files. Damaged files are put aside; those of an earlier version are removed.
    fn list(&mut self) -> Vec<Intact> {
        let mut kept = Vec::new();
        let mut intact = Vec::new();
        for name in file::names() {
            if let Some(file) = self.open_or_put_aside(&name) {
                kept.push((name, file.generation()));
                intact.push(file);
            }
        }
        self.kept = Some(kept);
        intact
    }

    fn open_or_put_aside(&self, name: &str) -> Option<Intact> {
        match Intact::open(&self.directory, name) {
            Ok(file) => return file,
            Err(OpenError::Earlier) => {
                tracing::warn!(
                    id = "GWD-S051",
                    file = name,
                    "the marks of packets seen were made by an earlier version, which marked packets in another way; they \
                     are removed, and replays of packets from before the upgrade will not be noticed this once"
                );
                self.is_removed(name);
            }
            Err(OpenError::Damaged(damage)) => {
                tracing::error!(
                    id = "GWD-S052",
                    file = name,
                    "the marks of packets seen cannot be used: {damage}; the file is put aside, and replays of \
                     packets it stood for will not be noticed"
                );
                if let Err(error) = file::put_aside(&self.directory, name) {
                    tracing::error!(id = "GWD-S053", file = name, %error, "the file cannot be put aside");
                }
            }
            Err(OpenError::Io(error)) => {
                tracing::error!(
                    id = "GWD-S054",
                    file = name, %error,
                    "the marks of packets seen cannot be read; replays of packets it stood for will not be noticed"
                );
            }
        }
        None
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
                        id = "GWD-S055",
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
