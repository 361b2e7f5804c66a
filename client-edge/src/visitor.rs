//! A client that has not proved who it is: registration and authentication.
//!
//! *Trusts* nothing the client says; `store` decides. *Holds* no key: a binary frame cannot be opened here, whatever it is.
//! *Promises*: the first answer to an admitted client is queued before its mail can be; after a refusal the client may try
//! again, but the registration or login that succeeds has to begin within one time limit, whatever came before it. Time that
//! the gateway takes for itself does not count.
//!
//! Each phase of a session is a function: *fresh* is [`Visitor::admit`], *handshaking* is [`Visitor::handshake_message`], and
//! *deciding* is [`Visitor::decision`].

use std::{mem, time::Duration};

use proto::{
    counter::count,
    ipc::store_edge::{EdgeToStore, EndReason, SessionId},
    wire::client::{
        control::HandshakeMessage,
        login::LoginProof,
        protocol::{Misfit, Opening, Protocol, refusal::EntryRefusal},
        refusal::HandshakeFailure,
        session::Session,
    },
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::{
    connection::{Context, stopped},
    dispatch::Order,
    keys::HeldKey,
    line::Line,
    mail::MailReceiver,
    patience::Patience,
    preauth_limit::PreauthSlot,
    refusal,
    websocket::{Event, Exit, Frame, Websocket},
};

/// `store` needs a commit and at most one probe of half a second; if it takes longer than this, nobody waits any more.
const DECISION_LIMIT: Duration = Duration::from_secs(10);

/// How long a client waits for a `store` that is being started. It is not sent away meanwhile: the published client of today
/// tries again only on the connection that it has.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// A connection before authentication.
pub(crate) struct Visitor<'a> {
    context: &'a Context,
    session: SessionId,
    websocket: &'a mut Websocket,
    line: &'a mut Option<Line>,
    /// What the client speaks, as far as can be told; it decides what a refusal is like.
    spoken: &'a mut Protocol,
    stop: watch::Receiver<bool>,
    slot: &'a PreauthSlot,
    patience: Patience,
    /// When the time is over in which a client has to ask for what lets it in.
    due: Instant,
    /// Whether the client has asked for the protocol version.
    asked_version: bool,
}

/// What an admitted client is served with.
pub(crate) struct Admitted {
    /// What it speaks, and its key.
    pub(crate) session: Session<HeldKey>,
    /// Its mail.
    pub(crate) mail: MailReceiver,
}

impl<'a> Visitor<'a> {
    /// A connection that has asked nothing yet. `line` is opened with its first request for `store`; `spoken` is kept up to date.
    pub(crate) fn new(
        context: &'a Context,
        session: SessionId,
        websocket: &'a mut Websocket,
        line: &'a mut Option<Line>,
        spoken: &'a mut Protocol,
        slot: &'a PreauthSlot,
    ) -> Self {
        let patience = Patience::new(context.config.malformed_frames);
        let stop = context.stop.clone();
        let due = Instant::now() + context.config.first_request;
        Self { context, session, websocket, line, spoken, stop, slot, patience, due, asked_version: false }
    }

    /// Serves requests until one succeeds.
    ///
    /// # Errors
    /// How the connection ends if none does.
    pub(crate) async fn admit(&mut self) -> Result<Admitted, Exit> {
        loop {
            let text = self.request().await?;
            let admitted = match Opening::read(&text, *self.spoken, self.context.eras) {
                Ok(opening) => {
                    *self.spoken = opening.protocol();
                    match opening {
                        Opening::AskVersion => self.tell_version().await?,
                        Opening::Register { init, .. } => self.register(init).await?,
                        Opening::LogIn { proof, .. } => self.log_in(proof).await?,
                    }
                }
                Err(Misfit { protocol, refusal }) => {
                    *self.spoken = protocol;
                    self.refuse(&refusal).await?
                }
            };
            if let Some(admitted) = admitted {
                return Ok(admitted);
            }
        }
    }

