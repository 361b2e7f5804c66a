//! What the configuration and this machine tell.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
};

use super::Line;
use crate::{endpoint::is_public, node::Program, plan::RunPlan};

/// systemd-timesyncd and chrony's unit touch this file once the clock is right.
const CLOCK_IS_RIGHT: &str = "/run/systemd/timesync/synchronized";

/// Public addresses, which the route to anywhere leads to. They are those of a root name server.
const V4_ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4));
const V6_ANYWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30));

/// The name that some directories ask for.
const NYM_NODE: &str = "nym-node";

/// Looks at everything that needs no connection.
pub(super) fn look(plan: &RunPlan) -> Vec<Line> {
    let facts = plan.announced.facts.as_ref();
    let addresses = facts.map(|facts| facts.addresses.clone()).unwrap_or_default();
    let has_name = facts.is_some_and(|facts| facts.hostname.is_some());
    let node = &plan.config.node;
    let mut lines = vec![first_address(&addresses, has_name)];
    lines.extend(addresses.iter().filter(|address| !is_public(**address)).map(private_address));
    lines.push(source_address(&addresses, source_of(V4_ANYWHERE)));
    // Without a route there is no IPv6, and no packet leaves over it.
    lines.extend(source_of(V6_ANYWHERE).map(|source| source_address(&addresses, Some(source))));
    lines.extend([
        terms(node.accept_operator_terms),
        program(&node.announce_as),
        account(node.account.is_some()),
        clock_now(),
    ]);
    lines
}

fn private_address(address: &IpAddr) -> Line {
    Line::bad(
        format!("{address} is announced, which the Internet cannot reach"),
        "name the public addresses of this machine with --public-ips",
    )
}

fn first_address(addresses: &[IpAddr], has_name: bool) -> Line {
    match addresses.first() {
        Some(first) if first.is_ipv6() && !has_name => Line::bad(
            format!(
                "the only kind of address that is announced is IPv6 ({first}), which clients write into a URL without brackets"
            ),
            "announce an IPv4 address too with --public-ips, or a name with --hostname",
        ),
        Some(first) => Line::good(format!("{first} is announced first")),
        None => Line::bad("no address is announced", "name the public addresses of this machine with --public-ips"),
    }
}

/// The address from which packets to `anywhere` leave, if there is a route. Nothing is sent: the kernel only looks up the route.
fn source_of(anywhere: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if anywhere.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(SocketAddr::new(anywhere, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn source_address(announced: &[IpAddr], source: Option<IpAddr>) -> Line {
    match source {
        Some(source) if announced.contains(&source) => {
            Line::good(format!("packets leave from {source}, which is announced"))
        }
        Some(source) if !is_public(source) => Line::doubtful(
            format!("packets leave from {source}, which a router replaces by its own address"),
            "make sure that the router's public address is one of those that are announced: mix nodes drop packets from others",
        ),
        Some(source) => Line::bad(
            format!("packets leave from {source}, which is not announced, so that mix nodes drop them"),
            "announce it with --public-ips, or let packets leave from the announced address",
        ),
        None => Line::doubtful(
            "it is not known from which address packets leave, as this machine has no route to the Internet",
            "make sure that it is one of those that are announced: mix nodes drop packets from others",
        ),
    }
}

fn terms(accepted: bool) -> Line {
    if accepted {
        return Line::good("the terms and conditions for operators are accepted");
    }
    Line::bad(
        "the terms and conditions for operators are not accepted, so that the score is 0 and no client chooses the gateway",
        "read them, and if you accept them say so with --accept-operator-terms-and-conditions",
    )
}

fn program(announced: &Program) -> Line {
    if announced.name() == NYM_NODE {
        return Line::doubtful(
            format!("{announced} is announced"),
            "raise the version with each release of nym-node: two releases behind, and clients no longer choose the gateway",
        );
    }
    Line::bad(
        format!(
            "{announced} is announced, whose version is compared with that of nym-node: the score is next to 0, and no client chooses it"
        ),
        "if you want to be chosen, announce the release of nym-node whose protocols this gateway speaks, with --announce-as; \
         config.toml says what that means",
    )
}

fn account(is_named: bool) -> Line {
    if is_named {
        return Line::good("an account is named");
    }
    Line::doubtful(
        "no account is named, which lowers the score by a fifth",
        "name an account of yours with more than 1 NYM, with --account",
    )
}

/// Whether a time server has set the clock.
pub(super) fn clock_now() -> Line {
    clock(Path::new(CLOCK_IS_RIGHT).exists())
}

fn clock(is_right: bool) -> Line {
    if is_right {
        return Line::good("the clock is set by a time server");
    }
    Line::doubtful(
        "it is not known whether the clock is right, and logins of clients are refused if it is two minutes off",
        "let a time server set it (`timedatectl set-ntp true`), unless another program does so already",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_address_alone_needs_a_name() {
        assert_eq!(first_address(&[ip("2001:db8::1")], false).verdict, Verdict::Bad);
        assert_eq!(first_address(&[ip("2001:db8::1")], true).verdict, Verdict::Good);
        assert_eq!(first_address(&[ip("9.9.9.9"), ip("2001:db8::1")], false).verdict, Verdict::Good);
        assert_eq!(first_address(&[], false).verdict, Verdict::Bad);
    }

    #[test]
    fn packets_have_to_leave_from_an_announced_address() {
        let verdict = |source: Option<&str>| source_address(&[ip("9.9.9.9")], source.map(ip)).verdict;
        assert_eq!(verdict(Some("9.9.9.9")), Verdict::Good);
        assert_eq!(verdict(Some("8.8.8.8")), Verdict::Bad);
        assert_eq!(verdict(Some("192.168.1.2")), Verdict::Doubtful);
        assert_eq!(verdict(None), Verdict::Doubtful);
    }

    #[test]
    fn what_lowers_the_score_is_said_with_its_remedy() {
        assert_eq!(terms(true).verdict, Verdict::Good);
        let lines = [
            terms(false),
            program(&Program::ours()),
            program(&"nym-node 1.31.0".parse().unwrap()),
            account(false),
            clock(false),
        ];
        assert_eq!(lines.iter().filter(|line| line.verdict == Verdict::Bad).count(), 2);
        assert_eq!(private_address(&ip("192.168.1.5")).verdict, Verdict::Bad);
        assert!(lines.iter().all(|line| !line.remedy.is_empty()));
        assert_eq!(account(true).verdict, Verdict::Good);
        assert_eq!(clock(true).verdict, Verdict::Good);
    }
}
