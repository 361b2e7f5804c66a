//! Both messages of a client that registers, of every era, as the store answers them. Input: length of the first, both.
#![no_main]

use std::{io::Write, sync::LazyLock};

use client_wire::{
    handshake::{ClientInit, GatewayMaterial, GatewayReply, HandshakeInit},
    key::SessionKey,
    side::GatewayKey,
};
use fuzz::{ctr_hmac_key, gcm_siv_key};
use identity::Identity;
use libfuzzer_sys::fuzz_target;
use pem::KeyTag;
use store::registrar;

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(pem::encode(KeyTag::Ed25519Private, &[4; 32]).as_bytes()).unwrap();
    drop(writer);
    Identity::read(reader.into()).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first() else { return };
    let (init, material) = rest.split_at(rest.len().min(usize::from(*len)));
    let _ = HandshakeInit::parse(init, |key| Some(*key));
    let _ = GatewayMaterial::parse(init);
    let _ = GatewayReply::parse(init);
    if let Ok((parsed, _)) = ClientInit::parse(init, |key| Some(*key)) {
        assert_eq!(parsed.encode(), init);
    }
    for key in [SessionKey::CtrHmac(ctr_hmac_key()), SessionKey::GcmSiv(gcm_siv_key())] {
        let _ = key.open_signature(material);
        let _ = GatewayKey::of(&key).open_signature(material);
    }
    if let Ok((begun, reply)) = registrar::begin(&IDENTITY, init, client_wire::login::LoginForm::Signed) {
        GatewayReply::parse(&reply).expect("our own reply");
        assert!(registrar::finish(begun, material).is_err(), "nobody has signed");
    }
});
