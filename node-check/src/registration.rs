//! Registers a client at the announced websocket, and has it forgotten again.

use std::time::{Duration, Instant};

use client_wire::{
    control::{
        HandshakeMessage,
        answer::GatewayResponse,
        sealed::{SensitiveRequest, SensitiveResponse},
    },
    handshake::{ClientInit, FINISHED, GatewayReply, HandshakeError},
    key::SessionKey,
    protocol::ProtocolVersion,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use ipc::node_check::{Finding, NodeCheckRequest, Subject};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{connect, deadline::Deadline};

/// Time for the whole of it.
const WHOLE: Duration = Duration::from_secs(10);

/// Frames that are not text and may come before an answer.
const OTHER_FRAMES: usize = 16;

/// Why no client can register.
#[derive(Debug, thiserror::Error)]
enum RegistrationError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no websocket: {0}")]
    Upgrade(String),
    #[error("the websocket ended: {0}")]
    Websocket(#[from] tungstenite::Error),
    #[error("no answer came")]
    Silence,
    #[error("it answered: {0}")]
    Refused(String),
    #[error("what answers there does not have the identity key of this gateway")]
    OtherIdentity,
    #[error("the handshake failed: {0}")]
    Handshake(#[from] HandshakeError),
}

/// Whether a client can register and be forgotten.
pub(crate) fn look(request: &NodeCheckRequest, end: Instant) -> Finding {
    let host = &request.host;
    match register_and_forget(request, end) {
        Ok(()) => Finding::good(Subject::Registration),
        Err(error) => Finding::bad(Subject::Registration, format!("ws://{host}:{}: {error}", request.ws_port)),
    }
}

fn register_and_forget(request: &NodeCheckRequest, end: Instant) -> Result<(), RegistrationError> {
    let end = end.min(Instant::now() + WHOLE);
    let stream = Deadline::new(connect(&request.host, request.ws_port, end)?, end);
    let url = format!("ws://{}:{}/", request.host, request.ws_port);
    let (socket, _) = client(url, stream).map_err(|error| RegistrationError::Upgrade(error.to_string()))?;
    let mut connection = Connection(socket);

    let identity = SigningKey::from_bytes(&rand::random());
    let ephemeral = StaticSecret::from(rand::random::<[u8; 32]>());
    let init = ClientInit {
        identity: identity.verifying_key().to_bytes(),
        ephemeral: PublicKey::from(&ephemeral).to_bytes(),
        salt: Some(rand::random()),
    };
    let answer = connection.shake(init.encode())?;
    let reply = GatewayReply::parse(&answer).ok_or(RegistrationError::OtherIdentity)?;
    let key = init.derive_key(&ephemeral.diffie_hellman(&PublicKey::from(reply.ephemeral)).to_bytes());
    let keys = init.keys(reply.ephemeral);
    let signature = Signature::from_bytes(&key.open_signature(&reply.sealed_signature)?);
    let verified = VerifyingKey::from_bytes(&request.identity)
        .and_then(|gateway| gateway.verify_strict(&keys.signed_by_gateway(), &signature));
    verified.map_err(|_| RegistrationError::OtherIdentity)?;
    let signature = identity.sign(&keys.signed_by_client()).to_bytes();
    let last = connection.shake(key.seal_signature(signature, rand::random()))?;
    if last != FINISHED {
        return Err(RegistrationError::Refused("the handshake has no end".into()));
    }
    let text = connection.next_text()?;
    if !matches!(text.parse(), Ok(GatewayResponse::Register { status: true, .. })) {
        return Err(RegistrationError::Refused(text));
    }
    forget(&mut connection, &key)
}

/// Leaves nothing behind.
fn forget(connection: &mut Connection, key: &SessionKey) -> Result<(), RegistrationError> {
    let SessionKey::GcmSiv(key) = key else { return Ok(()) };
    let request = SensitiveRequest::ForgetMe { client: true, stats: true }.seal(key, rand::random());
    connection.send(request.to_string())?;
    let text = connection.next_text()?;
    let answer = match text.parse() {
        Ok(GatewayResponse::EncryptedResponse { ciphertext, nonce }) => {
            SensitiveResponse::open(key, ciphertext, &nonce).ok()
        }
        _ => None,
    };
    match answer {
        Some(SensitiveResponse::ForgetMeAck {}) => Ok(()),
        _ => Err(RegistrationError::Refused(text)),
    }
}

struct Connection(WebSocket<Deadline>);

impl Connection {
    fn send(&mut self, text: String) -> Result<(), RegistrationError> {
        Ok(self.0.send(Message::text(text))?)
    }

    fn next_text(&mut self) -> Result<String, RegistrationError> {
        for _ in 0..OTHER_FRAMES {
            match self.0.read()? {
                Message::Text(text) => return Ok(text.to_string()),
                // Pings are answered by the library when it reads or writes next.
                Message::Ping(_) => self.0.flush()?,
                Message::Close(_) => return Err(RegistrationError::Silence),
                _ => {}
            }
        }
        Err(RegistrationError::Silence)
    }

    /// Sends a handshake message, and takes the gateway's.
    fn shake(&mut self, data: Vec<u8>) -> Result<Vec<u8>, RegistrationError> {
        let protocol_version = Some(ProtocolVersion::CURRENT.number());
        self.send(HandshakeMessage::HandshakePayload { protocol_version, data }.to_string())?;
        let text = self.next_text()?;
        match text.parse() {
            Ok(HandshakeMessage::HandshakePayload { data, .. }) => Ok(data),
            _ => Err(RegistrationError::Refused(text)),
        }
    }
}
