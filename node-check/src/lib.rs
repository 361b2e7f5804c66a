//! `node-check`: looks at one gateway from outside, as the network's directory and a client do, and ends.
//!
//! The request comes on the control link, which is standard input. The answer goes to standard output.
//!
//! *Trusts*: `gatewayd`. What answers at the gateway's public address may be anything. *Holds*: nothing; it gives up its account,
//! capabilities, files and system calls before it connects. *May do*: connect to the ports of the gateway that the request names, ask name
//! servers, and read how this machine finds an address by its name. *On compromise*: it can say that all is well with a gateway, or that
//! it is not.

mod deadline;
mod documents;
mod registration;

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use ipc::{
    codec,
    node_check::{Finding, NodeCheckAnswer, NodeCheckRequest, Subject, TIME_LIMIT},
};
use sandbox::{descriptors::close_inherited, policy::NODE_CHECK, renounce};
use worker::{birth::Birth, build};

/// Time limit of one connection and of one answer, as the directory has it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A little less than `gatewayd` waits, so that the answer still arrives.
const RESERVE: Duration = Duration::from_secs(2);

/// The program.
pub fn main() -> ExitCode {
    if build::answer_if_asked() {
        return ExitCode::SUCCESS;
    }
    // Nothing is open but the control link and the two outputs.
    if close_inherited().is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(birth) = Birth::inherited() else { return ExitCode::FAILURE };
    let Ok(bytes) = birth.receive_bytes() else { return ExitCode::FAILURE };
    let Ok(request) = codec::decode_one::<NodeCheckRequest>(&bytes) else { return ExitCode::FAILURE };
    let Ok(closed) = renounce(&NODE_CHECK, request.account, &ports(&request)) else { return ExitCode::FAILURE };
    birth.report_jail(closed.layers());
    let answer = NodeCheckAnswer { findings: look(&request, Instant::now() + TIME_LIMIT.saturating_sub(RESERVE)) };
    match codec::encode_one(&answer).map(|bytes| io::stdout().write_all(&bytes)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The TCP ports that are looked at.
fn ports(request: &NodeCheckRequest) -> Vec<u16> {
    let mut ports: Vec<u16> = documents::places(request).into_iter().map(|place| place.port).collect();
    ports.extend([request.ws_port, request.mix_port]);
    ports.extend(request.wss_port);
    ports
}

fn look(request: &NodeCheckRequest, end: Instant) -> Vec<Finding> {
    let mut findings = documents::look(request, end);
    if findings.iter().any(|finding| finding.subject == Subject::Identity && finding.wrong.is_some()) {
        return findings;
    }
    findings.push(registration::look(request, end));
    findings.extend(request.wss_port.map(|port| tls_port(request, port, end)));
    findings.push(mix_port(request, end));
    findings
}

/// Whether clients can connect to the proxy for TLS. Its certificate is not looked at.
fn tls_port(request: &NodeCheckRequest, port: u16, end: Instant) -> Finding {
    let host = &request.host;
    match connect(host, port, end) {
        Ok(_) => Finding::good(Subject::TlsPort),
        Err(error) => Finding::bad(Subject::TlsPort, format!("{host} port {port}: {error}")),
    }
}

/// Whether mix nodes can connect. Nothing is sent.
fn mix_port(request: &NodeCheckRequest, end: Instant) -> Finding {
    let Some(first) = request.facts.addresses.first() else { return Finding::good(Subject::MixPort) };
    match TcpStream::connect_timeout(&SocketAddr::new(*first, request.mix_port), patience(end)) {
        Ok(_) => Finding::good(Subject::MixPort),
        Err(error) => Finding::bad(Subject::MixPort, format!("{first} port {}: {error}", request.mix_port)),
    }
}

/// The time for the next step.
fn patience(end: Instant) -> Duration {
    PATIENCE.min(end.saturating_duration_since(Instant::now())).max(Duration::from_millis(1))
}

/// Connects to the first address of `host` that answers.
fn connect(host: &str, port: u16, end: Instant) -> io::Result<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (bare, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience(end)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
