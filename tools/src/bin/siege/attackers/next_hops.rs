//! Wants the room for next hops, so that the gateway's own neighbours get no SURB-acks.
//!
//! Spends packets of registered clients, each to a loopback address and port that had none before and where nothing listens.
//!
//! Succeeds if honest mail is delivered and its acknowledgement does not arrive.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;
use client_wire::request::{ForwardRequest, MarkedRequest};
use harness::{account::Identity, client::Sealing, connection::Incoming, era::Era};
use tokio::task::JoinSet;
use wire::packet::{PacketSize, PacketType};

use super::{Attack, PAUSE, per_second};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const CLIENTS: u16 = 5;
/// Packets per second of each.
const PACKETS: u32 = 200;
/// In per cent: honest mail that was delivered and not acknowledged.
const UNPAID: usize = 1;
/// Nothing listens at the addresses from here on.
const FIRST: u32 = u32::from_be_bytes([127, 128, 0, 0]);
const PORT: u16 = 1_789;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut sending = JoinSet::new();
    for number in 0..CLIENTS {
        let attack = attack.clone();
        sending.spawn(async move {
            loop {
                // The attacker goes on after it is evicted.
                let _ = send_everywhere(&attack, number).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    while sending.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let (unpaid, delivered) = (evidence.unpaid(), evidence.besieged.online.delivered);
    Verdict::held_if(tally.spending("next hops") > 0, "no packet was sent anywhere").and(Verdict::held_if(
        unpaid * 100 <= UNPAID * delivered,
        format_args!("of {delivered} messages that were delivered {unpaid} were not acknowledged"),
    ))
}

/// An address that was not used before.
fn new_hop() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0x007e_ffff;
    SocketAddr::new(Ipv4Addr::from_bits(FIRST | number).into(), PORT)
}

async fn send_everywhere(attack: &Attack, number: u16) -> Result<()> {
    let source = attack.block.address(number);
    let mut client = attack.target.register(source, Era::TODAY, &Identity::random()).await?;
    let session = client.credentials.session()?;
    let size = PacketSize::Ack;
    let mut pace = per_second(PACKETS);
    loop {
        tokio::select! {
            _ = pace.tick() => {
                let packet = vec![7; size.packet_len()].into();
                let request = ForwardRequest { packet_type: PacketType::Mix, next_hop: new_hop(), size, packet };
                let request = MarkedRequest { request, key_rotation: None };
                client.connection.send_binary(session.seal_request(rand::random(), &request)).await?;
                attack.tally.spent("next hops", 1);
            }
            said = client.connection.next_whenever() => match said {
                Incoming::End => return Ok(()),
                Incoming::Text(answer) => attack.tally.got("packets taken", u64::from(answer.contains("\"send\""))),
                _ => {}
            },
        }
    }
}
