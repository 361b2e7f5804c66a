//! What `gatewayd node-check` and the program `node-check` say to each other: one request, one answer, then the end of the file.
//!
//! *Trusts*: `gatewayd` trusts no more than the form of an answer, because the program has read hostile bytes. Texts are cut to a few
//! printable characters before they are shown.

use std::time::Duration;

use bincode::{Decode, Encode};

use crate::{
    http_api::{AnnouncedProgram, HostFacts},
    jail::Account,
    validator_query::printable,
};

/// The longest answer in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;

/// The time for the whole look.
pub const TIME_LIMIT: Duration = Duration::from_secs(45);

/// The longest text of a finding that is shown, in characters.
const MAX_WHY: usize = 600;

/// What to look at, and what should be seen.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NodeCheckRequest {
    /// The account to change to before anything is connected to.
    pub account: Option<Account>,
    /// The host that is, or will be, bonded: a name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port of the documents that is bonded with it.
    pub custom_http_port: Option<u16>,
    /// The public identity key.
    pub identity: [u8; 32],
    /// What is signed.
    pub facts: HostFacts,
    /// The program that is announced.
    pub program: AnnouncedProgram,
    /// The announced port of websockets.
    pub ws_port: u16,
    /// The announced port of websockets over TLS.
    pub wss_port: Option<u16>,
    /// The announced port for mix nodes.
    pub mix_port: u16,
    /// Whether the operator has accepted the network's terms.
    pub accepted_terms: bool,
}

/// What was looked at from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Subject {
    /// That the documents can be found.
    Health,
    /// The signed host information.
    HostInformation,
    /// Name and version of the program.
    BuildInformation,
    /// What the node is for.
    Roles,
    /// The announced ports for clients.
    Websockets,
    /// Port for mix nodes and terms.
    AuxiliaryDetails,
    /// A client that registers.
    Registration,
    /// The port for mix nodes.
    MixPort,
    /// That it is this gateway which answers.
    Identity,
    /// The port of a proxy that accepts clients over TLS.
    TlsPort,
}

/// What was found of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Finding {
    /// The subject.
    pub subject: Subject,
    /// What is wrong; none if all is well.
    pub wrong: Option<String>,
}

impl Finding {
    /// All is well.
    pub const fn good(subject: Subject) -> Self {
        Self { subject, wrong: None }
    }

    /// Something is wrong.
    pub fn bad(subject: Subject, why: String) -> Self {
        Self { subject, wrong: Some(printable(&why, MAX_WHY)) }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NodeCheckAnswer {
    /// One for each subject that was reached.
    pub findings: Vec<Finding>,
}

impl NodeCheckAnswer {
    /// With its texts cut to a few printable characters.
    pub fn printable(self) -> Self {
        let printable = |Finding { subject, wrong }| match wrong {
            Some(why) => Finding::bad(subject, why),
            None => Finding::good(subject),
        };
        Self { findings: self.findings.into_iter().map(printable).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{encode_one, golden::pin};

    #[test]
    fn bytes_are_pinned() {
        let findings = vec![Finding::good(Subject::Health), Finding::bad(Subject::MixPort, "x".into())];
        pin(NodeCheckAnswer { findings }, "02000007010178");
    }

    #[test]
    fn an_answer_has_room_for_a_long_finding_of_each_subject() {
        let findings = vec![Finding::bad(Subject::Health, "x".repeat(MAX_WHY)); 10];
        assert!(encode_one(&NodeCheckAnswer { findings }).unwrap().len() <= MAX_ANSWER);
    }

    #[test]
    fn a_hostile_finding_comes_out_short_and_printable() {
        let finding = Finding { subject: Subject::Roles, wrong: Some("\u{1b}]0;x\u{7}".repeat(999)) };
        let answer = NodeCheckAnswer { findings: vec![finding] }.printable();
        let why = answer.findings[0].wrong.as_ref().unwrap();
        assert_eq!(why.chars().count(), MAX_WHY);
        assert!(!why.contains(char::is_control));
    }
}
