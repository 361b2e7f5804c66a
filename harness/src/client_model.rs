//! The clients, well-behaved and not. Whatever a client's websocket has read is in the oracle before its next frame is asked
//! for, however its connection ends: the Pong that lets the gateway forget a message proves no more than that.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use client_wire::control::sealed::{SensitiveRequest, SensitiveResponse};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::{
    account::{Account, Identity, now},
    addrs::Addrs,
    client::Client,
    connection::Connection,
    deadline,
    era::Era,
    mix_model::Addressee,
    oracle::{Inbox, Oracle},
    source,
};

mod keys;
mod registering;

use keys::Keys;

/// The pause before another connection is tried.
const BEFORE_RETRY: Duration = Duration::from_millis(100);
/// Seconds by which the time in a login may be ahead; the gateway takes two minutes.
const AHEAD: u64 = 60;
/// A gateway that is stopped does not answer a Close.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a client is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// There all the time.
    Online,
    /// Comes at the very end.
    Offline,
    /// Comes and goes, with a Close and without.
    Flapping,
    /// Is there nearly all the time, and reconnects now and then.
    Returning,
    /// Reads a little now and then.
    Slow,
    /// Stops reading, and keeps its connection open.
    BlackHoled,
    /// Comes and goes, and registers again now and then, with a key of the other kind.
    ChangesKeys,
}

impl Manner {
    /// The manners of clients in a run with faults.
    pub const ALL: [Self; 6] =
        [Self::Online, Self::Offline, Self::Flapping, Self::Slow, Self::BlackHoled, Self::ChangesKeys];

    /// Whether such a client fetches all its mail sooner or later, without being told.
    pub const fn keeps_up(self) -> bool {
        matches!(self, Self::Online | Self::Flapping | Self::Returning | Self::ChangesKeys)
    }
}

/// A client.
pub struct ClientModel {
    /// Its number in the oracle.
    pub inbox: Inbox,
    manner: Manner,
    gateway_identity: [u8; 32],
    account: Account,
    keys: Keys,
    /// The time in its last login. Each must be later than the last.
    last_login: u64,
    random: StdRng,
    oracle: Arc<Oracle>,
    /// Where it connects from, if that is not left to the kernel.
    source: Option<IpAddr>,
    /// How long what it says after the upgrade is on its way.
    distance: Duration,
}

impl fmt::Display for ClientModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} ({}, {:?})", self.inbox, self.account.era, self.manner)
    }
}

