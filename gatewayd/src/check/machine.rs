//! Descriptors, memory, clock, disk, and the layers of the jail that the kernel has.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use ipc::jail::Layer;
use nix::sys::{
    resource::{Resource, getrlimit},
    statvfs::statvfs,
};

use crate::{
    config::Config,
    findings::Line,
    launch, node,
    own_command::command,
    plan::{LESS_MEMORY, allowed_memory, check_memory, total_memory},
};

/// Below this, new mail is refused: 48 MiB stay free, and 24 MiB are in reserve.
const LEAST_FREE: u64 = 72 << 20;
/// What `client-edge` locks for the keys of one client, in bytes.
const LOCKED_PER_CLIENT: u64 = 130;
/// How far the clock may be behind a file that was written before.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Checks them.
pub(super) fn look(config: &Config) -> Vec<Line> {
    let mut lines = vec![descriptors(config), memory(config, total_memory()), clock(config)];
    lines.extend(locked_memory(config));
    lines.extend([("inboxes", &config.clients.inboxes), ("ledger", &config.clients.ledger)].map(|(what, folder)| {
        match free_and_all(folder) {
            Ok((free, all)) => disk(what, free, all, config.limits.data_bytes.get()),
            Err(error) => Line::doubtful(
                format!("the free space for the {what} cannot be read: {error}"),
                "look with `df` whether the disk is there",
            ),
        }
    }));
    lines.extend(landlock(config, fs::read_to_string("/sys/kernel/security/lsm").ok()));
    lines
}

fn descriptors(config: &Config) -> Line {
    const REMEDY: &str = "raise the limit (LimitNOFILE= in systemd, `ulimit -Hn`), or lower these settings";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, most)) => match launch::shortage_of_files(most, &config.limits) {
            Some(shortage) => Line::doubtful(shortage, REMEDY),
            None => Line::good(format!("each process may open {most} files, which is enough")),
        },
        Err(error) => Line::doubtful(format!("the limit on open files cannot be read: {error}"), REMEDY),
    }
}

/// Only a warning, because the gateway then takes fewer clients.
fn locked_memory(config: &Config) -> Option<Line> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    let clients = config.limits.max_client_connections.get();
    let needed = u64::from(clients) * LOCKED_PER_CLIENT;
    // Root may lock more than the limit.
    (limit < needed && !nix::unistd::geteuid().is_root()).then(|| {
        Line::doubtful(
            format!(
                "a process may lock {limit} bytes, and the keys of max_client_connections = {clients} take {needed}"
            ),
            "raise the limit (LimitMEMLOCK= in systemd, `ulimit -l`), or lower max_client_connections",
        )
    })
}

fn memory(config: &Config, total: Option<u64>) -> Line {
    let Some(total) = total else { return Line::doubtful("the size of the memory cannot be read", LESS_MEMORY) };
    if let Err(error) = check_memory(config, total) {
        return Line::bad(error.to_string(), LESS_MEMORY);
    }
    let allowed = allowed_memory(config);
    let mib = |bytes: u64| bytes >> 20;
    if allowed > total / 4 * 3 {
        return Line::doubtful(
            format!(
                "the settings allow {} MiB of memory, which is most of the {} that the machine has",
                mib(allowed),
                mib(total)
            ),
            LESS_MEMORY,
        );
    }
    Line::good(format!("the settings allow {} MiB of memory, of {}", mib(allowed), mib(total)))
}

fn clock(config: &Config) -> Line {
    let written = fs::metadata(config.home.join("config/config.toml")).and_then(|file| file.modified());
    match written.map(|written| written.duration_since(SystemTime::now())) {
        Ok(Ok(behind)) if behind > TOLERANCE => Line::bad(
            format!(
                "the clock is {} behind the time at which config.toml was written",
                humantime::format_duration(Duration::from_secs(behind.as_secs()))
            ),
            "set the clock, and have it kept right (`timedatectl set-ntp true`)",
        ),
        _ => node::clock_line(),
    }
}

/// The free bytes and all bytes of the disk of a folder, which may not exist yet.
fn free_and_all(folder: &Path) -> io::Result<(u64, u64)> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let disk = statvfs(there)?;
    let block = disk.fragment_size();
    Ok((disk.blocks_available().saturating_mul(block), disk.blocks().saturating_mul(block)))
}

