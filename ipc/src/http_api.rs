//! Link `store` → `http-api`, and what `gatewayd` tells both about the node that the gateway is for today's network.
//!
//! *`http-api` trusts store* to sign what it was told: readers in the network check the signature. *`store` trusts http-api* for
//! nothing, and reads nothing from it. There is one message; it is sent once for each link, and the last one counts.

use std::net::IpAddr;

use bincode::{Decode, Encode};

/// The longest host information, in bytes: eight addresses, a hostname and four keys take less than half of it.
pub const MAX_HOST_INFORMATION: usize = 4 * 1024;

/// What `store` tells `http-api`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreToHttpApi {
    /// Serve this from now on.
    PublishHostInformation(SignedHostInformation),
}

/// The host information of the network, with the signature of the identity key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedHostInformation {
    /// The JSON that is signed, at most [`MAX_HOST_INFORMATION`] bytes.
    pub data: String,
    /// Ed25519.
    pub signature: [u8; 64],
}

/// What a peer can do that is against the rules of this link. The text is what the log says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// `http-api` says something.
    #[error("an answer on a link that has none")]
    Spoke,
    /// `store` sends more than any host information has.
    #[error("host information is longer than any can be")]
    TooLong,
}

/// What `store` puts into the host information, beside its own identity.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HostFacts {
    /// The announced addresses, the one to connect to first.
    pub addresses: Vec<IpAddr>,
    /// The announced name: letters, digits, `-` and `.`.
    pub hostname: Option<String>,
    /// The public Sphinx key.
    pub sphinx: [u8; 32],
}

impl HostFacts {
    /// The host that is bonded: the name, or else the first address, as it stands in a URL.
    pub fn bonded_host(&self) -> Option<String> {
        let first = || match self.addresses.first()? {
            IpAddr::V4(ip) => Some(ip.to_string()),
            IpAddr::V6(ip) => Some(format!("[{ip}]")),
        };
        self.hostname.clone().or_else(first)
    }
}

/// What `http-api` says about the gateway. All of it is public.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Description {
    /// The public identity key.
    pub identity: [u8; 32],
    /// Name of the gateway, for people.
    pub moniker: String,
    /// Web page of the operator.
    pub website: String,
    /// Address to which security problems are reported.
    pub security_contact: String,
    /// Free text.
    pub details: String,
    /// The program that is announced.
    pub program: AnnouncedProgram,
    /// Port of the clients' websocket.
    pub ws_port: u16,
    /// Port at which a proxy accepts the same with TLS.
    pub wss_port: Option<u16>,
    /// Port for mix nodes.
    pub mix_port: u16,
    /// Two letters of ISO 3166.
    pub location: Option<String>,
    /// Whether the operator has accepted the network's terms.
    pub accepted_terms: bool,
    /// Account on the chain.
    pub account: Option<String>,
}

/// The program whose name and version are announced.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AnnouncedProgram {
    /// `gatewayd`, or what the operator has chosen.
    pub name: String,
    /// A semantic version.
    pub version: String,
}

/// What the gateway has done and how busy its machine is, told once a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct NodeFigures {
    /// Packets since the start of the gateway.
    pub packets: PacketFigures,
    /// The machine's load.
    pub load: Load,
}

/// Sphinx packets that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct PacketFigures {
    /// Received from mix nodes.
    pub received: u64,
    /// Sent to next hops.
    pub sent: u64,
    /// Dropped, for whatever reason.
    pub dropped: u64,
}

impl PacketFigures {
    /// What was counted since `earlier`.
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
            dropped: self.dropped.saturating_sub(earlier.dropped),
        }
    }
}

/// Levels of load that readers in the network know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum Load {
    /// Not measured.
    #[default]
    Unknown,
    /// At most 10 percent.
    Negligible,
    /// At most 30 percent.
    Low,
    /// At most 60 percent.
    Medium,
    /// At most 80 percent.
    High,
    /// At most 95 percent.
    VeryHigh,
    /// More.
    AtCapacity,
}

impl Load {
    /// The level of so many percent, with the bounds of nym-node.
    pub const fn of_percent(percent: u64) -> Self {
        match percent {
            0..=10 => Self::Negligible,
            11..=30 => Self::Low,
            31..=60 => Self::Medium,
            61..=80 => Self::High,
            81..=95 => Self::VeryHigh,
            _ => Self::AtCapacity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::golden::pin;

    #[test]
    fn bytes_are_pinned() {
        let signed = SignedHostInformation { data: "{}".into(), signature: [7; 64] };
        pin(StoreToHttpApi::PublishHostInformation(signed), &format!("00027b7d{}", "07".repeat(64)));
        pin(
            HostFacts { addresses: vec![[1, 2, 3, 4].into()], hostname: None, sphinx: [5; 32] },
            &format!("01000102030400{}", "05".repeat(32)),
        );
        let packets = PacketFigures { received: 1, sent: 2, dropped: 3 };
        pin(NodeFigures { packets, load: Load::AtCapacity }, "01020306");
    }

    #[test]
    fn load_has_the_levels_of_nym_node() {
        use Load::{AtCapacity, High, Low, Medium, Negligible, VeryHigh};
        let levels = [
            (Negligible, 0, 10),
            (Low, 11, 30),
            (Medium, 31, 60),
            (High, 61, 80),
            (VeryHigh, 81, 95),
            (AtCapacity, 96, u64::MAX),
        ];
        for (level, first, last) in levels {
            assert_eq!([first, last].map(Load::of_percent), [level; 2]);
        }
    }

    #[test]
    fn figures_since_earlier_ones_are_the_difference() {
        let figures = PacketFigures { received: 9, sent: 7, dropped: 2 };
        let earlier = PacketFigures { received: 4, sent: 6, dropped: 3 };
        assert_eq!(figures.since(earlier), PacketFigures { received: 5, sent: 1, dropped: 0 });
    }

    #[test]
    fn the_name_is_bonded_or_else_the_first_address() {
        let bonded = |hostname: Option<&str>, addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            HostFacts { addresses, hostname: hostname.map(Into::into), sphinx: [5; 32] }.bonded_host()
        };
        assert_eq!(bonded(Some("gateway.example"), &["1.2.3.4"]), Some("gateway.example".into()));
        assert_eq!(bonded(None, &["1.2.3.4", "::1"]), Some("1.2.3.4".into()));
        assert_eq!(bonded(None, &["::1", "1.2.3.4"]), Some("[::1]".into()));
        assert_eq!(bonded(None, &[]), None);
    }

    /// The longest addresses, a name of 253 letters and base58 of 44, each with its quotes and a comma.
    #[test]
    fn host_information_takes_less_than_half_of_its_limit() {
        const { assert!(2 * (8 * 42 + 256 + 4 * 47) < MAX_HOST_INFORMATION) };
    }
}
