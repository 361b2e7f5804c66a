//! The configuration file. What was understood is understood the same when nothing in it is changed.
#![no_main]

use std::sync::LazyLock;

use gatewayd::{
    config::{self, Config},
    paths::{GatewayPaths, Root},
};
use libfuzzer_sys::fuzz_target;

static PATHS: LazyLock<GatewayPaths> =
    LazyLock::new(|| GatewayPaths::new(&Root::new(Some("/r".into()), None).unwrap(), &"demo".parse().unwrap()));

fuzz_target!(|text: &str| {
    if let Ok((config, unknown)) = Config::parse(text, &PATHS) {
        let _ = (config.mix_announce(), config.clients_announce(), config.allow_private());
        for unknown in unknown {
            assert!(!unknown.to_string().contains('\n'));
        }
        if let Ok(same) = config::update(text, &config, &config) {
            assert_eq!(Config::parse(&same, &PATHS).unwrap().0, config);
        }
        if let Ok(fresh) = config::fresh(&config) {
            Config::parse(&fresh, &PATHS).unwrap();
        }
    }
});
