//! The client's side of a dialogue.

use anyhow::{Context, Result, bail, ensure};
use client_wire::key::CtrHmacKey;
use harness::{
    client::{Client, Credentials, Identity, Registration, handshake_data, handshake_text, shake_hands},
    connection::{Connection, Incoming},
    packet::unique,
    scene::Scene,
};
use serde_json::Value;
use wire::{packet::PacketSize, routing};

use crate::cases::{Say, Start};

/// The client's side of one dialogue.
pub(crate) struct Speaker {
    pub(crate) connection: Connection,
    credentials: Option<Credentials>,
    /// Kept open to the end.
    pub(crate) elsewhere: Option<Client>,
    identity: Identity,
    registration: Option<Registration>,
    gateway_answer: Option<Vec<u8>>,
    gateway_identity: [u8; 32],
    used_login: Option<String>,
}

impl Speaker {
    pub(crate) async fn prepare(scene: &Scene, start: Start) -> Result<Self> {
        let mut speaker = Self {
            connection: scene.connection().await?,
            credentials: None,
            elsewhere: None,
            identity: Identity::random(),
            registration: None,
            gateway_answer: None,
            gateway_identity: scene.gateway.identity,
            used_login: None,
        };
        let identity = speaker.identity.clone();
        match start {
            Start::Stranger => {}
            Start::Registered => {
                let credentials = shake_hands(&mut speaker.connection, &identity, &scene.gateway.identity).await?;
                speaker.connection.expect_text(r#"{"type":"register","status":true}"#).await?;
                speaker.credentials = Some(credentials);
            }
            Start::Offline => speaker.credentials = Some(scene.client_as(&identity).await?.leave().await?),
            Start::OnlineElsewhere => {
                let elsewhere = scene.client_as(&identity).await?;
                speaker.credentials = Some(elsewhere.credentials.clone());
                speaker.elsewhere = Some(elsewhere);
            }
            Start::HoldsOldKey => {
                speaker.credentials = Some(scene.client_as(&identity).await?.leave().await?);
                scene.client_as(&identity).await?.leave().await?;
            }
            Start::LoggedInBefore => {
                let credentials = scene.client_as(&identity).await?.leave().await?;
                let login = credentials.login_text();
                let mut connection = scene.connection().await?;
                connection.send_text(&login).await?;
                connection.expect_text(r#"{"type":"authenticate","status":true}"#).await?;
                Client::new(credentials, connection).leave().await?;
                speaker.used_login = Some(login);
            }
        }
        Ok(speaker)
    }

    fn credentials(&self) -> Result<&Credentials> {
        self.credentials.as_ref().context("the case has no client that is registered")
    }

    fn begin(&mut self) -> Vec<u8> {
        let registration = Registration::new(self.identity.clone());
        let init = registration.init();
        self.registration = Some(registration);
        init
    }

    pub(crate) async fn say(&mut self, say: Say, recorded: Option<&Value>) -> Result<()> {
        match say {
            Say::AsRecorded => self.repeat(recorded.context("nothing was recorded here")?).await,
            Say::Init => {
                let init = self.begin();
                self.connection.send_text(handshake_text(&init)).await
            }
            Say::InitByItsOtherName => {
                let text = handshake_text(&self.begin());
                let text = text.replace("handshakePayload", "registerHandshakeInitRequest");
                self.connection.send_text(text).await
            }
            Say::InitOf65 => {
                let init = self.begin();
                self.connection.send_text(handshake_text(&[&init[..], &[1]].concat())).await
            }
            Say::InitOf32 => {
                let address = self.identity.address();
                self.connection.send_text(handshake_text(address.as_bytes())).await
            }
            Say::InitWithZeroEphemeral => {
                let init = [*self.identity.address().as_bytes(), [0; 32]].concat();
                self.connection.send_text(handshake_text(&init)).await
            }
            Say::Finish => {
                // Where the recording left the rest of the handshake out, it is heard here.
                let unrecorded = self.gateway_answer.is_none();
                let answer = match self.gateway_answer.take() {
                    Some(answer) => answer,
                    None => handshake_data(&self.connection.next_text().await?)?,
                };
                let registration = self.registration.as_ref().context("no registration has begun")?;
                let (account, finish) = registration.finish(&answer, &self.gateway_identity)?;
                self.credentials = Some(account.try_into()?);
                self.connection.send_text(handshake_text(&finish)).await?;
                if unrecorded {
                    self.connection.expect_text(&handshake_text(&[1])).await?;
                }
                Ok(())
            }
            Say::Login => self.connection.send_text(self.credentials()?.login_text()).await,
            Say::LoginWithExtraField => {
                let text = self.credentials()?.login_text().replace('}', r#","extra":1}"#);
                self.connection.send_text(text).await
            }
            Say::LoginAgain => {
                let login = self.used_login.clone().context("nobody has logged in before")?;
                self.connection.send_text(login).await
            }
            Say::LoginWithWrongKey => {
                let identity = self.identity.clone();
                let wrong = Credentials { identity, key: CtrHmacKey::from_bytes(rand::random()) };
                self.connection.send_text(wrong.login_text()).await
            }
            Say::LoginOfStranger => {
                let key = CtrHmacKey::from_bytes(rand::random());
                self.connection.send_text(Credentials { identity: Identity::random(), key }.login_text()).await
            }
            Say::Binary(bytes) => self.connection.send_binary(bytes).await,
            Say::BadMac => {
                let frame = [&[0; 32][..], &[b'x'; 100]].concat();
                self.send_of_recorded_len(frame, recorded).await
            }
            Say::Forward
            | Say::ForwardV6
            | Say::ForwardVpn
            | Say::BadMode
            | Say::BadAddress
            | Say::ShortAddress
            | Say::BadSize
            | Say::NoPacket => {
                let plaintext = request(say)?;
                let sealed = client_wire::frame::seal(&self.credentials()?.key, &plaintext);
                self.send_of_recorded_len(sealed.to_vec(), recorded).await
            }
        }
    }

    async fn send_of_recorded_len(&self, frame: Vec<u8>, recorded: Option<&Value>) -> Result<()> {
        let len = recorded.and_then(|recorded| recorded.get("len")).and_then(Value::as_u64);
        ensure!(len == Some(frame.len() as u64), "the recorded frame has {len:?} bytes, this one {}", frame.len());
        self.connection.send_binary(frame).await
    }

    async fn repeat(&self, recorded: &Value) -> Result<()> {
        if let Some(binary) = recorded.get("binary_hex").and_then(Value::as_str) {
            return self.send_of_recorded_len(hex::decode(binary)?, Some(recorded)).await;
        }
        let text = recorded.as_str().context("the recorded frame is neither text nor binary")?;
        match text.strip_prefix("PING ") {
            Some(payload) => self.connection.send_ping(payload.to_owned()).await,
            None => self.connection.send_text(text).await,
        }
    }

    /// Takes what the gateway says next, and compares it with the recording.
    pub(crate) async fn hear(&mut self, recorded: &Value) -> Result<()> {
        // A Pong was recorded as its opcode and payload.
        if let Some(pong) = recorded.as_array() {
            ensure!(pong == &["10", "b'pingdata'"], "unknown kind of frame: {recorded}");
            let heard = self.connection.next().await?;
            ensure!(heard == Incoming::Pong("pingdata".into()), "{heard:?} instead of a Pong");
            return Ok(());
        }
        let recorded = recorded.as_str().context("the recorded answer is neither text nor Pong")?;
        let heard = self.connection.next_text().await?;
        if !recorded.starts_with(r#"{"type":"handshakePayload""#) || recorded == handshake_text(&[1]) {
            ensure!(heard == recorded, "heard {heard} instead of {recorded}");
            return Ok(());
        }
        let data = handshake_data(&heard)?;
        // Some were cut when they were recorded.
        if let Ok(recorded) = handshake_data(recorded) {
            ensure!(data.len() == recorded.len(), "{} bytes of handshake instead of {}", data.len(), recorded.len());
        }
        ensure!(data.len() == 96, "{} bytes of key material", data.len());
        self.gateway_answer = Some(data);
        Ok(())
    }
}

/// A request to forward a packet, or what is meant to look like one.
fn request(say: Say) -> Result<Vec<u8>> {
    let packet = unique(PacketSize::Ack.packet_len());
    let ipv4 = routing::encode("127.0.0.1:1789".parse()?);
    let ipv6 = routing::encode("[::1]:1789".parse()?);
    Ok(match say {
        Say::Forward => [&[0][..], &ipv4, &packet].concat(),
        Say::ForwardV6 => [&[0][..], &ipv6, &packet].concat(),
        Say::ForwardVpn => [&[1][..], &ipv4, &packet].concat(),
        Say::BadMode => [&[2][..], &ipv4, &packet].concat(),
        Say::BadAddress => [&[0, 5][..], ipv4.get(1..).unwrap_or(&[]), &packet].concat(),
        Say::ShortAddress => vec![0, 4, 1],
        Say::BadSize => [&[0][..], &ipv4, packet.get(1..).unwrap_or(&[])].concat(),
        Say::NoPacket => [&[0][..], &ipv4].concat(),
        other => bail!("{other:?} is no request to forward"),
    })
}
