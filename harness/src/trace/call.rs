//! A system call, as a trace has it.

/// The calls of these that send.
pub(super) const SENDING: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

/// A system call that returned, or that sends and had begun when the trace ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// The number of its first argument, if that is a descriptor.
    pub descriptor: String,
    /// What that is: a path, or words like `UNIX-STREAM:[1->2]`.
    pub target: String,
    /// The first buffer, as far as it was used.
    pub bytes: Vec<u8>,
    /// When it began: a line of the trace.
    pub began: usize,
    /// When it returned: a line of the trace, or the largest number if that is not in the trace.
    pub returned: usize,
    /// What it returned. Of a call that sends, and within which the trace ended, as much as it was to send.
    pub result: i64,
    /// Where in the file it wrote, if it says so.
    pub offset: Option<u64>,
    /// The thread that made it.
    pub thread: u32,
    /// Its arguments as strace writes them; of a call that moves data nothing.
    pub arguments: String,
    /// What it opened: a path.
    pub opened: Option<String>,
}
