//! A shelf in memory that can fail in the ways in which disks and file systems do: what was not synced may be lost, torn or there; a
//! failed sync is reported once; a full disk stays full.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex},
};

use nix::errno::Errno;
use rand::{Rng, RngExt as _};

use super::{SegmentFile, Shelf};

/// What reaches the medium as a whole or not at all.
const SECTOR: usize = 512;

/// The shelf. Clones are the same one, as a second process would see it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    disk: Arc<Mutex<Disk>>,
    at_read: AtRead,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    id: u64,
    disk: Arc<Mutex<Disk>>,
    at_read: AtRead,
}

/// What happens once before the next read.
#[derive(Clone, Default)]
struct AtRead(Arc<Mutex<Option<Happening>>>);

type Happening = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for AtRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtRead")
    }
}

#[derive(Clone, Debug, Default)]
struct Disk {
    files: BTreeMap<u64, Data>,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    next_id: u64,
    calls: u64,
    plan: Option<(u64, Fault)>,
    bad_reads: VecDeque<BadRead>,
    is_dead: bool,
    free: u64,
    /// Every call, for a test that fails.
    trace: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Data {
    /// What a reader sees.
    cache: Vec<u8>,
    medium: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails. What a sync should have written counts as written, and readers see it.
    Fails(Errno),
    /// It fails, and readers see what was there before.
    Reverts,
    /// Half of a write is done.
    Short,
    /// The process is killed, or the power goes: neither it nor any later call does anything.
    Dies,
}

/// What becomes of a read. Reads are no calls, which are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRead {
    /// It fails.
    Fails,
    /// What is there is another message: the segment was cleaned meanwhile, and is used again.
    Other,
}

/// What ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// What was written is in the kernel's memory.
    Kill,
    /// What was not synced may be lost, or be anything.
    Power,
    /// Of what was not synced each sector is there or not.
    Tear,
}

impl Memory {
    pub(crate) fn of(free: u64) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk { free, ..Disk::default() })), at_read: AtRead::default() }
    }

    /// Has the call of this number, counted from now on, go wrong.
    pub(crate) fn plan(&self, calls: u64, fault: Fault) {
        let mut disk = self.disk.lock().unwrap();
        disk.plan = Some((disk.calls + calls, fault));
    }

    /// Has the next reads go wrong.
    pub(crate) fn plan_reads(&self, reads: &[BadRead]) {
        self.disk.lock().unwrap().bad_reads = reads.iter().copied().collect();
    }

    /// Has this happen just before the next read, as another thread might do it.
    pub(crate) fn at_next_read(&self, happens: impl FnOnce() + Send + 'static) {
        *self.at_read.0.lock().unwrap() = Some(Box::new(happens));
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.disk.lock().unwrap().calls
    }

    /// Whether a process that used it is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.disk.lock().unwrap().is_dead
    }

    /// Whether a planned fault is still to come.
    pub(crate) fn is_planned(&self) -> bool {
        self.disk.lock().unwrap().plan.is_some()
    }

    /// Bytes that are free from now on.
    pub(crate) fn set_free(&self, free: u64) {
        self.disk.lock().unwrap().free = free;
    }

    /// Another shelf with the same on it.
    pub(crate) fn copy(&self) -> Self {
        Self { disk: Arc::new(Mutex::new(self.disk.lock().unwrap().clone())), at_read: AtRead::default() }
    }

    /// What is in a file.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let disk = self.disk.lock().unwrap();
        disk.files[&disk.names[name]].cache.clone()
    }

    /// Puts this in the place of what is in a file, or makes one.
    pub(crate) fn set_bytes(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk.lock().unwrap();
        let disk = &mut *disk;
        let id = *disk.names.entry(name.to_owned()).or_insert(disk.next_id);
        disk.next_id = disk.next_id.max(id + 1);
        disk.synced_names = disk.names.clone();
        disk.files.insert(id, Data { cache: bytes.to_vec(), medium: bytes.to_vec(), dirty: BTreeSet::new() });
    }

    /// Damages a bit, for readers that are there and those to come.
    pub(crate) fn flip(&self, name: &str, at: usize) {
        let mut disk = self.disk.lock().unwrap();
        let id = disk.names[name];
        let data = disk.files.get_mut(&id).unwrap();
        data.cache[at] ^= 8;
        data.medium[at] ^= 8;
    }

    /// The last calls.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.disk.lock().unwrap().trace.clone()
    }

    /// The process that used it ends, and another begins.
    pub(crate) fn end(&self, end: End, rng: &mut impl Rng) {
        let mut disk = self.disk.lock().unwrap();
        let disk = &mut *disk;
        (disk.plan, disk.is_dead) = (None, false);
        disk.trace.push(format!("-- {end:?}"));
        let Disk { files, names, synced_names, .. } = disk;
        files.retain(|id, _| names.values().chain(synced_names.values()).any(|named| named == id));
        if end == End::Kill {
            return;
        }
        let names: BTreeSet<_> = disk.names.keys().chain(disk.synced_names.keys()).cloned().collect();
        for name in names {
            let of = if rng.random() { &disk.names } else { &disk.synced_names };
            match of.get(&name).copied() {
                Some(id) => disk.synced_names.insert(name, id),
                None => disk.synced_names.remove(&name),
            };
        }
        disk.names = disk.synced_names.clone();
        for data in disk.files.values_mut() {
            let all = rng.random_range(0..4);
            for sector in std::mem::take(&mut data.dirty) {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(data.cache.len());
                let all = if end == End::Tear { 2 } else { all };
                match (all, rng.random_range(0..4)) {
                    (0, _) | (2.., 0 | 1) => data.medium[range.clone()].copy_from_slice(&data.cache[range]),
                    (3, 2) => data.medium[range].fill_with(|| rng.random()),
                    _ => {}
                }
            }
            data.cache.clone_from(&data.medium);
        }
    }

    fn call(&self, what: String) -> io::Result<Option<Fault>> {
        call(&self.disk, what)
    }
}

