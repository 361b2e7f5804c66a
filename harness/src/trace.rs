//! The system calls of a worker, as strace sees them: when each began, when it returned, and what went through it.
//!
//! strace lets no thread go on from a call before it has written the call's return down. So where one call waits for the return
//! of another, the trace has them in that order. But what a call sends is read by others before it has returned, and a test that
//! has an answer in hand may end the trace at that moment: of such a call only the beginning is there, and it counts.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use bincode::Decode;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::{deadline, process::Process};
pub use call::Call;
use call::SENDING;
use line::{begun, call};
pub(crate) use line::{target_of, unescape};
pub use links::Link;

mod call;
mod durable;
mod line;
mod links;

/// Calls that are written down.
const CALLS: &str = "trace=fdatasync,fsync,sync_file_range,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,\
                     sendmmsg,read,readv,recvfrom,recvmsg,openat,rename";

/// Ends a line within whose call the trace ended.
const CUT_OFF: &str = " <detached ...>";

/// A process that is being traced.
#[derive(Debug)]
pub struct Tracer {
    strace: Child,
    file: PathBuf,
    _folder: TempDir,
    /// strace ends if what it says meets a closed door.
    _said: Lines<BufReader<ChildStderr>>,
}

impl Tracer {
    /// Traces all threads of a process from now on.
    ///
    /// # Errors
    /// If strace is not there, or may not.
    pub async fn attach(process: Process) -> Result<Self> {
        Self::attach_failing(process, &[]).await
    }

    /// Traces all threads of a process from now on, and has calls fail that the kernel then never sees: `fdatasync:error=EIO`
    /// all of them, `fdatasync:error=EIO:when=1` the first one of each thread.
    ///
    /// # Errors
    /// If strace is not there, or may not.
    pub async fn attach_failing(process: Process, faults: &[&str]) -> Result<Self> {
        // In the place of the call another is made, which the jail of every worker allows.
        let faults: Vec<_> = faults.iter().map(|fault| format!("{fault}:syscall=getpid")).collect();
        Self::attach_injecting(process, &faults).await
    }

    /// Traces all threads of a process, which dies as soon as one begins this call.
    ///
    /// # Errors
    /// If strace is not there, or may not.
    pub async fn attach_killing(process: Process, call: &str) -> Result<Self> {
        Self::attach_injecting(process, &[format!("{call}:signal=SIGKILL:when=1")]).await
    }

    async fn attach_injecting(process: Process, faults: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gatewayd-trace-").tempdir()?;
        let file = folder.path().join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-yy", "-xx", "-s", "9000000", "-e", CALLS, "-e", "signal=none"]);
        for fault in faults {
            command.arg("-e").arg(format!("inject={fault}"));
        }
        Self::start(command, process, folder, file).await
    }

    /// Has each sync of a database take so much longer from now on, until this is dropped.
    ///
    /// # Errors
    /// If strace is not there, or may not.
    pub async fn attach_slow_disk(process: Process, by: Duration) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gatewayd-trace-").tempdir()?;
        let file = folder.path().join("trace");
        let mut command = Command::new("strace");
        let delay = format!("inject=fdatasync:delay_enter={}", by.as_micros());
        command.args(["-f", "-e", "trace=fdatasync", "-e", "signal=none", "-e", &delay]);
        Self::start(command, process, folder, file).await
    }

    async fn start(mut command: Command, process: Process, folder: TempDir, file: PathBuf) -> Result<Self> {
        command.arg("-p").arg(process.0.to_string()).arg("-o").arg(&file);
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut strace = command.spawn().context("cannot start strace; `dev/setup test` installs it")?;
        let mut said = BufReader::new(strace.stderr.take().context("strace has no standard error")?).lines();
        let line = deadline::soon("strace to attach", said.next_line()).await??.unwrap_or_default();
        ensure!(line.contains("attached"), "strace cannot trace the store: {line}; run the tests as root");
        Ok(Self { strace, file, _folder: folder, _said: said })
    }

    /// Ends the trace; the process goes on.
    ///
    /// # Errors
    /// If strace has failed.
    pub async fn stop(mut self) -> Result<Trace> {
        ensure!(self.strace.try_wait()?.is_none(), "strace has ended early");
        let pid = self.strace.id().context("strace has ended early")?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?;
        deadline::soon("strace to end", self.strace.wait()).await??;
        Trace::parse(&fs::read_to_string(&self.file)?)
    }
}

/// The calls of a process, in the order of their beginning.
#[derive(Debug)]
pub struct Trace(Vec<Call>);

