//! A client that has proved who it is: its mail out, its packets in, and the proof of receipt.
//!
//! *Holds* the key of this one session. *Promises*: a receipt is confirmed only when the client has returned a barrier behind
//! the mail; a client that proves nothing for the receipt time limit is disconnected; one that does not read holds up nobody
//! but itself, and holds no more than the credit of its session; from the moment in which a client asks to be forgotten, nothing
//! is forwarded for it.
//!
//! Everything happens in one loop that owns everything, so reading, writing and waiting never wait for each other.

use std::{convert::Infallible, mem, time::Duration};

use bytes::Bytes;
use proto::{
    counter::count,
    ipc::{
        Opaque,
        egress::SendPacket,
        store_edge::{EdgeToStore, EndReason},
    },
    peer::ConnectionPermit,
    wire::client::{
        control::answer::GatewayResponse,
        protocol::refusal::RequestRefusal,
        request::ForwardRequest,
        session::{Command, Session},
    },
};
use tokio::{task::yield_now, time::Instant};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    alarm::Alarm,
    barrier::Barriers,
    connection::Context,
    dispatch::Order,
    keys::HeldKey,
    line::Line,
    mail::{Covered, Mail, MailReceiver},
    patience::Patience,
    visitor::Admitted,
    websocket::{Event, Exit, Frame, Websocket},
};

/// Messages in front of one barrier at the most.
const BURST: usize = 32;
/// Frames of one client in a row, until others have their turn.
const TURN: u32 = 16;
/// Pings in a row to a client that is silent, until its connection counts as lost.
const UNANSWERED_KEEPALIVES: u32 = 4;
/// How long a probed client may take to answer.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// How long receipts are waited for when the process is to stop.
pub(crate) const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// A connection after authentication.
pub(crate) struct Attached<'a> {
    context: &'a Context,
    websocket: &'a mut Websocket,
    line: &'a mut Line,
    permit: &'a ConnectionPermit,
    session: Session<HeldKey>,
    mail: MailReceiver,
    barriers: Barriers,
    patience: Patience,
    probe: Option<Probe>,
    /// Pings sent to keep the connection alive since the client was last heard.
    keepalives: u32,
    /// The answer for a client that wants to be forgotten, until `store` has done it.
    forgetting: Option<GatewayResponse>,
    leaving: Option<Instant>,
}

/// A barrier that has to come back in time.
struct Probe {
    number: u64,
    due: Instant,
    /// How often `store` has asked.
    asked: u32,
}

impl<'a> Attached<'a> {
    /// The answer to its request is in the outbox already; no mail and no barrier is.
    pub(crate) fn new(
        context: &'a Context,
        websocket: &'a mut Websocket,
        line: &'a mut Line,
        permit: &'a ConnectionPermit,
        Admitted { session, mail }: Admitted,
    ) -> Self {
        Self {
            context,
            websocket,
            line,
            permit,
            session,
            mail,
            barriers: Barriers::default(),
            patience: Patience::new(context.config.malformed_frames),
            probe: None,
            keepalives: 0,
            forgetting: None,
            leaving: None,
        }
    }

    /// Serves the client until the connection has to end.
    pub(crate) async fn serve(mut self) -> Exit {
        let Err(exit) = self.run().await;
        exit
    }

    async fn run(&mut self) -> Result<Infallible, Exit> {
        let mut alarm = Alarm::new();
        let mut burst = Vec::new();
        let mut frames = 0_u32;
        loop {
            let due = self.due();
            tokio::select! {
                event = self.websocket.event() => if let Event::Read(frame) = event? {
                    self.receive(frame).await?;
                    frames = frames.wrapping_add(1);
                    if frames.is_multiple_of(TURN) {
                        yield_now().await;
                    }
                },
                order = self.line.next_order() => self.obey(order?)?,
                more = self.mail.take(&mut burst, BURST), if self.websocket.is_written() && self.leaving.is_none() => {
                    if !more {
                        return Err(Exit::RESTART);
                    }
                    self.push(mem::take(&mut burst));
                }
                () = alarm.at(due) => self.overdue().await?,
            }
            if self.leaving.is_some() && self.barriers.is_empty() {
                return Err(Exit::AWAY);
            }
        }
    }

