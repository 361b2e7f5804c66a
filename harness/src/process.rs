//! What the kernel says about a process of the gateway.

use std::{collections::BTreeSet, fs, io, os::unix::fs::FileExt, path::PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::deadline;

/// What is in the private memory of a process.
#[derive(Default)]
pub struct PrivateMemory {
    locked: Vec<Vec<u8>>,
    other: Vec<Vec<u8>>,
}

impl PrivateMemory {
    /// Memory that holds this.
    #[cfg(test)]
    pub(crate) fn of(locked: &[u8], other: &[u8]) -> Self {
        Self { locked: vec![locked.to_vec()], other: vec![other.to_vec()] }
    }

    /// Whether this is in locked memory.
    pub fn has_locked(&self, what: &[u8]) -> bool {
        Self::has(&self.locked, what)
    }

    /// Whether this is in memory that is not locked.
    pub fn has_unlocked(&self, what: &[u8]) -> bool {
        Self::has(&self.other, what)
    }

    fn has(parts: &[Vec<u8>], what: &[u8]) -> bool {
        AhoCorasick::new([what]).is_ok_and(|pattern| parts.iter().any(|part| pattern.is_match(part)))
    }
}

/// A process, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process(pub u32);

impl Process {
    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    /// All processes of this machine.
    ///
    /// # Errors
    /// If the kernel does not list them.
    pub fn all() -> io::Result<Vec<Self>> {
        let numbers = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(numbers.map(Self).collect())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn signal(self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.0)?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to process {}", self.0))
    }

    /// Whether it runs. A zombie does not.
    pub fn runs(self) -> bool {
        // `pid (name) state ...`, and the name may contain anything.
        let Ok(stat) = fs::read_to_string(self.file("stat")) else { return false };
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    }

    /// Waits until it does not run any more.
    ///
    /// # Errors
    /// If it goes on.
    pub async fn wait_until_gone(self) -> Result<()> {
        deadline::until(deadline::SOON, &format!("the end of process {}", self.0), || !self.runs()).await
    }

    /// A line of `/proc/<pid>/status`, without its name.
    ///
    /// # Errors
    /// If there is no such line.
    pub fn status(self, name: &str) -> Result<String> {
        let status = fs::read_to_string(self.file("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("/proc/{}/status has no {name}", self.0))?.trim().to_owned())
    }

    /// The number of its effective user.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn user(self) -> Result<u32> {
        let line = self.status("Uid")?;
        let user = line.split_whitespace().nth(1).and_then(|user| user.parse().ok());
        user.with_context(|| format!("cannot read the user of process {} from {line:?}", self.0))
    }

    /// Bytes that the kernel wrote, or will write, to a disk for it.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn bytes_written(self) -> Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.0))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no write_bytes")?;
        Ok(line.trim().parse()?)
    }

    /// Bytes of memory that it has resident.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn resident(self) -> Result<u64> {
        self.memory("VmRSS")
    }

    /// The most bytes of memory that it has had resident, since it was started or that was forgotten.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn peak(self) -> Result<u64> {
        self.memory("VmHWM")
    }

    /// Has the kernel forget the most memory that it has had resident.
    ///
    /// # Errors
    /// If the kernel does not: it does for root only.
    pub fn forget_peak(self) -> Result<()> {
        fs::write(self.file("clear_refs"), "5").context("the kernel forgets the peak for root only")
    }

    fn memory(self, name: &str) -> Result<u64> {
        let line = self.status(name)?;
        let kib = line.strip_suffix(" kB").and_then(|kib| kib.trim().parse::<u64>().ok());
        Ok(kib.with_context(|| format!("cannot read the memory of process {} from {line:?}", self.0))? << 10)
    }

    /// The environment it was started with, as one block.
    ///
    /// # Errors
    /// If the kernel does not show it; a process that cannot be dumped is shown to root only.
    pub fn environment(self) -> io::Result<Vec<u8>> {
        fs::read(self.file("environ"))
    }

    /// What its open descriptors are: paths, or words like `socket:[123]`.
    ///
    /// # Errors
    /// If the kernel does not show them; a process that cannot be dumped is shown to root only.
    pub fn descriptors(self) -> io::Result<Vec<String>> {
        let mut targets = Vec::new();
        for entry in fs::read_dir(self.file("fd"))? {
            // A descriptor closed meanwhile is none.
            if let Ok(target) = fs::read_link(entry?.path()) {
                targets.push(target.to_string_lossy().into_owned());
            }
        }
        Ok(targets)
    }

    /// Numbers of the descriptors that are sockets, and the sockets' inode numbers.
    ///
    /// # Errors
    /// If the kernel does not show its descriptors.
    pub fn numbered_sockets(self) -> io::Result<Vec<(i32, u64)>> {
        let mut sockets = Vec::new();
        for entry in fs::read_dir(self.file("fd"))? {
            let entry = entry?;
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            sockets.extend(number.zip(socket_inode(&target.to_string_lossy())));
        }
        Ok(sockets)
    }

    /// Paths of the files it has mapped into memory.
    ///
    /// # Errors
    /// If the kernel does not show them; a process that cannot be dumped is shown to root only.
    pub fn mapped_files(self) -> io::Result<BTreeSet<String>> {
        let maps = fs::read_to_string(self.file("maps"))?;
        Ok(maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..))).map(str::to_owned).collect())
    }

    /// What its private memory holds: what is locked, left out of dumps and not inherited, and the rest.
    ///
    /// # Errors
    /// If the kernel does not show it; a process that cannot be dumped is shown to root only.
    pub fn private_memory(self) -> io::Result<PrivateMemory> {
        let smaps = fs::read_to_string(self.file("smaps"))?;
        let memory = fs::File::open(self.file("mem"))?;
        let mut found = PrivateMemory::default();
        let mut range = None;
        for line in smaps.lines() {
            if let Some(flags) = line.strip_prefix("VmFlags:") {
                let Some((low, high)) = range.take() else { continue };
                let mut bytes = vec![0; high - low];
                // What was unmapped meanwhile holds nothing any more.
                if memory.read_exact_at(&mut bytes, low as u64).is_err() {
                    continue;
                }
                let has = |flag| flags.split(' ').any(|f| f == flag);
                let part = if has("lo") && has("dd") && has("wf") { &mut found.locked } else { &mut found.other };
                part.push(bytes);
            } else if let Some((addresses, rest)) = line.split_once(' ')
                && rest.starts_with("rw-p")
                && let Some((low, high)) = addresses.split_once('-')
            {
                let number = |text| usize::from_str_radix(text, 16).ok();
                range = number(low).zip(number(high));
            }
        }
        Ok(found)
    }

    /// Inode numbers of its sockets.
    ///
    /// # Errors
    /// If the kernel does not show its descriptors.
    pub fn sockets(self) -> io::Result<BTreeSet<u64>> {
        Ok(self.descriptors()?.iter().filter_map(|target| socket_inode(target)).collect())
    }
}

fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A TCP socket of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSocket {
    /// By which a process's descriptors name it.
    pub inode: u64,
    /// Its own port.
    pub port: u16,
    /// Its peer's port; zero if there is no peer.
    pub peer: u16,
    /// Bytes written to it that its peer's kernel has not taken.
    pub unsent: u64,
    /// Bytes received and not yet read; of a listener, connections not yet accepted.
    pub unread: u64,
    /// Whether it takes connections, and is none itself.
    pub listens: bool,
}

fn behind_colon(text: &str) -> &str {
    text.rsplit(':').next().unwrap_or_default()
}

/// All TCP sockets of this machine.
///
/// # Errors
/// If the kernel does not show them.
pub fn tcp_sockets() -> Result<Vec<TcpSocket>> {
    const LISTENING: &str = "0A";
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table)?.lines().skip(1) {
            // `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, state, queues, _, _, _, _, inode, ..] = fields[..] else {
                bail!("{table} has an unknown form: {line}");
            };
            let hexadecimal = |text: &str| u64::from_str_radix(text, 16).with_context(|| format!("in {table}: {line}"));
            let port = |address: &str| anyhow::Ok(u16::try_from(hexadecimal(behind_colon(address))?)?);
            sockets.push(TcpSocket {
                inode: inode.parse()?,
                port: port(local)?,
                peer: port(remote)?,
                unsent: hexadecimal(queues.split(':').next().unwrap_or_default())?,
                unread: hexadecimal(behind_colon(queues))?,
                listens: state == LISTENING,
            });
        }
    }
    Ok(sockets)
}
