//! What a supervisor hands to the next: a record in its environment, and the descriptors that the record numbers.
//!
//! *Trusts*: the program that this process was before, which has left the record for this very process. *Promises*: every build reads the
//! record, because the two may be of different builds: fields may be added, and whatever else changes changes [`FORMAT`], which a
//! new program is asked about before it is used.

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{refusals::Refusals, served::Served};

/// The form of the record.
pub(crate) const FORMAT: u32 = 1;
/// The variable that holds it.
pub(super) const VARIABLE: &str = "GATEWAYD_HANDOVER";

/// Why what was handed over cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("what the former gatewayd hands over cannot be taken: {0}; the gateway has to be restarted")]
pub struct HandoverError(String);

/// What the next supervisor is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// It is new, and is watched.
    Probation {
        /// For how long.
        seconds: u64,
        /// What was refused before.
        before: Refusals,
        /// Whom the gateway served before. An earlier build does not say.
        #[serde(default)]
        served: Served,
    },
    /// It is the old one, which has come back.
    Return {
        /// Why.
        why: String,
    },
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its form.
    format: u32,
    /// The process for which it is.
    pid: u32,
    /// The number of the upgrade.
    upgrade: u64,
    /// The listening sockets, by their names.
    listeners: Vec<(String, RawFd)>,
    /// The programs of the old build, by their names.
    programs: Vec<(String, RawFd)>,
    /// Whether new clients are let in.
    newcomers: bool,
    purpose: Purpose,
}

impl Record {
    /// For this process.
    pub(crate) fn new(
        upgrade: u64,
        purpose: Purpose,
        newcomers: bool,
        listeners: Vec<(String, RawFd)>,
        programs: Vec<(String, RawFd)>,
    ) -> Self {
        Self { format: FORMAT, pid: std::process::id(), upgrade, listeners, programs, newcomers, purpose }
    }

    /// Reads the record for process `pid`; nothing if there is none, or it is for another.
    fn read(text: Option<&str>, pid: u32) -> Result<Option<Self>, HandoverError> {
        #[derive(Deserialize)]
        struct Address {
            format: u32,
            pid: u32,
        }
        let Some(text) = text else { return Ok(None) };
        let failed =
            |error: serde_json::Error| HandoverError(format!("{VARIABLE} in the environment is no record: {error}"));
        let address: Address = serde_json::from_str(text).map_err(failed)?;
        if address.pid != pid {
            return Ok(None);
        }
        if address.format != FORMAT {
            return Err(HandoverError(format!(
                "it has form {}, and this gatewayd takes form {FORMAT}",
                address.format
            )));
        }
        serde_json::from_str(text).map(Some).map_err(failed)
    }
}

/// How new programs are watched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probation {
    /// For how long.
    pub(crate) time: Duration,
    /// What was refused before.
    pub(crate) before: Refusals,
    /// Whom the gateway served before.
    pub(crate) served: Served,
}

/// What was handed over to this process.
#[derive(Debug)]
pub(crate) struct Handover {
    /// The number of the upgrade.
    pub(crate) upgrade: u64,
    /// The listening sockets, by their names.
    pub(crate) listeners: Vec<(String, OwnedFd)>,
    /// The programs of the old build, by their names.
    pub(crate) programs: Vec<(String, OwnedFd)>,
    /// Whether new clients are let in.
    pub(crate) newcomers: bool,
    /// What this process is for.
    pub(crate) purpose: Purpose,
}

impl Handover {
    /// Takes what was handed over to this process, if it was another program before. To be called once, before the process opens
    /// anything for long.
    ///
    /// # Errors
    /// If it is not what this build takes.
    pub(crate) fn take() -> Result<Option<Self>, HandoverError> {
        let text = std::env::var_os(VARIABLE).map(|text| text.to_string_lossy().into_owned());
        let Some(record) = Record::read(text.as_deref(), std::process::id())? else { return Ok(None) };
        let Record { upgrade, listeners, programs, newcomers, purpose, .. } = record;
        let numbers: Vec<RawFd> = listeners.iter().chain(&programs).map(|(_, number)| *number).collect();
        let failed = |error: io::Error| HandoverError(error.to_string());
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != numbers.len() || sorted.iter().any(|number| *number <= 2) {
            return Err(HandoverError("it names a descriptor twice, or a standard one".to_owned()));
        }
        let mut descriptors = link::descriptor::inherited(&numbers).map_err(failed)?.into_iter();
        let mut owned = |named: Vec<(String, RawFd)>| -> Vec<(String, OwnedFd)> {
            named.into_iter().map(|(name, _)| name).zip(descriptors.by_ref()).collect()
        };
        let listeners = owned(listeners);
        let programs = owned(programs);
        Ok(Some(Self { upgrade, listeners, programs, newcomers, purpose }))
    }

    /// How this process is watched; nothing if it is not on probation.
    pub(crate) const fn probation(&self) -> Option<Probation> {
        match self.purpose {
            Purpose::Probation { seconds, before, served } => {
                Some(Probation { time: Duration::from_secs(seconds), before, served })
            }
            Purpose::Return { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervisor of the next build reads what one of this build writes, so this text must stay readable.
    #[test]
    fn the_record_of_a_handover_is_the_same_forever() {
        let purpose = Purpose::Probation { seconds: 60, before: Refusals::default(), served: Served::default() };
        let record = Record {
            format: 1,
            pid: 7,
            upgrade: 9,
            listeners: vec![("mix".into(), 10)],
            programs: vec![("gatewayd".into(), 11)],
            newcomers: true,
            purpose,
        };
        let text = concat!(
            r#"{"format":1,"pid":7,"upgrade":9,"listeners":[["mix",10]],"programs":[["gatewayd",11]],"newcomers":true,"#,
            r#""purpose":{"probation":{"seconds":60,"before":{"logins":{"taken":0,"refused":0},"packets":{"taken":0,"refused":0}},"#,
            r#""served":{"clients":0,"packets":0}}}}"#
        );
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        // An earlier build does not say whom it served.
        let earlier = text.replace(r#","served":{"clients":0,"packets":0}"#, "");
        assert_eq!(Record::read(Some(&earlier), 7).unwrap().as_ref(), Some(&record));
        assert_eq!(Record::read(Some(text), 7).unwrap(), Some(record));
        let returned = text.replace(r#""purpose":{"#, r#""added":1,"purpose":{"return":{"why":"x"}},"unused":{"#);
        let returned = Record::read(Some(&returned), 7).unwrap().unwrap();
        assert_eq!(returned.purpose, Purpose::Return { why: "x".into() });
        // A record for another process is left alone, even in a form that is not known.
        assert_eq!(Record::read(Some(r#"{"format":2,"pid":8}"#), 7).unwrap(), None);
        assert_eq!(Record::read(None, 7).unwrap(), None);
        assert!(Record::read(Some(r#"{"format":2,"pid":7}"#), 7).unwrap_err().to_string().contains("form 2"));
        assert!(Record::read(Some("x"), 7).is_err());
    }
}
