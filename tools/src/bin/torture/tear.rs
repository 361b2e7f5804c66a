//! Torn databases: what a loss of power may leave of a file that was being written.
//!
//! A sync promises what was written before it began, and nothing later. So the store is traced for a moment, every `fdatasync`
//! held up so that there is something to tear; it is killed; and of the bytes whose sync had not returned, some are
//! changed. Bytes that a completed sync covers are never touched, nor any that were written before the tracing began.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use harness::{deadline, process::Process};
use rand::{RngExt, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

/// For how long syncs are held up, in microseconds.
const DELAY: &str = "inject=fdatasync:delay_enter=150000";
/// For how long the store is traced at the most, in the hope that it writes.
const WATCH: Duration = Duration::from_secs(3);
/// In milliseconds, from its writing to its death.
const WRITING: Range<u64> = 0..300;

/// In a line of the trace whose call had not returned by then.
const LET_GO: &str = "<detached";

/// A tracer has nothing to do any more when the process is dead.
const TRACER_END: Duration = Duration::from_secs(1);

/// A tracer at work.
pub(crate) struct Trace {
    tracer: Child,
    output: PathBuf,
    /// Reads what strace says of every new thread: strace ends if its output is not read.
    _listening: JoinSet<()>,
}

impl Trace {
    /// Traces a process until there is something to tear in a file, named by the end of its path, or that takes too long.
    ///
    /// # Errors
    /// If there is no `strace`, or it may not trace.
    pub(crate) async fn watch(process: Process, file: &str, output: PathBuf, random: &mut StdRng) -> Result<Self> {
        let mut tracer = Command::new("strace")
            .args(["-f", "-y", "-s", "0", "-e", "trace=pwrite64,fdatasync", "-e", DELAY, "-o"])
            .arg(&output)
            .args(["-p", &process.0.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run strace")?;
        let Some(said) = tracer.stderr.take() else { bail!("strace has no standard error") };
        let mut lines = BufReader::new(said).lines();
        let said = deadline::soon("strace to attach", lines.next_line()).await??.unwrap_or_default();
        if !said.contains("attached") {
            bail!("strace does not trace: {said}");
        }
        let mut listening = JoinSet::new();
        listening.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let writes = || fs::read_to_string(&output).is_ok_and(|trace| !unsynced(&trace, file).is_empty());
        // If it does not write, there is nothing to tear.
        let _ = deadline::until(WATCH, "a write", writes).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(WRITING))).await;
        Ok(Self { tracer, output, _listening: listening })
    }

    /// Parts of files in the folder that no completed sync covers. Call when the traced process is dead.
    ///
    /// # Errors
    /// If the tracer does not end, or let go of the process while it lived.
    pub(crate) async fn unsynced(mut self, folder: &str) -> Result<Vec<Part>> {
        if tokio::time::timeout(TRACER_END, self.tracer.wait()).await.is_err() {
            // It sometimes overlooks the end of a process whose thread it was holding up. Every line has been written.
            self.tracer.kill().await?;
        }
        let trace = fs::read_to_string(&self.output)?;
        fs::remove_file(&self.output)?;
        // What was synced after that is not in the trace.
        ensure!(!trace.contains(LET_GO), "strace let go of the store");
        Ok(unsynced(&trace, folder))
    }
}

/// A call that has not returned yet.
enum Call {
    Write(usize),
    /// Which writes had returned when it began.
    Sync(Vec<usize>),
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) file: PathBuf,
    pub(crate) range: Range<u64>,
}

/// A write, until a sync covers it.
struct Write {
    part: Part,
    returned: bool,
    covered: bool,
}

/// Reads `PID call(NUMBER</path>, ...) = result` lines, of which the second half may come later.
fn unsynced(trace: &str, folder: &str) -> Vec<Part> {
    let mut writes: Vec<Write> = Vec::new();
    let mut calls: HashMap<&str, Call> = HashMap::new();
    let in_folder = format!("/{folder}/");
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let file = rest.split_once('<').and_then(|(_, rest)| Some(rest.split_once('>')?.0));
        let file = file.filter(|file| file.contains(&in_folder)).map(PathBuf::from);
        if let Some(file) = file.as_ref().filter(|_| rest.starts_with("pwrite64(")) {
            if let Some(range) = written(rest) {
                calls.insert(thread, Call::Write(writes.len()));
                writes.push(Write { part: Part { file: file.clone(), range }, returned: false, covered: false });
            }
        } else if let Some(file) = file.filter(|_| rest.starts_with("fdatasync(")) {
            let returned = writes.iter().enumerate().filter(|(_, write)| write.returned && write.part.file == file);
            calls.insert(thread, Call::Sync(returned.map(|(at, _)| at).collect()));
        } else if !rest.starts_with("<... ") {
            continue;
        }
        let Some((_, result)) = rest.rsplit_once(" = ") else { continue };
        match calls.remove(thread) {
            Some(Call::Write(at)) => writes.iter_mut().skip(at).take(1).for_each(|write| write.returned = true),
            Some(Call::Sync(covers)) if result.starts_with('0') => {
                for at in covers {
                    writes.iter_mut().skip(at).take(1).for_each(|write| write.covered = true);
                }
            }
            Some(Call::Sync(_)) | None => {}
        }
    }
    writes.into_iter().filter(|write| !write.covered).map(|write| write.part).collect()
}