    /// The next text. Anything else is no request.
    async fn request(&mut self) -> Result<Utf8Bytes, Exit> {
        loop {
            match self.read(self.due).await? {
                Some(Frame::Text(text)) => return Ok(text),
                Some(Frame::Binary(_)) => {
                    self.refuse(&EntryRefusal::BinaryFrame).await?;
                }
                Some(Frame::Pong(_)) => {}
                None => {
                    count(&self.context.counters.first_request_timeouts);
                    self.refuse(&EntryRefusal::Late).await?;
                    return Err(Exit::Refused);
                }
            }
        }
    }

    /// Who asks again for what it has been told costs patience: no client needs to.
    async fn tell_version(&mut self) -> Result<Option<Admitted>, Exit> {
        self.say(Protocol::supported());
        if mem::replace(&mut self.asked_version, true) {
            self.patience.lose(&self.context.counters).await?;
        }
        Ok(None)
    }

    async fn register(&mut self, init: Vec<u8>) -> Result<Option<Admitted>, Exit> {
        // Before `store` hears of it, which would have to sign and to write.
        if !self.context.registrations.allows(self.slot.prefix(), std::time::Instant::now()) {
            count(&self.context.counters.registrations_refused_rate);
            return self.refuse(&EntryRefusal::Handshake(HandshakeFailure::TooMany)).await;
        }
        let logins = self.spoken.login_form();
        self.ask(|session| EdgeToStore::BeginHandshake { session, init, logins }).await?;
        match self.decision().await? {
            Order::ReplyHandshake(reply) => self.say(self.spoken.handshake_payload(reply)),
            Order::RefuseHandshake(reason) => return self.refuse(&refusal::of_handshake(reason)).await,
            _ => return Err(self.violated("the first handshake message got an answer that is none")),
        }
        let material = match self.handshake_message().await? {
            HandshakeMessage::HandshakePayload { data, .. } => data,
            HandshakeMessage::HandshakeError { message } => {
                self.ask(|session| EdgeToStore::AbandonHandshake { session }).await?;
                return self.refuse(&EntryRefusal::Handshake(HandshakeFailure::Remote(message))).await;
            }
        };
        self.ask(|session| EdgeToStore::FinishHandshake { session, material }).await?;
        match self.decision().await? {
            Order::Attach(key, mail) => {
                let admitted = self.admitted(key, mail)?;
                count(&self.context.counters.registrations);
                let (finished, registered) = self.spoken.registered();
                self.say(finished);
                self.say(registered);
                Ok(Some(admitted))
            }
            Order::RefuseHandshake(reason) => self.refuse(&refusal::of_handshake(reason)).await,
            _ => Err(self.violated("the second handshake message got an answer that is none")),
        }
    }

    /// The client's next handshake message. As in 0.10.1, whatever else it sends meanwhile is ignored.
    async fn handshake_message(&mut self) -> Result<HandshakeMessage, Exit> {
        let due = Instant::now() + self.context.config.handshake_message;
        loop {
            match self.read(due).await? {
                Some(Frame::Text(text)) => {
                    if let Ok(message) = text.parse() {
                        return Ok(message);
                    }
                    self.patience.lose(&self.context.counters).await?;
                }
                Some(Frame::Binary(_)) => self.patience.lose(&self.context.counters).await?,
                Some(Frame::Pong(_)) => {}
                None => {
                    count(&self.context.counters.handshake_timeouts);
                    self.ask(|session| EdgeToStore::AbandonHandshake { session }).await?;
                    self.refuse(&EntryRefusal::LateHandshake).await?;
                    return Err(Exit::Refused);
                }
            }
        }
    }

    async fn log_in(&mut self, proof: LoginProof) -> Result<Option<Admitted>, Exit> {
        // Before `store` hears of it, which would have to check a signature and to write.
        if !self.context.logins.allows(self.slot.prefix(), std::time::Instant::now()) {
            count(&self.context.counters.logins_refused_rate);
            return self.refuse(&EntryRefusal::TooManyLogins).await;
        }
        self.ask(|session| EdgeToStore::AuthenticateClient { session, proof }).await?;
        match self.decision().await? {
            Order::Attach(key, mail) => {
                let admitted = self.admitted(key, mail)?;
                count(&self.context.counters.authentications);
                self.say(self.spoken.authenticated());
                Ok(Some(admitted))
            }
            Order::RefuseAuthentication(reason) => self.refuse(&refusal::of_authentication(reason)).await,
            _ => Err(self.violated("an authentication got an answer that is none")),
        }
    }

