//! The dialogues, and what each side says in them.

/// What the gateway knows of the client when the dialogue begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Start {
    /// The client is unknown to the gateway.
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
pub(crate) enum Say {
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
    /// A login of a client that is not registered.
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
pub(crate) struct Differs {
    /// What it says from the recorded answer of this number on, instead of the rest.
    pub(crate) from: usize,
    pub(crate) answers: &'static [&'static str],
    #[allow(dead_code, reason = "for the reader, and for the failure message")]
    pub(crate) because: &'static str,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    /// Said before the recording begins.
    pub(crate) before: &'static [Say],
    /// Said where the recording has a frame of the client.
    pub(crate) said: &'static [Say],
    /// Answers behind the recorded ones, where the recording stopped early.
    pub(crate) further: &'static [&'static str],
    pub(crate) differs: Option<Differs>,
}

pub(crate) const fn case(name: &'static str, start: Start, said: &'static [Say]) -> Case {
    Case { name, start, before: &[], said, further: &[], differs: None }
}

impl Case {
    pub(crate) const fn before(self, before: &'static [Say]) -> Self {
        Self { before, ..self }
    }

    pub(crate) const fn further(self, further: &'static [&'static str]) -> Self {
        Self { further, ..self }
    }

    pub(crate) const fn differs(self, from: usize, answers: &'static [&'static str], because: &'static str) -> Self {
        Self { differs: Some(Differs { from, answers, because }), ..self }
    }
}

/// Two keys of the recording are no such dialogue and have tests of their own.
pub(crate) const SPECIAL: [&str; 2] = ["http_upgrade_response", "close_handshake"];

pub(crate) const CASES: [Case; 49] = {
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
