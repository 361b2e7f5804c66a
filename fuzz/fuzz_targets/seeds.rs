//! Writes a corpus to begin with for every target, from what was recorded of real software, into the folder given.

use std::{env, fs, path::PathBuf};

use fuzz::{final_hop_routing, record, replay_file};
use gatewayd::{
    admin::wire::{AdminAnswer, AdminQuestion},
    audit::{
        ability::Ability,
        wire::{self as audit, AuditQuestion, Live, Roster},
    },
};
use ipc::{
    Opaque, Role,
    codec::{CodecError, encode_one},
    control::{WorkerCommand, WorkerReport},
    egress::{SendPacket, ToEgress},
    http_api::{SignedHostInformation, StoreToHttpApi},
    ingress_store::{
        Ack, DeliveryId, DeliveryRefusal, IngressToStore, ReplayAnswer, ReplayGeneration, ReplayRequest, StoreToIngress,
    },
    jail::Account,
    validator_query::{ValidatorAnswer, ValidatorQuery},
};
use libfuzzer_sys as _;
use pem::KeyTag;
use serde_json::Value;
use session_ipc::{EdgeToStore, Sequence, SessionId, SessionRequest};
use wire::{
    address::ClientAddress,
    framing::{FrameHeader, Framing},
    packet::PacketSize,
};

const VECTORS: [(&str, &str); 12] = [
    ("framing", include_str!("../../wire/vectors/framing.json")),
    ("final_hop", include_str!("../../wire/vectors/final_hop.json")),
    ("final_hop_versions", include_str!("../../wire/vectors/final_hop_sphinx_versions.json")),
    ("mix_2021", include_str!("../../wire/vectors/crypto_and_packets_2021.json")),
    ("control_frames", include_str!("../../client-wire/vectors/control_frames.json")),
    ("control_messages", include_str!("../../client-wire/vectors/control_messages.json")),
    ("authenticate_v2", include_str!("../../client-wire/vectors/authenticate_v2.json")),
    ("handshakes", include_str!("../../client-wire/vectors/handshake_v3_v6.json")),
    ("binary_frames", include_str!("../../client-wire/vectors/binary_frames.json")),
    ("mix_packets", include_str!("../../client-wire/vectors/mix_packet.json")),
    ("session_keys", include_str!("../../client-wire/vectors/session_keys.json")),
    ("routing_addresses", include_str!("../../wire/vectors/routing_addresses.json")),
];

/// The folder of one target's seeds.
struct Corpus {
    folder: PathBuf,
    number: usize,
}

impl Corpus {
    fn of(target: &str) -> Self {
        let folder = PathBuf::from(env::args().nth(1).expect("give a folder")).join(target);
        fs::create_dir_all(&folder).expect("the folder cannot be made");
        Self { folder, number: 0 }
    }

    fn add(&mut self, parts: &[&[u8]]) {
        fs::write(self.folder.join(format!("seed-{:03}", self.number)), parts.concat()).expect("cannot write a seed");
        self.number += 1;
    }
}

/// Every string in the vectors of that name whose field's name passes.
fn strings(name: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    fn walk(value: &Value, field: &str, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<String>) {
        match value {
            Value::String(text) if wanted(field) => found.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| walk(value, field, wanted, found)),
            Value::Object(fields) => fields.iter().for_each(|(field, value)| walk(value, field, wanted, found)),
            _ => {}
        }
    }
    let (_, text) = VECTORS.iter().find(|(vector, _)| *vector == name).expect("no such vectors");
    let mut found = Vec::new();
    walk(&serde_json::from_str(text).expect("vectors are JSON"), "", &wanted, &mut found);
    found
}

/// As [`strings`], decoded from hexadecimal digits.
fn bytes(name: &str, field: &str) -> Vec<Vec<u8>> {
    strings(name, |found| found == field).iter().filter_map(|text| hex::decode(text).ok()).collect()
}

/// Every recorded text that is JSON.
fn texts() -> Vec<String> {
    let everywhere = ["control_frames", "control_messages", "authenticate_v2", "handshakes"];
    everywhere.iter().flat_map(|name| strings(name, |_| true)).filter(|text| text.starts_with('{')).collect()
}

fn main() {
    mix();
    before_clients();
    clients();
    ipc();
    supervisor();
    files();
}