/// The part of the file that `pwrite64(NUMBER</path>, ""..., LENGTH, OFFSET` writes.
fn written(call: &str) -> Option<Range<u64>> {
    let mut fields = call.split(", ").skip(2);
    let length: u64 = fields.next()?.parse().ok()?;
    let offset = fields.next()?;
    let digits = offset.find(|other: char| !other.is_ascii_digit()).unwrap_or(offset.len());
    let offset: u64 = offset.get(..digits)?.parse().ok()?;
    Some(offset..offset + length)
}

/// What was done to a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Torn {
    /// So many bytes were changed.
    pub(crate) bytes: u64,
    /// So many might have been.
    pub(crate) unsynced: u64,
}

/// Changes some of these parts of files, the last one at least if no other: to zeros, to anything, from some point on,
/// or not at all.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn tear(parts: &[Part], random: &mut StdRng) -> Result<Torn> {
    let mut torn = Torn { bytes: 0, unsynced: parts.iter().map(|part| part.range.end - part.range.start).sum() };
    for (at, Part { file, range }) in parts.iter().enumerate() {
        // It may have got another name since, and be something else under that.
        let Ok(file) = OpenOptions::new().write(true).open(file) else { continue };
        let from = if random.random_bool(0.5) { range.start } else { random.random_range(range.clone()) };
        let len = usize::try_from(range.end - from)?;
        let is_last_chance = torn.bytes == 0 && at + 1 == parts.len();
        match random.random_range(u8::from(is_last_chance)..3) {
            0 => continue,
            1 => file.write_all_at(&vec![0; len], from)?,
            _ => file.write_all_at(&(0..len).map(|_| random.random()).collect::<Vec<u8>>(), from)?,
        }
        torn.bytes += len as u64;
    }
    Ok(torn)
}

/// What can be torn without a tracer: writes behind the end of a file that was growing.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn tear_behind_the_end(file: &Path, random: &mut StdRng) -> Result<Torn> {
    let end = File::open(file).and_then(|file| file.metadata()).context("there is no database")?.len();
    let part = Part { file: file.to_owned(), range: end..end + random.random_range(1..100_000) };
    tear(std::slice::from_ref(&part), random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_completed_sync_covers_is_torn() {
        let trace = r#"
7 pwrite64(10</x/inboxes/mail/1.mail>, ""..., 100, 0) = 100
8 pwrite64(10</x/inboxes/mail/1.mail>, ""..., 50, 200 <unfinished ...>
7 fdatasync(11</x/inboxes/mail/1.mail> <unfinished ...>
8 <... pwrite64 resumed>) = 50
9 pwrite64(12</x/client_ledger.sled/db>, ""..., 9, 9) = 9
9 pwrite64(10</x/inboxes/mail/1.mail>, ""..., 10, 300) = 10
7 <... fdatasync resumed>)          = 0
7 fdatasync(11</x/inboxes/mail/1.mail>)      = -1 EIO (Input/output error)
9 fdatasync(12</x/client_ledger.sled/db>) = 0
9 pwrite64(10</x/inboxes/mail/1.mail>, ""..., 1, 400 <unfinished ...>
7 fdatasync(11</x/inboxes/mail/1.mail> <unfinished ...>
7 fdatasync(13</x/inboxes/mail/2.mail>) = 0
9 +++ killed by SIGKILL +++
"#;
        let part = |range| Part { file: "/x/inboxes/mail/1.mail".into(), range };
        assert_eq!(unsynced(trace, "inboxes/mail"), [200..250, 300..310, 400..401].map(part));
        assert_eq!(unsynced(trace, "client_ledger.sled"), []);
    }
}
