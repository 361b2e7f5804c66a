//! A client that is logged in: its mail out, its packets in, and the proof of receipt.
//!
//! *Holds* the key of this one session.
//!
//! *Promises*:
//! - A receipt is confirmed only when the client has returned a barrier behind the mail.
//! - A client that proves no receipt within the time limit is disconnected.
//! - A client that does not read holds up no other, and holds no more memory than the credit of its session.
//! - From the moment in which a client asks to be forgotten, nothing is forwarded for it.
//!
//! One loop owns everything, so reading, writing and waiting never wait for each other.

mod deadlines;

use std::{convert::Infallible, mem, time::Duration};

use bytes::Bytes;
use client_wire::{
    control::answer::GatewayResponse,
    protocol::refusal::RequestRefusal,
    request::ForwardRequest,
    session::{GatewaySession, TextAction},
};
use figures::Raised;
use ipc::{Opaque, egress::SendPacket};
use session_ipc::{EndReason, Rule, SessionRequest};
use tokio::{task::yield_now, time::Instant};
use tokio_tungstenite::tungstenite::Message;
use worker::{counter::count, peer::ConnectionPermit};

use super::{barrier::Barriers, error_budget::ErrorBudget, login::LoggedIn, timer::DeadlineTimer};
use crate::{
    context::Context,
    counters::attached,
    store::{
        handle::{SessionCommand, StoreHandle},
        keys::HeldKey,
        mail::{Covered, Mail, MailReceiver},
    },
    websocket::{Event, Frame, Websocket, close_reason::CloseReason},
};

/// Messages in front of one barrier at the most.
const BURST: usize = 32;
/// Frames of one client that are served in a row, before other tasks run.
const FRAMES_PER_TURN: u32 = 16;
/// How long a probed client may take to answer.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// How long the session waits for receipts when the process is to stop.
pub(crate) const LAST_RECEIPTS_LIMIT: Duration = Duration::from_secs(1);

/// A connection after login.
pub(super) struct Session<'a> {
    context: &'a Context,
    websocket: &'a mut Websocket,
    store: &'a mut StoreHandle,
    permit: &'a ConnectionPermit,
    /// The client's protocol and key.
    codec: GatewaySession<HeldKey>,
    mail: MailReceiver,
    barriers: Barriers,
    errors: ErrorBudget,
    probe: Option<Probe>,
    /// Pings sent to keep the connection alive since the client last sent anything.
    keepalives: u32,
    /// The answer for a client that wants to be forgotten, until `store` has done it.
    forgetting: Option<GatewayResponse>,
    /// When the session stops waiting for receipts, once the process is to stop.
    stop_due: Option<Instant>,
    /// Shows the client as logged in.
    _attached: Raised,
}

/// A check whether the client still answers: a barrier that has to come back in time.
struct Probe {
    number: u64,
    due: Instant,
    /// How often `store` has asked.
    asked: u32,
}

impl<'a> Session<'a> {
    /// A session that has just begun: the answer to the login is in the outbox, and neither mail nor a barrier is.
    pub(super) fn new(
        context: &'a Context,
        websocket: &'a mut Websocket,
        store: &'a mut StoreHandle,
        permit: &'a ConnectionPermit,
        LoggedIn { codec, mail }: LoggedIn,
    ) -> Self {
        let _attached = attached(&context.counters, codec.protocol()).raise();
        Self {
            context,
            websocket,
            store,
            permit,
            codec,
            mail,
            barriers: Barriers::default(),
            errors: ErrorBudget::new(context.config.malformed_frames),
            probe: None,
            keepalives: 0,
            forgetting: None,
            stop_due: None,
            _attached,
        }
    }

    /// Serves the client until the connection has to be closed.
    pub(super) async fn serve(mut self) -> CloseReason {
        let Err(reason) = self.run().await;
        reason
    }

    async fn run(&mut self) -> Result<Infallible, CloseReason> {
        let mut timer = DeadlineTimer::new();
        let mut burst = Vec::new();
        let mut frames = 0_u32;
        loop {
            let due = self.due();
            tokio::select! {
                event = self.websocket.event() => if let Event::Read(frame) = event? {
                    self.receive(frame).await?;
                    frames = frames.wrapping_add(1);
                    if frames.is_multiple_of(FRAMES_PER_TURN) {
                        yield_now().await;
                    }
                },
                command = self.store.next_command() => self.execute(command?)?,
                more = self.mail.take(&mut burst, BURST), if self.websocket.is_written() && self.stop_due.is_none() => {
                    if !more {
                        return Err(CloseReason::STORE_UNAVAILABLE);
                    }
                    self.push(mem::take(&mut burst));
                }
                () = timer.wait_until(due) => self.overdue().await?,
            }
            if self.stop_due.is_some() && self.barriers.is_empty() {
                return Err(CloseReason::STOPPING);
            }
        }
    }

    async fn receive(&mut self, frame: Frame) -> Result<(), CloseReason> {
        self.keepalives = 0;
        match frame {
            Frame::Text(text) => self.serve_text(&text).await?,
            Frame::Binary(bytes) => self.forward(bytes).await?,
            Frame::Pong(payload) => self.take_pong(&payload).await?,
        }
        Ok(())
    }

