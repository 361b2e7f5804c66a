//! What `upgrade-binary` and the running supervisor say to each other. The two may be of different builds, so this is the one conversation
//! on the admin socket whose form never changes: JSON, in the first variant of question and answer. A field may be added; one that is not
//! known is not looked at.

use serde::{Deserialize, Serialize};

/// What the command asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(crate) enum UpgradeQuestion {
    /// Begin.
    Begin {
        /// The path of the new `gatewayd`.
        program: String,
        /// For how long the new programs are watched, in seconds.
        probation: u64,
        /// The number of this upgrade, which the command has drawn.
        number: u64,
    },
    /// What has become of it?
    Outcome,
}

/// How an upgrade stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum UpgradeAnswer {
    /// There was none since the gateway was started.
    None,
    /// The programs were tried and are good; the workers end now.
    Begun {
        /// The program and its version, for people.
        program: String,
    },
    /// It does not begin, and nothing has changed.
    Refused {
        /// Why.
        why: String,
    },
    /// Another command does the same, or a worker is being started or replaced. To [`UpgradeQuestion::Outcome`]: there is no outcome yet.
    Busy,
    /// The new programs run and are watched. To [`UpgradeQuestion::Begin`]: those of an earlier order are.
    Probation {
        /// The number of the upgrade.
        number: u64,
        /// For so many seconds more; none if the supervisor does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<u64>,
    },
    /// The new programs stay.
    Kept {
        /// The number of the upgrade.
        number: u64,
    },
    /// The new programs failed and run on, because there is no safe way back.
    Failed {
        /// The number of the upgrade.
        number: u64,
        /// Why.
        why: String,
    },
    /// The old programs run again.
    Undone {
        /// The number of the upgrade.
        number: u64,
        /// Why.
        why: String,
    },
}

impl UpgradeQuestion {
    /// Its text.
    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none that this build knows.
    pub(crate) fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl UpgradeAnswer {
    /// Its text.
    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none that this build knows.
    pub(crate) fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use ipc::codec;

    use super::*;
    use crate::admin::wire::{AdminAnswer, AdminQuestion};

    /// A command of the next build asks a supervisor of this one, so these bytes must stay as they are.
    #[test]
    fn the_conversation_about_an_upgrade_is_the_same_forever() {
        let begin = UpgradeQuestion::Begin { program: "/new/gatewayd".into(), probation: 60, number: 7 };
        let text = r#"{"ask":"begin","program":"/new/gatewayd","probation":60,"number":7}"#;
        assert_eq!(begin.encode(), text);
        assert_eq!(UpgradeQuestion::decode(r#"{"ask":"outcome","later":1}"#).unwrap(), UpgradeQuestion::Outcome);
        let undone = UpgradeAnswer::Undone { number: 7, why: "store died".into() };
        assert_eq!(undone.encode(), r#"{"state":"undone","number":7,"why":"store died"}"#);
        let failed = UpgradeAnswer::Failed { number: 7, why: "store died".into() };
        assert_eq!(failed.encode(), r#"{"state":"failed","number":7,"why":"store died"}"#);
        assert_eq!(
            UpgradeAnswer::decode(r#"{"state":"probation","number":7}"#).unwrap(),
            UpgradeAnswer::Probation { number: 7, left: None }
        );
        for answer in [
            UpgradeAnswer::None,
            UpgradeAnswer::Busy,
            UpgradeAnswer::Begun { program: "x".into() },
            UpgradeAnswer::Refused { why: "x".into() },
            UpgradeAnswer::Probation { number: 1, left: None },
            UpgradeAnswer::Probation { number: 1, left: Some(9) },
            UpgradeAnswer::Kept { number: 1 },
            UpgradeAnswer::Failed { number: 1, why: "x".into() },
        ] {
            assert_eq!(UpgradeAnswer::decode(&answer.encode()).unwrap(), answer);
        }

        let mut bytes = vec![0, u8::try_from(text.len()).unwrap()];
        bytes.extend(text.as_bytes());
        assert_eq!(codec::encode_one(&AdminQuestion::Upgrade(text.to_owned())).unwrap(), bytes);
        let answers = [
            AdminAnswer::Upgrade(String::new()),
            AdminAnswer::StoreAway,
            AdminAnswer::Busy,
            AdminAnswer::Ending,
            AdminAnswer::Late,
            AdminAnswer::Stranger,
        ];
        let first = answers.map(|answer| codec::encode_one(&answer).unwrap());
        assert_eq!(first, [&[0, 0][..], &[1], &[2], &[3], &[4], &[5]]);
    }
}
