//! The gateway in today's network: whether the network's directory takes its description, whether clients choose it by that, and
//! whether it passes the tests of the network's monitor.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod bonding;
mod description;
mod monitor;
mod selection;

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// An account on the chain.
const ACCOUNT: &str = "n1jw6mp7d5xqc7w6xm79lha27glmd0vdt3l9artf";

/// The rotation of Sphinx keys that the network is in. Clients mark packets with it, although the gateway does not rotate.
const ROTATION: u32 = 4_321;

/// Flags that announce all that a score depends on.
const GOOD: [&str; 5] =
    ["--announce-as", "nym-node 1.31.0", "--account", ACCOUNT, "--accept-operator-terms-and-conditions"];
