//! Messages of an audit: what a probe is to attempt from inside a worker's jail, and what the probe found.
//!
//! A probe is a worker that was started as any other, with the same descriptors, and has closed the same jail. In place of
//! serving, the probe makes one [`Attempt`] and reports a [`Finding`]. Each attempt has a process of its own, because the jail may
//! kill the process.

use std::{fmt, net::SocketAddr};

use bincode::{Decode, Encode};

/// A directory or file as the kernel knows it, whatever path leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Inode {
    /// Number of the device.
    pub device: u64,
    /// Number on the device.
    pub number: u64,
}

/// One thing to try. Paths are bytes, as the kernel takes them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Attempt {
    /// Try nothing and live until the control link ends, so that the jail can be examined from outside.
    Wait,
    /// Open the file at an absolute path for reading.
    OpenFile {
        /// The path.
        path: Vec<u8>,
    },
    /// Open a new, nameless file in the directory at an absolute path for writing.
    CreateFile {
        /// The directory.
        directory: Vec<u8>,
    },
    /// Open a path that begins at any descriptor, for reading.
    OpenBeneath {
        /// The path, from the descriptor.
        path: Vec<u8>,
    },
    /// Find `directory` among the descriptors and read a database in it.
    ReadDatabase {
        /// The directory.
        directory: Inode,
    },
    /// Find `directory` among the descriptors and open a database in it for writing.
    WriteDatabase {
        /// The directory.
        directory: Inode,
    },
    /// Read every descriptor from its beginning (`pread64`), looking for a file that begins like this.
    FindByPosition {
        /// The first bytes.
        begin: Vec<u8>,
    },
    /// Rewind every descriptor and read it (`lseek`, `read`), looking for a file that begins like this.
    FindByRewinding {
        /// The first bytes.
        begin: Vec<u8>,
    },
    /// Open a TCP connection.
    Connect {
        /// The address.
        to: SocketAddr,
    },
    /// Send a UDP datagram.
    SendDatagram {
        /// The address.
        to: SocketAddr,
    },
    /// Bind a TCP port, any.
    BindPort {
        /// The address.
        at: SocketAddr,
    },
    /// Listen on a TCP socket that was never bound: the kernel chooses a port.
    ListenUnbound,
    /// Make a Unix socket and connect it to the socket at this path.
    ConnectUnix {
        /// The path.
        path: Vec<u8>,
    },
    /// Make a child process (`clone` without threads).
    Fork,
    /// Make a child process (`clone3`).
    ForkByClone3,
    /// Become another program.
    Execute {
        /// The program.
        path: Vec<u8>,
    },
    /// Become the program at a path, by `execveat`.
    ExecuteAt {
        /// The program.
        path: Vec<u8>,
    },
    /// Trace a process.
    Trace {
        /// The process.
        pid: u32,
    },
    /// Ask whether a process could be signalled (`kill` with no signal).
    Signal {
        /// The process.
        pid: u32,
    },
    /// Ask whether a thread could be signalled (`tgkill`).
    SignalThread {
        /// The process, and its first thread.
        pid: u32,
    },
    /// Signal a process by `rt_sigqueueinfo`.
    QueueSignal {
        /// The process.
        pid: u32,
    },
    /// Read memory of a process (`process_vm_readv`).
    ReadMemory {
        /// The process.
        pid: u32,
    },
    /// Map memory that is writable and executable.
    MapExecutable,
    /// Write memory, then make it executable (`mprotect`).
    ProtectExecutable,
    /// Write memory, then make it executable (`pkey_mprotect`).
    ProtectExecutableByKey,
    /// Become a user.
    BecomeUser {
        /// The user.
        uid: u32,
    },
    /// Make a user namespace, in which the process would have every capability.
    NewUserNamespace,
    /// Ask for the process group of a process, which tells that it exists.
    LookAt {
        /// The process.
        pid: u32,
    },
    /// Hold a process by a descriptor (`pidfd_open`).
    HoldProcess {
        /// The process.
        pid: u32,
    },
    /// Read every descriptor that is no socket from where it stands (`read`), looking for a file that goes on like this.
    FindByReading {
        /// The next bytes.
        begin: Vec<u8>,
    },
    /// Ask on which processors a process may run (`sched_getaffinity`).
    AskAffinity {
        /// The process.
        pid: u32,
    },
    /// Read the clock of the processor time that a process has used (`clock_gettime`).
    ReadClock {
        /// The process.
        pid: u32,
    },
    /// Ask for the resolution of that clock (`clock_getres`).
    AskClock {
        /// The process.
        pid: u32,
    },
    /// Sleep for no time by that clock (`clock_nanosleep`).
    SleepByClock {
        /// The process.
        pid: u32,
    },
    /// Try to take a lock whose owner is set to a process (`futex`).
    TakeLock {
        /// The process.
        pid: u32,
    },
}

