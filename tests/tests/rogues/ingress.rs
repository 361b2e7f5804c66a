//! `mix-ingress` in the hands of an attacker puts false mail into inboxes and learns who is registered. It reads no mail, and what
//! `store` tells it about deliveries is about its own.

use anyhow::{Context, Result, ensure};
use harness::{
    client::Identity,
    deadline::bounded,
    gateway::IPV4,
    home::Home,
    mixnode::MixNode,
    rogue::{Taken, TakenLink},
};
use ipc::{
    Opaque, Role,
    egress::{SendPacket, ToEgress},
    ingress_store::{
        Ack, DeliveryId, DeliveryRefusal, GENERATION_LIMIT, IngressToStore, MARKS_LEN, ReplayGeneration, ReplayRequest,
        StoreToIngress,
    },
};
use session_ipc::{EdgeToStore, Sequence, SessionId, SessionRequest};
use wire::{
    address::ClientAddress,
    framing::{FrameHeader, Framing},
    packet::{KeyRotation, PacketSize},
};

use crate::{
    absent::{absent_clients, ensure_all_mail_is_there},
    attached::{attached_clients, ensure_all_are_attached},
};

type ToStore = TakenLink<StoreToIngress, IngressToStore>;

async fn to_store(taken: &Taken) -> Result<ToStore> {
    taken.link(Role::Store).await
}

fn deliver(delivery: u64, destination: ClientAddress, message: &[u8]) -> IngressToStore {
    IngressToStore::DeliverMessage {
        delivery: DeliveryId(delivery),
        destination,
        ack: Ack::Owed,
        message: Opaque(message.to_vec().into()),
    }
}

const fn generation(len: u64) -> ReplayGeneration {
    ReplayGeneration { number: 1, seed: [7; 16], hashes: 17, marked: 9, begun: 1_700_000_000, len }
}

/// No other worker goes down with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_ingress_puts_mail_in_and_gets_none_out() -> Result<()> {
    bounded(async {
        let (home, mut absent) = absent_clients().await?;
        let taken = Taken::over(home, Role::MixIngress).await?;
        let mut attached = attached_clients(&taken.gateway).await?;

        // It can put mail into an inbox, and learn that an address is not registered. It is told nothing else.
        let forged = b"mail that no sender sent, of a length that any client takes".to_vec();
        let mut link = to_store(&taken).await?;
        for (client, delivery) in absent.iter_mut().zip(0..) {
            link.say(&deliver(delivery, client.account.address(), &forged)).await?;
            let answer = link.hear().await?;
            ensure!(answer == StoreToIngress::AcceptDelivery { delivery: DeliveryId(delivery) }, "{answer:?}");
            client.mail.push(forged.clone());
        }
        let nobody = DeliveryId(100);
        link.say(&deliver(nobody.0, Identity::random().address(), &forged)).await?;
        let answer = link.hear().await?;
        ensure!(
            answer == StoreToIngress::RefuseDelivery { delivery: nobody, reason: DeliveryRefusal::UnknownClient },
            "{answer:?}"
        );

        // It cannot be rid of the marks of packets seen but by writing its own in their place, in due form.
        taken
            .breaks(ipc::ingress_store::Rule::UnannouncedMarks, Role::Store, async {
                let marks = Opaque(vec![0; MARKS_LEN].into());
                link.say(&IngressToStore::AskReplay(ReplayRequest::WriteMarks { marks })).await?;
                Ok(link)
            })
            .await?;
        for (rule, request) in [
            (ipc::ingress_store::Rule::UnofferedMarks, ReplayRequest::ReadMarks { generation: 99, offset: 0 }),
            (
                ipc::ingress_store::Rule::GenerationTooLarge,
                ReplayRequest::BeginSave { generation: generation(GENERATION_LIMIT + 1), live: vec![1] },
            ),
            (
                ipc::ingress_store::Rule::TooManyMarks,
                ReplayRequest::BeginSave { generation: generation(GENERATION_LIMIT), live: vec![1] },
            ),
        ] {
            taken
                .breaks(rule, Role::Store, async {
                    let mut link = to_store(&taken).await?;
                    link.say(&IngressToStore::AskReplay(request)).await?;
                    Ok(link)
                })
                .await?;
        }

        // What only `client-edge` may say is no message here.
        taken
            .breaks(ipc::codec::CodecError::Malformed, Role::Store, async {
                let mut link: TakenLink<(), EdgeToStore> = taken.link(Role::Store).await?;
                link.say(&EdgeToStore {
                    session: SessionId(1),
                    request: SessionRequest::ConfirmReceipt { up_to: Sequence(u64::MAX) },
                })
                .await?;
                Ok(link)
            })
            .await?;

        ensure_all_are_attached(&mut attached).await?;
        ensure_all_mail_is_there(&taken.back().await?, &absent).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_ingress_sends_only_whole_packets_through_egress() -> Result<()> {
    bounded(async {
        let taken = Taken::over(Home::init(IPV4).await?, Role::MixIngress).await?;
        let mixnode = MixNode::start(IPV4).await?;
        let header = FrameHeader { framing: Framing::V8(KeyRotation::Even), size: PacketSize::Ack };
        let whole = SendPacket {
            next_hop: mixnode.address,
            header,
            packet: Opaque(vec![7; PacketSize::Ack.packet_len()].into()),
        };
        let mut link: TakenLink<(), ToEgress> = taken.link(Role::MixEgress).await?;
        link.say(&ToEgress::BeginLink { sent_before: 0 }).await?;
        link.say(&ToEgress::SendPacket(whole.clone())).await?;
        let frames = mixnode.wait_for_frames(1).await?;
        let frame = frames.first().context("there is one")?;
        ensure!(frame.packet.as_slice() == &*whole.packet.0, "another packet came");
        let half = SendPacket { packet: Opaque(vec![7; 11].into()), ..whole };
        taken
            .breaks(ipc::egress::Rule::WrongLength, Role::MixEgress, async {
                link.say(&ToEgress::SendPacket(half)).await?;
                Ok(link)
            })
            .await
    })
    .await
}
