//! Attempts on the network: outwards, inwards, and to processes of this machine.
#![allow(unsafe_code)]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use ipc::probe::Finding;
use nix::sys::socket::{SockaddrLike, SockaddrStorage, UnixAddr};

use super::syscall::answer;

fn socket(family: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor and touches no memory.
    let made = answer(unsafe { libc::syscall(libc::SYS_socket, family, kind | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us, and its numbers fit.
    Ok(unsafe { OwnedFd::from_raw_fd(made as RawFd) })
}

const fn family(address: SocketAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

fn connect_to(socket: &OwnedFd, to: &impl SockaddrLike) -> io::Result<()> {
    // SAFETY: the address outlives the call and is of this length.
    answer(unsafe { libc::syscall(libc::SYS_connect, socket.as_raw_fd(), to.as_ptr(), to.len()) }).map(drop)
}

/// A refusal or a time-out counts as success: the connection attempt left this process.
pub(super) fn connect(to: SocketAddr) -> io::Result<()> {
    let socket = socket(family(to), libc::SOCK_STREAM)?;
    match connect_to(&socket, &SockaddrStorage::from(to)) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::ETIMEDOUT)) => Ok(()),
        connected => connected,
    }
}

pub(super) fn send_datagram(to: SocketAddr) -> io::Result<()> {
    let socket = socket(family(to), libc::SOCK_DGRAM)?;
    let address = SockaddrStorage::from(to);
    // SAFETY: an empty datagram; the address outlives the call and is of this length.
    answer(unsafe {
        libc::syscall(
            libc::SYS_sendto,
            socket.as_raw_fd(),
            std::ptr::null::<u8>(),
            0_usize,
            0_i32,
            address.as_ptr(),
            address.len(),
        )
    })
    .map(drop)
}

pub(super) fn bind(at: SocketAddr) -> io::Result<()> {
    let socket = socket(family(at), libc::SOCK_STREAM)?;
    let address = SockaddrStorage::from(at);
    // SAFETY: the address outlives the call and is of this length.
    answer(unsafe { libc::syscall(libc::SYS_bind, socket.as_raw_fd(), address.as_ptr(), address.len()) }).map(drop)
}

pub(super) fn listen_unbound() -> io::Result<()> {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM)?;
    // SAFETY: touches no memory.
    answer(unsafe { libc::syscall(libc::SYS_listen, socket.as_raw_fd(), 1) }).map(drop)
}

/// The socket alone counts as success: whether it may connect is decided by the listener, not by the jail.
pub(super) fn connect_unix(path: &[u8], report: &mut dyn FnMut(Finding)) -> io::Result<()> {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
    report(Finding::Opened);
    let _ = UnixAddr::new(path).map(|address| connect_to(&socket, &address));
    Ok(())
}
