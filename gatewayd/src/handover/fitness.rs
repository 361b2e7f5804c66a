//! What a new `gatewayd` that is tried says of itself: the last line on its standard output, as JSON, which every build understands.

use serde::{Deserialize, Serialize};

/// Whether a new `gatewayd` could run the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fitness {
    /// It could.
    Fit {
        /// Its version, for people.
        version: String,
    },
    /// It could not.
    Unfit {
        /// Why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tried_program_says_is_the_same_forever() {
        let fit = Fitness::Fit { version: "1".into() };
        assert_eq!(serde_json::to_string(&fit).unwrap(), r#"{"fit":{"version":"1"}}"#);
        let unfit = Fitness::Unfit { why: "x".into() };
        assert_eq!(serde_json::from_str::<Fitness>(r#"{"unfit":{"why":"x","added":1}}"#).unwrap(), unfit);
    }
}
