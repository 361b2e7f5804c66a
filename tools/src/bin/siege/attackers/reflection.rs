//! Wants the gateway to take for a client's word what it has sealed itself.
//!
//! Spends mail to a victim, whose plaintext it chooses, and listens to what the victim is pushed. The victim's own address is a
//! login of version 3 when it comes back; a ForgetMe is an encrypted request; a packet with its next hop is a packet to forward.
//! The last two are put into the victim's own connection, as somebody on its way can. (Frames of 2021 have one keystream for
//! all; nothing of that can be cured without another wire, and it is not judged.)
//!
//! Succeeds if anything that comes back is taken.

use std::net::IpAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use client_wire::{
    control::{answer::GatewayResponse, request::ClientRequest, sealed::SensitiveRequest},
    key::NONCE_LEN,
    request::{ForwardRequest, MarkedRequest},
    token::GcmSivToken,
};
use harness::{
    account::{Account, Identity},
    client::Client,
    connection::{Connection, Incoming},
    deadline,
    era::Era,
    mixnode::MixSender,
    packet::PacketMaker,
};
use tokio::time::interval;
use wire::{
    address::ClientAddress,
    packet::{PacketSize, PacketType},
};

use super::{Attack, PAUSE, leave, login_replays::is_let_in};
use crate::tally::{Tally, Verdict};

/// Before the nonce of a pushed frame: its kind, and that it is encrypted.
const HEAD: usize = 2;
/// The first address of a victim; those before are the thief's.
const FIRST_VICTIM: u16 = 10;
/// Rounds with one victim, before there is another.
const ROUNDS: usize = 20;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut pace = interval(10 * PAUSE);
    loop {
        let login_victim = Victim::register(&attack, Era::Version(3)).await?;
        let session_victim = Victim::register(&attack, Era::TODAY).await?;
        let (mut login_victim, mut session_victim) = (login_victim, session_victim);
        for _ in 0..ROUNDS {
            pace.tick().await;
            login_victim = login_victim.reflect_login(&attack).await?;
            session_victim = session_victim.reflect_request(&attack).await?;
            session_victim = session_victim.reflect_packet(&attack).await?;
        }
    }
}

pub(super) fn judge(tally: &Tally) -> Verdict {
    let taken = tally.gain("reflections taken");
    Verdict::held_if(tally.spending("reflections") > 0, "nothing could be reflected at all")
        .and(Verdict::held_if(taken == 0, format_args!("{taken} frames of the gateway's own were taken from a client")))
}

/// Whose frames come back.
struct Victim {
    account: Account,
    connection: Connection,
}

impl Victim {
    async fn register(attack: &Attack, era: Era) -> Result<Self> {
        let Client { credentials, connection, .. } =
            attack.target.register(source(attack), era, &Identity::random()).await?;
        Ok(Self { account: credentials, connection })
    }

    fn address(&self) -> ClientAddress {
        self.account.address()
    }

    /// Has the gateway seal these bytes for the victim.
    async fn have_sealed(&mut self, attack: &Attack, plaintext: Vec<u8>) -> Result<Bytes> {
        let nobody = "127.0.0.1:9".parse()?;
        let maker = PacketMaker { gateway: attack.target.sphinx, ack_hop: nobody, ack_key: attack.target.sphinx };
        let packet = maker.make_with(self.address(), PacketSize::Regular, plaintext)?;
        MixSender::on(attack.target.mix(attack.block.address(1)).await?).send(&packet).await?;
        attack.tally.spent("messages", 1);
        loop {
            if let Incoming::Binary(sealed) = self.connection.next().await? {
                return Ok(sealed);
            }
        }
    }

    async fn again(self, attack: &Attack) -> Result<Self> {
        let Self { account, connection } = self;
        leave(connection).await;
        let mut connection = attack.target.websocket(source(attack)).await?;
        connection.send_text(account.login_text()).await?;
        match account.expect_yes(&connection.next_text().await?) {
            Ok(()) => Ok(Self { account, connection }),
            // It has been forgotten, or has logged in too often.
            Err(_) => Self::register(attack, account.era).await,
        }
    }

    async fn reflect_login(mut self, attack: &Attack) -> Result<Self> {
        let address = self.address();
        let sealed = self.have_sealed(attack, address.as_bytes().to_vec()).await?;
        let (nonce, enc_address) = parts(&sealed)?;
        let token = GcmSivToken { address, enc_address: enc_address.as_ref().try_into()?, nonce };
        let Self { account, connection } = self;
        leave(connection).await;
        attack.tally.spent("reflections", 1);
        attack.tally.got("reflections taken", is_let_in(attack, token.to_request(Some(3)).to_string()).await?.into());
        Self::register(attack, account.era).await
    }

    async fn reflect_request(mut self, attack: &Attack) -> Result<Self> {
        // As the gateway would write it.
        let forget = br#"{"ForgetMe":{"client":true,"stats":false}}"#;
        debug_assert!(serde_json::from_slice::<SensitiveRequest>(forget).is_ok());
        let sealed = self.have_sealed(attack, forget.to_vec()).await?;
        let (nonce, ciphertext) = parts(&sealed)?;
        let request = ClientRequest::EncryptedRequest { ciphertext: ciphertext.to_vec(), nonce: nonce.to_vec() };
        self.connection.send_text(request.to_string()).await?;
        self.judge_answer(attack).await
    }

    async fn reflect_packet(mut self, attack: &Attack) -> Result<Self> {
        let size = PacketSize::Ack;
        let request = ForwardRequest {
            packet_type: PacketType::Mix,
            next_hop: "127.0.0.1:9".parse()?,
            size,
            packet: vec![7; size.packet_len()].into(),
        };
        let (_, plaintext) = MarkedRequest { request, key_rotation: None }.encode();
        let sealed = self.have_sealed(attack, plaintext).await?;
        self.connection.send_binary(sealed).await?;
        self.judge_answer(attack).await
    }

    async fn judge_answer(mut self, attack: &Attack) -> Result<Self> {
        attack.tally.spent("reflections", 1);
        let answer = deadline::soon("an answer to a reflection", self.connection.next()).await??;
        let is_taken = match answer {
            Incoming::Text(text) => matches!(
                text.parse(),
                Ok(GatewayResponse::EncryptedResponse { .. } | GatewayResponse::Send { status: None | Some(true), .. })
            ),
            _ => false,
        };
        attack.tally.got("reflections taken", is_taken.into());
        self.again(attack).await
    }
}

/// Victims are everywhere.
fn source(attack: &Attack) -> IpAddr {
    attack.block.address(FIRST_VICTIM + u16::from(rand::random::<u8>()))
}

/// The nonce of a pushed frame, and what follows.
fn parts(sealed: &Bytes) -> Result<([u8; NONCE_LEN], Bytes)> {
    let nonce = sealed.get(HEAD..HEAD + NONCE_LEN).context("a pushed frame is too short")?;
    Ok((nonce.try_into()?, sealed.slice(HEAD + NONCE_LEN..)))
}
