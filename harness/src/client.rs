//! A client of any era with a session: it is pushed its mail, and sends packets of its own. Without an era it is of
//! 2021.

use std::{collections::VecDeque, net::SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use client_wire::{
    client_session::ClientSession,
    control::{
        answer::GatewayResponse,
        sealed::{SensitiveRequest, SensitiveResponse},
    },
    frame,
    key::{CtrHmacKey, Iv, SessionKey},
    request::{ForwardRequest, MarkedRequest},
};
use wire::{
    address::ClientAddress,
    packet::{KeyRotation, PacketSize, PacketType},
};

use crate::{
    account::token_text,
    connection::{Connection, Incoming},
};
pub use crate::{
    account::{Account, Identity, Registration, fresh_iv},
    era::{Era, handshake_data},
};

/// One side of a session.
pub trait Sealing {
    /// The cryptographic session of this side.
    ///
    /// # Errors
    /// If its key does not fit its era.
    fn session(&self) -> Result<ClientSession>;
}

impl Sealing for Account {
    fn session(&self) -> Result<ClientSession> {
        self.era.session(self.key.clone())
    }
}

impl Sealing for Credentials {
    fn session(&self) -> Result<ClientSession> {
        self.account().session()
    }
}

/// An account of 2021.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who.
    pub identity: Identity,
    /// The session key.
    pub key: CtrHmacKey,
}

impl TryFrom<Account> for Credentials {
    type Error = anyhow::Error;

    fn try_from(account: Account) -> Result<Self> {
        match (account.era, account.key) {
            (Era::Of2021, SessionKey::CtrHmac(key)) => Ok(Self { identity: account.identity, key }),
            (era, _) => bail!("an account of {era} is none of 2021"),
        }
    }
}

impl Credentials {
    /// The client's address.
    pub fn address(&self) -> ClientAddress {
        self.identity.address()
    }

    /// The same account, as one of any era.
    pub fn account(&self) -> Account {
        Account { identity: self.identity.clone(), era: Era::Of2021, key: SessionKey::CtrHmac(self.key.clone()) }
    }

    /// The text of a login with a fresh IV.
    pub fn login_text(&self) -> String {
        self.login_text_with(fresh_iv())
    }

    /// The text of a login with this IV.
    pub fn login_text_with(&self, iv: Iv) -> String {
        token_text(&self.key, self.address(), None, iv)
    }

    /// Connects and authenticates.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn authenticate(&self, gateway: SocketAddr) -> Result<Client> {
        Ok(Client::new(self.clone(), self.account().log_in(gateway).await?))
    }
}

/// The text of a handshake message of 2021.
pub fn handshake_text(data: &[u8]) -> String {
    Era::Of2021.handshake_text(data)
}

/// Registers as in 2021, up to and including the gateway's last handshake message, `[1]`. What comes next is `register`.
///
/// # Errors
/// If the gateway refuses; the text holds its answer.
pub async fn shake_hands(
    connection: &mut Connection,
    identity: &Identity,
    gateway_identity: &[u8; 32],
) -> Result<Credentials> {
    Registration::new(identity.clone()).shake_hands(connection, gateway_identity).await?.try_into()
}

/// A client with a session.
#[derive(Debug)]
pub struct Client<C = Credentials> {
    /// Who it is: [`Credentials`] of 2021, or an [`Account`] of any era.
    pub credentials: C,
    /// Its connection.
    pub connection: Connection,
    /// Mail that came while something else was waited for.
    mail: VecDeque<Vec<u8>>,
}

impl Client {
    /// A new client, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn register(gateway: SocketAddr, gateway_identity: &[u8; 32]) -> Result<Self> {
        Self::register_as(&Identity::random(), gateway, gateway_identity).await
    }

    /// The client of this identity, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn register_as(identity: &Identity, gateway: SocketAddr, gateway_identity: &[u8; 32]) -> Result<Self> {
        let client = Client::register_in(Era::Of2021, identity, gateway, gateway_identity).await?;
        Ok(Self::new(client.credentials.try_into()?, client.connection))
    }

    /// Its address.
    pub fn address(&self) -> ClientAddress {
        self.credentials.address()
    }
}

impl Client<Account> {
    /// Registered and connected, speaking as in this era.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn register_in(
        era: Era,
        identity: &Identity,
        gateway: SocketAddr,
        gateway_identity: &[u8; 32],
    ) -> Result<Self> {
        Self::register_on(Connection::open(gateway).await?, era, identity, gateway_identity).await
    }

    /// Registered on this connection, speaking as in this era.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn register_on(
        mut connection: Connection,
        era: Era,
        identity: &Identity,
        gateway_identity: &[u8; 32],
    ) -> Result<Self> {
        let registration = Registration::of(era, identity.clone());
        let account = registration.shake_hands(&mut connection, gateway_identity).await?;
        Account::expect_registered(&connection.next_text().await?)?;
        Ok(Self::new(account, connection))
    }

    /// Connected and logged in.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn log_in(account: &Account, gateway: SocketAddr) -> Result<Self> {
        Ok(Self::new(account.clone(), account.log_in(gateway).await?))
    }

    /// Its address.
    pub fn address(&self) -> ClientAddress {
        self.credentials.address()
    }

    /// Sends an encrypted request, and takes the answer.
    ///
    /// # Errors
    /// If it is not an encrypted one.
    pub async fn ask_sealed(&mut self, request: &SensitiveRequest) -> Result<SensitiveResponse> {
        self.connection.send_text(self.credentials.sealed_text(request)?).await?;
        let answer = self.next_text().await?;
        match answer.parse() {
            Ok(GatewayResponse::EncryptedResponse { ciphertext, nonce }) => {
                Ok(SensitiveResponse::open(self.credentials.sealing_key()?, ciphertext, &nonce)?)
            }
            _ => bail!("expected an encrypted answer, not {answer}"),
        }
    }
}

