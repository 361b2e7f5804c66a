//! Who a client is, and how it registers and logs in, in any era.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use client_wire::{
    control::{answer::GatewayResponse, request::ClientRequest, sealed::SensitiveRequest},
    handshake::{ClientInit, FINISHED, GatewayReply},
    key::{CtrHmacKey, GcmSivKey, Iv, KeyKind, SessionKey},
    token::{AuthenticationToken, GcmSivToken, LoginClaim, SignedLogin},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use wire::address::ClientAddress;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{
    connection::Connection,
    era::{Era, handshake_data},
};

/// The identity key of a client.
#[derive(Debug, Clone)]
pub struct Identity(SigningKey);

impl Identity {
    /// A new one.
    pub fn random() -> Self {
        Self(SigningKey::from_bytes(&rand::random()))
    }

    /// Its address.
    pub fn address(&self) -> ClientAddress {
        ClientAddress(self.0.verifying_key().to_bytes())
    }
}

/// A registered client: its identity, its era, and the key it agreed on with the gateway.
#[derive(Debug, Clone)]
pub struct Account {
    /// The identity key.
    pub identity: Identity,
    /// The era of its protocol.
    pub era: Era,
    /// The session key, of the era's kind.
    pub key: SessionKey,
}

impl Account {
    /// An account that was never registered.
    pub fn imaginary(identity: Identity, era: Era) -> Self {
        let key = match era.key_kind() {
            KeyKind::CtrHmac => SessionKey::CtrHmac(CtrHmacKey::from_bytes(rand::random())),
            KeyKind::GcmSiv => SessionKey::GcmSiv(GcmSivKey::from_bytes(rand::random())),
        };
        Self { identity, era, key }
    }

    /// The client's address.
    pub fn address(&self) -> ClientAddress {
        self.identity.address()
    }

    /// The text of a login that has not been used before.
    pub fn login_text(&self) -> String {
        match (&self.key, self.era.number()) {
            (SessionKey::CtrHmac(key), number) => token_text(key, self.address(), number, fresh_iv()),
            (SessionKey::GcmSiv(key), Some(3)) => {
                GcmSivToken::create(key, self.address(), rand::random()).to_request(Some(3)).to_string()
            }
            (SessionKey::GcmSiv(key), number) => {
                self.signed(key, number.unwrap_or(0), fresh_time()).to_request().to_string()
            }
        }
    }

    /// A login as of version 4 and later, made at this time (in seconds since 1970).
    ///
    /// # Errors
    /// If the key is of the older kind.
    pub fn signed_login(&self, time: u64) -> Result<SignedLogin> {
        let SessionKey::GcmSiv(key) = &self.key else { bail!("the key is too old for a signed login") };
        Ok(self.signed(key, self.era.number().unwrap_or(0), time))
    }

    fn signed(&self, key: &GcmSivKey, number: u8, time: u64) -> SignedLogin {
        let claim = LoginClaim::create(number, key, self.address(), rand::random(), time);
        SignedLogin { claim, signature: self.identity.0.sign(&claim.signed_bytes()).to_bytes() }
    }

    /// The text of an encrypted request.
    ///
    /// # Errors
    /// If the era has none.
    pub fn sealed_text(&self, request: &SensitiveRequest) -> Result<String> {
        Ok(request.seal(self.sealing_key()?, rand::random()).to_string())
    }

    /// The key of encrypted requests and their answers.
    ///
    /// # Errors
    /// If the era has none.
    pub fn sealing_key(&self) -> Result<&GcmSivKey> {
        match &self.key {
            SessionKey::GcmSiv(key) => Ok(key),
            SessionKey::CtrHmac(_) => bail!("a client of {} has no encrypted requests", self.era),
        }
    }

    /// Checks the answer to a login.
    ///
    /// # Errors
    /// If it is no.
    pub fn expect_yes(&self, answer: &str) -> Result<()> {
        let yes = matches!(answer.parse(), Ok(GatewayResponse::Authenticate { status: true, .. }));
        ensure!(yes, "the gateway refused a login: {answer}");
        Ok(())
    }

    /// Checks the answer to a registration.
    ///
    /// # Errors
    /// If it is no.
    pub fn expect_registered(answer: &str) -> Result<()> {
        let yes = matches!(answer.parse(), Ok(GatewayResponse::Register { status: true, .. }));
        ensure!(yes, "the gateway refused a registration: {answer}");
        Ok(())
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn log_in(&self, gateway: SocketAddr) -> Result<Connection> {
        self.log_in_on(Connection::open(gateway).await?).await
    }

    /// Logs in on a connection.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn log_in_on(&self, mut connection: Connection) -> Result<Connection> {
        connection.send_text(self.login_text()).await?;
        self.expect_yes(&connection.next_text().await?)?;
        Ok(connection)
    }
}

