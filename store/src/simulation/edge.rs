//! What `client-edge` and its clients do, and what they are told.

use client_wire::key::SessionKey;
use ipc::Opaque;
use session_ipc::{AuthenticationRefusal, EdgeToStore, Phase, SessionAnswer, SessionId, SessionRequest, StoreToEdge};

use super::{
    event::Claim,
    oracle::{address, hold},
    peers::{Connection, Edge, Shown, Unproved},
    world::{BEGINNING, Done, World},
};
use crate::mailbox::{Mailbox as _, remembered::Health};

impl World {
    pub(super) fn ask(&mut self, request: EdgeToStore) -> Done {
        let now = self.now();
        let outcome = self.core().handle_request(request, now);
        hold!("who keeps the rules is not blamed (16)", outcome.is_ok(), "{outcome:?}");
        Ok(())
    }

    /// What a client signs: here it says which client registers, and with which key.
    pub(super) fn material(&self, session: u64) -> Vec<u8> {
        let connection = &self.edge.connections[&session];
        let mut material = vec![connection.client as u8];
        match &connection.shown {
            Shown::Registration(SessionKey::CtrHmac(key)) => material.extend(*key.to_bytes()),
            Shown::Registration(SessionKey::GcmSiv(key)) => material.extend(*key.to_bytes()),
            Shown::Login(..) => {}
        }
        material
    }

    pub(super) fn set_phases(&mut self, session: u64, phase: Phase) {
        let connection = self.edge.connections.get_mut(&session).unwrap();
        (connection.told, connection.known) = (phase, phase);
    }

    pub(super) fn connect(&mut self, client: usize, by: Claim) -> Done {
        if !self.edge.is_up || self.edge.connections.len() >= self.history.config.max_sessions as usize {
            return Ok(());
        }
        // The client's own clock is right.
        let time = (BEGINNING + self.passed).as_secs();
        let one = &mut self.clients[client];
        let proof = match by {
            Claim::Login => one.log_in(time).map(|proof| (proof, false)),
            Claim::Replay => one.shown.map(|proof| (proof, true)),
            Claim::Registration => None,
        };
        let session = self.edge.next;
        self.edge.next += 1;
        let id = SessionId(session);
        let (shown, request) = match proof {
            Some((proof, again)) => (
                Shown::Login(proof, one.key.clone(), again),
                EdgeToStore { session: id, request: SessionRequest::AuthenticateClient { proof } },
            ),
            None => {
                let (key, logins) = (one.new_key(), one.logins());
                (
                    Shown::Registration(key),
                    EdgeToStore { session: id, request: SessionRequest::BeginHandshake { init: vec![], logins } },
                )
            }
        };
        self.edge.connections.insert(session, Connection::new(client, shown));
        self.ask(request)
    }

    /// The store says something about a session.
    pub(super) fn tell(&mut self, message: StoreToEdge) -> Done {
        if !self.edge.is_up {
            return Ok(());
        }
        let session = message.session.0;
        let Some(connection) = self.edge.connections.get_mut(&session) else {
            // The connection may have ended before the client was forgotten.
            let is_late = matches!(message.answer, SessionAnswer::ConfirmForgotten | SessionAnswer::EndSession { .. });
            hold!("what is said is about a connection (16)", is_late && session < self.edge.next, "{message:?}");
            return Ok(());
        };
        let (was, client) = (connection.told, connection.client);
        connection.told = match message.answer {
            SessionAnswer::ReplyHandshake { .. } => Phase::Handshaking,
            SessionAnswer::RefuseHandshake { .. } | SessionAnswer::RefuseAuthentication { .. } => Phase::Fresh,
            SessionAnswer::AttachSession { .. } => Phase::Attached,
            SessionAnswer::PushMessage { .. } | SessionAnswer::ProbeSession => connection.told,
            SessionAnswer::ConfirmForgotten | SessionAnswer::EndSession { .. } => Phase::Detached,
        };
        let expected = match message.answer {
            SessionAnswer::PushMessage { .. } | SessionAnswer::ProbeSession => Phase::Attached,
            SessionAnswer::ConfirmForgotten => Phase::Detached,
            SessionAnswer::EndSession { .. } if was == Phase::Detached => Phase::Detached,
            SessionAnswer::EndSession { .. } => Phase::Attached,
            _ => Phase::Deciding,
        };
        hold!("a session is told what its phase allows (16)", was == expected, "{was:?}: {message:?}");
        match &message.answer {
            SessionAnswer::AttachSession { key } => {
                let shown = connection.shown.clone();
                self.attached(session, client, shown, (**key).clone())?;
            }
            SessionAnswer::ConfirmForgotten => {
                let storage = self.storage();
                let is_there = storage.is_registered(&address(client));
                let left = storage.all_of(&address(client)).messages.len();
                hold!("who is forgotten leaves nothing (20)", !is_there && left == 0, "{client}: {is_there}, {left}");
            }
            _ => {}
        }
        self.edge.control.push_back(message);
        Ok(())
    }

