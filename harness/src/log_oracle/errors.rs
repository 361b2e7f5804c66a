//! What the gateway's log may complain of, and what must have been done to it before.

/// What was done to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A process was killed.
    Death,
    /// A link was fed with garbage.
    Garbage,
    /// The disk was filled.
    FullDisk,
    /// What was not synced of a database was torn.
    TornDatabase,
}

/// Parts of complaints, each with what explains it.
const COMPLAINTS: [(&str, Cause); 9] = [
    ("worker died", Cause::Death),
    ("worker will be restarted", Cause::Death),
    ("worker is killed", Cause::Garbage),
    ("broke a rule of its link", Cause::Garbage),
    ("new mail and new clients are refused", Cause::FullDisk),
    ("new mail is refused", Cause::FullDisk),
    ("new clients are refused", Cause::FullDisk),
    ("the marks of packets seen cannot be saved", Cause::FullDisk),
    ("a segment of mail is damaged there", Cause::TornDatabase),
];

/// Whether a line is an error.
pub(super) fn is_error(line: &str) -> bool {
    line.contains(" ERROR ")
}

/// What explains this line; nothing, if it must not be there.
pub(super) fn cause_of(line: &str) -> Option<Cause> {
    COMPLAINTS.iter().find(|(part, _)| line.contains(part)).map(|(_, cause)| *cause)
}
