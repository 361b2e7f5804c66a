//! The published gateway client, with what a program that uses it puts around it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use futures::{
    StreamExt,
    channel::mpsc,
    stream::{self, BoxStream},
};
use nym_bandwidth_controller::{BandwidthTicketProvider, requests::BandwidthControllerRequestSender};
use nym_crypto::{asymmetric::ed25519, rng::os_rng};
use nym_gateway_client::{
    GatewayClient, GatewayClientConfig, GatewayConfig, PacketRouter, SharedSymmetricKey, client::GatewayListeners,
};
use nym_sphinx::{
    addressing::clients::Recipient, chunking::fragment::FragmentIdentifier, message::NymMessage, params::PacketSize,
    receiver::SphinxMessageReceiver,
};
use nym_statistics_common::clients::ClientStatsSender;
use nym_task::ShutdownToken;
use nym_topology::RoutingNode;
use url::Url;

use crate::{
    deadline,
    mail::{Correspondent, NO_ROTATION, PreparedMessage},
};

/// Between two attempts of the client to come back. Its default is five seconds; nothing else is changed.
const BACKOFF: Duration = Duration::from_millis(200);

/// In place of the default of ten, so that the client gives up later than a gateway needs to start, and before the test does.
const ATTEMPTS: usize = 50;

/// What a client keeps on its disk.
struct Account {
    keys: Arc<ed25519::KeyPair>,
    mail: Correspondent,
    /// In seconds since 1970.
    last_login: AtomicU64,
}

impl Account {
    /// With new keys, at this gateway.
    fn new(gateway: RoutingNode) -> Arc<Self> {
        let keys = Arc::new(ed25519::KeyPair::new(&mut os_rng()));
        let mail = Correspondent::new(keys.public_key(), gateway);
        Arc::new(Self { keys, mail, last_login: AtomicU64::new(0) })
    }
}

/// A client of one gateway. It connects to the URL that the published crates take from what it knows of the gateway.
pub struct Client {
    account: Arc<Account>,
    inner: GatewayClient,
    messages: BoxStream<'static, Vec<u8>>,
    acks: BoxStream<'static, Vec<u8>>,
    parts: SphinxMessageReceiver,
    shutdown: ShutdownToken,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ends the task that reads the connection.
        self.shutdown.cancel();
    }
}

impl Client {
    /// A client with new keys. It is not connected.
    ///
    /// # Errors
    /// If there is no URL at which clients find the gateway.
    pub fn new(gateway: impl Into<RoutingNode>) -> Result<Self> {
        let gateway = gateway.into();
        Self::with(Account::new(gateway.clone()), None, &gateway)
    }