fn mix() {
    let mut corpus = Corpus::of("mix_framing");
    for frame in bytes("framing", "frame") {
        corpus.add(&[&[100, 3], &frame]);
    }
    let packets = bytes("mix_2021", "packet");
    for size in [PacketSize::Ack, PacketSize::Regular] {
        let header = FrameHeader { framing: Framing::V7, size }.encode();
        corpus.add(&[
            &[0, 1],
            &header[..],
            packets.iter().find(|packet| packet.len() == size.packet_len()).expect("one"),
        ]);
    }
    let mut corpus = Corpus::of("sphinx_final_hop");
    let plaintexts =
        [bytes("final_hop_versions", "expected_plaintext"), bytes("final_hop", "plaintext_payload")].concat();
    for plaintext in &plaintexts {
        for version in [[0, 1, 0], [0, 1, 3], [0, 0, 1], [0, 2, 0]] {
            for kind in [0, 1, 2, 3, 7] {
                let size = u8::from(plaintext.len() > 100) + u8::from(plaintext.len() > 2_000) * 3;
                corpus.add(&[&[size, kind], &final_hop_routing(version), plaintext]);
            }
        }
    }
    corpus.add(&[&[0, 3, 1], &[0; 51]]);
}

/// What is read before there is a websocket.
fn before_clients() {
    const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const HOPS: [&str; 4] = [
        "for=192.0.2.7, For=\"[2001:db8::9]:4711\";proto=https",
        "by=x;for=\"192.0.2.7:80\", for=unknown",
        "203.0.113.1, 192.0.2.7, 10.0.0.2",
        "2001:db8::9,[2001:db8::9]:1, 192.0.2.7:80, unknown",
    ];
    let mut corpus = Corpus::of("http_request");
    for request in
        ["GET /health HTTP/1.0\r\n\r\n", "HEAD / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\n\r\nx", "\x16\x03\x01"]
    {
        corpus.add(&[&[0], request.as_bytes()]);
    }
    for (name, hops) in [("Forwarded", &HOPS[..2]), ("X-Forwarded-For", &HOPS[2..])] {
        for line in hops {
            corpus.add(&[&[1], UPGRADE.as_bytes(), format!("{name}: {line}\r\n\r\n").as_bytes(), &[0x88, 0x80]]);
        }
    }
    let mut corpus = Corpus::of("http_connection");
    for requests in [
        "GET / HTTP/1.1\r\n\r\nHEAD /api/v1/roles?output=yaml HTTP/1.1\r\n\r\nGET /api/v2/auxiliary-details HTTP/1.0\r\n\r\n",
        "GET /api/v1/load?output=bincode HTTP/1.1\r\nconnection: keep-alive\r\n\r\n\x16\x03\x01",
        "POST /stats HTTP/1.1\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 3\r\n\r\nabcGET",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        for under_way in [0, 255] {
            corpus.add(&[&[under_way], requests.as_bytes()]);
        }
    }
    let mut corpus = Corpus::of("forwarded");
    for line in HOPS {
        corpus.add(&[line.as_bytes()]);
    }
    let mut corpus = Corpus::of("proxy_header");
    for header in ["TCP4 192.0.2.7 10.0.0.1 4711 9000", "TCP6 2001:db8::9 ::1 4711 9000", "UNKNOWN"] {
        corpus.add(&[b"PROXY ", header.as_bytes(), b"\r\nGET /"]);
    }
    for (command, family, len) in [(0x21, 0x11, 12), (0x21, 0x21, 36), (0x20, 0, 0), (0x21, 0x11, 40)] {
        corpus.add(&[b"\r\n\r\n\0\r\nQUIT\n", &[command, family, 0, len], &[7; 50]]);
    }
}

fn clients() {
    let mut corpus = Corpus::of("client_entry");
    for text in texts() {
        corpus.add(&[&[0], text.as_bytes()]);
        corpus.add(&[&[1], text.as_bytes()]);
    }
    let mut corpus = Corpus::of("client_handshake");
    let messages = bytes("handshakes", "data");
    for init in &messages {
        for material in &messages {
            corpus.add(&[&[u8::try_from(init.len()).unwrap_or(64)], init, material]);
        }
    }
    let mut corpus = Corpus::of("client_session_2021");
    for plaintext in bytes("mix_packets", "v1") {
        corpus.add(&[&[1], &plaintext]);
        corpus.add(&[&[0x81], &plaintext]);
    }
    for frame in bytes("control_frames", "binary_hex") {
        corpus.add(&[&[0], &frame]);
    }
    for text in texts() {
        corpus.add(&[&[2], text.as_bytes()]);
        corpus.add(&[&[0x82], text.as_bytes()]);
    }
    let mut corpus = Corpus::of("client_session_today");
    for frame in bytes("binary_frames", "ws_binary") {
        corpus.add(&[&[0], &frame]);
    }
    for (kind, field) in [(1, "v1"), (2, "v2")] {
        for plaintext in bytes("mix_packets", field) {
            corpus.add(&[&[kind], &plaintext]);
            corpus.add(&[&[5], &plaintext]);
        }
    }
    for text in texts() {
        corpus.add(&[&[3], text.as_bytes()]);
    }
    for plaintext in strings("control_messages", |field| field == "plaintext") {
        corpus.add(&[&[4], plaintext.as_bytes()]);
    }
}