impl fmt::Display for Attempt {
    /// In words, with the call that is made where there are several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Wait => f.write_str("wait"),
            Self::OpenFile { path } => write!(f, "open {}", text(path)),
            Self::CreateFile { directory } => write!(f, "create a file in {}", text(directory)),
            Self::OpenBeneath { path } => write!(f, "open {} from any descriptor", text(path)),
            Self::ReadDatabase { .. } => f.write_str("read the database by descriptor"),
            Self::WriteDatabase { .. } => f.write_str("write a database by descriptor"),
            Self::FindByPosition { .. } => f.write_str("pread64 every descriptor"),
            Self::FindByRewinding { .. } => f.write_str("lseek and read every descriptor"),
            Self::FindByReading { .. } => f.write_str("read every descriptor"),
            Self::Connect { to } => write!(f, "connect to {to}"),
            Self::SendDatagram { to } => write!(f, "send a datagram to {to}"),
            Self::BindPort { at } => write!(f, "bind {at}"),
            Self::ListenUnbound => f.write_str("listen without bind"),
            Self::ConnectUnix { path } => write!(f, "connect to {}", text(path)),
            Self::Fork => f.write_str("clone a process"),
            Self::ForkByClone3 => f.write_str("clone3 a process"),
            Self::Execute { path } => write!(f, "execve {}", text(path)),
            Self::ExecuteAt { path } => write!(f, "execveat {}", text(path)),
            Self::Trace { pid } => write!(f, "ptrace process {pid}"),
            Self::Signal { pid } => write!(f, "kill process {pid}"),
            Self::SignalThread { pid } => write!(f, "tgkill process {pid}"),
            Self::QueueSignal { pid } => write!(f, "rt_sigqueueinfo to process {pid}"),
            Self::ReadMemory { pid } => write!(f, "process_vm_readv of process {pid}"),
            Self::MapExecutable => f.write_str("mmap writable and executable"),
            Self::ProtectExecutable => f.write_str("mprotect executable"),
            Self::ProtectExecutableByKey => f.write_str("pkey_mprotect executable"),
            Self::BecomeUser { uid } => write!(f, "setresuid {uid}"),
            Self::NewUserNamespace => f.write_str("unshare a user namespace"),
            Self::LookAt { pid } => write!(f, "getpgid of process {pid}"),
            Self::HoldProcess { pid } => write!(f, "pidfd_open process {pid}"),
            Self::AskAffinity { pid } => write!(f, "sched_getaffinity of process {pid}"),
            Self::ReadClock { pid } => write!(f, "clock_gettime by the clock of process {pid}"),
            Self::AskClock { pid } => write!(f, "clock_getres of the clock of process {pid}"),
            Self::SleepByClock { pid } => write!(f, "clock_nanosleep by the clock of process {pid}"),
            Self::TakeLock { pid } => write!(f, "futex held by process {pid}"),
        }
    }
}

/// The outcome of an attempt. That a probe was killed is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Finding {
    /// The attempt succeeded.
    Allowed,
    /// Something was opened. Whether it is the right thing is checked next, so this finding is the last only if the check killed the
    /// probe.
    Opened,
    /// The kernel refused.
    Denied {
        /// The error number.
        errno: i32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::golden::pin;

    #[test]
    fn bytes_are_pinned() {
        pin(Attempt::Wait, "00");
        pin(Attempt::OpenFile { path: b"/a".to_vec() }, "01022f61");
        pin(Attempt::ReadDatabase { directory: Inode { device: 1, number: 2 } }, "040102");
        pin(Attempt::Connect { to: "127.0.0.1:5".parse().unwrap() }, "08007f00000105");
        pin(Attempt::HoldProcess { pid: 7 }, "1c07");
        pin(Attempt::TakeLock { pid: 7 }, "2207");
        pin(Finding::Allowed, "00");
        pin(Finding::Opened, "01");
        pin(Finding::Denied { errno: 1 }, "0202");
    }

    #[test]
    fn an_attempt_is_shown_with_what_it_is_made_at() {
        assert_eq!(Attempt::OpenFile { path: b"/a".to_vec() }.to_string(), "open /a");
        assert_eq!(Attempt::BindPort { at: "127.0.0.1:5".parse().unwrap() }.to_string(), "bind 127.0.0.1:5");
        assert_eq!(Attempt::Signal { pid: 7 }.to_string(), "kill process 7");
    }
}
