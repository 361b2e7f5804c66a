//! A client that is not logged in: registration and authentication.
//!
//! *Trusts* nothing that the client says; `store` decides.
//!
//! *Holds* no key, so no binary frame can be opened here.
//!
//! *Promises*: the answer to a login is queued before the client's mail can be; after a refusal the client may try again, but the
//! registration or login that succeeds has to begin within one time limit for all tries. Time that the gateway takes does not
//! count.
//!
//! Each phase of a session is a function: *fresh* is [`Login::run`], *handshaking* is [`Login::handshake_message`], and
//! *deciding* is [`Login::decision`].

mod waits;

use std::mem;

use client_wire::{
    control::HandshakeMessage,
    login::LoginProof,
    protocol::{EntryRequest, Protocol, RejectedRequest, refusal::EntryRefusal},
    session::GatewaySession,
};
use session_ipc::{EndReason, Rule, SessionId, SessionRequest};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use worker::counter::count;

use super::{error_budget::ErrorBudget, refusal};
use crate::{
    context::Context,
    listen::preauth_limit::PreauthSlot,
    store::{
        handle::{SessionCommand, StoreHandle},
        keys::HeldKey,
        mail::MailReceiver,
    },
    websocket::{Frame, Websocket, close_reason::CloseReason},
};

/// A connection before login.
pub(super) struct Login<'a> {
    context: &'a Context,
    session: SessionId,
    websocket: &'a mut Websocket,
    /// The way to `store`, once the client has asked for something that takes `store`.
    store: &'a mut Option<StoreHandle>,
    /// The client's protocol, as far as it is known; it decides the form of a refusal.
    protocol: &'a mut Protocol,
    slot: &'a PreauthSlot,
    errors: ErrorBudget,
    /// When the registration or login that succeeds has to have begun.
    due: Instant,
    /// Whether the client has asked for the protocol version.
    asked_version: bool,
}

/// What a session needs of the login before it.
pub(super) struct LoggedIn {
    /// The client's protocol and key.
    pub(super) codec: GatewaySession<HeldKey>,
    /// The client's mail.
    pub(super) mail: MailReceiver,
}

impl<'a> Login<'a> {
    /// A connection that has asked nothing yet. The login fills `store` and `protocol`, which outlive it.
    pub(super) fn new(
        context: &'a Context,
        session: SessionId,
        websocket: &'a mut Websocket,
        store: &'a mut Option<StoreHandle>,
        protocol: &'a mut Protocol,
        slot: &'a PreauthSlot,
    ) -> Self {
        let errors = ErrorBudget::new(context.config.malformed_frames);
        let due = Instant::now() + context.config.first_request;
        Self { context, session, websocket, store, protocol, slot, errors, due, asked_version: false }
    }

    /// Serves requests until one succeeds.
    ///
    /// # Errors
    /// Why the connection is to be closed, if none does.
    pub(super) async fn run(&mut self) -> Result<LoggedIn, CloseReason> {
        loop {
            let text = self.request().await?;
            let logged_in = match EntryRequest::read(&text, *self.protocol, self.context.eras) {
                Ok(request) => {
                    *self.protocol = request.protocol();
                    match request {
                        EntryRequest::AskVersion => self.tell_version().await?,
                        EntryRequest::Register { init, .. } => self.register(init).await?,
                        EntryRequest::LogIn { proof, .. } => self.log_in(proof).await?,
                    }
                }
                Err(RejectedRequest { protocol, refusal }) => {
                    *self.protocol = protocol;
                    self.refuse(&refusal).await?
                }
            };
            if let Some(logged_in) = logged_in {
                return Ok(logged_in);
            }
        }
    }

