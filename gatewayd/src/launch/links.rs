//! The trust graph: which workers may talk to each other, and how each gets its end of a link.
//!
//! *Holds*: ends whose owners are not alive yet. *Promises*: two workers share no link that [`LINKS`] does not name. Each incarnation of
//! a worker gets new links, so that no byte for a dead worker reaches its successor.

use std::{io, os::fd::OwnedFd};

use ipc::Role::{self, ClientEdge, HttpApi, MixEgress, MixIngress, Store};
use link::descriptor::link_pair;

/// All links of the system.
pub(crate) const LINKS: [(Role, Role); 5] = [
    (MixIngress, Store),     // deliver, accepted
    (MixIngress, MixEgress), // SURB-acks of accepted messages
    (Store, ClientEdge),     // push, receipt
    (ClientEdge, MixEgress), // packets of clients
    (Store, HttpApi),        // host information, one way
];

/// The workers that `role` has a link to.
pub(crate) fn peers(role: Role) -> impl Iterator<Item = Role> {
    LINKS.into_iter().filter_map(move |(one, other)| match role {
        _ if role == one => Some(other),
        _ if role == other => Some(one),
        _ => None,
    })
}

/// One end of a link.
#[derive(Debug)]
pub(crate) struct LinkEnd {
    /// The worker that gets it.
    pub(crate) owner: Role,
    /// The worker that has, or will have, the other end.
    pub(crate) peer: Role,
    /// The socket.
    pub(crate) socket: OwnedFd,
}

/// Ends whose owners are not alive yet.
#[derive(Debug)]
pub(crate) struct WaitingEnds {
    ends: Vec<LinkEnd>,
    /// The workers that run. The others get no link.
    roles: Vec<Role>,
}

/// The ends that a new worker needs or causes.
#[derive(Debug)]
pub(crate) struct NewEnds {
    /// The new worker's own ends, one for each of its peers.
    pub(crate) own: Vec<LinkEnd>,
    /// The other ends of the links that were made for the new worker.
    pub(crate) of_peers: Vec<LinkEnd>,
}

impl WaitingEnds {
    /// No end waits yet. Only `roles` run.
    pub(crate) fn among(roles: impl IntoIterator<Item = Role>) -> Self {
        Self { ends: Vec::new(), roles: roles.into_iter().collect() }
    }

    /// The ends for a new worker: those that wait for it, and one of a new link to each other peer.
    ///
    /// # Errors
    /// If the kernel gives no socketpair. The ends that waited for the worker are closed then; the next attempt makes new links.
    pub(crate) fn for_new_worker(&mut self, role: Role) -> io::Result<NewEnds> {
        let mut ends =
            NewEnds { own: self.ends.extract_if(.., |end| end.owner == role).collect(), of_peers: Vec::new() };
        for peer in peers(role).filter(|peer| self.roles.contains(peer)) {
            if ends.own.iter().all(|end| end.peer != peer) {
                let (one, other) = link_pair()?;
                ends.own.push(LinkEnd { owner: role, peer, socket: one });
                ends.of_peers.push(LinkEnd { owner: peer, peer: role, socket: other });
            }
        }
        Ok(ends)
    }

    /// Keeps an end until its owner is started.
    pub(crate) fn keep(&mut self, end: LinkEnd) {
        self.ends.push(end);
    }

