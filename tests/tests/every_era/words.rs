//! What the gateway must write, word for word.

use harness::era::Era;

pub(crate) const ERROR_NOT_NEWER: &str =
    r#"{"type":"error","message":"the provided request timestamp is smaller or equal to one previously used"}"#;
pub(crate) const ERROR_DUPLICATE: &str =
    r#"{"type":"error","message":"There is already an open connection to this client"}"#;
pub(crate) const SUPPORTED: &str = r#"{"type":"supportedProtocol","version":6}"#;

/// What the gateway must write to a client of this era, word for word.
pub(crate) struct Words {
    pub(crate) register: &'static str,
    pub(crate) authenticate: &'static str,
    pub(crate) send: &'static str,
    pub(crate) duplicate_login: &'static str,
    pub(crate) duplicate_registration: &'static str,
}

pub(crate) fn words(era: Era) -> Words {
    match era {
        Era::Of2021 => Words {
            register: r#"{"type":"register","status":true}"#,
            authenticate: r#"{"type":"authenticate","status":true}"#,
            send: r#"{"type":"send","status":true}"#,
            duplicate_login: r#"{"type":"error","message":"Authentication failure - duplicate connection detected"}"#,
            duplicate_registration: r#"{"type":"error","message":"Registration failure - duplicate connection detected"}"#,
        },
        Era::Version(2) => Words {
            register: r#"{"type":"register","protocol_version":2,"status":true}"#,
            authenticate: r#"{"type":"authenticate","protocol_version":2,"status":true,"bandwidth_remaining":68719476736}"#,
            send: r#"{"type":"send","status":true,"remaining_bandwidth":68719476736}"#,
            ..words(Era::Of2021)
        },
        Era::Version(number) => {
            let (register, authenticate) = match number {
                3 => (
                    r#"{"type":"register","protocol_version":3,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":3,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
                4 => (
                    r#"{"type":"register","protocol_version":4,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":4,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
                5 => (
                    r#"{"type":"register","protocol_version":5,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":5,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
                _ => (
                    r#"{"type":"register","protocol_version":6,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":6,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
            };
            Words {
                register,
                authenticate,
                send: r#"{"type":"send","remaining_bandwidth":68719476736,"upgrade_mode":false}"#,
                duplicate_login: ERROR_DUPLICATE,
                duplicate_registration: r#"{"type":"handshakeError","message":"There is already an open connection to this client"}"#,
            }
        }
    }
}

/// What the gateway must write to a client of this era whose login was made with a key that is not valid.
pub(crate) fn wrong_key(era: Era) -> &'static str {
    match era {
        Era::Of2021 => r#"{"type":"authenticate","status":false}"#,
        Era::Version(2) => r#"{"type":"authenticate","protocol_version":2,"status":false,"bandwidth_remaining":0}"#,
        Era::Version(3) => {
            r#"{"type":"authenticate","protocol_version":3,"status":false,"bandwidth_remaining":0,"upgrade_mode":false}"#
        }
        Era::Version(_) => r#"{"type":"error","message":"failed to verify provided address ciphertext"}"#,
    }
}
