//! What may be on the medium after a loss of power.
//!
//! Of a file, what was written before its last sync is there. Of what came later, each sector is as it was at some moment since,
//! and so is the length: the kernel writes back what it wants, when it wants. What lies within the length and was never written back is
//! zeros. Of a folder, the names are as they were at its last sync, with any of the later changes: a journal brings them in order, and
//! not every file system has one. A file without a name is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    history::{Change, Found, History, Node},
    lottery::{Draws, Left, Lottery},
};

/// Bytes that are looked at at once: whether they are all zeros, and can be left out.
const PIECE: usize = 64 * 1024;
static ZEROS: [u8; PIECE] = [0; PIECE];

/// The folder as a start would find it.
#[derive(Debug, Default)]
pub struct Image {
    names: BTreeMap<Node, BTreeMap<String, Node>>,
    files: BTreeMap<Node, Vec<u8>>,
}

/// A file on its way to the medium.
#[derive(Debug, Default)]
struct Cached {
    bytes: Vec<u8>,
    len: u64,
    /// Sectors of which later states do not reach the medium.
    stuck: BTreeSet<u64>,
    has_stuck_len: bool,
}

impl Cached {
    fn write(&mut self, offset: u64, bytes: &[u8], is_sure: bool, sector: u64, draws: &mut Draws) {
        let end = offset + bytes.len() as u64;
        self.write_sectors(offset, bytes, is_sure, sector, draws);
        if end > self.len {
            self.set_len(end, is_sure, draws);
        }
    }

    fn write_sectors(&mut self, offset: u64, bytes: &[u8], is_sure: bool, sector: u64, draws: &mut Draws) {
        let end = offset + bytes.len() as u64;
        self.grow(end);
        let mut at = offset;
        while at < end {
            let number = at / sector;
            let next = end.min((number + 1) * sector);
            if self.is_left(number, is_sure, draws)
                && let (Some(to), Some(from)) =
                    (self.bytes.get_mut(range(at, next)), bytes.get(range(at - offset, next - offset)))
            {
                to.copy_from_slice(from);
            }
            at = next;
        }
    }

    fn cut(&mut self, len: u64, is_sure: bool, sector: u64, draws: &mut Draws) {
        let old = self.bytes.len() as u64;
        if len < old {
            let zeros = vec![0; usize::try_from(old - len).unwrap_or(0)];
            self.write_sectors(len, &zeros, is_sure, sector, draws);
        }
        self.grow(len);
        self.set_len(len, is_sure, draws);
    }

    fn grow(&mut self, len: u64) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > self.bytes.len() {
            self.bytes.resize(len, 0);
        }
    }

    fn set_len(&mut self, len: u64, is_sure: bool, draws: &mut Draws) {
        if is_sure {
            self.has_stuck_len = false;
        } else if self.has_stuck_len || !draws.leaves_bytes() {
            self.has_stuck_len = true;
            return;
        }
        self.len = len;
    }

    fn is_left(&mut self, sector: u64, is_sure: bool, draws: &mut Draws) -> bool {
        if is_sure {
            self.stuck.remove(&sector);
            return true;
        }
        if self.stuck.contains(&sector) {
            return false;
        }
        let is_left = draws.leaves_bytes();
        if !is_left {
            self.stuck.insert(sector);
        }
        is_left
    }
}

fn range(from: u64, to: u64) -> std::ops::Range<usize> {
    usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX)
}

