//! What a bundle holds, part by part.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use nix::sys::{
    resource::{Resource, getrlimit},
    statvfs::statvfs,
    utsname::uname,
};

use super::{Subject, settings};
use crate::{
    admin::{
        client::{AdminClient, AdminError},
        wire::{AdminAnswer, AdminQuestion},
    },
    audit::wire::{AuditAnswer, AuditQuestion, Live},
    config::LoadError,
    keys::{self, KeyFileError},
    version,
};

/// How long the running gateway may take to say which workers are alive.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A part of a bundle.
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) text: String,
}

/// All parts. One that cannot be had says why.
pub(super) fn collect(gateway: &Subject<'_>) -> Vec<Part> {
    let part = |title, text| Part { title, text };
    vec![
        part("versions", versions()),
        part("kernel and machine", machine()),
        part("limits of this account", limits()),
        part("workers and the layers of their jails", workers(gateway)),
        part("sizes of the data", sizes(gateway)),
        part("key files, without their contents", key_files(gateway)),
        part("configuration, with values masked", configuration(gateway)),
    ]
}

fn versions() -> String {
    format!(
        "gatewayd {} (commit {:.12})\nnetwork {}\nclient protocols of 2021 and 1 to {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("GATEWAYD_COMMIT"),
        version::NETWORK,
        wire::CLIENT_PROTOCOL
    )
}

fn machine() -> String {
    let kernel = uname().map_or_else(
        |error| error.to_string(),
        |name| format!("{} {}", name.release().to_string_lossy(), name.machine().to_string_lossy()),
    );
    let line_of = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("not known").trim().to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "kernel {kernel}\nsystem {}\nprocessors {processors}\nmemory {}, available {}\nsecurity modules {}\n",
        line_of("/etc/os-release", "PRETTY_NAME="),
        line_of("/proc/meminfo", "MemTotal:"),
        line_of("/proc/meminfo", "MemAvailable:"),
        fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_else(|_| "not known".to_owned()),
    )
}

fn limits() -> String {
    let limit = |name: &str, resource| match getrlimit(resource) {
        Ok((soft, hard)) => format!("{name} {soft}, at most {hard}\n"),
        Err(error) => format!("{name}: {error}\n"),
    };
    limit("open files", Resource::RLIMIT_NOFILE) + &limit("locked bytes", Resource::RLIMIT_MEMLOCK)
}

fn workers(gateway: &Subject<'_>) -> String {
    match roster(gateway) {
        Ok(live) if live.is_empty() => "no worker is ready\n".to_owned(),
        Ok(live) => live.iter().map(worker).collect(),
        Err(AdminError::NotRunning { .. }) => "the gateway does not run\n".to_owned(),
        Err(error) => format!("{error}\n"),
    }
}

fn worker(Live { role, layers, .. }: &Live) -> String {
    let missing: String =
        layers.missing.iter().map(|missing| format!("  {} is missing: {}\n", missing.layer, missing.why)).collect();
    format!("{role}: {}\n{missing}", layers.names())
}

fn roster(gateway: &Subject<'_>) -> Result<Vec<Live>, AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AdminError::Ended(error.to_string()))?;
    runtime.block_on(async {
        let mut client = AdminClient::open(gateway.id, gateway.root)?;
        match client.ask(AdminQuestion::Audit(AuditQuestion::ShowRoster), ANSWER_LIMIT).await? {
            AdminAnswer::Audit(AuditAnswer::Roster(roster)) => Ok(roster.live),
            other => Err(AdminError::of_other_answer(&other)),
        }
    })
}

fn sizes(gateway: &Subject<'_>) -> String {
    let config = gateway.config();
    let clients = &config.clients;
    let folders = [
        ("ledger", &clients.ledger),
        ("inboxes", &clients.inboxes),
        ("marks of packets seen", &config.replay_directory),
    ];
    folders
        .map(|(name, path)| {
            if let Err(error) = fs::read_dir(path) {
                return format!("{name}: cannot be read: {}\n", error.kind());
            }
            let (files, bytes) = size_of(path, 0);
            let free = statvfs(path.as_path()).map_or_else(
                |error| error.to_string(),
                |disk| format!("{} MiB", (disk.blocks_available() * disk.fragment_size()) >> 20),
            );
            format!("{name}: {files} files, {} MiB; free on the disk: {free}\n", bytes >> 20)
        })
        .concat()
}

/// Files and their bytes, in a folder and the folders in it. What cannot be looked at counts as nothing.
fn size_of(folder: &Path, depth: u32) -> (u64, u64) {
    const DEEPEST: u32 = 3;
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => (files, bytes) = (files + 1, bytes + metadata.len()),
            Ok(metadata) if metadata.is_dir() && depth < DEEPEST => {
                let (more_files, more_bytes) = size_of(&entry.path(), depth + 1);
                (files, bytes) = (files + more_files, bytes + more_bytes);
            }
            _ => {}
        }
    }
    (files, bytes)
}

/// Of each file whether it can be opened, and its mode. A private key is never read.
fn key_files(gateway: &Subject<'_>) -> String {
    let config = gateway.config();
    let names = ["private identity key", "public identity key", "private Sphinx key", "public Sphinx key"];
    let mut text = String::new();
    for (name, path) in names.into_iter().zip(config.keys.all()) {
        let mode = gateway.guard.open_file(path).and_then(|file| file.metadata()).map(|file| file.mode() & 0o7777);
        text.push_str(&match mode {
            Ok(mode) => format!("{name}: can be opened, mode {mode:o}\n"),
            Err(error) => format!("{name}: cannot be read: {}\n", error.kind()),
        });
    }
    if let Err(KeyFileError::Format { setting, .. }) = keys::load_public(&config.keys, gateway.guard) {
        text.push_str(&format!("the file of {setting} has something else than a key in it\n"));
    }
    text
}

fn configuration(gateway: &Subject<'_>) -> String {
    use std::io::Read as _;
    let why = gateway.loaded.as_ref().err().map(unusable).unwrap_or_default();
    let mut text = String::new();
    let file = gateway.guard.open_file(&gateway.config_file);
    match file.and_then(|file| file.take(1 << 20).read_to_string(&mut text)) {
        Ok(_) => why + &settings::masked(&text),
        Err(_) => why,
    }
}

/// Why a configuration cannot be used, with nothing of what stands in it.
fn unusable(error: &LoadError) -> String {
    match error {
        LoadError::Read { error, .. } => format!("it cannot be read: {}\n", error.kind()),
        LoadError::Later(_) => "it cannot be used: it is of a later version\n".to_owned(),
        LoadError::Parse { errors, .. } => {
            let lines: Vec<String> = errors.iter().map(|error| error.line.to_string()).collect();
            format!("it cannot be used: something is wrong in line {}\n", lines.join(", "))
        }
    }
}
