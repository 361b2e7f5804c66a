//! A running gateway: the programs of the root workspace, started as an operator starts them.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use nym_crypto::asymmetric::{ed25519, x25519};
use nym_topology::{EntryDetails, RoutingNode, SupportedRoles};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
};

use crate::deadline;

/// Names the folder of the programs, if they are not where `cargo build` in the root of the project leaves them.
pub const BINARIES: &str = "GATEWAYD_BINARIES";

/// What the gateway's log says when the jail of a process killed it.
const REFUSAL: &str = "died of a system call that its policy does not list";

const ID: &str = "conformance";
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A gateway that can be stopped, killed and started again. Dropped, it takes all its processes along.
#[derive(Debug)]
pub struct Gateway {
    home: TempDir,
    /// Where packets come in. It stays the same when the gateway is started again.
    pub mix: SocketAddr,
    /// Where clients connect. It stays the same when the gateway is started again.
    pub clients: SocketAddr,
    /// Where it describes itself, if it does.
    pub http: Option<SocketAddr>,
    /// Its identity, as the published crate for key files reads it.
    pub identity: ed25519::PublicKey,
    /// Its Sphinx key, as the published crate for key files reads it.
    pub sphinx: x25519::PublicKey,
    running: Running,
}

#[derive(Debug)]
struct Running {
    supervisor: Child,
    group: Pid,
    log: JoinHandle<()>,
    refused: Arc<AtomicBool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The supervisor leads a group of its own. If all of it is gone, that is what is wanted.
        let _ = killpg(self.group, Signal::SIGKILL);
        self.log.abort();
        // Whatever a client of others makes of it: nothing it does may lead to such a death.
        let refused = self.refused.load(Ordering::Relaxed) && !std::thread::panicking();
        assert!(!refused, "a process of the gateway {REFUSAL}: see its log above");
    }
}

impl Gateway {
    /// A new gateway on free ports of the loopback address. It does not describe itself to the network.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start() -> Result<Self> {
        let host = HOST.to_string();
        let home = init(&["--mix-host", &host, "--clients-host", &host]).await?;
        listen_on_free_ports(&folder(&home).join("config").join("config.toml"))?;
        Self::run_in(home).await
    }

    /// A new gateway on free ports of `ip` that describes itself to the network, with these further flags of `gatewayd init`.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_described(ip: IpAddr, flags: &[&str]) -> Result<Self> {
        let [mix, clients, http] = free_addresses(ip)?.map(|address| address.to_string());
        let addresses = ["--mix-host", &mix, "--clients-host", &clients, "--node", "--http-bind-address", &http];
        Self::run_in(init(&[&addresses[..], flags].concat()).await?).await
    }

    async fn run_in(home: TempDir) -> Result<Self> {
        let data = folder(&home).join("data");
        let identity = nym_pemstore::load_key(data.join("public_identity.pem"))?;
        let sphinx = nym_pemstore::load_key(data.join("public_sphinx.pem"))?;
        let (running, Listening { mix, clients, http }) = run(home.path(), &[]).await?;
        Ok(Self { home, mix, clients, http, identity, sphinx, running })
    }

    /// Starts it again where it was, after it was stopped or killed.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let (mix, clients) = (self.mix.port().to_string(), self.clients.port().to_string());
        let flags = ["--mix-port", &mix, "--clients-port", &clients];
        let (running, listening) = run(self.home.path(), &flags).await?;
        self.running = running;
        Listening { mix: self.mix, clients: self.clients, http: self.http } = listening;
        Ok(())
    }

    /// Sends this signal to the supervisor, and waits for its end.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn stop(&mut self, signal: Signal) -> Result<()> {
        kill(self.running.group, signal)?;
        deadline::soon("the gateway to end", self.running.supervisor.wait()).await??;
        Ok(())
    }

    /// Kills the worker of this name. The supervisor replaces it.
    ///
    /// # Errors
    /// If there is none.
    pub fn kill_worker(&self, name: &str) -> Result<()> {
        let supervisor = self.running.group;
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"))?;
        for child in children.split_whitespace() {
            // One that ended meanwhile has no name any more.
            let Ok(comm) = fs::read_to_string(format!("/proc/{child}/comm")) else { continue };
            if comm.trim_end() == name {
                return Ok(kill(Pid::from_raw(child.parse()?), Signal::SIGKILL)?);
            }
        }
        anyhow::bail!("the gateway has no worker {name}")
    }

    /// Runs another command of `gatewayd` about this gateway, to its end.
    ///
    /// # Errors
    /// If it cannot be run. Whether it succeeds is for the test to tell.
    pub async fn command(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        Ok(deadline::soon(name, command(self.home.path(), name, arguments)?.output()).await??)
    }
}