    fn admitted(&self, key: HeldKey, mail: MailReceiver) -> Result<Admitted, Exit> {
        match Session::new(*self.spoken, key) {
            Ok(session) => Ok(Admitted { session, mail }),
            Err(_) => Err(self.violated("a session was attached with another kind of key than its client's")),
        }
    }

    /// Asks `store`, over a line opened for the purpose if this is the first time.
    async fn ask(&mut self, message: impl FnOnce(SessionId) -> EdgeToStore) -> Result<(), Exit> {
        let began = Instant::now();
        if self.line.is_none() {
            *self.line = tokio::select! {
                opened = self.context.dispatch.open(self.session, STORE_LIMIT) => opened,
                () = stopped(&mut self.stop) => return Err(Exit::AWAY),
            };
        }
        match self.line {
            Some(line) => line.send(message(self.session)).await?,
            None => return Err(self.unavailable()),
        }
        self.due += began.elapsed();
        Ok(())
    }

    /// What `store` has decided.
    async fn decision(&mut self) -> Result<Order, Exit> {
        let began = Instant::now();
        let due = began + DECISION_LIMIT;
        loop {
            tokio::select! {
                order = next_order(self.line) => {
                    self.due += began.elapsed();
                    return match order? {
                        Order::End(reason) => Err(self.ended(reason)),
                        Order::Leave => Err(Exit::AWAY),
                        order => Ok(order),
                    };
                }
                // An earlier refusal may still be on its way out.
                written = self.websocket.write() => written?,
                () = self.slot.evicted() => return Err(Exit::CROWDED),
                () = sleep_until(due) => return Err(self.unavailable()),
            }
        }
    }

    /// The client's next frame; `None` if it does not come until `due`. When that is over nothing more is read, however much is
    /// there already.
    async fn read(&mut self, due: Instant) -> Result<Option<Frame>, Exit> {
        while Instant::now() < due {
            tokio::select! {
                event = self.websocket.event() => if let Event::Read(frame) = event? {
                    return Ok(Some(frame));
                },
                order = next_order(self.line) => return Err(match order? {
                    Order::End(reason) => self.ended(reason),
                    Order::Leave => Exit::AWAY,
                    _ => self.violated("an answer came to no request"),
                }),
                () = stopped(&mut self.stop) => return Err(Exit::AWAY),
                () = self.slot.evicted() => return Err(Exit::CROWDED),
                () = sleep_until(due) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn say(&mut self, message: impl ToString) {
        self.websocket.push(Message::text(message.to_string()));
    }

    /// Tells the client why not; whether it may try again is a matter of what it speaks.
    async fn refuse(&mut self, refusal: &EntryRefusal) -> Result<Option<Admitted>, Exit> {
        count(&self.context.counters.refusals);
        let refused = self.spoken.refuse_entry(refusal);
        for text in refused.texts {
            self.say(text);
        }
        if refused.ends {
            return Err(Exit::Refused);
        }
        self.patience.lose(&self.context.counters).await?;
        Ok(None)
    }

    fn ended(&self, reason: EndReason) -> Exit {
        self.context.ended(self.session, reason)
    }

    fn unavailable(&self) -> Exit {
        count(&self.context.counters.store_unavailable);
        Exit::RESTART
    }

    fn violated(&self, rule: &'static str) -> Exit {
        match &*self.line {
            Some(line) => self.context.violated(line, rule),
            None => Exit::RESTART,
        }
    }
}

/// The next order of a session that `store` has heard of; nothing orders any other.
async fn next_order(line: &mut Option<Line>) -> Result<Order, Exit> {
    match line {
        Some(line) => line.next_order().await,
        None => std::future::pending().await,
    }
}