/// Counts a call. Says what goes wrong in it, if that is more than that it fails.
fn call(disk: &Mutex<Disk>, what: String) -> io::Result<Option<Fault>> {
    let mut disk = disk.lock().unwrap();
    disk.calls += 1;
    disk.trace.push(what);
    if disk.is_dead {
        return Err(io::Error::other("dead"));
    }
    let calls = disk.calls;
    let Some((_, fault)) = disk.plan.take_if(|(at, _)| *at <= calls) else { return Ok(None) };
    disk.trace.push(format!("-- {fault:?}"));
    match fault {
        Fault::Dies => {
            disk.is_dead = true;
            Err(io::Error::other("dead"))
        }
        fault => Ok(Some(fault)),
    }
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Fails(errno) => errno.into(),
        Fault::Short => Errno::ENOSPC.into(),
        _ => Errno::EIO.into(),
    }
}

impl Shelf for Memory {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.lock().unwrap().names.keys().cloned().collect())
    }

    fn make(&self, name: &str, len: u64) -> io::Result<MemoryFile> {
        if let Some(fault) = self.call(format!("make {name}"))? {
            return Err(error(fault));
        }
        let mut disk = self.disk.lock().unwrap();
        if disk.free < len {
            return Err(Errno::ENOSPC.into());
        }
        disk.free -= len;
        if disk.names.contains_key(name) {
            return Err(Errno::EEXIST.into());
        }
        let id = disk.next_id;
        disk.next_id += 1;
        let zeros = vec![0; usize::try_from(len).unwrap()];
        disk.files.insert(id, Data { cache: zeros.clone(), medium: zeros, dirty: BTreeSet::new() });
        disk.names.insert(name.to_owned(), id);
        Ok(MemoryFile { id, disk: Arc::clone(&self.disk), at_read: self.at_read.clone() })
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let disk = self.disk.lock().unwrap();
        let id = *disk.names.get(name).ok_or(Errno::ENOENT)?;
        Ok(MemoryFile { id, disk: Arc::clone(&self.disk), at_read: self.at_read.clone() })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if let Some(fault) = self.call(format!("rename {from} {to}"))? {
            return Err(error(fault));
        }
        let mut disk = self.disk.lock().unwrap();
        let id = disk.names.remove(from).ok_or(Errno::ENOENT)?;
        // The power may have failed while a file had both names.
        assert!(disk.names.insert(to.to_owned(), id).is_none_or(|old| old == id), "{to} was there");
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if let Some(fault) = self.call(format!("remove {name}"))? {
            return Err(error(fault));
        }
        let mut disk = self.disk.lock().unwrap();
        let id = disk.names.remove(name).ok_or(Errno::ENOENT)?;
        disk.free += disk.files.get(&id).map_or(0, |data| data.cache.len() as u64);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        if let Some(fault) = self.call("sync names".to_owned())? {
            return Err(error(fault));
        }
        let mut disk = self.disk.lock().unwrap();
        disk.synced_names = disk.names.clone();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.disk.lock().unwrap().free)
    }

    fn leave(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.make(name, bytes.len() as u64)?.write_at(bytes, 0)
    }
}

impl SegmentFile for MemoryFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let happens = self.at_read.0.lock().unwrap().take();
        if let Some(happens) = happens {
            happens();
        }
        let mut disk = self.disk.lock().unwrap();
        match disk.bad_reads.pop_front() {
            Some(BadRead::Fails) => return Err(Errno::EIO.into()),
            Some(BadRead::Other) => {
                bytes.fill(0xee);
                return Ok(());
            }
            None => {}
        }
        let start = usize::try_from(offset).unwrap();
        let found = disk.files[&self.id].cache.get(start..start + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fault = call(&self.disk, format!("write {} {offset}+{}", self.id, bytes.len()))?;
        let mut disk = self.disk.lock().unwrap();
        let data = disk.files.get_mut(&self.id).unwrap();
        let start = usize::try_from(offset).unwrap();
        let len = match fault {
            None => bytes.len(),
            Some(Fault::Short) => bytes.len() / 2,
            Some(_) => 0,
        };
        data.cache[start..start + len].copy_from_slice(&bytes[..len]);
        data.dirty.extend(start / SECTOR..(start + len).div_ceil(SECTOR));
        fault.map_or(Ok(()), |fault| Err(error(fault)))
    }

    fn sync(&self) -> io::Result<()> {
        let fault = call(&self.disk, format!("sync {}", self.id))?;
        let mut disk = self.disk.lock().unwrap();
        let data = disk.files.get_mut(&self.id).unwrap();
        let dirty = std::mem::take(&mut data.dirty);
        for sector in dirty {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(data.cache.len());
            match fault {
                None => data.medium[range.clone()].copy_from_slice(&data.cache[range]),
                Some(Fault::Reverts) => data.cache[range.clone()].copy_from_slice(&data.medium[range]),
                Some(_) => {}
            }
        }
        fault.map_or(Ok(()), |fault| Err(error(fault)))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().unwrap().files[&self.id].cache.len() as u64)
    }
}