    /// A client with new keys, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn registered(gateway: impl Into<RoutingNode>) -> Result<Self> {
        let mut client = Self::new(gateway)?;
        client.log_in().await?;
        Ok(client)
    }

    /// The same client, as another program that has its keys, and the key it shares with the gateway. It is not connected.
    ///
    /// # Errors
    /// If it has never registered.
    pub fn again(&self, gateway: impl Into<RoutingNode>) -> Result<Self> {
        let shared_key = self.shared_key()?;
        Self::with(self.account.clone(), Some(shared_key), &gateway.into())
    }

    /// The same client, as another program that has its keys, but will have to register. It is not connected.
    ///
    /// # Errors
    /// If there is no URL at which clients find the gateway.
    pub fn without_shared_key(&self, gateway: impl Into<RoutingNode>) -> Result<Self> {
        Self::with(self.account.clone(), None, &gateway.into())
    }

    fn with(account: Arc<Account>, shared_key: Option<Arc<SharedSymmetricKey>>, gateway: &RoutingNode) -> Result<Self> {
        let (no_controller, _) = tokio::sync::mpsc::unbounded_channel();
        let no_tickets = Box::new(BandwidthControllerRequestSender::new(no_controller));
        let config = GatewayClientConfig::default().with_disabled_credentials_mode(true);
        Self::build(account, shared_key, gateway, config, no_tickets)
    }

    /// A client with new keys that pays with tickets from here. It is not connected.
    ///
    /// # Errors
    /// If there is no URL at which clients find the gateway.
    pub fn that_pays(gateway: impl Into<RoutingNode>, tickets: Box<dyn BandwidthTicketProvider>) -> Result<Self> {
        let gateway = gateway.into();
        let config = GatewayClientConfig::default().with_disabled_credentials_mode(false);
        Self::build(Account::new(gateway.clone()), None, &gateway, config, tickets)
    }

    fn build(
        account: Arc<Account>,
        shared_key: Option<Arc<SharedSymmetricKey>>,
        gateway: &RoutingNode,
        config: GatewayClientConfig,
        tickets: Box<dyn BandwidthTicketProvider>,
    ) -> Result<Self> {
        let (to_messages, messages) = mpsc::unbounded();
        let (to_acks, acks) = mpsc::unbounded();
        let shutdown = ShutdownToken::new();
        let url = gateway.ws_entry_address(false).context("the gateway takes no clients")?;
        let listeners = GatewayListeners { primary: Url::parse(&url).context(url)?, fallback: None };
        let inner = GatewayClient::new(
            config.with_reconnection_backoff(BACKOFF).with_reconnection_attempts(ATTEMPTS),
            GatewayConfig::new(gateway.identity_key, listeners),
            account.keys.clone(),
            shared_key,
            PacketRouter::new(to_acks, to_messages, shutdown.clone()),
            tickets,
            ClientStatsSender::new(None, shutdown.clone()),
            None,
            shutdown.clone(),
        );
        // The client hands over all messages of one read together.
        let messages = messages.flat_map(stream::iter).boxed();
        let acks = acks.flat_map(stream::iter).boxed();
        Ok(Self { account, inner, messages, acks, parts: SphinxMessageReceiver::default(), shutdown })
    }

    /// Where others find it.
    pub fn address(&self) -> Recipient {
        self.account.mail.address
    }

    /// How it seals and opens its mail.
    pub fn mail(&self) -> &Correspondent {
        &self.account.mail
    }

    /// The published client itself.
    pub fn inner(&mut self) -> &mut GatewayClient {
        &mut self.inner
    }

    /// The key it shares with the gateway.
    ///
    /// # Errors
    /// If it has never registered.
    pub fn shared_key(&self) -> Result<Arc<SharedSymmetricKey>> {
        self.inner.shared_key().context("this client has no key, because it has not registered")
    }

    /// Connects, and registers or logs in, whatever the client decides.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn enter(&mut self) -> Result<()> {
        if self.inner.shared_key().is_some() {
            self.wait_for_a_later_second().await;
        }
        let entering = self.inner.perform_initial_authentication();
        let _ = deadline::soon("the registration or the login", entering).await??;
        self.account.last_login.store(now(), Ordering::Relaxed);
        Ok(())
    }

    /// Connects, registers or logs in, claims bandwidth and listens: what a program does before it is of use.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn log_in(&mut self) -> Result<()> {
        self.enter().await?;
        deadline::soon("the claim", self.inner.claim_initial_bandwidth()).await??;
        Ok(self.inner.start_listening_for_mixnet_messages()?)
    }

    /// A gateway takes a login only if it is of a later second than the one before.
    async fn wait_for_a_later_second(&self) {
        while now() <= self.account.last_login.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a message in packets of this size. Returns what its SURB-acks will say.
    ///
    /// # Errors
    /// If the connection does not take it.
    pub async fn send(&mut self, to: &Recipient, text: &[u8], size: PacketSize) -> Result<Vec<FragmentIdentifier>> {
        let prepared = self.mail().prepare(to, NymMessage::new_plain(text.to_vec()), size, NO_ROTATION)?;
        self.post(prepared).await
    }

    /// Sends the packets of a message. Returns what its SURB-acks will say.
    ///
    /// # Errors
    /// If the connection does not take them.
    pub async fn post(&mut self, prepared: PreparedMessage) -> Result<Vec<FragmentIdentifier>> {
        for packet in prepared.packets {
            deadline::soon("a packet to be sent", self.inner.send_mix_packet(packet)).await??;
        }
        Ok(prepared.acks)
    }

    /// Sends itself a message, and waits for it and for its acknowledgement.
    ///
    /// # Errors
    /// If one of them does not come.
    pub async fn prove_working(&mut self) -> Result<()> {
        let (me, text) = (self.address(), b"still there?");
        let acks = self.send(&me, text, PacketSize::RegularPacket).await?;
        self.expect(text).await?;
        self.expect_acks(&acks).await
    }

    /// The next push that is no acknowledgement, still sealed by its sender.
    ///
    /// # Errors
    /// If nothing comes.
    pub async fn pushed(&mut self) -> Result<Vec<u8>> {
        deadline::soon("a pushed message", self.messages.next()).await?.context("the client has ended")
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// If none comes, or something that cannot be opened.
    pub async fn message(&mut self) -> Result<NymMessage> {
        loop {
            let pushed = self.pushed().await?;
            if let Some(message) = self.account.mail.open(&mut self.parts, pushed)? {
                return Ok(message);
            }
        }
    }

    /// Waits for the next message, which has to be this one.
    ///
    /// # Errors
    /// If it is another, or none.
    pub async fn expect(&mut self, text: &[u8]) -> Result<()> {
        let message = self.message().await?.into_inner_data();
        ensure!(message == text, "received a message of {} bytes in place of one of {}", message.len(), text.len());
        Ok(())
    }

    /// Waits until all these SURB-acks have come, and no others.
    ///
    /// # Errors
    /// If they do not, or one comes that was not awaited.
    pub async fn expect_acks(&mut self, awaited: &[FragmentIdentifier]) -> Result<()> {
        let mut missing: HashSet<_> = awaited.iter().copied().collect();
        while !missing.is_empty() {
            let ack = deadline::soon("an acknowledgement", self.acks.next()).await?.context("the client has ended")?;
            let ack = self.account.mail.open_ack(&ack)?;
            ensure!(missing.remove(&ack), "an acknowledgement came that was not awaited: {ack}");
        }
        Ok(())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