fn ipc() {
    let mut corpus = Corpus::of("ipc");
    let mut add = |link: u8, message: Result<Vec<u8>, _>| {
        let bytes = message.unwrap_or_else(|error: CodecError| panic!("{error}"));
        corpus.add(&[&[link], &bytes]);
        corpus.add(&[&[link], &bytes, &bytes]);
    };
    let opaque = || Opaque(vec![1; 50].into());
    let delivery = DeliveryId(300);
    let generation = ReplayGeneration { number: 4, seed: [1; 16], hashes: 17, marked: 3, begun: 1, len: 24 };
    let client = ClientAddress([7; 32]);
    for ack in [Ack::Owed, Ack::NotOwed] {
        add(0, encode_one(&IngressToStore::DeliverMessage { delivery, destination: client, ack, message: opaque() }));
    }
    for request in [
        ReplayRequest::ListGenerations,
        ReplayRequest::ReadMarks { generation: 4, offset: 70_000 },
        ReplayRequest::BeginSave { generation, live: vec![3, 4] },
        ReplayRequest::WriteMarks { marks: opaque() },
        ReplayRequest::CommitSave,
    ] {
        add(0, encode_one(&IngressToStore::AskReplay(request)));
    }
    add(1, encode_one(&StoreToIngress::AcceptDelivery { delivery }));
    add(1, encode_one(&StoreToIngress::RefuseDelivery { delivery, reason: DeliveryRefusal::InboxFull }));
    for answer in [
        ReplayAnswer::OfferGenerations { generations: vec![generation, generation] },
        ReplayAnswer::GiveMarks { marks: opaque() },
        ReplayAnswer::Proceed,
        ReplayAnswer::GiveUp,
    ] {
        add(1, encode_one(&StoreToIngress::AnswerReplay(answer)));
    }
    let signed = SignedHostInformation { data: "{}".into(), signature: [7; 64] };
    add(7, encode_one(&StoreToHttpApi::PublishHostInformation(signed)));
    let session = SessionId(5);
    add(
        2,
        encode_one(&EdgeToStore {
            session,
            request: SessionRequest::BeginHandshake {
                init: vec![2; 80],
                logins: client_wire::login::LoginForm::Signed,
            },
        }),
    );
    add(2, encode_one(&EdgeToStore { session, request: SessionRequest::ConfirmReceipt { up_to: Sequence(9) } }));
    // Every tag with enough behind it to be some message.
    for tag in 0..12 {
        add(2, Ok([&[5, tag][..], &[1; 300]].concat()));
        add(3, Ok([&[5, tag][..], &[1; 300]].concat()));
        add(5, Ok([&[tag][..], &[1; 100]].concat()));
        add(6, Ok([&[tag][..], &[1; 20]].concat()));
    }
    let header = FrameHeader { framing: Framing::V7, size: PacketSize::Ack };
    for next_hop in ["1.2.3.4:1789", "[::1]:1"] {
        let next_hop = next_hop.parse().expect("an address");
        add(4, encode_one(&ToEgress::BeginLink { sent_before: 1_000 }));
        add(4, encode_one(&ToEgress::SendPacket(SendPacket { next_hop, header, packet: opaque() })));
    }
    add(5, encode_one(&WorkerCommand::DrainWorker));
    add(5, encode_one(&WorkerCommand::ReplaceLink { peer: Role::Store }));
    add(6, encode_one(&WorkerReport::WorkerReady));
    add(6, encode_one(&WorkerReport::LinkViolated { peer: Role::ClientEdge, link: 1, rule: "rule".into() }));
    add(6, encode_one(&WorkerReport::LinkLost { peer: Role::ClientEdge, link: 1 }));
}

