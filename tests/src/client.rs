//! A client of the 2021 network: it registers or authenticates, is pushed its mail, and sends packets of its own.

use std::{collections::VecDeque, net::SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use proto::{
    address::ClientAddress,
    wire::{
        client::{
            control::{ClientRequest, GatewayResponse, HandshakeMessage},
            frame,
            handshake::{self, EphemeralKeys, GatewayMaterial, HandshakeInit},
            key::{CtrHmacKey, Iv},
            request::ForwardRequest,
            token::AuthenticationToken,
        },
        packet::{PacketSize, PacketType},
    },
};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::connection::{Connection, Incoming};

/// Who a client is.
#[derive(Debug, Clone)]
pub struct Identity(SigningKey);

impl Identity {
    /// Somebody new.
    pub fn random() -> Self {
        Self(SigningKey::from_bytes(&rand::random()))
    }

    /// Its address.
    pub fn address(&self) -> ClientAddress {
        ClientAddress(self.0.verifying_key().to_bytes())
    }
}

/// Who a client is, and the key it agreed on with the gateway.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who.
    pub identity: Identity,
    /// The session key.
    pub key: CtrHmacKey,
}

impl Credentials {
    /// The client's address.
    pub fn address(&self) -> ClientAddress {
        self.identity.address()
    }

    /// The text of a login with a fresh IV.
    pub fn login_text(&self) -> String {
        self.login_text_with(fresh_iv())
    }

    /// The text of a login with this IV.
    pub fn login_text_with(&self, iv: Iv) -> String {
        let token = AuthenticationToken::create(&self.key, self.address(), iv);
        ClientRequest::Authenticate {
            protocol_version: None,
            address: token.address.to_string(),
            enc_address: bs58::encode(token.enc_address).into_string(),
            iv: bs58::encode(token.iv).into_string(),
        }
        .to_string()
    }

    /// Connects and authenticates.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn authenticate(&self, gateway: SocketAddr) -> Result<Client> {
        let mut connection = Connection::open(gateway).await?;
        connection.send_text(self.login_text()).await?;
        connection.expect_text(&GatewayResponse::Authenticate { status: true }.to_string()).await?;
        Ok(Client::new(self.clone(), connection))
    }
}

/// A random IV. (That it is one of those which are refused is as likely as guessing it.)
pub fn fresh_iv() -> Iv {
    rand::random()
}

/// A registration after its first message.
pub struct Registration {
    identity: Identity,
    ephemeral: StaticSecret,
}

impl Registration {
    /// Begins one.
    pub fn new(identity: Identity) -> Self {
        Self { identity, ephemeral: StaticSecret::from(rand::random::<[u8; 32]>()) }
    }

    /// The data of the client's first message.
    pub fn init(&self) -> [u8; 64] {
        let ephemeral = PublicKey::from(&self.ephemeral).to_bytes();
        HandshakeInit { identity: *self.identity.address().as_bytes(), ephemeral }.encode()
    }

    /// Checks the gateway's answer; returns the session key and the data of the client's second message.
    ///
    /// # Errors
    /// If the gateway with this identity key did not sign the answer.
    pub fn finish(&self, answer: &[u8], gateway_identity: &[u8; 32]) -> Result<(CtrHmacKey, [u8; 64])> {
        let material = GatewayMaterial::parse(answer).context("the gateway's handshake material has a wrong length")?;
        let secret = self.ephemeral.diffie_hellman(&PublicKey::from(material.ephemeral)).to_bytes();
        let key = handshake::derive_key(&secret);
        let client = PublicKey::from(&self.ephemeral).to_bytes();
        let keys = EphemeralKeys { client, gateway: material.ephemeral };
        let signature = Signature::from_bytes(&handshake::open_signature(&key, &material.sealed_signature)?);
        VerifyingKey::from_bytes(gateway_identity)?
            .verify_strict(&keys.signed_by_gateway(), &signature)
            .context("the gateway's signature is not its own")?;
        let signature = self.identity.0.sign(&keys.signed_by_client()).to_bytes();
        let sealed = handshake::seal_signature(&key, signature);
        Ok((key, sealed))
    }
}

