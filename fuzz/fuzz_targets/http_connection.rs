//! What comes on a connection to the port for HTTP. Input: the bytes under way at once, then what strangers send. It ends in answers, and in
//! an end.
#![no_main]

use std::{future::pending, sync::Arc, sync::LazyLock, time::Duration};

use figures::Figures as _;
use http_api::{api::Api, connection::serve};
use ipc::{
    control::HttpConfig,
    http_api::{AnnouncedProgram, Description},
};
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    runtime::Builder,
};
use worker::drain;

static CONFIG: LazyLock<HttpConfig> = LazyLock::new(|| HttpConfig {
    description: Description {
        identity: [9; 32],
        moniker: "fuzz".into(),
        website: String::new(),
        security_contact: String::new(),
        details: String::new(),
        program: AnnouncedProgram { name: "gatewayd".into(), version: "1.0.0".into() },
        ws_port: 9000,
        wss_port: None,
        mix_port: 1789,
        location: None,
        accepted_terms: false,
        account: None,
    },
    max_connections: 1,
    max_connections_per_prefix: 1,
    request: Duration::from_secs(60),
    requests_per_connection: 50,
    metrics_allow: Vec::new(),
});

/// How every answer begins.
const ANSWER: &[u8] = b"HTTP/1.";

fuzz_target!(|data: &[u8]| {
    let Some((under_way, bytes)) = data.split_first() else { return };
    let counters = Arc::default();
    let api = Api::new(&CONFIG, Arc::clone(&counters));
    let (_order, drain) = drain::channel();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let said = runtime.block_on(async {
        let (ours, theirs) = duplex(usize::from(*under_way) * 16 + 1);
        let (mut read, mut write) = split(ours);
        let talk = async {
            // Fails if the connection ends before everything is sent.
            if write.write_all(bytes).await.is_ok() {
                let _ = write.shutdown().await;
            }
        };
        let mut said = Vec::new();
        let serving = async {
            serve(theirs, &api, &drain, pending()).await;
        };
        let ((), read, ()) = tokio::join!(talk, read.read_to_end(&mut said), serving);
        read.unwrap();
        said
    });
    // hyper does not wait until the last answer is taken if the request asks for another protocol.
    let begin = &said[..said.len().min(ANSWER.len())];
    assert!(ANSWER.starts_with(begin));
    let ends = counters.snapshot().into_iter().filter(|(name, _)| !name.starts_with("answers"));
    assert!(ends.map(|(_, value)| value).sum::<u64>() <= 1);
    assert!(counters.answers_2xx.load(std::sync::atomic::Ordering::Relaxed) <= 50);
});
