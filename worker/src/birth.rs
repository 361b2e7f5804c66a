//! The birth of a worker: from its descriptors and its first message to the code with which its process ends. The control link is
//! read with blocking calls here, since there is one thread and no runtime yet; [`ControlLink`] reads it from then on.

use std::{
    ffi::CString,
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    sync::atomic::AtomicU64,
};

use figures::number::PageTooShort;
use ipc::{
    Role, codec,
    control::{Grant, Start, WorkerCommand, WorkerReport},
    jail::ActiveLayers,
    probe::{Attempt, Finding},
};
use link::descriptor;
use sandbox::page;

use crate::{
    build,
    control_link::{ControlLink, Ending},
};

/// Why a worker could not be born.
#[derive(Debug, thiserror::Error)]
pub enum BirthError {
    /// The control link failed.
    #[error("the control link failed: {0}; workers are started by `gatewayd run`, not by hand")]
    Control(#[from] io::Error),
    /// The first message does not start a worker.
    #[error(
        "the first message on the control link was not an order to start; are the worker and gatewayd of one version?"
    )]
    NoStart,
    /// A descriptor that the role needs is missing.
    #[error("gatewayd passed no {0:?}; are the worker and gatewayd of one version?")]
    MissingGrant(Grant),
    /// The page for figures cannot be mapped.
    #[error("cannot map the page for figures: {0}")]
    Page(io::Error),
    /// The page for figures is not what the role needs.
    #[error(transparent)]
    ShortPage(#[from] PageTooShort),
}

/// Runs a worker from its birth to its exit code. `alone` is the result of closing every descriptor but the three standard ones,
/// which must come before anything else. `live` takes the remaining steps and serves.
pub fn run<E: std::fmt::Display>(
    role: Role,
    alone: io::Result<()>,
    live: impl FnOnce(&Birth) -> Result<Ending, E>,
) -> ExitCode {
    if build::answer_if_asked() {
        return ExitCode::SUCCESS;
    }
    // The program is run from a descriptor, whose number would be the name in lists of processes. The name is only for operators, so a
    // failure does not matter.
    let _ = CString::new(role.name()).map(|name| nix::sys::prctl::set_name(&name));
    let birth = match alone.map_err(BirthError::Control).and_then(|()| Birth::inherited()) {
        Ok(birth) => birth,
        Err(error) => {
            // There is no log yet. A failure to write to standard error cannot be reported anywhere.
            let _ = writeln!(io::stderr(), "{role}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match live(&birth) {
        Ok(Ending::Drain) => ExitCode::SUCCESS,
        Ok(Ending::Orphaned) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(id = "GWD-W001", "{error}");
            birth.report_failure(&error.to_string());
            ExitCode::FAILURE
        }
    };
    logging::flush();
    code
}

/// The descriptors that a worker was given. Each can be taken once.
#[derive(Debug)]
pub struct Grants(Vec<(Grant, OwnedFd)>);

impl Grants {
    /// Takes the descriptor for `grant`.
    ///
    /// # Errors
    /// [`BirthError::MissingGrant`] if it was not given or is already taken.
    pub fn take(&mut self, grant: Grant) -> Result<OwnedFd, BirthError> {
        let index = self.0.iter().position(|(kind, _)| *kind == grant).ok_or(BirthError::MissingGrant(grant))?;
        Ok(self.0.swap_remove(index).1)
    }

    /// Maps the page in which this worker counts, and closes its descriptor. To be called before the jail is closed.
    ///
    /// # Errors
    /// If there is none, or it cannot be mapped.
    pub fn figures_page(&mut self) -> Result<&'static [AtomicU64], BirthError> {
        page::map_for_writing(self.take(Grant::FiguresPage)?).map_err(BirthError::Page)
    }
}

/// The control link before the runtime exists.
#[derive(Debug)]
pub struct Birth(OwnedFd);

impl Birth {
    /// The link that this process was given as standard input.
    ///
    /// # Errors
    /// If standard input is closed.
    pub fn inherited() -> Result<Self, BirthError> {
        Ok(Self(descriptor::inherited_control()?))
    }

    /// Waits for [`WorkerCommand::StartWorker`]. There is no time limit, since the supervisor sends it at once, or dies and so ends the
    /// link.
    ///
    /// # Errors
    /// If another message comes, or the link fails.
    pub fn receive_start(&self) -> Result<(Start, Grants), BirthError> {
        let (bytes, descriptors) = descriptor::receive(self.0.as_fd())?;
        match codec::decode_one(&bytes) {
            Ok(WorkerCommand::StartWorker(start)) if start.grants.len() == descriptors.len() => {
                let grants = Grants(start.grants.iter().copied().zip(descriptors).collect());
                Ok((*start, grants))
            }
            _ => Err(BirthError::NoStart),
        }
    }

    /// The bytes of the first message, for a program that is started with another message than a worker.
    ///
    /// # Errors
    /// If the link fails.
    pub fn receive_bytes(&self) -> Result<Vec<u8>, BirthError> {
        // Such a program gets no descriptors; any that came along are closed.
        Ok(self.receive_bytes_and_descriptors()?.0)
    }

    /// As [`Birth::receive_bytes`], for a program that is lent descriptors.
    ///
    /// # Errors
    /// If the link fails.
    pub fn receive_bytes_and_descriptors(&self) -> Result<(Vec<u8>, Vec<OwnedFd>), BirthError> {
        Ok(descriptor::receive(self.0.as_fd())?)
    }

    /// Tells the supervisor why this worker cannot start.
    pub fn report_failure(&self, what: &str) {
        self.report(&WorkerReport::StartFailed { what: what.to_owned() });
    }

    /// Tells the supervisor which layers of the jail hold.
    pub fn report_jail(&self, layers: &ActiveLayers) {
        self.report(&WorkerReport::JailClosed(layers.clone()));
    }

    /// Tells the supervisor which public key belongs to the private key that this worker was given.
    pub fn report_public_key(&self, key: [u8; 32]) {
        self.report(&WorkerReport::PublicKey(key));
    }

    /// Tells the supervisor that there is no room for new mail or new clients.
    pub fn report_full_storage(&self) {
        self.report(&WorkerReport::StorageFull);
    }

    fn report(&self, report: &WorkerReport) {
        if let Ok(bytes) = codec::encode_one(report) {
            // This fails only if the supervisor is gone.
            let _ = descriptor::send(self.0.as_fd(), &bytes, &[]);
        }
    }

    /// In an audit, makes one attempt in place of serving, at the point where a worker would begin to serve. `attempt` reports its
    /// findings. [`Attempt::Wait`] waits until the supervisor ends the link.
    pub fn probe(&self, what: &Attempt, attempt: impl FnOnce(&Attempt, &mut dyn FnMut(Finding))) -> Ending {
        attempt(what, &mut |finding| {
            if let Ok(bytes) = codec::encode_one(&WorkerReport::ReportFinding(finding)) {
                // This fails only if the supervisor is gone.
                let _ = descriptor::send(self.0.as_fd(), &bytes, &[]);
            }
        });
        if *what == Attempt::Wait {
            // Returns when the link ends; no message comes to a probe.
            let _ = descriptor::receive(self.0.as_fd());
        }
        Ending::Drain
    }

    /// The control link for a task of the current runtime.
    ///
    /// # Errors
    /// If the descriptor cannot be watched.
    pub fn control_link(&self) -> io::Result<ControlLink> {
        ControlLink::new(self.0.try_clone()?)
    }
}
