//! Metrics for programs of the operator: who serves them, where, and what contrib/ makes of them.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use figures::{Page, Reading, exposition::open_metrics};
use harness::{
    deadline::{SOON, bounded, until},
    gateway::{Gateway, IPV4},
    home::Home,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Between two publications.
const MINUTE: Duration = Duration::from_secs(60);

/// Asks, and returns status and body.
fn get(mut stream: impl Read + Write, path: &str) -> Result<(String, String)> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.to_owned(), body.to_owned()))
}

/// Without `[node]`: the gateway describes itself to nobody, and serves metrics all the same.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_served_at_a_socket_and_at_no_port() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("node", "enabled", "false")?;
        let socket = home.path().join("metrics.sock");
        home.set_config("metrics", "listen", &format!("'{}'", socket.display()))?;
        let mut gateway = Gateway::start_in(home, &[]).await?;
        let ask = |path: &str| get(UnixStream::connect(&socket)?, path);
        // The page says so a moment after the log.
        let serves = || ask("/healthz").is_ok_and(|answer| answer == ("200".into(), "the gateway serves\n".into()));
        until(SOON, "the gateway to serve", serves).await?;
        ensure!(ask("/readyz")?.0 == "200");
        ensure!(ask("/api/v1/health")?.0 == "404" && ask("/")?.0 == "404");
        ensure!(!gateway.log().lines().iter().any(|line| line.contains("Serving the description")));
        let drain = gateway.home.gatewayd("drain", &[]).await?;
        ensure!(drain.code == Some(0), "{drain:?}");
        until(SOON, "newcomers to be kept out", || ask("/readyz").is_ok_and(|(status, _)| status == "503")).await?;
        ensure!(ask("/healthz")?.0 == "200");
        // A new process serves at the same socket.
        gateway.kill_worker("http-api").await?;
        ensure!(ask("/healthz")?.0 == "200");
        ensure!(gateway.stop(Signal::SIGTERM).await?.success());
        ensure!(!socket.exists(), "the socket is still there");
        Ok(())
    })
    .await
}

/// A half request, a reader that takes nothing, and a thousand silent connections keep nobody out.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_the_metrics_keeps_nobody_out() -> Result<()> {
    bounded(async {
        let (gateway, address) = at_a_port().await?;
        let mut crowd = Vec::new();
        for number in 0..1_000 {
            let mut stream = TcpStream::connect(address)?;
            if number % 2 == 0 {
                // Fails if the connection has had to make room already.
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n");
            }
            crowd.push(stream);
        }
        let served = |status: &str| ["200", "503"].contains(&status);
        ensure!(served(&get(TcpStream::connect(address)?, "/metrics")?.0));
        ensure!(get(TcpStream::connect(address)?, "/healthz")?.0 == "200");
        drop(crowd);
        let audit = gateway.home.gatewayd("audit", &[]).await?;
        ensure!(audit.code == Some(0), "{audit:?}");
        Ok(())
    })
    .await
}

/// A gateway that serves metrics at a port.
async fn at_a_port() -> Result<(Gateway, SocketAddr)> {
    let home = Home::init(IPV4).await?;
    home.set_config("metrics", "listen", "'127.0.0.1:0'")?;
    let gateway = Gateway::start_in(home, &[]).await?;
    let served = |line: &str| line.split_once("Serving metrics at ")?.1.trim().parse().ok();
    let address = gateway.log().wait_for("the address of metrics", served).await?;
    Ok((gateway, address))
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_without_a_list() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("metrics", "listen", "'0.0.0.0:9100'")?;
        let outcome = home.gatewayd("check", &[]).await?;
        ensure!(outcome.code == Some(1) || outcome.code == Some(78), "{outcome:?}");
        ensure!((outcome.stdout.clone() + &outcome.stderr).contains("say in `allow` of [metrics]"), "{outcome:?}");
        home.set_config("metrics", "allow", "['192.0.2.0/24']")?;
        let outcome = home.gatewayd("check", &[]).await?;
        ensure!(!outcome.stdout.contains("[metrics]") && !outcome.stderr.contains("[metrics]"), "{outcome:?}");
        Ok(())
    })
    .await
}

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib")
}

/// Names in a text that begin as metrics do.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("gatewayd_"))
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_exist() -> Result<()> {
    let document = open_metrics(&every_page());
    let lines = document.lines().filter(|line| !line.starts_with('#'));
    let samples: BTreeSet<&str> = lines.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let alerts = fs::read_to_string(contrib().join("alerts.yml"))?;
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(contrib().join("grafana.json"))?)?;
    let mut queries = vec![dashboard.pointer("/templating/list/1/query").and_then(Value::as_str).context("no list")?];
    for panel in dashboard.get("panels").and_then(Value::as_array).context("no panels")? {
        let targets = panel.get("targets").and_then(Value::as_array).context("a panel without a query")?;
        queries.extend(targets.iter().filter_map(|target| target.get("expr")?.as_str()));
    }
    ensure!(queries.len() > 12, "the dashboard has {} queries", queries.len());
    for name in queries.into_iter().flat_map(named).chain(named(&alerts)) {
        ensure!(samples.contains(name), "there is no metric {name}");
    }
    Ok(())
}

fn every_page() -> Vec<Reading> {
    Page::ALL.into_iter().map(|page| Reading::take(page, |place| u64::try_from(place).ok())).collect()
}

/// What Prometheus' own tool says of the alerts, of the cases in which each is to be raised, and of what a running gateway publishes at the
/// first whole minute.
#[tokio::test(flavor = "multi_thread")]
async fn promtool_takes_the_alerts_and_the_metrics() -> Result<()> {
    if !need::promtool(106) {
        return Ok(());
    }
    bounded(async {
        promtool(&["check", "rules", "alerts.yml"], "")?;
        promtool(&["test", "rules", "alerts_test.yml"], "")?;
        let (_gateway, address) = at_a_port().await?;
        let published = || get(TcpStream::connect(address)?, "/metrics");
        let mut text = String::new();
        until(2 * MINUTE, "the first whole minute", || match published() {
            Ok((status, body)) if status == "200" => {
                text = body;
                true
            }
            _ => false,
        })
        .await?;
        ensure!(
            text.ends_with("\n# EOF\n") && text.contains("\ngatewayd_worker_ready{worker=\"store\"} 1\n"),
            "{text}"
        );
        promtool(&["check", "metrics"], &in_the_older_format(&text))
    })
    .await
}

/// Runs the tool in contrib/.
fn promtool(arguments: &[&str], input: &str) -> Result<()> {
    let mut tool = Command::new("promtool")
        .args(arguments)
        .current_dir(contrib())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // The tool reads all of its input before it writes.
    tool.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let said = tool.wait_with_output()?;
    let [out, err] = [&said.stdout, &said.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    ensure!(said.status.success(), "promtool {arguments:?}: {out}{err}");
    Ok(())
}

/// The tool reads the older format: there the family of a counter has the name of its samples, and there are neither units nor an end.
fn in_the_older_format(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut older = String::new();
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        match line.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
            ["#", word, name, rest] if counters.contains(name) => {
                older.push_str(&format!("# {word} {name}_total {rest}\n"));
            }
            _ => older.push_str(&format!("{line}\n")),
        }
    }
    older
}