impl History {
    /// What is on the medium when the power is lost just before this line of the trace, and `lottery` decides what is in doubt.
    pub fn image(&self, line: usize, lottery: Lottery) -> Image {
        let mut draws = lottery.draws();
        let mut image = Image::default();
        let mut files: BTreeMap<Node, Cached> = BTreeMap::new();
        for (number, found) in self.nodes.iter().enumerate() {
            if let Found::File(bytes) = found {
                let cached = Cached { bytes: bytes.clone(), len: bytes.len() as u64, ..Cached::default() };
                files.insert(Node(number), cached);
            }
        }
        for (folder, name, node) in &self.names {
            image.names.entry(*folder).or_default().insert(name.clone(), *node);
        }
        let mut has_lost_one = BTreeSet::new();
        for (step, is_sure) in self.steps_before(line) {
            match &step.change {
                Change::Write { file, offset, bytes } => {
                    files.entry(*file).or_default().write(*offset, bytes, is_sure, lottery.sector, &mut draws);
                }
                Change::Length { file, len } => {
                    files.entry(*file).or_default().cut(*len, is_sure, lottery.sector, &mut draws);
                }
                change => {
                    let folder = change.node();
                    if is_sure || draws.leaves_name(has_lost_one.contains(&folder)) {
                        image.change_names(change);
                    } else {
                        has_lost_one.insert(folder);
                    }
                }
            }
        }
        image.files = files
            .into_iter()
            .map(|(node, mut cached)| {
                cached.bytes.truncate(usize::try_from(cached.len).unwrap_or(usize::MAX));
                cached.grow(cached.len);
                (node, cached.bytes)
            })
            .collect();
        image
    }

    /// The folder as every process sees it at this line.
    pub fn seen(&self, line: usize) -> Image {
        self.image(line, Lottery { sector: u64::MAX / 2, ..Lottery::of(Left::Everything, Left::Everything) })
    }
}

impl Image {
    fn change_names(&mut self, change: &Change) {
        let names = self.names.entry(change.node()).or_default();
        match change {
            Change::Add { name, node, .. } => {
                names.insert(name.clone(), *node);
            }
            Change::Remove { name, .. } => {
                names.remove(name);
            }
            Change::Rename { from, to, node, .. } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
            Change::Write { .. } | Change::Length { .. } => {}
        }
    }

    /// What has this name in this folder.
    pub fn find(&self, folder: Node, name: &str) -> Option<Node> {
        self.names.get(&folder)?.get(name).copied()
    }

    /// What has this path.
    pub fn node(&self, path: &str) -> Option<Node> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(History::ROOT, |folder, name| self.find(folder, name))
    }

    /// The bytes of a file, by its path.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(&self.node(path)?).map(Vec::as_slice)
    }

    /// Writes it to an empty folder. What is zeros takes no room there.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn write_to(&self, history: &History, folder: &Path) -> io::Result<()> {
        self.write_folder(history, History::ROOT, folder)
    }

    fn write_folder(&self, history: &History, folder: Node, path: &Path) -> io::Result<()> {
        for (name, node) in self.names.get(&folder).into_iter().flatten() {
            let path = path.join(name);
            if matches!(history.nodes.get(node.0), Some(Found::Folder)) {
                fs::create_dir(&path)?;
                self.write_folder(history, *node, &path)?;
            } else {
                write_file(&path, self.files.get(node).map_or(&[], Vec::as_slice))?;
            }
        }
        Ok(())
    }
}

impl Image {
    /// Checks that a folder is this.
    ///
    /// # Errors
    /// If it is not, with the first path that differs.
    pub fn check_same(&self, history: &History, folder: &Path) -> Result<()> {
        self.check_folder(history, History::ROOT, folder)
    }

    fn check_folder(&self, history: &History, folder: Node, path: &Path) -> Result<()> {
        let mut expected = self.names.get(&folder).cloned().unwrap_or_default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a name that is no text")?;
            let path = entry.path();
            let node = expected.remove(&name).with_context(|| format!("{} is not known", path.display()))?;
            if matches!(history.nodes.get(node.0), Some(Found::Folder)) {
                self.check_folder(history, node, &path)?;
                continue;
            }
            let (bytes, found) = (self.files.get(&node).map_or(&[][..], Vec::as_slice), fs::read(&path)?);
            let differs = || bytes.iter().zip(&found).position(|(one, other)| one != other);
            ensure!(
                bytes == found,
                "{} has {} bytes and not {}, and differs at {:?}",
                path.display(),
                found.len(),
                bytes.len(),
                differs()
            );
        }
        ensure!(expected.is_empty(), "{:?} are not there", expected.keys());
        Ok(())
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        if ZEROS.get(..piece.len()) != Some(piece) {
            file.write_all_at(piece, (number * PIECE) as u64)?;
        }
    }
    Ok(())
}