    /// Closes the ends whose other end died with `dead`.
    pub(crate) fn forget(&mut self, dead: Role) {
        self.ends.retain(|end| end.peer != dead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::HashMap,
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    fn sorted(roles: impl Iterator<Item = Role>) -> Vec<Role> {
        let mut roles: Vec<_> = roles.collect();
        roles.sort();
        roles
    }

    #[test]
    fn the_graph_is_the_documented_one() {
        assert_eq!(sorted(peers(Store)), [MixIngress, ClientEdge, HttpApi]);
        assert_eq!(sorted(peers(HttpApi)), [Store]);
        assert_eq!(sorted(peers(MixIngress)), [MixEgress, Store]);
        assert_eq!(sorted(peers(ClientEdge)), [MixEgress, Store]);
        assert_eq!(sorted(peers(MixEgress)), [MixIngress, ClientEdge]);
    }

    /// Each keeps the end that it was given last, as the real workers do.
    struct Workers {
        waiting: WaitingEnds,
        held: HashMap<Role, HashMap<Role, UnixStream>>,
    }

    impl Workers {
        fn new() -> Self {
            Self { waiting: WaitingEnds::among(Role::ALL), held: HashMap::new() }
        }

        fn hand(&mut self, end: LinkEnd) {
            match self.held.get_mut(&end.owner) {
                Some(held) => {
                    held.insert(end.peer, end.socket.into());
                }
                None => self.waiting.keep(end),
            }
        }

        fn bear(&mut self, role: Role) {
            let ends = self.waiting.for_new_worker(role).unwrap();
            self.held.insert(role, HashMap::new());
            for end in ends.own {
                assert_eq!(end.owner, role);
                self.hand(end);
            }
            for end in ends.of_peers {
                assert_eq!(end.peer, role);
                self.hand(end);
            }
        }

        fn die(&mut self, role: Role) {
            self.held.remove(&role);
            self.waiting.forget(role);
        }

        fn assert_all_linked(&mut self) {
            for (one, other) in LINKS {
                for (from, to) in [(one, other), (other, one)] {
                    let word = format!("{from} to {to}");
                    self.held[&from][&to].try_clone().unwrap().write_all(word.as_bytes()).unwrap();
                    let mut heard = vec![0; word.len()];
                    let mut end = self.held[&to][&from].try_clone().unwrap();
                    end.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
                    end.read_exact(&mut heard).unwrap();
                    assert_eq!(heard, word.as_bytes());
                }
            }
            for role in Role::ALL {
                assert_eq!(sorted(self.held[&role].keys().copied()), sorted(peers(role)), "{role}");
            }
            assert!(self.waiting.ends.is_empty());
        }
    }

    #[test]
    fn every_end_reaches_its_worker() {
        let mut workers = Workers::new();
        for role in Role::ALL {
            workers.bear(role);
        }
        workers.assert_all_linked();
        assert_eq!(sorted(workers.held[&MixEgress].keys().copied()), [MixIngress, ClientEdge]);
    }

    proptest::proptest! {
        #[test]
        fn deaths_in_any_order_leave_all_linked(steps in proptest::collection::vec((0usize..5, proptest::bool::ANY), 0..40)) {
            let mut workers = Workers::new();
            for (role, birth) in steps {
                let role = Role::ALL[role];
                match (birth, workers.held.contains_key(&role)) {
                    (true, false) => workers.bear(role),
                    (false, true) => workers.die(role),
                    _ => {}
                }
            }
            for role in Role::ALL {
                if !workers.held.contains_key(&role) {
                    workers.bear(role);
                }
            }
            workers.assert_all_linked();
        }
    }

    #[test]
    fn a_worker_that_does_not_run_gets_no_link() {
        let roles = Role::ALL.into_iter().filter(|role| *role != HttpApi);
        let ends = WaitingEnds::among(roles).for_new_worker(Store).unwrap();
        assert_eq!(sorted(ends.own.iter().map(|end| end.peer)), [MixIngress, ClientEdge]);
        assert_eq!(sorted(ends.of_peers.iter().map(|end| end.owner)), [MixIngress, ClientEdge]);
    }

    #[test]
    fn a_dead_workers_links_end() {
        let mut workers = Workers::new();
        for role in Role::ALL {
            workers.bear(role);
        }
        workers.die(Store);
        for peer in [MixIngress, ClientEdge, HttpApi] {
            let mut end = workers.held[&peer][&Store].try_clone().unwrap();
            assert_eq!(end.read(&mut [0]).unwrap(), 0);
        }
    }
}
