//! A service manager with sockets (sd_listen_fds(3)): `activate TIMES NAME=ADDRESS... -- PROGRAM ARGUMENT...`. It listens, starts the
//! program with the sockets, and starts it again when it ends, so many times in all. It ends as the last one ended.

use std::{
    net::TcpListener,
    os::fd::{AsFd, AsRawFd},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The number of the first passed descriptor.
const FIRST: i32 = 3;
/// Only the process itself knows its number before it becomes the program.
const START: &str = r#"LISTEN_PID=$$ exec "$@""#;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let place = arguments.iter().position(|argument| argument == "--").context("there is no program")?;
    let (own, program) = arguments.split_at(place);
    let ([times, sockets @ ..], [_, program @ ..]) = (own, program) else { bail!("it is not said how often") };
    let (mut listeners, mut names) = (Vec::new(), Vec::new());
    for (number, socket) in (FIRST..).zip(sockets) {
        let (name, address) = socket.split_once('=').context("a socket is NAME=ADDRESS")?;
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        // Nothing else is open in this process, so the kernel gives these numbers.
        ensure!(listener.as_raw_fd() == number, "the socket got number {}", listener.as_raw_fd());
        fcntl(listener.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        listeners.push(listener);
        names.push(name);
    }
    let mut code = 1;
    for _ in 0..times.parse::<u32>()? {
        let mut process = Command::new("/bin/sh");
        process.args(["-c", START, "sh"]).args(program);
        process.env("LISTEN_FDS", listeners.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        code = process.status()?.code().unwrap_or(1);
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
