//! Every recorded dialogue with nym-gateway 0.10.1, spoken again with this gateway: the same words in the same order, and the
//! connection open or closed afterwards.
//!
//! The recording holds no private keys, so whatever depends on a key is made anew; everything else is sent as it was. Where
//! this gateway answers differently on purpose, the case says why.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use proto::{
    address::ClientAddress,
    wire::{client::key::CtrHmacKey, packet::PacketSize, routing},
};
use serde_json::{Map, Value};
use tests::{
    client::{Client, Credentials, Identity, Registration, handshake_data, handshake_text, shake_hands},
    connection::{Connection, Incoming},
    deadline::bounded,
    packet::unique,
    scene::Scene,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Who the client is, and where it stands, when the dialogue begins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    /// Nobody the gateway knows.
    Stranger,
    /// Registered on this connection.
    Registered,
    /// Registered before, on a connection that is closed.
    Offline,
    /// Registered on another connection, which is open and alive.
    OnlineElsewhere,
    /// Registered twice, on connections that are closed; it knows the first key only.
    HoldsOldKey,
    /// Has logged in with a text it remembers, on a connection that is closed.
    LoggedInBefore,
}

/// What the client says.
#[derive(Debug, Clone, Copy)]
enum Say {
    /// The recorded frame.
    AsRecorded,
    /// The 64 bytes that begin a registration.
    Init,
    /// The same under its other name.
    InitByItsOtherName,
    /// One byte too many.
    InitOf65,
    /// Half of them.
    InitOf32,
    /// An ephemeral key of zeros.
    InitWithZeroEphemeral,
    /// The signature that ends a registration.
    Finish,
    /// A login.
    Login,
    /// A login with a field more.
    LoginWithExtraField,
    /// The login that was used before.
    LoginAgain,
    /// A login under a key the gateway does not know.
    LoginWithWrongKey,
    /// A login of somebody the gateway does not know.
    LoginOfStranger,
    /// A sealed request to forward an ack packet over IPv4.
    Forward,
    /// The same over IPv6.
    ForwardV6,
    /// The same in vpn mode.
    ForwardVpn,
    /// Sealed, with packet mode 2.
    BadMode,
    /// Sealed, with address type 5.
    BadAddress,
    /// Sealed, with an address that ends early.
    ShortAddress,
    /// Sealed, with 385 bytes of packet.
    BadSize,
    /// Sealed, without a packet.
    NoPacket,
    /// Not sealed with any key.
    BadMac,
    /// A binary frame with these bytes.
    Binary(&'static [u8]),
}

/// Where this gateway does not do what 0.10.1 did.
#[derive(Debug, Clone, Copy)]
struct Differs {
    /// What it says from the recorded answer of this number on, instead of the rest.
    from: usize,
    answers: &'static [&'static str],
    #[allow(dead_code, reason = "for the reader, and for the failure message")]
    because: &'static str,
}

struct Case {
    name: &'static str,
    start: Start,
    /// Said before the recording begins.
    before: &'static [Say],
    /// Said where the recording has a frame of the client.
    said: &'static [Say],
    /// Answers behind the recorded ones, where the recording stopped early.
    further: &'static [&'static str],
    differs: Option<Differs>,
}

const fn case(name: &'static str, start: Start, said: &'static [Say]) -> Case {
    Case { name, start, before: &[], said, further: &[], differs: None }
}

impl Case {
    const fn before(self, before: &'static [Say]) -> Self {
        Self { before, ..self }
    }

    const fn further(self, further: &'static [&'static str]) -> Self {
        Self { further, ..self }
    }

    const fn differs(self, from: usize, answers: &'static [&'static str], because: &'static str) -> Self {
        Self { differs: Some(Differs { from, answers, because }), ..self }
    }
}

/// Two keys of the recording are no such dialogue and have tests of their own.
const SPECIAL: [&str; 2] = ["http_upgrade_response", "close_handshake"];

