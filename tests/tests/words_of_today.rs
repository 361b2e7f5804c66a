//! What a client of today is answered, as nym-node 2026.9 answers it: which type, in which words, in which order, and
//! whether its connection is open afterwards. (No client looks at the words. Operators do.)
//!
//! nym-node says some things twice before it hangs up; this gateway says everything once.

use anyhow::{Context, Result, bail, ensure};
use client_wire::{
    aead_frame::{self, RequestKind},
    control::{
        answer::GatewayResponse,
        request::ClientRequest,
        sealed::{SensitiveRequest, SensitiveResponse, SessionType},
    },
    key::{GcmSivKey, SessionKey},
};
use ed25519_dalek::VerifyingKey;
use harness::{
    account::{Account, Identity, Registration, fresh_time, now},
    client::Client,
    connection::Connection,
    deadline::bounded,
    era::Era,
    gateway::{Gateway, IPV4},
    home::Home,
    packet::unique,
    scene::Scene,
};

/// A frame of the client.
enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

/// What must be answered.
enum Answer {
    /// Exactly this.
    Text(&'static str),
    /// `error`, with a message that begins so.
    Error(&'static str),
    /// This, encrypted.
    Sealed(SensitiveResponse),
}

use Answer::{Error, Sealed, Text};

/// A client that is registered, or was.
struct KnownClient {
    account: Account,
    key: GcmSivKey,
}

impl KnownClient {
    fn of(account: Account) -> Result<Self> {
        match account.key.clone() {
            SessionKey::GcmSiv(key) => Ok(Self { account, key }),
            SessionKey::CtrHmac(_) => bail!("somebody of another era"),
        }
    }

    /// A login, altered.
    fn login(&self, alter: impl FnOnce(&mut ClientRequest)) -> Result<Frame> {
        let mut request = self.account.signed_login(fresh_time())?.to_request();
        alter(&mut request);
        Ok(Frame::Text(request.to_string()))
    }

    fn signed(account: &Account, time: u64) -> Result<Frame> {
        Ok(Frame::Text(account.signed_login(time)?.to_request().to_string()))
    }

    fn sealed(&self, request: &SensitiveRequest) -> Frame {
        Frame::Text(request.seal(&self.key, rand::random()).to_string())
    }

    /// A binary frame with this plaintext.
    fn binary(&self, kind: RequestKind, plaintext: &[u8]) -> Frame {
        Frame::Binary(aead_frame::seal(&self.key, kind, &rand::random(), plaintext).to_vec())
    }

    /// A well-made binary frame with one byte changed.
    fn changed(&self, at: usize, to: u8) -> Frame {
        let mut frame = aead_frame::seal(&self.key, RequestKind::Forward, &rand::random(), &[0; 50]).to_vec();
        if let Some(byte) = frame.get_mut(at) {
            *byte = to;
        }
        Frame::Binary(frame)
    }
}

async fn send(connection: &Connection, frame: Frame) -> Result<()> {
    match frame {
        Frame::Text(text) => connection.send_text(text).await,
        Frame::Binary(bytes) => connection.send_binary(bytes).await,
    }
}

fn text(text: impl Into<String>) -> Frame {
    Frame::Text(text.into())
}

async fn expect(connection: &mut Connection, answer: &Answer, key: &GcmSivKey) -> Result<()> {
    let heard = connection.next_text().await?;
    match answer {
        Text(expected) => ensure!(heard == *expected, "heard {heard} instead of {expected}"),
        Error(words) => {
            let prefix = format!(r#"{{"type":"error","message":"{words}"#);
            ensure!(heard.starts_with(&prefix), "heard {heard} instead of an error: {words}");
        }
        Sealed(expected) => {
            let Ok(GatewayResponse::EncryptedResponse { ciphertext, nonce }) = heard.parse() else {
                bail!("heard {heard} instead of {expected:?}");
            };
            let opened = SensitiveResponse::open(key, ciphertext, &nonce)?;
            ensure!(opened == *expected, "heard {opened:?} instead of {expected:?}");
        }
    }
    Ok(())
}

const NOT_LET_IN: Answer = Error("Only 'Register' or 'Authenticate' requests are allowed");
const MALFORMED_INIT: Answer = Error("Failed to perform registration handshake: sent request was malformed");
const WRONG_KEY: Answer = Error("failed to verify provided address ciphertext");
const NO_CREDENTIALS: Answer = Error("this gateway takes no credentials");
const BANDWIDTH: Answer = Text(r#"{"type":"bandwidth","available_total":68719476736,"upgrade_mode":false}"#);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_not_let_in_is_told_why_once_and_disconnected() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let online = Client::register_in(
            Era::TODAY,
            &Identity::random(),
            scene.gateway.clients,
            &scene.gateway.identity,
        )
        .await?;
        let member = Client::register_in(
            Era::TODAY,
            &Identity::random(),
            scene.gateway.clients,
            &scene.gateway.identity,
        )
        .await?;
        let member = KnownClient::of(member.leave().await?)?;
        let of = |era| Account { era, ..member.account.clone() };
        let stranger = Account::imaginary(Identity::random(), Era::TODAY);
        let wrong_key = Account::imaginary(member.account.identity.clone(), Era::TODAY);
        let init = |era: Era, data: &[u8]| text(era.handshake_text(data));
        let address = member.account.address();
        // Half of all numbers are on the curve, the others are no keys.
        let no_key = (0..=u8::MAX).map(|byte| [byte; 32]).find(|key| VerifyingKey::from_bytes(key).is_err());
        let no_key = no_key.context("every number is a key")?;

        let table: Vec<(&str, Frame, Answer)> = vec![
            ("no JSON", text("hello"), NOT_LET_IN),
            ("unknown type", text(r#"{"type":"somethingElse"}"#), NOT_LET_IN),
            ("claim", text(r#"{"type":"claimFreeTestnetBandwidth"}"#), NOT_LET_IN),
            ("credential", text(r#"{"type":"ecashCredential","enc_credential":[1],"iv":[2]}"#), NOT_LET_IN),
            ("jwt", text(r#"{"type":"upgradeModeJWT","token":"a"}"#), NOT_LET_IN),
            ("encrypted", member.sealed(&SensitiveRequest::ForgetMe { client: true, stats: true }), NOT_LET_IN),
            (
                "binary",
                member.binary(RequestKind::Forward, &[0; 50]),
                Error("possibly received a sphinx packet without prior authentication. Request is going to be ignored"),
            ),
            ("version 3", KnownClient::signed(&of(Era::Version(3)), now())?, Error(
                "Attempted to negotiate connection with client using incompatible protocol version. Ours is 6 and the client reports 3",
            )),
            ("version 7", KnownClient::signed(&of(Era::Version(7)), now())?, Error(
                "Attempted to negotiate connection with client using incompatible protocol version. Ours is 6 and the client reports 7",
            )),
            ("skewed", KnownClient::signed(&member.account, now() - 1000)?, Error(
                "the provided request timestamp is excessively skewed. got ",
            )),
            ("stranger", KnownClient::signed(&stranger, now())?, Error("the client is not registered")),
            ("wrong key", KnownClient::signed(&wrong_key, now())?, WRONG_KEY),
            ("altered", member.login(|request| {
                if let ClientRequest::AuthenticateV2 { request_unix_timestamp, .. } = request {
                    *request_unix_timestamp += 1;
                }
            })?, Error("failed to verify request signature")),
            ("short identity", member.login(|request| {
                if let ClientRequest::AuthenticateV2 { client_identity, .. } = request {
                    client_identity.pop();
                }
            })?, NOT_LET_IN),
            ("short ciphertext", member.login(|request| {
                if let ClientRequest::AuthenticateV2 { address_ciphertext, .. } = request {
                    address_ciphertext.clear();
                }
            })?, WRONG_KEY),
            ("online elsewhere", KnownClient::signed(&online.credentials, now())?, Error(
                "There is already an open connection to this client",
            )),
            ("version 3, wrong key", text(Account { era: Era::Version(3), ..wrong_key.clone() }.login_text()), Text(
                r#"{"type":"authenticate","protocol_version":3,"status":false,"bandwidth_remaining":0,"upgrade_mode":false}"#,
            )),
            ("init of 79", init(Era::TODAY, &[&address.0[..], &[1; 47]].concat()), MALFORMED_INIT),
            ("init of 81", init(Era::TODAY, &[&address.0[..], &[1; 49]].concat()), MALFORMED_INIT),
            ("empty init", init(Era::TODAY, &[]), MALFORMED_INIT),
            ("init that is no key", init(Era::TODAY, &[&no_key[..], &[1; 48]].concat()), MALFORMED_INIT),
        ];
        for (name, frame, answer) in table {
            let mut connection = scene.connection().await?;
            // What real clients ask first; it also says which era they are of.
            connection.send_text(r#"{"type":"supportedProtocol"}"#).await?;
            connection.expect_text(r#"{"type":"supportedProtocol","version":6}"#).await?;
            send(&connection, frame).await?;
            expect(&mut connection, &answer, &member.key).await.context(name)?;
            // Nothing comes between the answer and the end.
            ensure!(connection.wait_for_end().await.context(name)?.is_empty(), "a Close frame came: {name}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_fails_half_way_ends_the_connection() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        for finish in [vec![7; 92], vec![7; 64], Vec::new()] {
            let mut connection = scene.connection().await?;
            connection.send_text(Registration::of(Era::TODAY, Identity::random()).init_text()).await?;
            connection.next_text().await?;
            // What is no handshake message is ignored meanwhile.
            connection.send_text("hello").await?;
            connection.send_binary(vec![1; 20]).await?;
            connection.send_text(Era::TODAY.handshake_text(&finish)).await?;
            let answer = connection.next_text().await?;
            ensure!(answer.starts_with(r#"{"type":"handshakeError","message":""#), "{answer}");
            connection.wait_for_end().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_told_so() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("timeouts", "first_request", "'200ms'")?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let mut connection = Connection::open(gateway.clients).await?;
        connection.expect_text(r#"{"type":"error","message":"timed out while waiting for initial data"}"#).await?;
        connection.wait_for_end().await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_session_nothing_ends_the_connection() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let (clients, identity) = (scene.gateway.clients, &scene.gateway.identity);
        let mut client = Client::register_in(Era::TODAY, &Identity::random(), clients, identity).await?;
        let this = KnownClient::of(client.credentials.clone())?;
        let foreign = GcmSivKey::from_bytes(rand::random());
        let hop = [4, 6, 253, 127, 0, 0, 1];
        let packet = unique(386);
        let plaintext = |head: &[u8], hop: &[u8], packet: &[u8]| [head, hop, packet].concat();
        let v1 = |plaintext: &[u8]| this.binary(RequestKind::Forward, plaintext);
        let v2 = |plaintext: &[u8]| this.binary(RequestKind::ForwardMarked, plaintext);
        let not_a_packet =
            || Error("Provided binary request was malformed - failed to serialise created sphinx packet: ");
        let not_authentic =
            || Error("Provided binary request was malformed - failed to either encrypt or decrypt provided message");
        let too_short = || Error("Provided binary request was malformed - the request is too short");
        let flag = || Error("Provided binary request was malformed - the encryption flag had an unexpected value");
        let kind = |words| Error(words);
        let malformed = || Error("Provided text request was malformed - ");
        let again = || Error("The received request is not valid in the current context");
        let undecipherable = || Error("failed to decrypt provided text request");
        let forget = SensitiveRequest::ForgetMe { client: false, stats: true };
        let upgrade = SensitiveRequest::UpgradeKey { hkdf_salt: vec![1], derived_key_digest: vec![2] };
        let remember = |session_type| this.sealed(&SensitiveRequest::RememberMe { session_type });
        let other_version_3 = Account { era: Era::Version(3), ..client.credentials.clone() };

        let table: Vec<(&str, Frame, Answer)> = vec![
            (
                "foreign key",
                Frame::Binary(aead_frame::seal(&foreign, RequestKind::Forward, &[7; 12], &[0; 50]).to_vec()),
                not_authentic(),
            ),
            ("changed", this.changed(20, 0), not_authentic()),
            ("no tag", Frame::Binary([&[1, 1][..], &[7; 12]].concat()), not_authentic()),
            ("empty", Frame::Binary(Vec::new()), too_short()),
            ("one byte", Frame::Binary(vec![1]), too_short()),
            ("13 bytes", Frame::Binary(vec![1; 13]), too_short()),
            ("flag 0", this.changed(1, 0), flag()),
            ("flag 2", this.changed(1, 2), flag()),
            (
                "kind 0",
                this.changed(0, 0),
                kind("Provided binary request was malformed - received request with an unknown kind: 0"),
            ),
            (
                "kind 9",
                this.changed(0, 9),
                kind("Provided binary request was malformed - received request with an unknown kind: 9"),
            ),
            ("empty request", v1(&[]), not_a_packet()),
            ("vpn", v1(&plaintext(&[1], &hop, &packet)), not_a_packet()),
            ("outfox", v1(&plaintext(&[2], &hop, &packet)), not_a_packet()),
            ("address type 5", v1(&plaintext(&[0, 5], &hop[1..], &packet)), not_a_packet()),
            ("size", v1(&plaintext(&[0], &hop, &packet[1..])), not_a_packet()),
            ("no packet", v1(&plaintext(&[0], &hop, &[])), not_a_packet()),
            ("rotation 3", v2(&plaintext(&[0, 3], &hop, &packet)), not_a_packet()),
            ("no rotation", v2(&[0]), not_a_packet()),
            (
                "good, kind 1",
                v1(&plaintext(&[0], &hop, &packet)),
                Text(r#"{"type":"send","remaining_bandwidth":68719476736,"upgrade_mode":false}"#),
            ),
            (
                "good, kind 2",
                v2(&plaintext(&[0, 1], &hop, &packet)),
                Text(r#"{"type":"send","remaining_bandwidth":68719476736,"upgrade_mode":false}"#),
            ),
            ("no JSON", text("hello"), malformed()),
            ("unknown type", text(r#"{"type":"somethingElse"}"#), malformed()),
            ("register again", text(Registration::of(Era::TODAY, Identity::random()).init_text()), again()),
            ("log in again", text(client.credentials.login_text()), again()),
            ("log in as version 3", text(other_version_3.login_text()), again()),
            ("supported", text(r#"{"type":"supportedProtocol"}"#), Text(r#"{"type":"supportedProtocol","version":6}"#)),
            ("claim", text(r#"{"type":"claimFreeTestnetBandwidth"}"#), BANDWIDTH),
            ("claim again", text(r#"{"type":"claimFreeTestnetBandwidth"}"#), BANDWIDTH),
            ("ecash", text(r#"{"type":"ecashCredential","enc_credential":[1],"iv":[2]}"#), NO_CREDENTIALS),
            ("ecash, nonce", text(r#"{"type":"ecashCredential","enc_credential":[1],"nonce":[2]}"#), NO_CREDENTIALS),
            ("credential", text(r#"{"type":"bandwidthCredential","enc_credential":[1],"iv":[2]}"#), NO_CREDENTIALS),
            ("credential 2", text(r#"{"type":"bandwidthCredentialV2","enc_credential":[1],"iv":[2]}"#), NO_CREDENTIALS),
            ("jwt", text(r#"{"type":"upgradeModeJWT","token":"a"}"#), NO_CREDENTIALS),
            ("undecipherable", text(forget.seal(&foreign, [7; 12]).to_string()), undecipherable()),
            ("short nonce", text(r#"{"type":"encryptedRequest","ciphertext":[1,2],"nonce":[1]}"#), undecipherable()),
            ("upgrade", this.sealed(&upgrade), Error("")),
            ("forget stats", this.sealed(&forget), Sealed(SensitiveResponse::ForgetMeAck {})),
            ("remember vpn", remember(SessionType::Vpn), Sealed(SensitiveResponse::RememberMeAck {})),
            ("remember unknown", remember(SessionType::Unknown), Sealed(SensitiveResponse::RememberMeAck {})),
        ];
        for (name, frame, answer) in table {
            send(&client.connection, frame).await?;
            expect(&mut client.connection, &answer, &this.key).await.context(name)?;
            client.connection.expect_quiet_and_open().await.context(name)?;
        }
        Ok(())
    })
    .await
}

/// A registration without a number counts as version 0, and is told so.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_no_number_is_version_0() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let registration = Registration::of(Era::TODAY, Identity::random());
        let unnumbered = |data: &[u8]| Era::Of2021.handshake_text(data);
        let mut connection = scene.connection().await?;
        connection.send_text(unnumbered(&registration.init())).await?;
        let answer = connection.next_text().await?;
        ensure!(answer.starts_with(r#"{"type":"handshakePayload","protocol_version":0,"data":["#), "{answer}");
        let (_, finish) = registration.finish(&harness::era::handshake_data(&answer)?, &scene.gateway.identity)?;
        connection.send_text(unnumbered(&finish)).await?;
        connection.expect_text(r#"{"type":"handshakePayload","protocol_version":0,"data":[1]}"#).await?;
        connection
            .expect_text(r#"{"type":"register","protocol_version":0,"status":true,"upgrade_mode":false}"#)
            .await?;
        connection.expect_quiet_and_open().await
    })
    .await
}
