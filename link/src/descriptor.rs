//! Socketpairs, and datagrams that carry descriptors (`SCM_RIGHTS`, unix(7)).
//!
//! *Promises*: every descriptor that arrives is owned at once, closed on exec, and closed if its message is refused.
//! Together with the crate `sandbox` this is the only place with `unsafe` code.
#![allow(unsafe_code)]

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

/// Most descriptors in one datagram.
pub const MAX_DESCRIPTORS: usize = 16;
/// Most descriptors that the kernel carries in one datagram.
const SCM_MAX_FD: usize = 253;
/// Most bytes in one datagram.
pub const MAX_DATAGRAM: usize = 64 * 1024;

/// The two ends of a link.
///
/// # Errors
/// If the kernel gives no socketpair.
pub fn link_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The two ends of a control link, which keeps message boundaries.
///
/// # Errors
/// If the kernel gives no socketpair.
pub fn control_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one datagram with its descriptors.
///
/// # Errors
/// If the peer is gone, or the socket has no room (`WouldBlock` if it is non-blocking).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one datagram with its descriptors. No bytes mean the end of the link.
///
/// # Errors
/// If the socket fails, is empty (`WouldBlock`), or the datagram is larger than any of ours.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MAX_DATAGRAM];
    // Room for as many descriptors as the kernel carries. With less room the kernel would install descriptors that it does not report,
    // and nothing would own them.
    let mut space = nix::cmsg_space!([RawFd; SCM_MAX_FD]);
    let mut descriptors = Vec::new();
    let (len, flags) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                // SAFETY: the kernel has just made these descriptors for this process and nothing else knows them, so each is
                // owned exactly once.
                descriptors.extend(received.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
            }
        }
        (message.bytes, message.flags)
    };
    if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a datagram larger than any of ours"));
    }
    bytes.truncate(len);
    Ok((bytes, descriptors))
}

/// The descriptors with these numbers, with which this process was started. They are closed on exec from now on.
///
/// The caller has made sure that this process has not opened these numbers itself, and names each once.
///
/// # Errors
/// If one of them is not open, or they were taken before.
pub fn inherited(numbers: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    static WERE_TAKEN: AtomicBool = AtomicBool::new(false);
    if WERE_TAKEN.swap(true, Ordering::SeqCst) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "they were taken before"));
    }
    for number in numbers {
        // SAFETY: the call has no effect on memory. On a number that is not open it fails.
        if unsafe { nix::libc::fcntl(*number, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: each is open, as the loop above has found, was opened before this process began, and is taken once, so nothing else owns
    // it.
    Ok(numbers.iter().map(|number| unsafe { OwnedFd::from_raw_fd(*number) }).collect())
}

/// A duplicate of the descriptor that this process was given as standard input.
///
/// # Errors
/// If standard input is closed.
pub fn inherited_control() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (here, there) = control_pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(here.as_fd(), b"take this", &[writer.as_fd()]).unwrap();
        drop(writer);
        send(here.as_fd(), b"no more", &[]).unwrap();
        let (bytes, mut descriptors) = receive(there.as_fd()).unwrap();
        assert_eq!((bytes.as_slice(), descriptors.len()), (b"take this".as_slice(), 1));
        let mut file = std::fs::File::from(descriptors.remove(0));
        file.write_all(b"through").unwrap();
        drop(file);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert_eq!(receive(there.as_fd()).unwrap().0, b"no more");
        drop(here);
        assert!(receive(there.as_fd()).unwrap().0.is_empty());
    }

    #[test]
    fn of_a_datagram_with_too_many_descriptors_none_stays_open() {
        let (here, there) = control_pair().unwrap();
        for count in [MAX_DESCRIPTORS + 1, SCM_MAX_FD] {
            let (mut reader, writer) = io::pipe().unwrap();
            send(here.as_fd(), b"take these", &vec![writer.as_fd(); count]).unwrap();
            drop(writer);
            assert_eq!(receive(there.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{count}");
            // Ends only when nobody holds the other side any more.
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_refused_whole() {
        let (here, there) = control_pair().unwrap();
        send(here.as_fd(), &vec![1; MAX_DATAGRAM + 1], &[]).unwrap();
        assert_eq!(receive(there.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