    pub(super) fn attached(&mut self, session: u64, client: usize, shown: Shown, key: SessionKey) -> Done {
        let others = self
            .edge
            .connections
            .iter()
            .filter(|(other, one)| **other != session && one.client == client && one.told == Phase::Attached);
        // A client that was attached when the store was ordered to end need not be any more.
        let is_alone = self.is_ending || others.count() == 0;
        hold!("one session for each client (25)", is_alone, "a second one for {client}");
        let kept = self.machine.ledger.key_of(&address(client)).unwrap_or(None);
        let is_broken = *self.machine.ledger.health.lock().unwrap() == Health::Broken;
        let one = &mut self.clients[client];
        match shown {
            Shown::Login(proof, own, again) => {
                hold!("a login is good for one use (18)", !again, "{proof:?}");
                hold!("a session has its client's key (16)", own == Some(key), "{client}");
                one.shown = Some(proof);
            }
            Shown::Registration(new) => {
                let is_kept = is_broken || kept.as_ref() == Some(&new);
                hold!("a registration is kept before it is answered (17)", new == key && is_kept, "{client}");
                one.key = Some(new);
            }
        }
        self.leaving[client] = false;
        self.seen[client] = self.passed;
        Ok(())
    }

    /// A message is pushed.
    pub(super) fn push(&mut self, push: StoreToEdge) -> Done {
        let StoreToEdge { session, answer: SessionAnswer::PushMessage { sequence, message: Opaque(message) } } = &push
        else {
            return self.tell(push);
        };
        let connection = self.edge.connections.get_mut(&session.0);
        let connection = connection.filter(|one| one.told == Phase::Attached);
        hold!("mail goes to attached sessions (16)", connection.is_some(), "{session:?} {sequence:?}");
        let connection = connection.unwrap();
        let (client, last) = (connection.client, connection.last);
        let arrival = self.oracle.pushed(client, last.map(|last| last.arrival), message)?;
        let rises = last.is_none_or(|last| last.place < *sequence);
        hold!("places rise in a session (5)", rises, "{sequence:?} after {last:?}");
        let of_2021 = self.clients[client].is_of_2021();
        let len = message.len();
        hold!("what would crash 2021 is not sent there (8)", !of_2021 || len >= 32 || len == 21, "{len} bytes");
        let unproved = Unproved { place: *sequence, arrival, len };
        connection.last = Some(unproved);
        connection.unproved.push_back(unproved);
        let (messages, bytes) =
            (connection.unproved.len(), connection.unproved.iter().map(|one| one.len as u64).sum::<u64>());
        let credit = self.history.config.session_credit;
        let is_within = messages == 1 || messages <= credit.messages as usize && bytes <= credit.bytes;
        hold!("no session is pushed more than its credit (21, 26)", is_within, "{messages} messages, {bytes} bytes");
        self.edge.pushes.push_back(push);
        Ok(())
    }

    pub(super) fn edge_reads(&mut self, messages: usize) {
        for message in std::mem::take(&mut self.edge.control) {
            let session = message.session.0;
            let Some(connection) = self.edge.connections.get_mut(&session) else { continue };
            match message.answer {
                SessionAnswer::ReplyHandshake { .. } => connection.known = Phase::Handshaking,
                SessionAnswer::AttachSession { .. } => connection.known = Phase::Attached,
                SessionAnswer::ProbeSession => connection.is_probed = true,
                SessionAnswer::RefuseHandshake { .. } => connection.known = Phase::Fresh,
                SessionAnswer::RefuseAuthentication { reason } => {
                    connection.known = Phase::Fresh;
                    // It has another key than the store: it will agree on a new one.
                    if let (AuthenticationRefusal::Login(_), Shown::Login(_, _, false)) = (reason, &connection.shown) {
                        self.clients[connection.client].key = None;
                    }
                }
                SessionAnswer::ConfirmForgotten | SessionAnswer::EndSession { .. } => {
                    connection.known = Phase::Detached;
                    (connection.is_probed, connection.read) = (false, Default::default());
                }
                SessionAnswer::PushMessage { .. } => {}
            }
        }
        for _ in 0..messages {
            let Some(push) = self.edge.pushes.pop_front() else { break };
            if let StoreToEdge { session, answer: SessionAnswer::PushMessage { sequence, .. } } = push
                && let Some(connection) = self.edge.connections.get_mut(&session.0)
                && connection.known == Phase::Attached
            {
                connection.read.push_back(sequence);
            }
        }
    }

    pub(super) fn confirm(&mut self, session: u64, but: usize) -> Done {
        let connection = self.edge.connections.get_mut(&session).unwrap();
        let Some(nth) = connection.read.len().checked_sub(but + 1) else { return Ok(()) };
        let up_to = connection.read[nth];
        connection.read.drain(..=nth);
        if connection.told == Phase::Attached {
            while let Some(proved) = connection.unproved.pop_front_if(|one| one.place <= up_to) {
                self.oracle.proved(proved.arrival);
                self.figures.received += 1;
            }
        }
        self.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::ConfirmReceipt { up_to } })
    }

    pub(super) fn forget(&mut self, session: u64) -> Done {
        let connection = self.edge.connections.get_mut(&session).unwrap();
        connection.known = Phase::Detached;
        if connection.told == Phase::Attached {
            connection.told = Phase::Detached;
            let client = connection.client;
            self.leaving[client] = true;
            self.oracle.abandoned(client);
        }
        self.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::ForgetClient })
    }

    pub(super) fn close(&mut self, session: u64) -> Done {
        self.edge.connections.remove(&session);
        self.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::CloseSession })
    }

    /// `client-edge` dies with all that it held. Its successor numbers sessions from the beginning.
    pub(super) fn edge_dies(&mut self) -> Done {
        if self.edge.is_up {
            self.edge = Edge::default();
            self.core().edge_down();
        }
        Ok(())
    }

    pub(super) fn edge_comes_up(&mut self) {
        if !self.edge.is_up {
            self.edge.is_up = true;
            self.core().edge_up();
        }
    }
}
