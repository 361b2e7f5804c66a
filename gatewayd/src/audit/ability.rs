//! What is measured, and what each role is expected to be able to do: the lines of the table.

use bincode::{Decode, Encode};
use ipc::Role;
use serde::{Serialize, Serializer};

/// Something a process may or may not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Ability {
    /// The file of the Ed25519 identity key.
    ReadIdentityKey,
    /// The file of the X25519 Sphinx key.
    ReadSphinxKey,
    /// The client ledger.
    ReadLedger,
    /// The inboxes.
    ReadInbox,
    /// A file in the gateway's folder.
    OpenHome,
    /// A file anywhere.
    Write,
    /// A TCP connection.
    Connect,
    /// A UDP datagram.
    SendDatagram,
    /// A TCP port.
    BindPort,
    /// A Unix socket.
    OpenUnixSocket,
    /// Another process, or another program in this process.
    StartProgram,
    /// Tracing another role.
    Trace,
    /// Signalling another role or the supervisor.
    Signal,
    /// Memory of another role.
    ReadMemory,
    /// Running bytes of its own as code.
    MakeExecutable,
    /// Becoming root, or the user of the supervisor again.
    RegainUser,
    /// Whether other processes exist.
    SeeProcesses,
}

impl Ability {
    /// All abilities, in the order of the table.
    pub const ALL: [Self; 17] = [
        Self::ReadIdentityKey,
        Self::ReadSphinxKey,
        Self::ReadLedger,
        Self::ReadInbox,
        Self::OpenHome,
        Self::Write,
        Self::Connect,
        Self::SendDatagram,
        Self::BindPort,
        Self::OpenUnixSocket,
        Self::StartProgram,
        Self::Trace,
        Self::Signal,
        Self::ReadMemory,
        Self::MakeExecutable,
        Self::RegainUser,
        Self::SeeProcesses,
    ];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadIdentityKey => "read the identity key",
            Self::ReadSphinxKey => "read the Sphinx key",
            Self::ReadLedger => "read the ledger",
            Self::ReadInbox => "read an inbox",
            Self::OpenHome => "open a file in the home",
            Self::Write => "write anywhere",
            Self::Connect => "open a TCP connection out",
            Self::SendDatagram => "send a datagram out",
            Self::BindPort => "bind a port",
            Self::OpenUnixSocket => "open a Unix socket",
            Self::StartProgram => "start a program",
            Self::Trace => "trace another role",
            Self::Signal => "signal another role",
            Self::ReadMemory => "read another role's memory",
            Self::MakeExecutable => "make memory executable",
            Self::RegainUser => "regain a user",
            Self::SeeProcesses => "see other processes",
        }
    }

    /// What `role` is expected to be able to do. This does not depend on how the gateway was started: a missing layer shows as a
    /// difference in the table.
    pub const fn expected(self, role: Role) -> AbilityVerdict {
        match (self, role) {
            (Self::ReadLedger | Self::ReadInbox, Role::Store) | (Self::Connect, Role::MixEgress) => AbilityVerdict::Yes,
            (Self::Write, Role::Store) => AbilityVerdict::Own,
            _ => AbilityVerdict::No,
        }
    }
}

impl Serialize for Ability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What a process can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AbilityVerdict {
    /// No way that was tried succeeded.
    No,
    /// Only ways to the role's own data succeeded.
    Own,
    /// A way succeeded.
    Yes,
    /// It could not be measured.
    Unknown,
}

impl AbilityVerdict {
    /// The word in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Own => "own data",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}
