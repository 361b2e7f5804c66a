//! The gateway as a node of today's network: what it says of itself, to whom, and what it costs the other ports.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ed25519_dalek::{Signature, VerifyingKey};
use futures_util::future::try_join_all;
use harness::{
    client::Client,
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    home::Home,
    http::{Answer, get, say},
    process::Process,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The document, once there is one.
async fn document(http: SocketAddr, path: &str) -> Result<Answer> {
    let read = async {
        loop {
            let answer = get(http, path).await?;
            if answer.status != 503 {
                return Ok::<_, anyhow::Error>(answer);
            }
        }
    };
    let answer = deadline::soon("the host information", read).await??;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    Ok(answer)
}

/// As the network's readers do it.
fn ensure_signed(document: &Value, gateway: &Gateway) -> Result<()> {
    let at = |place: &str| document.pointer(place).with_context(|| format!("no {place} in {document}"));
    let encode = |key: &[u8; 32]| Value::from(bs58::encode(key).into_string());
    ensure!(*at("/data/keys/ed25519_identity")? == encode(&gateway.identity), "{document}");
    ensure!(*at("/data/keys/x25519_sphinx")? == encode(&gateway.sphinx), "{document}");
    ensure!(*at("/data/keys/primary_x25519_sphinx_key/rotation_id")? == u32::MAX, "{document}");
    ensure!(*at("/data/ip_address")? == serde_json::json!(["127.0.0.1"]), "{document}");
    let signature = at("/signature")?.as_str().context("no signature")?;
    let signature = Signature::from_slice(&bs58::decode(signature).into_vec()?)?;
    // The order of the network, which no map has.
    let signed = format!(
        "{{\"ip_address\":{},\"hostname\":{},\"keys\":{{\"ed25519_identity\":{},\"x25519_sphinx\":{},\
         \"primary_x25519_sphinx_key\":{{\"rotation_id\":4294967295,\"public_key\":{}}},\
         \"pre_announced_x25519_sphinx_key\":null,\"x25519_versioned_noise\":null}}}}",
        at("/data/ip_address")?,
        at("/data/hostname")?,
        at("/data/keys/ed25519_identity")?,
        at("/data/keys/x25519_sphinx")?,
        at("/data/keys/primary_x25519_sphinx_key/public_key")?,
    );
    Ok(VerifyingKey::from_bytes(&gateway.identity)?.verify_strict(signed.as_bytes(), &signature)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_complete_and_signed() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let http = gateway.http()?;
        ensure_signed(&document(http, "/api/v1/host-information").await?.json()?, &gateway)?;
        for (path, key) in [
            ("/api/v1/health", "status"),
            ("/api/v1/build-information", "build_version"),
            ("/api/v1/roles", "gateway_enabled"),
            ("/api/v1/gateway/client-interfaces/mixnet-websockets", "ws_port"),
            ("/api/v1/gateway", "enforces_zk_nyms"),
            ("/api/v1/auxiliary-details", "announce_ports"),
            ("/api/v1/description", "moniker"),
            ("/api/v1/load", "total"),
            ("/api/v1/metrics/mixing", "received_since_startup"),
        ] {
            let answer = document(http, path).await?;
            ensure!(answer.json()?.get(key).is_some(), "{path} has no {key}: {answer:?}");
        }
        ensure!(get(http, "/api/v1/nothing").await?.status == 404);
        let page = get(http, "/").await?;
        ensure!(page.head.contains("text/html") && page.body.contains(&bs58::encode(gateway.identity).into_string()));
        ensure!(gateway.stop(Signal::SIGTERM).await?.success());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_survives_the_death_of_either_process() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let http = gateway.http()?;
        let before = document(http, "/api/v1/host-information").await?.body;
        for worker in ["http-api", "store", "http-api"] {
            gateway.kill_worker(worker).await?;
            ensure!(document(http, "/api/v1/host-information").await?.body == before, "after the death of {worker}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_there_is_no_process_and_no_port() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start_in(Home::empty()?.with_defaults(IPV4).await?, &[]).await?;
        ensure!(gateway.http().is_err() && gateway.worker("http-api").is_err());
        let supervisor = gateway.supervisor().0.to_string();
        let is_child = |process: &Process| process.status("PPid").is_ok_and(|parent| parent == supervisor);
        let children: Vec<_> = Process::all()?.into_iter().filter(is_child).collect();
        ensure!(children.len() == 4, "{children:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_http_port_cost_no_client_anything() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("http", "max_connections_per_prefix", "100000")?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let http = gateway.http()?;
        document(http, "/api/v1/health").await?;
        // More than the default of 256 places, all of them silent; then ten thousand that come and go.
        let silent = try_join_all((0..400).map(|_| TcpStream::connect(http))).await?;
        for _ in 0..10_000 {
            drop(TcpStream::connect(http).await?);
        }
        Client::register(gateway.clients, &gateway.identity).await?;
        ensure!(gateway.worker("http-api").is_ok());
        drop(silent);
        document(http, "/api/v1/health").await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_end_their_connection_only() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let http = gateway.http()?;
        document(http, "/api/v1/health").await?;
        let before = gateway.worker("http-api")?;
        let mut big = b"GET / HTTP/1.1\r\nx: ".to_vec();
        big.resize(20_000, b'y');
        let hello_of_tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        let pipelined = b"GET /api/v1/roles HTTP/1.1\r\nhost: x\r\n\r\n\x00\xff\x00\xffgarbage\r\n\r\n".to_vec();
        for bytes in [big, hello_of_tls, pipelined] {
            let mut stream = TcpStream::connect(http).await?;
            // The other end may have closed it already.
            let _ = stream.write_all(&bytes).await;
            let mut said = Vec::new();
            let _ = deadline::soon("the end of the connection", stream.read_to_end(&mut said)).await?;
            let text = String::from_utf8_lossy(&said);
            ensure!(said.is_empty() || text.starts_with("HTTP/1.1 "), "{text}");
        }
        ensure!(
            say(http, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?.status
                == 405
        );
        ensure!(gateway.worker("http-api")? == before, "it has died");
        document(http, "/api/v1/health").await?;
        Ok(())
    })
    .await
}

/// All but the terms, which only an operator can accept.
#[tokio::test(flavor = "multi_thread")]
async fn node_check_finds_nothing_wrong_with_a_good_gateway() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("node", "http_bind_address", &format!("'{}'", free_port().await?))?;
        let gateway = Gateway::start_in(announcing_its_ports(home).await?, &[]).await?;
        document(gateway.http()?, "/api/v1/health").await?;
        let outcome = gateway.home.gatewayd("node-check", &[]).await?;
        let wrong: Vec<&str> = outcome.stdout.lines().filter(|line| line.starts_with("WRONG")).collect();
        ensure!(outcome.code == Some(1), "{outcome:?}");
        // What is wrong with every gateway of a test: it is on loopback, and nobody has accepted terms or announced nym-node.
        let expected = ["terms", "packets leave", "the Internet cannot reach", "whose version is compared"];
        ensure!(wrong.iter().all(|line| expected.iter().any(|word| line.contains(word))), "{outcome:?}");
        for word in ["description of the gateway can be read", "signed by this gateway", "a client can register"] {
            ensure!(
                outcome.stdout.lines().any(|line| line.starts_with("ok") && line.contains(word)),
                "{word}: {outcome:?}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn node_check_says_what_is_wrong_and_what_to_do() -> Result<()> {
    bounded(async {
        let off = Home::empty()?.with_defaults(IPV4).await?.gatewayd("node-check", &[]).await?;
        ensure!(off.code == Some(1) && off.stderr.contains("`gatewayd init --id test --home "), "{off:?}");
        let home = Home::init(IPV4).await?;
        home.set_config("node", "http_bind_address", &format!("'{}'", free_port().await?))?;
        let stopped = announcing_its_ports(home).await?.gatewayd("node-check", &[]).await?;
        ensure!(stopped.code == Some(1), "{stopped:?}");
        for word in ["refused", "firewall", "-> start the gateway", "--accept-operator-terms-and-conditions"] {
            ensure!(stopped.stdout.contains(word), "{word} is missing: {stopped:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn bonding_information_is_what_a_wallet_asks_for() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("node", "http_bind_address", "'127.0.0.1:8081'")?;
        let identity = home.public_key(pem::KeyTag::Ed25519Public)?;
        let text = home.gatewayd("bonding-information", &[]).await?;
        let expected =
            format!("Identity Key: {}\nHost: 127.0.0.1\nCustom HTTP Port: 8081", bs58::encode(identity).into_string());
        ensure!(text.code == Some(0) && text.stdout.starts_with(&expected), "{text:?}");
        let json = home.gatewayd("bonding-information", &["--output", "json"]).await?;
        let expected = serde_json::json!({ "host": "127.0.0.1", "identity_key": identity });
        ensure!(serde_json::from_str::<Value>(&json.stdout)? == expected, "{json:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_reaches_is_not_announced() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("egress", "allow_private", "false")?;
        let outcome = home.gatewayd("run", &[]).await?;
        ensure!(outcome.code == Some(78), "{outcome:?}");
        ensure!(outcome.stderr.contains("127.0.0.1") && outcome.stderr.contains("--public-ips"), "{outcome:?}");
        Ok(())
    })
    .await
}

/// A port that is free now.
async fn free_port() -> Result<SocketAddr> {
    Ok(tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

/// `node-check` connects to the ports that are announced, so these have to be the real ones.
async fn announcing_its_ports(home: Home) -> Result<Home> {
    let [mix, clients] = [free_port().await?, free_port().await?];
    home.set_config("mixnet_endpoint", "listening_address", &format!("'{mix}'"))?;
    home.set_config("mixnet_endpoint", "announce_address", &format!("'{mix}'"))?;
    home.set_config("clients_endpoint", "listening_address", &format!("'{clients}'"))?;
    home.set_config("clients_endpoint", "announce_address", &format!("'ws://{clients}'"))?;
    Ok(home)
}