    /// The next text. Other frames are no requests.
    async fn request(&mut self) -> Result<Utf8Bytes, CloseReason> {
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
                    return Err(CloseReason::LoginRefused);
                }
            }
        }
    }

    /// Answers once for free. No client needs to ask again, so every further question counts as an error.
    async fn tell_version(&mut self) -> Result<Option<LoggedIn>, CloseReason> {
        self.say(Protocol::supported());
        if mem::replace(&mut self.asked_version, true) {
            self.errors.spend(&self.context.counters).await?;
        }
        Ok(None)
    }

    async fn register(&mut self, init: Vec<u8>) -> Result<Option<LoggedIn>, CloseReason> {
        // Refused without asking `store`, for which a registration means a signature and a write.
        if !self.context.registrations.allows(self.slot.prefix(), std::time::Instant::now()) {
            count(&self.context.counters.registrations_refused_rate);
            return self.refuse(&EntryRefusal::TooManyRegistrations).await;
        }
        let logins = self.protocol.login_form();
        self.ask(SessionRequest::BeginHandshake { init, logins }).await?;
        match self.decision().await? {
            SessionCommand::ReplyHandshake(reply) => self.say(self.protocol.handshake_payload(reply)),
            SessionCommand::RefuseHandshake(reason) => return self.refuse(&refusal::of_registration(reason)).await,
            _ => return Err(self.violated(Rule::InitAnswer)),
        }
        let material = match self.handshake_message().await? {
            HandshakeMessage::HandshakePayload { data, .. } => data,
            HandshakeMessage::HandshakeError { message } => {
                self.ask(SessionRequest::AbandonHandshake).await?;
                return self.refuse(&EntryRefusal::HandshakeGivenUp(message)).await;
            }
        };
        self.ask(SessionRequest::FinishHandshake { material }).await?;
        match self.decision().await? {
            SessionCommand::Attach(key, mail) => {
                let logged_in = self.logged_in(key, mail)?;
                count(&self.context.counters.registrations);
                let (finished, registered) = self.protocol.registered();
                self.say(finished);
                self.say(registered);
                Ok(Some(logged_in))
            }
            SessionCommand::RefuseHandshake(reason) => self.refuse(&refusal::of_registration(reason)).await,
            _ => Err(self.violated(Rule::MaterialAnswer)),
        }
    }

    /// The client's next handshake message. Other frames are ignored meanwhile, as in 0.10.1.
    async fn handshake_message(&mut self) -> Result<HandshakeMessage, CloseReason> {
        let due = Instant::now() + self.context.config.handshake_message;
        loop {
            match self.read(due).await? {
                Some(Frame::Text(text)) => {
                    if let Ok(message) = text.parse() {
                        return Ok(message);
                    }
                    self.errors.spend(&self.context.counters).await?;
                }
                Some(Frame::Binary(_)) => self.errors.spend(&self.context.counters).await?,
                Some(Frame::Pong(_)) => {}
                None => {
                    count(&self.context.counters.handshake_timeouts);
                    self.ask(SessionRequest::AbandonHandshake).await?;
                    self.refuse(&EntryRefusal::LateHandshake).await?;
                    return Err(CloseReason::LoginRefused);
                }
            }
        }
    }

    async fn log_in(&mut self, proof: LoginProof) -> Result<Option<LoggedIn>, CloseReason> {
        // Refused without asking `store`, for which a login means the check of a signature and a write.
        if !self.context.logins.allows(self.slot.prefix(), std::time::Instant::now()) {
            count(&self.context.counters.logins_refused_rate);
            return self.refuse(&EntryRefusal::TooManyLogins).await;
        }
        self.ask(SessionRequest::AuthenticateClient { proof }).await?;
        match self.decision().await? {
            SessionCommand::Attach(key, mail) => {
                let logged_in = self.logged_in(key, mail)?;
                count(&self.context.counters.authentications);
                self.say(self.protocol.authenticated());
                Ok(Some(logged_in))
            }
            SessionCommand::RefuseAuthentication(reason) => self.refuse(&refusal::of_authentication(reason)).await,
            _ => Err(self.violated(Rule::AuthenticationAnswer)),
        }
    }

    fn logged_in(&self, key: HeldKey, mail: MailReceiver) -> Result<LoggedIn, CloseReason> {
        match GatewaySession::new(*self.protocol, key) {
            Ok(codec) => Ok(LoggedIn { codec, mail }),
            Err(_) => Err(self.violated(Rule::WrongKeyKind)),
        }
    }

    fn say(&mut self, message: impl ToString) {
        self.websocket.push(Message::text(message.to_string()));
    }

    /// Refuses a request in the words of the client's protocol, which also decides whether the client may try again.
    async fn refuse(&mut self, refusal: &EntryRefusal) -> Result<Option<LoggedIn>, CloseReason> {
        count(&self.context.counters.refusals);
        let refused = self.protocol.refuse_entry(refusal);
        for text in refused.texts {
            self.say(text);
        }
        if refused.ends {
            return Err(CloseReason::LoginRefused);
        }
        self.errors.spend(&self.context.counters).await?;
        Ok(None)
    }

    fn ended(&self, reason: EndReason) -> CloseReason {
        self.context.ended_by_store(self.session, reason)
    }

    fn unavailable(&self) -> CloseReason {
        count(&self.context.counters.store_unavailable);
        CloseReason::STORE_UNAVAILABLE
    }

    fn violated(&self, rule: Rule) -> CloseReason {
        match &*self.store {
            Some(store) => self.context.store_violated(store, rule),
            None => CloseReason::STORE_UNAVAILABLE,
        }
    }
}