fn disk(what: &str, free: u64, all: u64, data_bytes: u64) -> Line {
    let mib = |bytes: u64| bytes >> 20;
    if free < LEAST_FREE {
        return Line::bad(
            format!("the disk of the {what} has {} MiB free: new mail and new clients would be refused", mib(free)),
            format!("free at least {} MiB there", mib(LEAST_FREE)),
        );
    }
    if all < data_bytes {
        return Line::doubtful(
            format!("data_bytes = {} MiB is more than the disk of the {what} has, {} MiB", mib(data_bytes), mib(all)),
            "lower data_bytes in [limits], so that a full disk is no surprise",
        );
    }
    Line::good(format!("the disk of the {what} has {} MiB free", mib(free)))
}

/// What the kernel says of Landlock. In a unit that hides it, only opening shows.
fn landlock(config: &Config, modules: Option<String>) -> Option<Line> {
    let remedy = format!(
        "boot a kernel with landlock in `lsm=`; `{} --self-test` shows what is missing without it",
        command("audit")
    );
    let has_it = modules?.split(',').any(|module| module.trim() == "landlock");
    let layers = [Layer::LandlockFiles, Layer::LandlockPorts, Layer::LandlockScopes];
    let is_required = config.sandbox.require.iter().any(|layer| layers.contains(layer));
    Some(match (has_it, is_required) {
        (true, _) => Line::good("the kernel has Landlock for the jail"),
        (false, true) => Line::bad("the kernel has no Landlock, and [sandbox] require names it", remedy),
        (false, false) => Line::doubtful("the kernel has no Landlock, so that the jail lacks its layers", remedy),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{findings::Verdict, launch::fixtures};

    #[test]
    fn a_disk_is_judged_by_its_size_and_what_is_free() {
        const GIB: u64 = 1 << 30;
        for (free, all, verdict) in [
            (LEAST_FREE - 1, 100 * GIB, Verdict::Bad),
            (LEAST_FREE, 9 * GIB, Verdict::Doubtful),
            (LEAST_FREE, 10 * GIB, Verdict::Good),
        ] {
            let line = disk("inboxes", free, all, 10 * GIB);
            assert_eq!(line.verdict, verdict, "{line:?}");
            assert_eq!(line.remedy.is_empty(), verdict == Verdict::Good, "{line:?}");
        }
        let (free, all) = free_and_all(Path::new("/nowhere/at/all")).unwrap();
        assert!(free <= all && all > 0);
    }

    #[test]
    fn memory_that_the_machine_lacks_is_found() {
        let home = tempfile::tempdir().unwrap();
        let config = fixtures::config(home.path());
        // 240 MiB of budgets, and 352 of replay marks.
        for (total, verdict) in [(591 << 20, Verdict::Bad), (700 << 20, Verdict::Doubtful), (1 << 30, Verdict::Good)] {
            assert_eq!(memory(&config, Some(total)).verdict, verdict, "{total}");
        }
        assert_eq!(memory(&config, None).verdict, Verdict::Doubtful);
    }

    #[test]
    fn a_missing_landlock_matters_more_if_it_is_required() {
        let home = tempfile::tempdir().unwrap();
        let mut config = fixtures::config(home.path());
        let verdict = |config: &Config, modules: &str| landlock(config, Some(modules.to_owned())).unwrap().verdict;
        assert_eq!(verdict(&config, "capability,landlock,yama\n"), Verdict::Good);
        assert_eq!(verdict(&config, "capability,yama"), Verdict::Doubtful);
        config.sandbox.require.push(Layer::LandlockFiles);
        assert_eq!(verdict(&config, "capability,yama"), Verdict::Bad);
        assert_eq!(landlock(&config, None), None);
    }

    #[test]
    fn a_clock_before_its_own_file_is_wrong() {
        let home = tempfile::tempdir().unwrap();
        let config = fixtures::config(home.path());
        let file = config.home.join("config/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        assert_ne!(clock(&config).verdict, Verdict::Bad);
        let later = SystemTime::now() + Duration::from_secs(86_400);
        fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        let line = clock(&config);
        assert!(line.verdict == Verdict::Bad && line.what.contains("behind"), "{line:?}");
    }
}
