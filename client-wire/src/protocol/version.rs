//! The protocol of a connection, and what its version decides.

use crate::{
    control::{HandshakeMessage, answer::GatewayResponse},
    handshake::FINISHED,
    key::KeyKind,
    login::LoginForm,
};

/// A version of the protocol between clients and gateway, from 0 to 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion(u8);

impl ProtocolVersion {
    /// The highest that this gateway speaks.
    pub const CURRENT: Self = Self(wire::CLIENT_PROTOCOL);
    /// The first with a [`SignedLogin`](crate::token::SignedLogin).
    pub const SIGNED_LOGIN: Self = Self(4);
    /// The first with a [`GcmSivKey`](crate::key::GcmSivKey).
    pub const GCM_SIV: Self = Self(3);
    /// The last with a [`CtrHmacKey`](crate::key::CtrHmacKey).
    const LAST_CTR_HMAC: Self = Self(2);

    /// The version for a client of today that asks for `requested`: the lower of its version and ours. No version counts as 0.
    pub fn negotiate(requested: Option<u8>) -> Self {
        Self(requested.unwrap_or(0)).min(Self::CURRENT)
    }

    /// The version of a signed login, if that version has signed logins. Unlike a handshake, a login does not negotiate.
    pub fn of_signed_login(requested: u8) -> Option<Self> {
        (Self::SIGNED_LOGIN.0..=Self::CURRENT.0).contains(&requested).then_some(Self(requested))
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Bytes that each client may send. Nothing is metered, so the number never falls. Today's clients go on as long as they read
/// at least 40,000,000; their own gateways hand out this number at a time.
pub const BANDWIDTH: i64 = 64 << 30;

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Protocol {
    key: KeyKind,
    version: Option<ProtocolVersion>,
}

impl Protocol {
    /// The protocol until the client has sent an understandable request: that of 2021.
    pub const UNKNOWN: Self = Self { key: KeyKind::CtrHmac, version: None };

    /// The protocol of a client that has asked for the highest version.
    pub const CURRENT: Self = Self { key: KeyKind::GcmSiv, version: Some(ProtocolVersion::CURRENT) };

    /// The protocol of a client with this kind of key that asks for version `requested`.
    pub fn negotiate(key: KeyKind, requested: Option<u8>) -> Self {
        let version = match key {
            KeyKind::CtrHmac => {
                requested.map(|requested| ProtocolVersion(requested).min(ProtocolVersion::LAST_CTR_HMAC))
            }
            KeyKind::GcmSiv => Some(ProtocolVersion::negotiate(requested)),
        };
        Self { key, version }
    }

    /// The kind of session key.
    pub const fn key_kind(self) -> KeyKind {
        self.key
    }

    /// The version that is echoed. None in 2021.
    pub const fn version(self) -> Option<ProtocolVersion> {
        self.version
    }

    /// How a client that registers with this protocol logs in later.
    pub fn login_form(self) -> LoginForm {
        match (self.key, self.version) {
            (KeyKind::GcmSiv, Some(version)) if version >= ProtocolVersion::SIGNED_LOGIN => LoginForm::Signed,
            (KeyKind::GcmSiv | KeyKind::CtrHmac, _) => LoginForm::Token,
        }
    }

    /// Whether the gateway sends a Close frame before it closes a connection. The published client of today that reads one while it
    /// sends goes on using the dead connection for good; its own gateways close without.
    pub const fn ends_with_close(self) -> bool {
        matches!(self.key, KeyKind::CtrHmac)
    }

    fn echo(self) -> Option<u8> {
        self.version.map(ProtocolVersion::number)
    }

    fn bandwidth(self) -> Option<i64> {
        self.version.map(|_| BANDWIDTH)
    }

    /// Real gateways write the field in every version, and no client minds.
    fn upgrade_mode(self) -> Option<bool> {
        match self.key {
            KeyKind::CtrHmac => None,
            KeyKind::GcmSiv => Some(false),
        }
    }

    /// A step of the handshake, for either side.
    pub fn handshake_payload(self, data: Vec<u8>) -> HandshakeMessage {
        HandshakeMessage::HandshakePayload { protocol_version: self.echo(), data }
    }

    /// The two messages that end a successful registration, in this order. The ledger entry must be durable before, since clients of
    /// 2021 hang up when they read the first message.
    pub fn registered(self) -> (HandshakeMessage, GatewayResponse) {
        let register = GatewayResponse::Register {
            protocol_version: self.echo(),
            status: true,
            upgrade_mode: self.upgrade_mode(),
        };
        (self.handshake_payload(FINISHED.to_vec()), register)
    }

    /// The answer to a successful login.
    pub fn authenticated(self) -> GatewayResponse {
        GatewayResponse::Authenticate {
            protocol_version: self.echo(),
            status: true,
            bandwidth_remaining: self.bandwidth(),
            upgrade_mode: self.upgrade_mode(),
        }
    }

    /// The answer to a login that proves nothing.
    pub(super) fn not_authenticated(self) -> GatewayResponse {
        GatewayResponse::Authenticate {
            protocol_version: self.echo(),
            status: false,
            bandwidth_remaining: self.version.map(|_| 0),
            upgrade_mode: self.upgrade_mode(),
        }
    }

    /// The answer to a packet that was taken.
    pub(crate) fn sent(self) -> GatewayResponse {
        let status = match self.key {
            KeyKind::CtrHmac => Some(true),
            KeyKind::GcmSiv => None,
        };
        let (remaining_bandwidth, upgrade_mode) = (self.bandwidth(), self.upgrade_mode());
        GatewayResponse::Send { status, remaining_bandwidth, upgrade_mode }
    }

    /// The answer to a claim of bandwidth.
    pub(crate) fn claimed(self) -> GatewayResponse {
        GatewayResponse::Bandwidth { available_total: BANDWIDTH, upgrade_mode: self.upgrade_mode() }
    }

    /// The answer to the question for the protocol version.
    pub const fn supported() -> GatewayResponse {
        GatewayResponse::SupportedProtocol { version: ProtocolVersion::CURRENT.0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::file;

    fn ctr_hmac(requested: Option<u8>) -> Protocol {
        Protocol::negotiate(KeyKind::CtrHmac, requested)
    }

    fn gcm_siv(requested: Option<u8>) -> Protocol {
        Protocol::negotiate(KeyKind::GcmSiv, requested)
    }

    #[test]
    fn a_registration_ends_as_with_the_real_gateway_of_today() {
        let vectors = file("handshake_v3_v6.json");
        for case in vectors["cases"].as_array().unwrap() {
            let protocol = gcm_siv(Some(case["requested_protocol"].as_u64().unwrap().try_into().unwrap()));
            assert_eq!(case["negotiated_protocol"], protocol.version().unwrap().number());
            let reply = hex::decode(case["messages"][1]["data"].as_str().unwrap()).unwrap();
            assert_eq!(protocol.handshake_payload(reply).to_string(), case["messages"][1]["text"]);
            let (last, register) = protocol.registered();
            assert_eq!(last.to_string(), case["messages"][3]["text"]);
            assert_eq!(register.to_string(), case["following_register_response"]);
        }
    }

    #[test]
    fn answers_of_today_are_those_of_the_real_gateway() {
        let responses = file("control_messages.json")["responses"].clone();
        let figure = |text: String, figure: &str| text.replace("68719476736", figure);
        assert_eq!(figure(Protocol::CURRENT.authenticated().to_string(), "12345"), responses["authenticate"]);
        assert_eq!(figure(Protocol::CURRENT.sent().to_string(), "68719474323"), responses["send"]);
        assert_eq!(Protocol::CURRENT.claimed().to_string(), responses["bandwidth"]);
        assert_eq!(Protocol::CURRENT.registered().1.to_string(), responses["register"]);
        assert_eq!(Protocol::supported().to_string(), responses["supported_protocol"]);
    }

    #[test]
    fn answers_of_2021_have_no_version() {
        let (last, register) = Protocol::UNKNOWN.registered();
        assert_eq!(last.to_string(), r#"{"type":"handshakePayload","data":[1]}"#);
        assert_eq!(register.to_string(), r#"{"type":"register","status":true}"#);
        assert_eq!(Protocol::UNKNOWN.authenticated().to_string(), r#"{"type":"authenticate","status":true}"#);
        assert_eq!(Protocol::UNKNOWN.not_authenticated().to_string(), r#"{"type":"authenticate","status":false}"#);
        assert_eq!(Protocol::UNKNOWN.sent().to_string(), r#"{"type":"send","status":true}"#);
    }

    #[test]
    fn answers_of_2022_to_2024_tell_version_and_bandwidth() {
        for (requested, echoed) in [(1, 1), (2, 2), (3, 2), (255, 2)] {
            let protocol = ctr_hmac(Some(requested));
            let texts = [
                protocol.handshake_payload(vec![9]).to_string(),
                protocol.registered().1.to_string(),
                protocol.authenticated().to_string(),
                protocol.not_authenticated().to_string(),
                protocol.sent().to_string(),
                protocol.claimed().to_string(),
            ];
            let expected = [
                r#"{"type":"handshakePayload","protocol_version":V,"data":[9]}"#,
                r#"{"type":"register","protocol_version":V,"status":true}"#,
                r#"{"type":"authenticate","protocol_version":V,"status":true,"bandwidth_remaining":68719476736}"#,
                r#"{"type":"authenticate","protocol_version":V,"status":false,"bandwidth_remaining":0}"#,
                r#"{"type":"send","status":true,"remaining_bandwidth":68719476736}"#,
                r#"{"type":"bandwidth","available_total":68719476736}"#,
            ];
            assert_eq!(texts, expected.map(|text| text.replace('V', &echoed.to_string())));
        }
    }

    #[test]
    fn a_client_of_today_without_a_version_counts_as_0() {
        assert_eq!(gcm_siv(None), gcm_siv(Some(0)));
        assert_eq!(gcm_siv(None).version().unwrap().number(), 0);
    }

    #[test]
    fn who_registers_with_version_4_or_later_signs_its_logins() {
        for requested in [None, Some(0), Some(3), Some(4), Some(6), Some(255)] {
            let form = if requested >= Some(4) { LoginForm::Signed } else { LoginForm::Token };
            assert_eq!(gcm_siv(requested).login_form(), form, "{requested:?}");
            assert_eq!(ctr_hmac(requested).login_form(), LoginForm::Token, "{requested:?}");
        }
    }

    /// The published client of today goes on using a connection that ended with a Close frame.
    #[test]
    fn only_clients_of_before_version_3_get_a_close_frame() {
        for requested in [None, Some(0), Some(6)] {
            assert!(ctr_hmac(requested).ends_with_close() && !gcm_siv(requested).ends_with_close());
        }
    }

    #[test]
    fn a_signed_login_does_not_step_down() {
        let served: Vec<_> = (0..=u8::MAX).filter_map(ProtocolVersion::of_signed_login).collect();
        assert_eq!(served, [4, 5, 6].map(ProtocolVersion));
    }

    proptest! {
        #[test]
        fn nobody_is_answered_more_than_asked_for(requested: Option<u8>) {
            for (protocol, highest) in [(ctr_hmac(requested), 2), (gcm_siv(requested), 6)] {
                let asked = requested.unwrap_or(0);
                prop_assert_eq!(protocol.version().map_or(0, ProtocolVersion::number), asked.min(highest));
            }
            prop_assert_eq!(ctr_hmac(requested).version().is_none(), requested.is_none());
        }
    }
}