const CASES: [Case; 49] = {
    use Say::*;
    use Start::*;
    const VERBATIM: &[Say] = &[AsRecorded];
    [
        case("register_ok", Stranger, &[Init, Finish]),
        case("text_after_registration", Registered, VERBATIM),
        case("json_text_after_registration", Registered, VERBATIM),
        case("binary_forward_ok_v4", Registered, &[Forward]),
        case("binary_forward_ok_v6", Registered, &[ForwardV6]),
        case("binary_forward_vpn_mode", Registered, &[ForwardVpn]),
        case("binary_bad_mode", Registered, &[BadMode]),
        case("binary_bad_address_version", Registered, &[BadAddress]),
        case("binary_short_address", Registered, &[ShortAddress]),
        case("binary_bad_packet_size", Registered, &[BadSize]),
        case("binary_no_packet", Registered, &[NoPacket]),
        case("binary_too_short", Registered, VERBATIM),
        case("binary_empty", Registered, VERBATIM),
        case("binary_bad_mac", Registered, &[BadMac]),
        case("ping", Registered, VERBATIM),
        case("authenticate_duplicate", OnlineElsewhere, &[Login]),
        case("register_duplicate_while_open", OnlineElsewhere, &[Init, Finish]).differs(
            1,
            &[r#"{"type":"error","message":"Registration failure - duplicate connection detected"}"#],
            "0.10.1 said [1] first; real clients hang up on [1] and would keep a key that is in no ledger",
        ),
        case("authenticate_ok", Offline, &[Login]),
        case("authenticate_replayed_same_frame", LoggedInBefore, &[LoginAgain]).differs(
            0,
            &[r#"{"type":"authenticate","status":false}"#],
            "a login that was overheard must not open the inbox a second time",
        ),
        case("authenticate_unknown_client", Stranger, &[LoginOfStranger]),
        case("authenticate_wrong_key", Offline, &[LoginWithWrongKey]),
        case("authenticate_wrong_then_right_same_connection", Offline, &[LoginWithWrongKey, Login]),
        case("authenticate_bad_b58_address", Stranger, VERBATIM),
        case("authenticate_short_address", Stranger, VERBATIM),
        case("authenticate_bad_enc", Stranger, VERBATIM),
        case("authenticate_bad_iv", Stranger, VERBATIM),
        case("authenticate_camelcase_field", Stranger, VERBATIM),
        case("authenticate_extra_field", Offline, &[LoginWithExtraField]),
        case("capitalised_type", Stranger, VERBATIM),
        case("unknown_type", Stranger, VERBATIM),
        case("not_json", Stranger, VERBATIM),
        case("empty_text", Stranger, VERBATIM),
        case("no_type", Stranger, VERBATIM),
        case("binary_before_auth", Stranger, VERBATIM),
        case("binary_then_auth", Offline, &[AsRecorded, Login]),
        case("registerHandshakeInitRequest_tag", Stranger, &[InitByItsOtherName]),
        case("handshake_init_short", Stranger, VERBATIM),
        case("handshake_init_empty", Stranger, VERBATIM),
        case("handshake_init_32_bytes", Stranger, &[InitOf32])
            .further(&[r#"{"type":"error","message":"failed to perform the handshake - sent request was malformed"}"#]),
        case("handshake_init_65_bytes", Stranger, &[]).before(&[InitOf65]),
        case("handshake_init_not_a_point", Stranger, VERBATIM),
        case("handshake_data_over_255", Stranger, VERBATIM),
        case("handshake_bad_signature", Stranger, VERBATIM).before(&[Init]),
        case("handshake_short_material", Stranger, VERBATIM).before(&[Init]),
        case("handshake_client_error", Stranger, VERBATIM).before(&[Init]),
        case("handshake_garbage_ignored_then_bad", Stranger, &[AsRecorded, Binary(b"bin"), AsRecorded]).before(&[Init]),
        case("handshake_zero_ephemeral", Stranger, &[]).before(&[InitWithZeroEphemeral]),
        case("reregister_offline", Offline, &[]).before(&[Init, Finish]),
        case("old_shared_key_after_reregistration", HoldsOldKey, &[Login]),
    ]
};

fn recording() -> Result<Map<String, Value>> {
    Ok(serde_json::from_str(include_str!("../vectors/2021/control_frames.json"))?)
}

fn recorded_frames(name: &str) -> Result<Vec<(String, Value)>> {
    let recording = recording()?;
    let frames = recording.get(name).and_then(Value::as_array).with_context(|| format!("{name} was not recorded"))?;
    let frame = |entry: &Value| Some((entry.get(0)?.as_str()?.to_owned(), entry.get(1)?.clone()));
    frames.iter().map(frame).collect::<Option<_>>().context("a frame of the recording is none")
}

#[test]
fn every_recorded_dialogue_is_spoken() -> Result<()> {
    let recorded: BTreeSet<String> = recording()?.keys().cloned().collect();
    let spoken: BTreeSet<String> = CASES.iter().map(|case| case.name).chain(SPECIAL).map(str::to_owned).collect();
    ensure!(recorded == spoken, "not both recorded and spoken: {:?}", recorded.symmetric_difference(&spoken));
    ensure!(recorded.len() == 51 && CASES.len() + SPECIAL.len() == 51);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_are_those_of_0_10_1() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        for case in &CASES {
            let because = case.differs.map_or("", |differs| differs.because);
            speak(&scene, case).await.with_context(|| format!("in the dialogue {} {because}", case.name))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_is_answered_as_by_0_10_1() -> Result<()> {
    bounded(async {
        let recording = recording()?;
        let recorded = recording.get("http_upgrade_response").and_then(Value::as_str).context("not recorded")?;
        let scene = Scene::start().await?;
        let mut stream = TcpStream::connect(scene.gateway.clients).await?;
        // The key and its answer are the example of RFC 6455, section 1.3.
        let request = "GET /any/path HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut response).await? > 0, "the connection ended within the response");
        }
        let response = String::from_utf8(response)?.to_lowercase();
        let answer = |text: &str| text.to_lowercase().contains("sec-websocket-accept: ");
        ensure!(answer(recorded) && response.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="));
        let same = |text: &str| -> BTreeSet<String> {
            text.to_lowercase()
                .split("\r\n")
                .filter(|line| !answer(line) && !line.is_empty())
                .map(str::to_owned)
                .collect()
        };
        ensure!(same(&response) == same(recorded), "{response}");
        Ok(())
    })
    .await
}

/// 0.10.1 dropped the TCP connection without a Close frame. This gateway answers, as RFC 6455 demands: a client that waits
/// for the answer would otherwise see an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_is_answered() -> Result<()> {
    bounded(async {
        let frames = recorded_frames("close_handshake")?;
        ensure!(frames.first().is_some_and(|(speaker, said)| speaker == "->" && said == "CLOSE 1000"));
        let scene = Scene::start().await?;
        for mut connection in [scene.connection().await?, scene.client().await?.connection] {
            connection.send_close().await?;
            ensure!(connection.wait_for_end().await? == [Some(1000)]);
        }
        Ok(())
    })
    .await
}

/// The client's side of one dialogue.
struct Speaker {
    connection: Connection,
    credentials: Option<Credentials>,
    /// Kept open to the end.
    elsewhere: Option<Client>,
    identity: Identity,
    registration: Option<Registration>,
    gateway_answer: Option<Vec<u8>>,
    gateway_identity: [u8; 32],
    used_login: Option<String>,
}

impl Speaker {
    async fn prepare(scene: &Scene, start: Start) -> Result<Self> {
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

    async fn say(&mut self, say: Say, recorded: Option<&Value>) -> Result<()> {
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
                let sealed = proto::wire::client::frame::seal(&self.credentials()?.key, &plaintext);
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
    async fn hear(&mut self, recorded: &Value) -> Result<()> {
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

async fn speak(scene: &Scene, case: &Case) -> Result<()> {
    let mut speaker = Speaker::prepare(scene, case.start).await?;
    for say in case.before {
        speaker.say(*say, None).await?;
    }
    let mut said = case.said.iter();
    let mut heard = 0;
    for (who, frame) in recorded_frames(case.name)? {
        match (&*who, case.differs) {
            ("->", _) => {
                let say = said.next().context("the recorded client says more than the case")?;
                speaker.say(*say, Some(&frame)).await?;
            }
            // Nothing more came; the end of every dialogue is checked below.
            ("<-", _) if frame.is_null() => {}
            ("<-", Some(differs)) if heard >= differs.from => {}
            ("<-", _) => {
                speaker.hear(&frame).await?;
                heard += 1;
            }
            // The recorder's own note.
            ("assert", _) => {}
            other => bail!("unknown entry of the recording: {other:?}"),
        }
    }
    ensure!(said.next().is_none(), "the case says more than the recorded client");
    let instead = case.differs.map_or(&[][..], |differs| differs.answers);
    for text in instead.iter().chain(case.further) {
        speaker.connection.expect_text(text).await?;
    }
    speaker.connection.expect_quiet_and_open().await?;
    if let Some(elsewhere) = &mut speaker.elsewhere {
        elsewhere.connection.expect_quiet_and_open().await?;
    }
    Ok(())
}

#[test]
fn a_client_address_is_its_identity_key() {
    let identity = Identity::random();
    assert_eq!(identity.address().to_string().parse(), Ok::<ClientAddress, _>(identity.address()));
}