impl<C: Sealing> Client<C> {
    /// A client on a connection that has a session.
    pub fn new(credentials: C, connection: Connection) -> Self {
        Self { credentials, connection, mail: VecDeque::new() }
    }

    /// Goes away with a Close, and waits until the gateway has closed the connection.
    ///
    /// # Errors
    /// If the gateway does not.
    pub async fn leave(mut self) -> Result<C> {
        self.connection.send_close().await?;
        while self.connection.next().await? != Incoming::End {}
        Ok(self.credentials)
    }

    fn open(&self, sealed: Bytes) -> Result<Vec<u8>> {
        match self.credentials.session()?.open_push(sealed) {
            Ok(message) => Ok(message.to_vec()),
            Err(refusal) => bail!("a pushed frame does not open: {refusal:?}"),
        }
    }

    /// The next message, opened.
    ///
    /// # Errors
    /// If something else comes, or nothing.
    pub async fn next_message(&mut self) -> Result<Vec<u8>> {
        if let Some(message) = self.mail.pop_front() {
            return Ok(message);
        }
        match self.connection.next().await? {
            Incoming::Binary(sealed) => self.open(sealed),
            other => bail!("expected mail, not {other:?}"),
        }
    }

    /// The next message, opened; `None` when the connection has ended.
    ///
    /// Waits without a limit: a client that only listens does not know when mail is due.
    ///
    /// # Errors
    /// If something else comes.
    pub async fn next_message_or_end(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(message) = self.mail.pop_front() {
            return Ok(Some(message));
        }
        loop {
            match self.connection.next_whenever().await {
                Incoming::Binary(sealed) => return self.open(sealed).map(Some),
                Incoming::Close(_) => {}
                Incoming::End => return Ok(None),
                other => bail!("expected mail, not {other:?}"),
            }
        }
    }

    /// The next `count` messages, opened.
    ///
    /// # Errors
    /// If something else comes, or not enough.
    pub async fn next_messages(&mut self, count: usize) -> Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let message =
                self.next_message().await.with_context(|| format!("{} of {count} messages came", messages.len()));
            messages.push(message?);
        }
        Ok(messages)
    }

    /// All messages up to and including `last`.
    ///
    /// # Errors
    /// If something else comes, or `last` does not.
    pub async fn messages_until(&mut self, last: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        while messages.last().is_none_or(|message| message != last) {
            let message = self.next_message().await.with_context(|| format!("{} messages came", messages.len()));
            messages.push(message?);
        }
        Ok(messages)
    }

    /// The next text. Mail that comes before it is kept for later.
    ///
    /// # Errors
    /// If something else comes, or nothing.
    pub async fn next_text(&mut self) -> Result<String> {
        loop {
            match self.connection.next().await? {
                Incoming::Text(text) => return Ok(text),
                Incoming::Binary(sealed) => {
                    let message = self.open(sealed)?;
                    self.mail.push_back(message);
                }
                other => bail!("expected text from the gateway, not {other:?}"),
            }
        }
    }

    /// Sends a packet to its first mix node, and takes the gateway's answer.
    ///
    /// # Errors
    /// If it is not that the packet was taken.
    pub async fn forward(&mut self, next_hop: SocketAddr, packet: &[u8]) -> Result<()> {
        let answer = self.forward_for_answer(next_hop, packet, None).await?;
        let taken = matches!(answer.parse(), Ok(GatewayResponse::Send { status: None | Some(true), .. }));
        ensure!(taken, "a packet was not taken: {answer}");
        Ok(())
    }

    /// Sends a packet to its first mix node, if wanted with the rotation of that node's key for which it was made, and
    /// returns the gateway's answer.
    ///
    /// # Errors
    /// If there is none.
    pub async fn forward_for_answer(
        &mut self,
        next_hop: SocketAddr,
        packet: &[u8],
        key_rotation: Option<KeyRotation>,
    ) -> Result<String> {
        let size = PacketSize::from_packet_len(packet.len()).context("no packet has this size")?;
        let packet = Bytes::copy_from_slice(packet);
        let request = ForwardRequest { packet_type: PacketType::Mix, next_hop, size, packet };
        let request = MarkedRequest { request, key_rotation };
        self.connection.send_binary(self.credentials.session()?.seal_request(rand::random(), &request)).await?;
        self.next_text().await
    }
}

impl Client {
    /// Sends sealed bytes.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send_sealed(&self, plaintext: &[u8]) -> Result<()> {
        self.connection.send_binary(frame::seal(&self.credentials.key, plaintext)).await
    }
}
