//! A folder with one gateway's configuration, keys and data, and the programs that work on it.

mod commands;
mod config_file;
mod outcome;
mod programs;

use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::lchown,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use pem::KeyTag;
use tempfile::TempDir;

pub use outcome::Outcome;
use programs::PROGRAMS;
pub use programs::program;

/// The gateway's id in every test.
pub const ID: &str = "test";

/// The limits on what comes from one address, or of one client.
const PER_ADDRESS: [&str; 5] = [
    "max_mix_connections_per_prefix",
    "max_client_connections_per_prefix",
    "registrations_per_minute",
    "logins_per_minute",
    "client_logins_per_hour",
];

/// The folder above one gateway. Removed with its value.
#[derive(Debug)]
pub struct Home {
    root: TempDir,
    /// Whether it runs copies of the programs, which are in it.
    has_programs: bool,
    /// Who owns it and runs its programs; none, and it is the user of the test.
    user: Option<u32>,
    /// Whether they are run with the privileges that the systemd unit gives.
    as_unit: bool,
    /// Limits of each process that are not the test's own, as prlimit(1) takes them.
    limits: Vec<String>,
    /// The program that starts `gatewayd`, and what it is told.
    launcher: Option<(PathBuf, Vec<String>)>,
}

impl Home {
    /// An empty one.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn empty() -> Result<Self> {
        let root = tempfile::Builder::new().prefix("gatewayd-test-").tempdir()?;
        Ok(Self { root, has_programs: false, user: None, as_unit: false, limits: Vec::new(), launcher: None })
    }

    /// A gateway as `gatewayd init` makes it, but for four things: it is described to today's network; it will listen on `ip` and on whatever ports are free;
    /// it has room for every SURB-ack, although all of them go to the one mix node of the test (beyond 2,000 packets that wait
    /// for one next hop a gateway drops packets, as it should: their senders send again; tests do not); and it does not mind
    /// that all of the world has one address.
    ///
    /// # Errors
    /// If `init` fails.
    pub async fn init(ip: IpAddr) -> Result<Self> {
        Self::empty()?.initialised(ip).await
    }

    /// The same in a folder that is there already.
    ///
    /// # Errors
    /// If `init` fails.
    pub async fn initialised(self, ip: IpAddr) -> Result<Self> {
        let home = self.with_defaults(ip).await?;
        for limit in PER_ADDRESS {
            home.set_config("limits", limit, "1000000")?;
        }
        // Many tests store much for a client that has read nothing yet.
        home.set_config("limits", "newcomer_share", "1")?;
        // All workers run, so that every test sees that of `[node]` too.
        let shown = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
        home.set_config("node", "enabled", "true")?;
        home.set_config("node", "http_bind_address", &format!("'{}'", SocketAddr::new(ip, 0)))?;
        home.set_config("node", "public_ips", &format!("['{shown}']"))?;
        let mut config = fs::OpenOptions::new().append(true).open(home.config_file())?;
        config.write_all(b"\n[debug]\nmaximum_connection_buffer_size = 10000\n")?;
        Ok(home)
    }

    /// A gateway as `gatewayd init` makes it, with every limit that an operator has by default. It will listen on `ip` and on
    /// whatever ports are free.
    ///
    /// # Errors
    /// If `init` fails.
    pub async fn with_defaults(self, ip: IpAddr) -> Result<Self> {
        let home = self;
        let ip_text = ip.to_string();
        let mut flags = vec!["--mix-host", &ip_text, "--clients-host", &ip_text];
        if ip.is_unspecified() {
            // The unspecified address cannot be announced.
            flags.extend(["--mix-announce-host", "127.0.0.1", "--clients-announce-host", "127.0.0.1"]);
        }
        let outcome = home.gatewayd("init", &flags).await?;
        ensure!(outcome.code == Some(0), "gatewayd init failed: {outcome:?}");
        let any_port = format!("'{}'", SocketAddr::new(ip, 0));
        home.set_config("mixnet_endpoint", "listening_address", &any_port)?;
        home.set_config("clients_endpoint", "listening_address", &any_port)?;
        Ok(home)
    }

    /// Gives all of it to `user`, who runs its programs from now on. Takes root.
    ///
    /// # Errors
    /// If it cannot be given.
    pub fn given_to(mut self, user: u32) -> Result<Self> {
        // Where the programs were built, another user may not be let in.
        self.copy_programs()?;
        give(self.root(), user)?;
        self.user = Some(user);
        Ok(self)
    }

    /// Runs copies of the programs from now on, which the test may replace.
    ///
    /// # Errors
    /// If they cannot be copied.
    pub fn with_own_programs(mut self) -> Result<Self> {
        self.copy_programs()?;
        Ok(self)
    }

    /// The folder of its own programs.
    pub fn programs(&self) -> PathBuf {
        self.root().join("bin")
    }

    /// Copies the programs to `folder`, beside those that it runs. Files that are there are unlinked first, as a package manager does.
    ///
    /// # Errors
    /// If they cannot be copied.
    pub fn install(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for name in PROGRAMS {
            let path = folder.join(name);
            if path.exists() {
                fs::remove_file(&path)?;
            }
            fs::copy(program(name)?, path)?;
        }
        Ok(())
    }

    fn copy_programs(&mut self) -> Result<()> {
        self.install(&self.programs())?;
        self.has_programs = true;
        Ok(())
    }

    /// Runs `impostor` in the place of the program `role` from now on.
    ///
    /// # Errors
    /// If the programs cannot be copied.
    pub fn with_impostor(mut self, role: &str, impostor: &str) -> Result<Self> {
        self.copy_programs()?;
        fs::copy(program(impostor)?, self.root().join("bin").join(role))?;
        Ok(self)
    }

    /// Runs the real programs again.
    pub fn without_impostors(self) -> Self {
        Self { has_programs: false, ..self }
    }

    /// As [`given_to`](Self::given_to), with the privileges that systemd/gatewayd@.service gives.
    ///
    /// # Errors
    /// If it cannot be given.
    pub fn given_to_unit(self, user: u32) -> Result<Self> {
        Ok(Self { as_unit: true, ..self.given_to(user)? })
    }

    /// The folder of all gateways, for `--home`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The gateway's own folder.
    pub fn path(&self) -> PathBuf {
        self.root.path().join(ID)
    }

    /// The folder of keys, ledger and inboxes.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The ledger of a gateway that does not run.
    ///
    /// # Errors
    /// If it is in use, or damaged.
    pub fn ledger(&self) -> Result<sled::Db> {
        Ok(sled::open(self.data().join("client_ledger.sled"))?)
    }

    /// The segments of a gateway's mail.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn mail_segments(&self) -> Result<Vec<PathBuf>> {
        let files = fs::read_dir(self.data().join("inboxes/mail"))?.map(|file| Ok(file?.path()));
        let files: Vec<PathBuf> = files.collect::<Result<_>>()?;
        Ok(files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "mail")).collect())
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path().join("config").join("config.toml")
    }

    /// A public key of the gateway.
    ///
    /// # Errors
    /// If the file is not there, or not a key.
    pub fn public_key(&self, tag: KeyTag) -> Result<[u8; 32]> {
        let name = match tag {
            KeyTag::Ed25519Public => "public_identity.pem",
            KeyTag::X25519Public => "public_sphinx.pem",
            KeyTag::Ed25519Private | KeyTag::X25519Private => bail!("{tag} is not public"),
        };
        let file = fs::read(self.data().join(name)).with_context(|| format!("cannot read {name}"))?;
        Ok(*pem::decode(tag, &file)?)
    }

    /// Has everything that is started from here run as on a kernel without these system calls.
    ///
    /// # Errors
    /// If the program that sees to it has not been built, or cannot be copied.
    pub fn lacking(mut self, calls: &[&str]) -> Result<Self> {
        let calls = calls.iter().map(|call| (*call).to_owned()).collect();
        self.launcher = Some((self.for_its_user(&program("deny_syscalls")?)?, calls));
        Ok(self)
    }

    /// Has everything that is started from here started by `launcher`, which is told `what`.
    #[must_use]
    pub fn started_by(mut self, launcher: PathBuf, what: Vec<String>) -> Self {
        self.launcher = Some((launcher, what));
        self
    }

    /// Has everything that is started from here traced by strace, as long as it runs: `calls` of all processes, with all bytes, to `file`.
    /// The process that was started is the program itself, and strace ends after the last one. What is started later is written behind it.
    ///
    /// # Errors
    /// If strace is not there.
    pub fn traced(mut self, calls: &str, file: &Path) -> Result<Self> {
        let path = std::env::var_os("PATH").context("there is no PATH")?;
        let strace = std::env::split_paths(&path).map(|folder| folder.join("strace")).find(|program| program.is_file());
        let strace = strace.context("there is no strace; `dev/setup test` installs it")?;
        let mut what: Vec<String> = [
            "-DD",
            "-A",
            "-f",
            "-q",
            "--seccomp-bpf",
            "-yy",
            "-xx",
            "-s",
            "9000000",
            "-e",
            "signal=none",
            "-e",
            calls,
            "-o",
        ]
        .map(str::to_owned)
        .to_vec();
        what.push(file.to_str().context("a path that is no text")?.to_owned());
        self.launcher = Some((strace, what));
        Ok(self)
    }

    /// Has everything that is started from here run with a hard limit on its descriptors.
    #[must_use]
    pub fn limited_to(mut self, open_files: u64) -> Self {
        self.limits.push(format!("--nofile={open_files}:{open_files}"));
        self
    }

    /// Has everything that is started from here run with a limit on the bytes that a process may lock.
    #[must_use]
    pub fn with_locked_memory(mut self, bytes: u64) -> Self {
        self.limits.push(format!("--memlock={bytes}:{bytes}"));
        self
    }
}

fn give(path: &Path, user: u32) -> Result<()> {
    lchown(path, Some(user), Some(user))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
