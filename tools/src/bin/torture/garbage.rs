//! Garbage on a link: bytes written into a worker's own end of it, as if the worker had sent them.
//!
//! Four bytes are enough: they announce a message that is longer than any. The descriptor is copied out of the worker
//! (`pidfd_getfd`), which takes the right to trace it.

use std::os::{fd::RawFd, unix::net::UnixStream};

use anyhow::{Context, Result, bail};
use harness::process::Process;
use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// No frame of a link is as long as this says.
const BYTE: u8 = 0xff;

/// Writes `len` bytes of garbage into one of the links from `process` to others of `gateway`, the supervisor first, or the next
/// that stands.
///
/// # Errors
/// If this program may not, or there is no link.
pub(crate) fn feed(process: Process, gateway: &[Process], link: usize, len: usize) -> Result<()> {
    let supervisor = i32::try_from(gateway.first().context("there is no gateway")?.0)?;
    let mut links = links(process, gateway)?;
    if links.is_empty() {
        bail!("process {} has no link", process.0)
    }
    let first = link % links.len();
    links.rotate_left(first);
    let pid = Pid::from_raw(i32::try_from(process.0)?).context("no process has this number")?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context("the process is gone")?;
    for number in links {
        let end = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).context("cannot copy the end of a link")?;
        let end = UnixStream::from(end);
        // Some other socket, whose number follows another's by chance: links are made by the supervisor.
        if !getsockopt(&end, PeerCredentials).is_ok_and(|maker| maker.pid() == supervisor) {
            continue;
        }
        match nix::unistd::write(end, &vec![BYTE; len]) {
            // The other end has just been replaced.
            Err(Errno::EPIPE) => {}
            outcome => return outcome.map(|_| ()).context("cannot write into a link"),
        }
    }
    bail!("nobody is at the other end of any link")
}

/// Descriptors of `process` whose other end may be in one of `others`: the two ends of a link are made together, so that their
/// numbers follow each other.
fn links(process: Process, others: &[Process]) -> Result<Vec<RawFd>> {
    let mut ends = Vec::new();
    for other in others.iter().filter(|other| **other != process) {
        // One that is gone has no ends.
        ends.extend(other.sockets().unwrap_or_default());
    }
    let mut links: Vec<RawFd> = Vec::new();
    for (number, socket) in process.numbered_sockets()? {
        if ends.iter().any(|end| end.abs_diff(socket) == 1) {
            links.push(number);
        }
    }
    links.sort_unstable();
    Ok(links)
}
