//! The pages of figures: made once for each gateway, so that what a worker has counted survives its death.
//!
//! *Trusts* no worker: its page is read number by number. *Holds* the only descriptors by which a page can be written; a worker gets
//! that of its own page, and the one that serves metrics those of all for reading. *Promises*: no two processes write one page, so a probe of an audit gets
//! a page that nobody reads.

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::Ordering::Relaxed,
    time::{SystemTime, UNIX_EPOCH},
};

use figures::{Page, Reading, supervisor::SupervisorFigures};
use ipc::{Role, control::Grant};
use sandbox::page::{self, ReadOnlyPage};

use super::per_role::PerRole;

/// The pages of a gateway.
#[derive(Debug)]
pub(crate) struct FiguresPages {
    workers: PerRole<OnePage>,
    supervisor: OnePage,
    own: SupervisorFigures,
}

#[derive(Debug)]
struct OnePage {
    writable: OwnedFd,
    read: ReadOnlyPage,
}

impl OnePage {
    fn make(page: Page) -> io::Result<Self> {
        let writable = page::create(page.bytes())?;
        let read = ReadOnlyPage::map(page::reopen_for_reading(&writable)?)?;
        Ok(Self { writable, read })
    }
}

impl FiguresPages {
    /// Makes them, all numbers zero.
    ///
    /// # Errors
    /// If the kernel gives no memory or no descriptor.
    pub(crate) fn make() -> io::Result<Self> {
        let supervisor = OnePage::make(Page::Supervisor)?;
        let own = page::map_for_writing(supervisor.writable.try_clone()?)?;
        let own = SupervisorFigures::in_page(own).map_err(io::Error::other)?;
        // A clock before 1970 was never set.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        own.start_timestamp.store(started.as_secs(), Relaxed);
        Ok(Self { workers: PerRole::try_new(|role| OnePage::make(Page::Worker(role)))?, supervisor, own })
    }

    /// The page of a worker, for its next life.
    ///
    /// # Errors
    /// If the kernel gives no further descriptor.
    pub(crate) fn grant_for(&self, role: Role) -> io::Result<(Grant, OwnedFd)> {
        Ok((Grant::FiguresPage, self.workers.get(role).writable.try_clone()?))
    }

    /// Every page for reading, for the worker that serves metrics.
    ///
    /// # Errors
    /// If the kernel gives no further descriptor.
    pub(crate) fn grants_for_reading(&self) -> io::Result<Vec<(Grant, OwnedFd)>> {
        let grant = |page| {
            let (role, of) = match page {
                Page::Worker(role) => (Some(role), self.workers.get(role)),
                Page::Supervisor => (None, &self.supervisor),
            };
            Ok((Grant::ReadOnlyPage(role), page::reopen_for_reading(&of.writable)?))
        };
        Page::ALL.into_iter().map(grant).collect()
    }

    /// A page for a probe that takes the place of a worker.
    ///
    /// # Errors
    /// If the kernel gives no memory or no descriptor.
    pub(crate) fn grant_for_probe(role: Role) -> io::Result<(Grant, OwnedFd)> {
        Ok((Grant::FiguresPage, page::create(Page::Worker(role).bytes())?))
    }

    /// What a page shows now.
    pub(crate) fn read(&self, page: Page) -> Reading {
        let of = match page {
            Page::Worker(role) => self.workers.get(role),
            Page::Supervisor => &self.supervisor,
        };
        Reading::take(page, |place| of.read.value(place))
    }

    /// What all pages show now.
    pub(crate) fn read_all(&self) -> Vec<Reading> {
        Page::ALL.into_iter().map(|page| self.read(page)).collect()
    }

    /// The supervisor's own figures.
    pub(crate) const fn own(&self) -> &SupervisorFigures {
        &self.own
    }
}

#[cfg(test)]
mod tests {
    use figures::mix_egress::EgressCounters;

    use super::*;

    fn take_up(descriptor: OwnedFd) -> EgressCounters {
        EgressCounters::in_page(page::map_for_writing(descriptor).unwrap()).unwrap()
    }

    #[test]
    fn counters_survive_a_worker_and_no_probe_touches_them() {
        let pages = FiguresPages::make().unwrap();
        let sent = |pages: &FiguresPages| pages.read(Page::Worker(Role::MixEgress)).value("packets_sent");
        for life in 1..=2 {
            let counters = take_up(pages.grant_for(Role::MixEgress).unwrap().1);
            counters.packets_sent.fetch_add(3, Relaxed);
            assert_eq!(sent(&pages), 3 * life);
        }
        let probe = take_up(FiguresPages::grant_for_probe(Role::MixEgress).unwrap().1);
        probe.packets_sent.fetch_add(1, Relaxed);
        assert_eq!(sent(&pages), 6);
    }

    #[test]
    fn pages_for_metrics_can_be_read_and_not_written() {
        let pages = FiguresPages::make().unwrap();
        take_up(pages.grant_for(Role::MixEgress).unwrap().1).packets_sent.fetch_add(3, Relaxed);
        let granted = pages.grants_for_reading().unwrap();
        assert_eq!(granted.len(), Page::ALL.len());
        for (grant, descriptor) in granted {
            assert!(page::map_for_writing(descriptor.try_clone().unwrap()).is_err(), "{grant:?}");
            let read = ReadOnlyPage::map(descriptor).unwrap();
            if grant == Grant::ReadOnlyPage(Some(Role::MixEgress)) {
                let reading = Reading::take(Page::Worker(Role::MixEgress), |place| read.value(place));
                assert_eq!(reading.value("packets_sent"), 3);
            }
        }
    }
}