    async fn receive(&mut self, frame: Frame) -> Result<(), Exit> {
        self.keepalives = 0;
        match frame {
            Frame::Text(text) => self.command(&text).await?,
            Frame::Binary(bytes) => self.forward(bytes).await?,
            Frame::Pong(payload) => self.returned(&payload).await?,
        }
        Ok(())
    }

    async fn command(&mut self, text: &str) -> Result<(), Exit> {
        match self.session.read_text(text, rand::random()) {
            Command::Answer(answer) => self.answer(&answer),
            Command::Refuse(refusal) => {
                count(&self.context.counters.refusals);
                self.refuse(refusal);
                return self.patience.lose(&self.context.counters).await;
            }
            Command::Forget { done } => {
                // From here on the session refuses whatever takes an account, a second request to forget included.
                self.session.forget_account();
                self.forgetting = Some(done);
                let session = self.line.session();
                self.line.send(EdgeToStore::ForgetClient { session }).await?;
            }
        }
        self.patience.restore();
        Ok(())
    }

    async fn forward(&mut self, bytes: Bytes) -> Result<(), Exit> {
        let counters = &self.context.counters;
        match self.session.open_request(bytes) {
            Ok(request) => {
                let header = self.session.header(&request, self.context.marks);
                let ForwardRequest { next_hop, packet, .. } = request.request;
                if self.context.next_hops.allows(self.permit.prefix(), next_hop, std::time::Instant::now()) {
                    count(&counters.packets_forwarded);
                    self.permit.prove(1);
                    let packet = SendPacket { next_hop, header, packet: Opaque(packet) };
                    let cost = packet.cost();
                    self.context.egress.send(packet, cost);
                } else {
                    count(&counters.new_next_hops_refused);
                }
                self.patience.restore();
                self.answer(&self.session.sent());
                Ok(())
            }
            Err(refusal) => {
                if refusal != RequestRefusal::NoAccount {
                    count(&counters.malformed_frames);
                }
                self.refuse(refusal);
                self.patience.lose(counters).await
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
        self.answer(&self.session.refuse(refusal));
    }

    /// Queues a burst and the barrier behind it. The time limit for its receipt runs from here.
    #[expect(clippy::vec_box, reason = "as they come from the queue")]
    fn push(&mut self, burst: Vec<Box<Mail>>) {
        let Some(up_to) = burst.last().map(|mail| mail.sequence) else { return };
        let mut covered = Covered { up_to, messages: 0, bytes: 0 };
        for mail in burst {
            covered.messages += 1;
            covered.bytes += mail.message.len() as u64;
            count(&self.context.counters.messages_pushed);
            self.websocket.push(Message::Binary(self.session.seal_push(rand::random(), &mail.message)));
        }
        let number = self.barriers.raise(covered, Instant::now());
        self.ping(number);
    }

    fn ping(&mut self, number: u64) {
        self.websocket.push(Message::Ping(Bytes::copy_from_slice(&number.to_be_bytes())));
    }

    /// A Pong came. Only one that returns a barrier of ours says anything.
    async fn returned(&mut self, payload: &[u8]) -> Result<(), Exit> {
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
            let session = self.line.session();
            self.line.send(EdgeToStore::ConfirmReceipt { session, up_to: covered.up_to }).await?;
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) -> Result<(), Exit> {
        match order {
            Order::Probe => self.begin_probe(),
            Order::Forgotten => match self.forgetting.take() {
                Some(done) => self.answer(&done),
                None => {
                    return Err(self.context.violated(self.line, "a client was forgotten that did not ask for it"));
                }
            },
            Order::End(reason) => {
                if reason == EndReason::StorageFailed {
                    self.answer(&self.session.refuse(RequestRefusal::StorageFailed));
                }
                return Err(self.context.ended(self.line.session(), reason));
            }
            Order::Leave => self.leaving = Some(Instant::now() + LEAVE_LIMIT),
            Order::ReplyHandshake(_)
            | Order::RefuseHandshake(_)
            | Order::RefuseAuthentication(_)
            | Order::Attach(..) => {
                return Err(self.context.violated(self.line, "an answer came to no request"));
            }
        }
        Ok(())
    }

    /// Asked again while a probe is under way, `store` gets the same answer again.
    fn begin_probe(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.asked = probe.asked.saturating_add(1);
            return;
        }
        let number = self.barriers.raise_empty();
        self.ping(number);
        self.probe = Some(Probe { number, due: Instant::now() + PROBE_LIMIT, asked: 1 });
    }

    async fn answer_probe(&mut self, alive: bool) -> Result<(), Exit> {
        let Some(probe) = self.probe.take() else { return Ok(()) };
        if !alive {
            count(&self.context.counters.probes_unanswered);
        }
        let session = self.line.session();
        for _ in 0..probe.asked {
            self.line.send(EdgeToStore::AnswerProbe { session, alive }).await?;
        }
        Ok(())
    }

    fn receipt_due(&self) -> Option<Instant> {
        self.barriers.oldest().map(|since| since + self.context.config.receipt_timeout)
    }

    fn writing_due(&self) -> Option<Instant> {
        self.websocket.unwritten_since().map(|since| since + self.context.config.receipt_timeout)
    }

    fn due(&self) -> Option<Instant> {
        let probe = self.probe.as_ref().map(|probe| probe.due);
        let keepalive = Some(self.keepalive_due());
        [self.receipt_due(), self.writing_due(), self.half_message_due(), keepalive, probe, self.leaving]
            .into_iter()
            .flatten()
            .min()
    }

    fn half_message_due(&self) -> Option<Instant> {
        self.websocket.half_since().map(|since| since + self.context.config.half_message)
    }

    fn keepalive_due(&self) -> Instant {
        self.websocket.last_push() + self.context.config.keepalive
    }

    /// Nothing was sent for so long that a proxy may take the connection for dead. The Ping is empty: no barrier is, so its Pong
    /// proves no receipt.
    fn keep_alive(&mut self) -> Result<(), Exit> {
        if self.keepalives >= UNANSWERED_KEEPALIVES {
            count(&self.context.counters.keepalives_unanswered);
            return Err(Exit::Farewell(CloseCode::Policy, "no Ping was answered"));
        }
        self.keepalives += 1;
        self.websocket.push(Message::Ping(Bytes::new()));
        Ok(())
    }

    async fn overdue(&mut self) -> Result<(), Exit> {
        let now = Instant::now();
        if self.leaving.is_some_and(|due| due <= now) {
            return Err(Exit::AWAY);
        }
        if self.receipt_due().is_some_and(|due| due <= now) {
            count(&self.context.counters.receipt_timeouts);
            return Err(Exit::Farewell(CloseCode::Policy, "no receipt was proved in time"));
        }
        if self.writing_due().is_some_and(|due| due <= now) {
            count(&self.context.counters.unwritten_timeouts);
            return Err(Exit::Farewell(CloseCode::Policy, "what the gateway sends was not taken in time"));
        }
        if self.half_message_due().is_some_and(|due| due <= now) {
            count(&self.context.counters.half_message_timeouts);
            return Err(Exit::Farewell(CloseCode::Policy, "a message did not end in time"));
        }
        if self.probe.as_ref().is_some_and(|probe| probe.due <= now) {
            self.answer_probe(false).await?;
        }
        if self.keepalive_due() <= now {
            self.keep_alive()?;
        }
        Ok(())
    }
}