fn supervisor() {
    let mut corpus = Corpus::of("supervisor");
    let mut add = |kind: u8, bytes: Vec<u8>| corpus.add(&[&[kind], &bytes]);
    let mut ask = |question| add(0, encode_one(&AdminQuestion::Audit(question)).expect("it is short"));
    ask(AuditQuestion::ShowRoster);
    for role in Role::ALL {
        ask(AuditQuestion::WaitInJail { role });
        for ability in Ability::ALL {
            ask(AuditQuestion::Measure { role, ability });
        }
    }
    let live =
        [(Role::Store, 701), (Role::MixIngress, 702)].map(|(role, pid)| Live { role, pid, layers: Default::default() });
    let roster = Roster { supervisor: 700, live: live.into() };
    for answer in [audit::AuditAnswer::Roster(roster), audit::AuditAnswer::Failed("it died".into())] {
        add(1, encode_one(&AdminAnswer::Audit(answer)).expect("it is short"));
    }
    // The other answers, with enough behind their tag to be some attempt.
    for tag in [1, 2] {
        add(1, [&[0, tag][..], &[1; 60]].concat());
    }
    let query = ValidatorQuery {
        account: Some(Account { uid: 7, gid: 8 }),
        validators: vec!["http://a:1317".into(), "https://b".into()],
        contract: "hal1".into(),
        mix_host: "1.2.3.4:1789".into(),
        clients_host: "ws://1.2.3.4:9000".into(),
        identity: "3M2seioUjFw8drmTJabP8c8e6Ds9MBhsGwrzAfk2x64L".into(),
    };
    add(2, query.encode().expect("it is short"));
    let identity = query.identity;
    for answer in [
        ValidatorAnswer::NoConflict,
        ValidatorAnswer::Conflict { identity: identity.clone() },
        ValidatorAnswer::SameIdentity { also: None },
        ValidatorAnswer::SameIdentity { also: Some(identity.clone()) },
        ValidatorAnswer::Disputed { identity, named_by: 1, answered: 3 },
        ValidatorAnswer::Unreachable { reasons: "http://a:1317: connection refused".into() },
    ] {
        add(3, answer.encode().expect("it is short"));
    }
}

fn files() {
    let mut corpus = Corpus::of("replay_file");
    for marks in [&[][..], &[0; 8], &[0xa5; 1_000]] {
        for number in [2_u64, 3] {
            let file = replay_file(number, marks);
            for kind in 0..4 {
                corpus.add(&[&[kind], &file]);
            }
            let (magic, rest) = file.split_at(8);
            corpus.add(&[&[1], magic, &1_u32.to_le_bytes(), &rest[4..]]);
        }
    }
    let mut corpus = Corpus::of("pem");
    for tag in [KeyTag::Ed25519Private, KeyTag::Ed25519Public, KeyTag::X25519Private, KeyTag::X25519Public] {
        let file = pem::encode(tag, &[5; 32]);
        corpus.add(&[file.as_bytes()]);
        corpus.add(&[file.replace('\n', "\r\n").as_bytes()]);
    }
    let mut corpus = Corpus::of("config");
    for text in [
        include_str!("../../gatewayd/src/config/template.toml"),
        include_str!("../../gatewayd/tests/fixtures/config-0.10.1.toml"),
        include_str!("../../tests/vectors/2021/config.toml"),
    ] {
        corpus.add(&[text.as_bytes()]);
        // Without the comments, so that small changes hit something.
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        corpus.add(&[lines.join("\n").as_bytes()]);
    }
    let mut corpus = Corpus::of("stored_records");
    let client = [&[1, 1][..], &[3; 32], &[0; 8]].concat();
    let records = [
        record(0, 0, 0, &[7; 32]),
        record(1, 1, 0, &client),
        record(2, 1, 0, &[1; 29]),
        record(3, 1, 0, &[0, 0, 0x4e, 0x20]),
        record(4, 0, 0, &[9; 20]),
        record(5, 0, 0, &[0; 17]),
        record(5, 0, 0, &[1; 9]),
    ];
    for record in &records {
        corpus.add(&[record]);
    }
    corpus.add(&records.each_ref().map(Vec::as_slice));
    let mut corpus = Corpus::of("mail_segment");
    let entry = |number: u64, second: u64, len: u32, place: u32, kind: u8| {
        let numbers = [&number.to_le_bytes()[..], &second.to_le_bytes(), &len.to_le_bytes()].concat();
        [&[7; 32][..], &numbers, &[0; 4], &place.to_le_bytes(), &[kind, 0, 0, 0]].concat()
    };
    let [put, later, gone] = [entry(1, 5, 9, 600, 1), entry(4, 6, 9, 602, 1), entry(0, 3, 0, 0, 2)];
    corpus.add(&[&[0, 2], &put, &later, &gone]);
    corpus.add(&[&[1, 1], &4_100_u32.to_le_bytes(), &[1], &put, &put, &later]);
}
