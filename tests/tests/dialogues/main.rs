//! Every recorded dialogue with nym-gateway 0.10.1, spoken again with this gateway: the same words in the same order, and the
//! connection open or closed afterwards.
//!
//! The recording holds no private keys, so whatever depends on a key is made again; everything else is sent as it was. Where
//! this gateway answers differently on purpose, the case says why.

mod cases;
mod speaker;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use harness::{client::Identity, deadline::bounded, scene::Scene};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wire::address::ClientAddress;

use crate::{
    cases::{CASES, Case, SPECIAL},
    speaker::Speaker,
};

fn recording() -> Result<Map<String, Value>> {
    Ok(serde_json::from_str(include_str!("../../vectors/2021/control_frames.json"))?)
}

fn recorded_frames(name: &str) -> Result<Vec<(String, Value)>> {
    let recording = recording()?;
    let frames = recording.get(name).and_then(Value::as_array).with_context(|| format!("{name} was not recorded"))?;
    let frame = |entry: &Value| Some((entry.get(0)?.as_str()?.to_owned(), entry.get(1)?.clone()));
    frames.iter().map(frame).collect::<Option<_>>().context("a frame of the recording is none")
}

#[test]
fn every_recorded_dialogue_is_spoken() -> Result<()> {
    let recorded: BTreeSet<String> = recording()?.keys().cloned().collect();
    let spoken: BTreeSet<String> = CASES.iter().map(|case| case.name).chain(SPECIAL).map(str::to_owned).collect();
    ensure!(recorded == spoken, "not both recorded and spoken: {:?}", recorded.symmetric_difference(&spoken));
    ensure!(recorded.len() == 51 && CASES.len() + SPECIAL.len() == 51);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_are_those_of_0_10_1() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        for case in &CASES {
            let because = case.differs.map_or("", |differs| differs.because);
            speak(&scene, case).await.with_context(|| format!("in the dialogue {} {because}", case.name))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_is_answered_as_by_0_10_1() -> Result<()> {
    bounded(async {
        let recording = recording()?;
        let recorded = recording.get("http_upgrade_response").and_then(Value::as_str).context("not recorded")?;
        let scene = Scene::start().await?;
        let mut stream = TcpStream::connect(scene.gateway.clients).await?;
        // The key and its answer are the example of RFC 6455, section 1.3.
        let request = "GET /any/path HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut response).await? > 0, "the connection ended within the response");
        }
        let response = String::from_utf8(response)?.to_lowercase();
        let answer = |text: &str| text.to_lowercase().contains("sec-websocket-accept: ");
        ensure!(answer(recorded) && response.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="));
        let same = |text: &str| -> BTreeSet<String> {
            text.to_lowercase()
                .split("\r\n")
                .filter(|line| !answer(line) && !line.is_empty())
                .map(str::to_owned)
                .collect()
        };
        ensure!(same(&response) == same(recorded), "{response}");
        Ok(())
    })
    .await
}

/// 0.10.1 dropped the TCP connection without a Close frame. This gateway answers, as RFC 6455 demands: a client that waits
/// for the answer would otherwise see an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_is_answered() -> Result<()> {
    bounded(async {
        let frames = recorded_frames("close_handshake")?;
        ensure!(frames.first().is_some_and(|(speaker, said)| speaker == "->" && said == "CLOSE 1000"));
        let scene = Scene::start().await?;
        for mut connection in [scene.connection().await?, scene.client().await?.connection] {
            connection.send_close().await?;
            ensure!(connection.wait_for_end().await? == [Some(1000)]);
        }
        Ok(())
    })
    .await
}

async fn speak(scene: &Scene, case: &Case) -> Result<()> {
    let mut speaker = Speaker::prepare(scene, case.start).await?;
    for say in case.before {
        speaker.say(*say, None).await?;
    }
    let mut said = case.said.iter();
    let mut heard = 0;
    for (who, frame) in recorded_frames(case.name)? {
        match (&*who, case.differs) {
            ("->", _) => {
                let say = said.next().context("the recorded client says more than the case")?;
                speaker.say(*say, Some(&frame)).await?;
            }
            // Nothing more came; the end of every dialogue is checked below.
            ("<-", _) if frame.is_null() => {}
            ("<-", Some(differs)) if heard >= differs.from => {}
            ("<-", _) => {
                speaker.hear(&frame).await?;
                heard += 1;
            }
            // The recorder's own note.
            ("assert", _) => {}
            other => bail!("unknown entry of the recording: {other:?}"),
        }
    }
    ensure!(said.next().is_none(), "the case says more than the recorded client");
    let instead = case.differs.map_or(&[][..], |differs| differs.answers);
    for text in instead.iter().chain(case.further) {
        speaker.connection.expect_text(text).await?;
    }
    speaker.connection.expect_quiet_and_open().await?;
    if let Some(elsewhere) = &mut speaker.elsewhere {
        elsewhere.connection.expect_quiet_and_open().await?;
    }
    Ok(())
}

#[test]
fn a_client_address_is_its_identity_key() {
    let identity = Identity::random();
    assert_eq!(identity.address().to_string().parse(), Ok::<ClientAddress, _>(identity.address()));
}