/// As a client knows it that was told where its gateway is, and by nobody else.
impl From<&Gateway> for RoutingNode {
    fn from(gateway: &Gateway) -> Self {
        Self {
            node_id: 1,
            mix_host: gateway.mix,
            entry: Some(EntryDetails {
                ip_addresses: vec![gateway.clients.ip()],
                clients_ws_port: gateway.clients.port(),
                hostname: None,
                clients_wss_port: None,
            }),
            identity_key: gateway.identity,
            sphinx_key: gateway.sphinx,
            supported_roles: SupportedRoles { mixnode: false, mixnet_entry: true, mixnet_exit: true },
        }
    }
}

fn programs() -> PathBuf {
    let built_here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug");
    std::env::var_os(BINARIES).map_or_else(built_here, PathBuf::from)
}

fn command(home: &Path, name: &str, arguments: &[&str]) -> Result<Command> {
    let gatewayd = programs().join("gatewayd");
    ensure!(
        gatewayd.is_file(),
        "{} has not been built: run dev/conformance, which builds it, or name another folder in {BINARIES}",
        gatewayd.display()
    );
    let mut command = Command::new(gatewayd);
    command.env_clear();
    command.args([name, "--id", ID]).args(arguments).arg("--home").arg(home);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// A new home with a gateway in it that was never started.
async fn init(flags: &[&str]) -> Result<TempDir> {
    let home = tempfile::Builder::new().prefix("gatewayd-conformance-").tempdir()?;
    let outcome = deadline::soon("gatewayd init", command(home.path(), "init", flags)?.output()).await??;
    ensure!(outcome.status.success(), "gatewayd init failed: {outcome:?}");
    Ok(home)
}

fn folder(home: &TempDir) -> PathBuf {
    home.path().join(ID)
}

/// Addresses with ports that are free, and that no other test of this program is given. A gateway announces the ports of its
/// configuration, so it has to be told them.
fn free_addresses(ip: IpAddr) -> Result<[SocketAddr; 3]> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = || loop {
        // The port is given back before the gateway takes it, and might be found free once more.
        let address = TcpListener::bind((ip, 0))?.local_addr()?;
        if given.insert(address.port()) {
            return anyhow::Ok(address);
        }
    };
    Ok([free()?, free()?, free()?])
}

fn listen_on_free_ports(config: &Path) -> Result<()> {
    let listen_on = |line: &str| match line.starts_with("listening_address") {
        true => format!("listening_address = '{HOST}:0'\n"),
        false => format!("{line}\n"),
    };
    let text: String = fs::read_to_string(config)?.lines().map(listen_on).collect();
    Ok(fs::write(config, text)?)
}

/// Where a gateway listens, as its log says.
struct Listening {
    mix: SocketAddr,
    clients: SocketAddr,
    http: Option<SocketAddr>,
}

async fn run(home: &Path, flags: &[&str]) -> Result<(Running, Listening)> {
    let mut run = command(home, "run", flags)?;
    if let Some(filter) = std::env::var_os("RUST_LOG") {
        run.env("RUST_LOG", filter);
    }
    run.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut supervisor = run.spawn().context("cannot start gatewayd")?;
    let group = Pid::from_raw(i32::try_from(supervisor.id().context("gatewayd has no process number")?)?);
    let mut log = BufReader::new(supervisor.stderr.take().context("gatewayd has no standard error")?).lines();
    let listening = deadline::soon("the gateway to be ready", ready(&mut log)).await;
    let refused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&refused);
    let log = tokio::spawn(async move {
        while let Ok(Some(line)) = next(&mut log).await {
            seen.fetch_or(line.contains(REFUSAL), Ordering::Relaxed);
        }
    });
    let running = Running { supervisor, group, log, refused };
    Ok((running, listening??))
}

/// Reads the log until the gateway says that it is ready, and finds the addresses in it.
async fn ready(log: &mut Lines<BufReader<ChildStderr>>) -> Result<Listening> {
    let (mut mix, mut clients, mut http) = (None, None, None);
    while let Some(line) = next(log).await? {
        mix = mix.or_else(|| address_behind("Starting mixnet listener at ", &line));
        clients = clients.or_else(|| address_behind("Starting websocket listener at ", &line));
        http = http.or_else(|| address_behind("Serving the description of the gateway at ", &line));
        if line.contains("Finished nym gateway startup procedure") {
            let (mix, clients) = mix.zip(clients).context("the gateway is ready, but did not say where it listens")?;
            return Ok(Listening { mix, clients, http });
        }
    }
    anyhow::bail!("the gateway ended before it was ready")
}

/// The log's next line, repeated on the test's own standard error.
async fn next(log: &mut Lines<BufReader<ChildStderr>>) -> Result<Option<String>> {
    let line = log.next_line().await?;
    if let Some(line) = &line {
        eprintln!("{line}");
    }
    Ok(line)
}

fn address_behind(words: &str, line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(words)?;
    rest.split_whitespace().next()?.parse().ok()
}