/// The text of a handshake message.
pub fn handshake_text(data: &[u8]) -> String {
    HandshakeMessage::HandshakePayload { protocol_version: None, data: data.to_vec() }.to_string()
}

/// The data of a handshake message.
///
/// # Errors
/// If the text is something else.
pub fn handshake_data(text: &str) -> Result<Vec<u8>> {
    match text.parse() {
        Ok(HandshakeMessage::HandshakePayload { data, .. }) => Ok(data),
        _ => bail!("expected a handshake message from the gateway, not {text}"),
    }
}

/// Registers up to and including the gateway's last handshake message, `[1]`. What comes next is `register`.
///
/// # Errors
/// If the gateway refuses; the text holds its answer.
pub async fn shake_hands(
    connection: &mut Connection,
    identity: &Identity,
    gateway_identity: &[u8; 32],
) -> Result<Credentials> {
    let registration = Registration::new(identity.clone());
    connection.send_text(handshake_text(&registration.init())).await?;
    let answer = handshake_data(&connection.next_text().await?)?;
    let (key, finish) = registration.finish(&answer, gateway_identity)?;
    connection.send_text(handshake_text(&finish)).await?;
    connection.expect_text(&handshake_text(&handshake::FINISHED)).await?;
    Ok(Credentials { identity: identity.clone(), key })
}

/// A client with a session.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub credentials: Credentials,
    /// Its connection.
    pub connection: Connection,
    /// Mail that came while something else was waited for.
    mail: VecDeque<Vec<u8>>,
}

impl Client {
    /// A client on a connection that has a session.
    pub fn new(credentials: Credentials, connection: Connection) -> Self {
        Self { credentials, connection, mail: VecDeque::new() }
    }

    /// Somebody new, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn register(gateway: SocketAddr, gateway_identity: &[u8; 32]) -> Result<Self> {
        Self::register_as(&Identity::random(), gateway, gateway_identity).await
    }

    /// Somebody known, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn register_as(identity: &Identity, gateway: SocketAddr, gateway_identity: &[u8; 32]) -> Result<Self> {
        let mut connection = Connection::open(gateway).await?;
        let credentials = shake_hands(&mut connection, identity, gateway_identity).await?;
        connection.expect_text(&GatewayResponse::Register { status: true }.to_string()).await?;
        Ok(Self::new(credentials, connection))
    }

    /// Its address.
    pub fn address(&self) -> ClientAddress {
        self.credentials.address()
    }

    /// Goes away with a Close, and waits until the gateway has closed the connection.
    ///
    /// # Errors
    /// If the gateway does not.
    pub async fn leave(mut self) -> Result<Credentials> {
        self.connection.send_close().await?;
        while self.connection.next().await? != Incoming::End {}
        Ok(self.credentials)
    }

    fn open(&self, sealed: Bytes) -> Result<Vec<u8>> {
        Ok(frame::open(&self.credentials.key, sealed).context("a pushed frame does not open")?.to_vec())
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
    /// Waits as long as it takes: somebody who only listens does not know when mail is due.
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
    /// If it is not `send: true`.
    pub async fn forward(&mut self, next_hop: SocketAddr, packet: &[u8]) -> Result<()> {
        let size = PacketSize::from_packet_len(packet.len()).context("no packet has this size")?;
        let packet = Bytes::copy_from_slice(packet);
        let request = ForwardRequest { packet_type: PacketType::Mix, next_hop, size, packet };
        self.send_sealed(&request.encode()).await?;
        let answer = self.next_text().await?;
        ensure!(answer == GatewayResponse::Send { status: true }.to_string(), "a packet was not taken: {answer}");
        Ok(())
    }

    /// Sends sealed bytes.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send_sealed(&self, plaintext: &[u8]) -> Result<()> {
        self.connection.send_binary(frame::seal(&self.credentials.key, plaintext)).await
    }
}