/// The text of a login until version 2.
pub fn token_text(key: &CtrHmacKey, address: ClientAddress, protocol_version: Option<u8>, iv: Iv) -> String {
    let token = AuthenticationToken::create(key, address, iv);
    ClientRequest::Authenticate {
        protocol_version,
        address: token.address.to_string(),
        enc_address: bs58::encode(token.enc_address).into_string(),
        iv: bs58::encode(token.iv).into_string(),
    }
    .to_string()
}

/// A random IV. By chance it is never one of those that are refused.
pub fn fresh_iv() -> Iv {
    rand::random()
}

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A time for a login, later than every one before. It may be seconds ahead, which the gateway allows, so that no test waits for the
/// next second.
pub fn fresh_time() -> u64 {
    const EARLY: u64 = 60;
    static LAST: AtomicU64 = AtomicU64::new(0);
    let later = |last: u64| (last + 1).max(now().saturating_sub(EARLY));
    LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last))).map_or(0, later)
}

/// A registration after its first message.
pub struct Registration {
    identity: Identity,
    era: Era,
    ephemeral: StaticSecret,
    init: ClientInit,
}

impl Registration {
    /// Begins a registration of 2021.
    pub fn new(identity: Identity) -> Self {
        Self::of(Era::Of2021, identity)
    }

    /// Begins a registration.
    pub fn of(era: Era, identity: Identity) -> Self {
        let ephemeral = StaticSecret::from(rand::random::<[u8; 32]>());
        let salt = match era.key_kind() {
            KeyKind::CtrHmac => None,
            KeyKind::GcmSiv => Some(rand::random()),
        };
        let init = ClientInit {
            identity: *identity.address().as_bytes(),
            ephemeral: PublicKey::from(&ephemeral).to_bytes(),
            salt,
        };
        Self { identity, era, ephemeral, init }
    }

    /// The data of the client's first message.
    pub fn init(&self) -> Vec<u8> {
        self.init.encode()
    }

    /// The text of the client's first message.
    pub fn init_text(&self) -> String {
        self.era.handshake_text(&self.init())
    }

    /// Checks the gateway's answer; returns the account and the data of the client's second message.
    ///
    /// # Errors
    /// If the gateway with this identity key did not sign the answer.
    pub fn finish(&self, answer: &[u8], gateway_identity: &[u8; 32]) -> Result<(Account, Vec<u8>)> {
        let reply = GatewayReply::parse(answer).context("the gateway's handshake material has a wrong length")?;
        let secret = self.ephemeral.diffie_hellman(&PublicKey::from(reply.ephemeral)).to_bytes();
        let key = self.init.derive_key(&secret);
        let keys = self.init.keys(reply.ephemeral);
        let signature = Signature::from_bytes(&key.open_signature(&reply.sealed_signature)?);
        VerifyingKey::from_bytes(gateway_identity)?
            .verify_strict(&keys.signed_by_gateway(), &signature)
            .context("the gateway's signature is not its own")?;
        let signature = self.identity.0.sign(&keys.signed_by_client()).to_bytes();
        let finish = key.seal_signature(signature, rand::random());
        Ok((Account { identity: self.identity.clone(), era: self.era, key }, finish))
    }

    /// The client's first message on a connection, and the gateway's answer; returns the account and the data of the client's second
    /// message, which makes it valid.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn agree(&self, connection: &mut Connection, gateway_identity: &[u8; 32]) -> Result<(Account, Vec<u8>)> {
        connection.send_text(self.init_text()).await?;
        let answer = handshake_data(&connection.next_text().await?)?;
        self.finish(&answer, gateway_identity)
    }

    /// The client's second message, and the gateway's last handshake message, `[1]`. What comes next is `register`.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn conclude(&self, connection: &mut Connection, finish: &[u8]) -> Result<()> {
        connection.send_text(self.era.handshake_text(finish)).await?;
        let last = connection.next_text().await?;
        ensure!(handshake_data(&last)? == FINISHED, "the handshake ended with {last}");
        Ok(())
    }

    /// The whole registration on a connection, up to and including the gateway's last handshake message.
    ///
    /// # Errors
    /// If the gateway refuses; the text holds its answer.
    pub async fn shake_hands(&self, connection: &mut Connection, gateway_identity: &[u8; 32]) -> Result<Account> {
        let (account, finish) = self.agree(connection, gateway_identity).await?;
        self.conclude(connection, &finish).await?;
        Ok(account)
    }
}