impl ClientModel {
    /// Registers a new client, and disconnects.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn register(
        (inbox, era, manner): (Inbox, Era, Manner),
        addrs: Addrs,
        gateway_identity: &[u8; 32],
        oracle: Arc<Oracle>,
    ) -> Result<Self> {
        let client = Client::register_in(era, &Identity::random(), addrs.clients, gateway_identity).await?;
        let account = client.credentials.clone();
        oracle.registered(&account);
        let mut client_model = Self {
            inbox,
            manner,
            gateway_identity: *gateway_identity,
            account,
            keys: Keys::default(),
            last_login: 0,
            random: StdRng::seed_from_u64(inbox as u64),
            oracle,
            source: None,
            distance: Duration::ZERO,
        };
        client_model.leave(client).await;
        Ok(client_model)
    }

    /// Has it connect from this address from now on.
    #[must_use]
    pub fn coming_from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Has it live so far away that a login takes this long to arrive.
    #[must_use]
    pub fn at_distance(self, distance: Duration) -> Self {
        Self { distance, ..self }
    }

    /// The address that it was given to connect from.
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// What mix nodes need to know of it.
    pub fn addressee(&self) -> Addressee {
        Addressee { inbox: self.inbox, address: self.account.address(), keeps_up: self.manner.keeps_up() }
    }

    /// The account of a client that keeps it, for those who pretend to be it.
    pub fn account(&self) -> Option<&Account> {
        (self.manner != Manner::ChangesKeys).then_some(&self.account)
    }

    /// Lives as its manner is, until told to stop.
    ///
    /// # Errors
    /// Never. All tasks of a run return results.
    pub async fn live(mut self, addrs: watch::Receiver<Addrs>, mut stop: watch::Receiver<bool>) -> Result<Self> {
        if self.manner == Manner::Offline {
            // An error means that the run is over.
            let _ = stop.wait_for(|stop| *stop).await;
        }
        while !*stop.borrow() {
            let clients = *addrs.borrow();
            match self.log_in(clients).await {
                Ok(client) => {
                    self.oracle.let_in();
                    self.sit(client, &mut stop).await;
                }
                Err(refused) => {
                    self.oracle.turned_away(format!("a login: {}", refused.root_cause()));
                    tokio::time::sleep(BEFORE_RETRY).await;
                }
            }
            if matches!(self.manner, Manner::Flapping | Manner::Returning | Manner::ChangesKeys) {
                let pause = self.millis(0, 1_500);
                tokio::time::sleep(pause).await;
            }
        }
        Ok(self)
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.random_range(from..to))
    }

    async fn connect(&self, addrs: Addrs) -> Result<Connection> {
        match self.source {
            Some(source) => Connection::upgrade(source::connect(source, addrs.clients).await?).await,
            None => Connection::open(addrs.clients).await,
        }
    }

    async fn log_in(&mut self, addrs: Addrs) -> Result<Client<Account>> {
        if self.manner == Manner::ChangesKeys {
            return self.come_with_some_key(addrs).await;
        }
        self.log_in_with_its_key(addrs).await
    }

    async fn log_in_with_its_key(&mut self, addrs: Addrs) -> Result<Client<Account>> {
        let mut connection = self.connect(addrs).await?;
        tokio::time::sleep(self.distance).await;
        connection.send_text(self.login_text(&self.account.clone())?).await?;
        let answer = connection.next_text().await?;
        if let Err(refused) = self.account.expect_yes(&answer) {
            // The time may be good next time.
            tokio::time::sleep(BEFORE_RETRY).await;
            return Err(refused);
        }
        self.oracle.session_begins(self.inbox);
        Ok(Client::new(self.account.clone(), connection))
    }

    fn login_text(&mut self, account: &Account) -> Result<String> {
        Ok(match account.era {
            Era::Version(4..) => {
                let next = now().max(self.last_login + 1);
                ensure!(next < now() + AHEAD, "{self} has logged in too often to do it again now");
                self.last_login = next;
                account.signed_login(self.last_login)?.to_request().to_string()
            }
            _ => account.login_text(),
        })
    }

    /// One session, from its beginning to its end.
    async fn sit(&mut self, client: Client<Account>, stop: &mut watch::Receiver<bool>) {
        match self.manner {
            Manner::Online | Manner::Offline => match self.read_until(client, None, stop).await {
                Some(client) => self.leave(client).await,
                None => self.oracle.turned_away("a session ended".into()),
            },
            Manner::Flapping | Manner::Returning | Manner::ChangesKeys => {
                let stay = match self.manner {
                    Manner::Returning => self.millis(4_000, 12_000),
                    _ => self.millis(100, 4_000),
                };
                if let Some(client) = self.read_until(client, Some(stay), stop).await {
                    if self.random.random_bool(0.5) {
                        self.leave(client).await;
                    } else {
                        self.vanish(client).await;
                    }
                }
            }
            Manner::Slow => self.sit_slowly(client, stop).await,
            Manner::BlackHoled => self.sit_in_the_dark(client, stop).await,
        }
    }

    async fn sit_slowly(&mut self, mut client: Client<Account>, stop: &mut watch::Receiver<bool>) {
        while !*stop.borrow() {
            client.connection.read_socket(true);
            let glance = self.millis(1, 30);
            match self.read_until(client, Some(glance), stop).await {
                Some(still) => client = still,
                None => return,
            }
            client.connection.read_socket(false);
            let pause = self.millis(50, 1_000);
            sleep_or(pause, stop).await;
        }
        client.connection.read_socket(true);
        self.leave(client).await;
    }

    async fn sit_in_the_dark(&mut self, client: Client<Account>, stop: &mut watch::Receiver<bool>) {
        let glance = self.millis(50, 1_000);
        let Some(client) = self.read_until(client, Some(glance), stop).await else { return };
        client.connection.read_socket(false);
        let dark = self.millis(3_000, 20_000);
        sleep_or(dark, stop).await;
        if self.random.random_bool(0.5) {
            client.connection.read_socket(true);
            self.leave(client).await;
        } else {
            self.vanish(client).await;
        }
    }

    /// Takes mail until the connection ends, the time is over, or it is time to stop. Returns it if it has not ended.
    async fn read_until(
        &mut self,
        mut client: Client<Account>,
        limit: Option<Duration>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Client<Account>> {
        // A client that only listens has no limit: the end of the connection or of the run ends it.
        let over = async {
            match limit {
                Some(limit) => sleep_or(limit, stop).await,
                None => told_to(stop).await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                message = client.next_message_or_end() => match message {
                    Ok(Some(message)) => self.oracle.delivered(self.inbox, &message),
                    Ok(None) => return None,
                    // A refusal with its reason. What was sent before stays valid.
                    Err(_) => {}
                },
                () = &mut over => return Some(client),
            }
        }
    }

    /// Leaves with a Close.
    async fn leave(&mut self, mut client: Client<Account>) {
        // If the connection is gone, its end comes next.
        let _ = client.connection.send_close().await;
        if tokio::time::timeout(FAREWELL, self.drain(&mut client)).await.is_err() {
            self.vanish(client).await;
        }
    }

    /// Closes the TCP connection without a Close.
    async fn vanish(&mut self, mut client: Client<Account>) {
        // If the connection is gone, its end comes next.
        let _ = client.connection.hang_up().await;
        self.drain(&mut client).await;
    }

    async fn drain(&mut self, client: &mut Client<Account>) {
        loop {
            match client.next_message_or_end().await {
                Ok(Some(message)) => self.oracle.delivered(self.inbox, &message),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Asks the gateway to forget this client, and all its mail with it.
    ///
    /// # Errors
    /// If it does not.
    pub async fn be_forgotten(mut self, addrs: Addrs) -> Result<()> {
        let forget = SensitiveRequest::ForgetMe { client: true, stats: false };
        let mut client = self.log_in_sometime(addrs).await?;
        // What is acknowledged from now on is lost because its owner wants it.
        self.oracle.forgotten(self.inbox);
        let answer = client.ask_sealed(&forget).await;
        // What came meanwhile has been received, whatever becomes of the request.
        self.leave(client).await;
        let answer = answer?;
        ensure!(answer == SensitiveResponse::ForgetMeAck {}, "{self} was not forgotten: {answer:?}");
        Ok(())
    }

    /// Never drops a login in its middle: the mail that has come with it would be gone.
    async fn log_in_sometime(&mut self, addrs: Addrs) -> Result<Client<Account>> {
        let begin = Instant::now();
        loop {
            match self.log_in(addrs).await {
                Err(refused) if begin.elapsed() > deadline::SOON => return Err(refused),
                Err(_) => tokio::time::sleep(BEFORE_RETRY).await,
                let_in => return let_in,
            }
        }
    }

    /// Fetches everything until `is_last` says so.
    ///
    /// # Errors
    /// If it takes longer than `limit`.
    pub async fn fetch(&mut self, addrs: Addrs, limit: Duration, is_last: impl Fn(&Oracle) -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        let mut refusal = None;
        while Instant::now() < end && !is_last(&self.oracle) {
            match self.log_in(addrs).await {
                Ok(mut client) => {
                    while Instant::now() < end && !is_last(&self.oracle) {
                        let next = client.next_message_or_end();
                        match tokio::time::timeout(deadline::SOON, next).await {
                            Ok(Ok(Some(message))) => self.oracle.delivered(self.inbox, &message),
                            Ok(Err(_)) => {}
                            Ok(Ok(None)) | Err(_) => break,
                        }
                    }
                    self.leave(client).await;
                }
                Err(error) => refusal = Some(error),
            }
            if !is_last(&self.oracle) {
                tokio::time::sleep(BEFORE_RETRY).await;
            }
        }
        ensure!(
            is_last(&self.oracle),
            "{self} could not fetch its mail within {limit:?}; its last refusal: {refusal:?}"
        );
        Ok(())
    }
}

async fn sleep_or(limit: Duration, stop: &mut watch::Receiver<bool>) {
    // The time is over, or the run is: both end it.
    let _ = tokio::time::timeout(limit, told_to(stop)).await;
}

async fn told_to(stop: &mut watch::Receiver<bool>) {
    // An error means that the run is over.
    let _ = stop.wait_for(|stop| *stop).await;
}
