//! The way back of a new supervisor to the old one: its programs, and the listening sockets, held apart from what the workers are given.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use super::{
    exec::{Descriptors, become_program},
    record::{Handover, Purpose, Record},
};

/// The name of the supervisor among the programs.
pub(super) const SUPERVISOR: &str = "gatewayd";

/// What the old supervisor needs to come back. Dropping it closes the way.
#[derive(Debug)]
pub(crate) struct WayBack {
    upgrade: u64,
    gatewayd: File,
    workers: Vec<(String, OwnedFd)>,
    listeners: Vec<(String, OwnedFd)>,
    /// Whether new clients are let in.
    pub(crate) newcomers: bool,
}

impl WayBack {
    /// Takes the programs out of what was handed over.
    ///
    /// # Errors
    /// If there is no old `gatewayd`, or the kernel gives no further descriptor.
    pub(crate) fn take(handover: &mut Handover) -> io::Result<Self> {
        let mut workers = std::mem::take(&mut handover.programs);
        let place = workers.iter().position(|(name, _)| name == SUPERVISOR);
        let place = place.ok_or_else(|| io::Error::other("there is no old gatewayd"))?;
        let (_, gatewayd) = workers.swap_remove(place);
        let copy = |(name, fd): &(String, OwnedFd)| Ok((name.clone(), fd.try_clone()?));
        let listeners = handover.listeners.iter().map(copy).collect::<io::Result<_>>()?;
        Ok(Self {
            upgrade: handover.upgrade,
            gatewayd: gatewayd.into(),
            workers,
            listeners,
            newcomers: handover.newcomers,
        })
    }

    /// Becomes the old supervisor, because of `why`. Returns only if that fails.
    pub(crate) fn go(&self, why: &str) -> io::Error {
        tracing::error!(id = "GWD-G049", "the upgrade is undone, and the old programs come back: {why}");
        become_program(&self.gatewayd, &borrowed(&self.listeners), &borrowed(&self.workers), |listeners, programs| {
            let purpose = Purpose::Return { why: why.to_owned() };
            Record::new(self.upgrade, purpose, self.newcomers, listeners, programs)
        })
    }
}

fn borrowed(all: &[(String, OwnedFd)]) -> Descriptors<'_> {
    all.iter().map(|(name, fd)| (name.clone(), fd.as_fd())).collect()
}