impl Trace {
    /// Reads what `strace -f -yy -xx` has written.
    ///
    /// # Errors
    /// If a line has an unknown form.
    pub fn parse(text: &str) -> Result<Self> {
        let mut calls: Vec<Call> = Vec::new();
        let mut unfinished: Vec<(u32, usize, &str)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (thread, rest) = line.trim_start().split_once(' ').context("a line without a thread")?;
            let (thread, rest) = (thread.parse().context("a line without a thread")?, rest.trim_start());
            // A thread's end, or a signal.
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if rest.starts_with("<... ") && rest.ends_with(CUT_OFF) {
                // Its beginning is among those that are unfinished.
            } else if let Some(beginning) =
                rest.strip_suffix(" <unfinished ...>").or_else(|| rest.strip_suffix(CUT_OFF))
            {
                unfinished.push((thread, number, beginning));
            } else if let Some(resumed) = rest.strip_prefix("<... ") {
                let (_, end) = resumed.split_once(" resumed>").context("a call that resumes without a name")?;
                let began = unfinished.iter().rposition(|(owner, ..)| *owner == thread);
                // A call that had begun before the trace shows its end only, and has no descriptor.
                let Some(began) = began else { continue };
                let (_, began, beginning) = unfinished.remove(began);
                calls.extend(call(thread, &format!("{beginning}{end}"), began, number)?);
            } else {
                calls.extend(call(thread, rest, number, number)?);
            }
        }
        for (thread, began, beginning) in unfinished {
            calls.extend(begun(thread, beginning, began)?);
        }
        calls.sort_by_key(|call| call.began);
        Ok(Self(calls))
    }

    /// All calls, in the order of their beginning.
    pub fn calls(&self) -> &[Call] {
        &self.0
    }

    /// The calls on what has this in its name.
    pub fn on<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Call> {
        self.0.iter().filter(move |call| call.target.contains(target))
    }

    /// The name of the socket whose other end one of these is.
    pub fn socket_to(&self, peers: impl Fn(u64) -> bool) -> Option<String> {
        let peer = |call: &&Call| {
            let (_, rest) = call.target.strip_prefix("UNIX-STREAM:[")?.split_once("->")?;
            rest.strip_suffix(']')?.parse().ok()
        };
        self.0.iter().find(|call| peer(call).is_some_and(&peers)).map(|call| call.target.clone())
    }

    /// The messages that were read from a link, and when the last byte of each had come.
    ///
    /// # Errors
    /// If that is no link, or the trace did not begin between two messages.
    pub fn received<M: Decode<()>>(&self, link: &str) -> Result<Vec<(usize, M)>> {
        self.messages(link, &["read", "readv", "recvfrom", "recvmsg"])
    }

    /// The messages that were written to a link, and when the call that wrote the last byte of each began.
    ///
    /// # Errors
    /// If that is no link, or the trace did not begin between two messages.
    pub fn sent<M: Decode<()>>(&self, link: &str) -> Result<Vec<(usize, M)>> {
        self.messages(link, &SENDING)
    }

    fn messages<M: Decode<()>>(&self, link: &str, names: &[&str]) -> Result<Vec<(usize, M)>> {
        let calls = self.on(link).filter(|call| names.contains(&call.name.as_str()));
        let (messages, is_whole) = links::messages(calls, names.contains(&"read"))?;
        ensure!(is_whole, "{link} ended within a message");
        Ok(messages)
    }

    /// What a process with some of these sockets said to one with some of those, on all links between them, and when the call that
    /// sent the last byte of it began. What was cut off by the end of a process was never said.
    ///
    /// # Errors
    /// If that are no links.
    pub fn said<M: Decode<()>>(&self, from: &BTreeSet<u64>, to: &BTreeSet<u64>) -> Result<Vec<(usize, (Link, M))>> {
        let sends = || {
            let sends = self.calls().iter().filter(|call| SENDING.contains(&call.name.as_str()));
            sends.filter_map(|call| Some((Link::of(&call.target)?, call)))
        };
        let is_between = |link: &Link| from.contains(&link.here) && to.contains(&link.there);
        let links: BTreeSet<Link> = sends().map(|(link, _)| link).filter(is_between).collect();
        let mut said = Vec::new();
        for link in links {
            let calls = sends().filter(|(of, _)| *of == link).map(|(_, call)| call);
            let (messages, _) = links::messages(calls, false)?;
            said.extend(messages.into_iter().map(|(when, message)| (when, (link, message))));
        }
        said.sort_by_key(|(when, _)| *when);
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = r#"11 pwrite64(9<\x2f\x64\x62>, "\x00\x01", 2, 4096) = 2"#;

    #[test]
    fn messages_are_put_together_from_calls_and_taken_apart() {
        let first = r#"10 recvfrom(7<UNIX-STREAM:[1->2]>, "\x00\x00", 65536, 0, NULL, NULL) = 2"#;
        let again = r"10 recvfrom(7<UNIX-STREAM:[1->2]>, 0x7f00, 65536, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)";
        let begun = r#"10 recvfrom(7<UNIX-STREAM:[1->2]>,  <unfinished ...>"#;
        let rest = r#"10 <... recvfrom resumed>"\x00\x02\x05\x06\x00\x00\x00\x01\x07", 65536, 0, NULL, NULL) = 9"#;
        let lines =
            [r"12 <... read resumed>, 0x7f00, 9) = 0", first, again, begun, WRITE, rest, "10 +++ exited with 0 +++"];
        let trace = Trace::parse(&lines.join("\n")).unwrap();
        assert_eq!(trace.received::<u8>("UNIX-STREAM:[1->2]").unwrap(), [(5, 5), (5, 6), (5, 7)]);
        assert_eq!(trace.socket_to(|peer| peer == 2).unwrap(), "UNIX-STREAM:[1->2]");
        assert_eq!(trace.socket_to(|peer| peer == 3), None);
        assert_eq!(trace.on("/db").count(), 1);
    }

    #[test]
    fn what_was_being_sent_when_the_trace_ended_counts_as_sent() {
        let sent =
            r#"10 sendto(7<UNIX-STREAM:[1->2]>, "\x00\x00\x00\x01\x05", 5, MSG_NOSIGNAL, NULL, 0 <detached ...>"#;
        let begun = sent.replace("detached", "unfinished");
        let resumed = "10 <... sendto resumed> <detached ...>";
        for lines in [&[WRITE, sent][..], &[WRITE, &begun, resumed], &[WRITE, &begun]] {
            let trace = Trace::parse(&lines.join("\n")).unwrap();
            assert_eq!(trace.sent::<u8>("UNIX-STREAM:[1->2]").unwrap(), [(1, 5)]);
        }
        let unfinished =
            [r"12 fdatasync(10<\x2f\x64\x62> <unfinished ...>", r"13 read(7<UNIX-STREAM:[1->2]>,  <detached ...>"];
        assert_eq!(Trace::parse(&unfinished.join("\n")).unwrap().0, []);
    }
}