    async fn serve_text(&mut self, text: &str) -> Result<(), CloseReason> {
        match self.codec.read_text(text, rand::random()) {
            TextAction::Answer(answer) => self.answer(&answer),
            TextAction::Refuse(refusal) => {
                count(&self.context.counters.refusals);
                self.refuse(refusal);
                return self.errors.spend(&self.context.counters).await;
            }
            TextAction::Forget { done } => {
                // From now on every request that takes an account is refused, a second request to be forgotten included.
                self.codec.forget_account();
                self.forgetting = Some(done);
                self.store.send(SessionRequest::ForgetClient).await?;
            }
        }
        self.errors.refill();
        Ok(())
    }

    async fn forward(&mut self, bytes: Bytes) -> Result<(), CloseReason> {
        let counters = &self.context.counters;
        match self.codec.open_request(bytes) {
            Ok(request) => {
                let header = self.codec.header(&request, self.context.marks);
                let ForwardRequest { next_hop, packet, .. } = request.request;
                if self.context.next_hops.allows(self.permit.prefix(), next_hop, std::time::Instant::now()) {
                    count(&counters.packets_forwarded);
                    self.permit.prove(1);
                    let packet = SendPacket { next_hop, header, packet: Opaque(packet) };
                    self.context.egress.send(packet);
                } else {
                    count(&counters.new_next_hops_refused);
                }
                self.errors.refill();
                self.answer(&self.codec.sent());
                Ok(())
            }
            Err(refusal) => {
                if refusal != RequestRefusal::NoAccount {
                    count(&counters.malformed_frames);
                }
                self.refuse(refusal);
                self.errors.spend(counters).await
            }
        }
    }

    fn answer(&mut self, answer: &GatewayResponse) {
        self.websocket.push(Message::text(answer.to_string()));
    }

    fn refuse(&mut self, refusal: RequestRefusal) {
        if refusal.is_reflection() {
            count(&self.context.counters.reflected_frames);
        }
        if refusal == RequestRefusal::NoAccount {
            count(&self.context.counters.requests_without_account);
        }
        self.answer(&self.codec.refuse(refusal));
    }

    /// Queues a burst and the barrier behind it. The time limit for the receipt runs from here.
    #[expect(clippy::vec_box, reason = "as they come from the queue")]
    fn push(&mut self, burst: Vec<Box<Mail>>) {
        let Some(up_to) = burst.last().map(|mail| mail.sequence) else { return };
        let mut covered = Covered { up_to, messages: 0, bytes: 0 };
        for mail in burst {
            covered.messages += 1;
            covered.bytes += mail.message.len() as u64;
            count(&self.context.counters.messages_pushed);
            self.websocket.push(Message::Binary(self.codec.seal_push(rand::random(), &mail.message)));
        }
        let number = self.barriers.raise(covered, Instant::now());
        self.ping(number);
    }

    fn ping(&mut self, number: u64) {
        self.websocket.push(Message::Ping(Bytes::copy_from_slice(&number.to_be_bytes())));
    }

    /// Proves what is behind the barrier that the Pong returns. Other Pongs mean nothing.
    async fn take_pong(&mut self, payload: &[u8]) -> Result<(), CloseReason> {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else { return Ok(()) };
        if !self.barriers.was_raised(number) {
            return Ok(());
        }
        if self.probe.as_ref().is_some_and(|probe| probe.number <= number) {
            self.answer_probe(true).await?;
        }
        if let Some(covered) = self.barriers.prove(number) {
            self.mail.give_back(covered);
            count(&self.context.counters.receipts);
            self.permit.prove(1);
            self.store.send(SessionRequest::ConfirmReceipt { up_to: covered.up_to }).await?;
        }
        Ok(())
    }

    fn execute(&mut self, command: SessionCommand) -> Result<(), CloseReason> {
        match command {
            SessionCommand::Probe => self.begin_probe(),
            SessionCommand::Forgotten => match self.forgetting.take() {
                Some(done) => self.answer(&done),
                None => {
                    return Err(self.context.store_violated(self.store, Rule::UnaskedForget));
                }
            },
            SessionCommand::End(reason) => {
                if reason == EndReason::StorageFailed {
                    self.answer(&self.codec.refuse(RequestRefusal::StorageFailed));
                }
                return Err(self.context.ended_by_store(self.store.session(), reason));
            }
            SessionCommand::Stop => self.stop_due = Some(Instant::now() + LAST_RECEIPTS_LIMIT),
            SessionCommand::ReplyHandshake(_)
            | SessionCommand::RefuseHandshake(_)
            | SessionCommand::RefuseAuthentication(_)
            | SessionCommand::Attach(..) => {
                return Err(self.context.store_violated(self.store, Rule::UnaskedAnswer));
            }
        }
        Ok(())
    }

    /// If `store` asks again while a probe is under way, it gets the same answer once more.
    fn begin_probe(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.asked = probe.asked.saturating_add(1);
            return;
        }
        let number = self.barriers.raise_empty();
        self.ping(number);
        self.probe = Some(Probe { number, due: Instant::now() + PROBE_LIMIT, asked: 1 });
    }

    async fn answer_probe(&mut self, alive: bool) -> Result<(), CloseReason> {
        let Some(probe) = self.probe.take() else { return Ok(()) };
        if !alive {
            count(&self.context.counters.probes_unanswered);
        }
        for _ in 0..probe.asked {
            self.store.send(SessionRequest::AnswerProbe { alive }).await?;
        }
        Ok(())
    }
}
