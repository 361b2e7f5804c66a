//! The archive: a tar file whose last entry is its manifest.
//!
//! *Trusts* nothing in an archive that it reads: entries are plain files under the names that [`is_known`] takes, in the order and with
//! the lengths and hashes of the manifest, and nothing else. *Promises*: memory is bounded, whatever the archive says.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write},
};

use ipc::backup::is_plain;
use tar::{Archive, Builder, EntryType, Header};

use super::manifest::{LONGEST, Listed, Manifest};

/// The name of the manifest.
const MANIFEST: &str = "MANIFEST";
/// Bytes copied at once.
const PIECE: usize = 64 * 1024;
/// The names of the configuration and the keys.
pub(super) const CONFIG: &str = "config/config.toml";
pub(super) const KEYS: [&str; 4] =
    ["data/private_identity.pem", "data/public_identity.pem", "data/private_sphinx.pem", "data/public_sphinx.pem"];
/// The folders of the files that `store` writes.
pub(super) const LEDGER: &str = "data/client_ledger.sled";
pub(super) const INBOXES: &str = "data/inboxes";
pub(super) const REPLAY: &str = "data/replay";

/// Whether an archive has files of this name.
fn is_known(name: &str) -> bool {
    let is_of_store = || {
        let (folder, file) = name.rsplit_once('/')?;
        Some([LEDGER, INBOXES, REPLAY].contains(&folder) && is_plain(file))
    };
    name == CONFIG || KEYS.contains(&name) || is_of_store() == Some(true)
}

/// An archive that is being written.
pub(super) struct ArchiveWriter {
    builder: Builder<File>,
    manifest: Manifest,
}

/// Writes one file of an archive.
pub(super) struct FileWriter<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl ArchiveWriter {
    /// Begins the archive of gateway `id` in an empty file. `made` is in seconds since 1970.
    pub(super) fn begin(file: File, id: &str, made: u64) -> Self {
        Self { builder: Builder::new(file), manifest: Manifest { id: id.to_owned(), made, files: Vec::new() } }
    }

    /// Adds a file, which `content` writes.
    pub(super) fn add<T, E: From<io::Error>>(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut FileWriter<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut header = self.header();
        let mut entry = self.builder.append_writer(&mut header, name)?;
        let mut writer = FileWriter { out: &mut entry, hasher: blake3::Hasher::new(), bytes: 0 };
        let outcome = content(&mut writer)?;
        let (bytes, hash) = (writer.bytes, writer.hasher.finalize());
        entry.finish()?;
        self.manifest.files.push(Listed { name: name.to_owned(), bytes, hash });
        Ok(outcome)
    }

    /// Writes the manifest, and returns when all of it is on the medium.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let text = self.manifest.encode();
        let mut header = self.header();
        header.set_size(text.len() as u64);
        self.builder.append_data(&mut header, MANIFEST, text.as_bytes())?;
        let file = self.builder.into_inner()?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }

    fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.manifest.made);
        header
    }
}

/// Why an archive is not restored.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is not as it was written.
    #[error("{0}")]
    Damaged(&'static str),
    /// One of its files is not as it was written.
    #[error("{0} in it is not as it was written")]
    Changed(String),
    /// It has something that no backup has.
    #[error("it holds {0:?}, which no backup does")]
    Foreign(String),
}

/// Reads all of the archive, and compares it with its manifest.
pub(super) fn verify(file: &mut File) -> Result<Manifest, ArchiveError> {
    let mut found = Vec::new();
    let mut manifest = None;
    each_file(file, |name, content| {
        if manifest.is_some() {
            return Err(ArchiveError::Damaged("something follows its manifest"));
        }
        if name == MANIFEST {
            let mut text = String::new();
            content.take(LONGEST).read_to_string(&mut text)?;
            manifest = Some(Manifest::decode(&text).map_err(ArchiveError::Damaged)?);
            return Ok(());
        }
        found.push(copy(name, content, &mut io::sink())?);
        Ok(())
    })?;
    let manifest = manifest.ok_or(ArchiveError::Damaged("it has no manifest at its end: it is not whole"))?;
    if manifest.files.len() != found.len() {
        return Err(ArchiveError::Damaged("it does not have the files that its manifest lists"));
    }
    for (listed, found) in manifest.files.iter().zip(&found) {
        if listed != found {
            return Err(ArchiveError::Changed(found.name.clone()));
        }
    }
    let has = |name: &str| found.iter().filter(|file| file.name == name).count() == 1;
    if !has(CONFIG) || !KEYS.into_iter().all(has) {
        return Err(ArchiveError::Damaged("it lacks the configuration or a key"));
    }
    Ok(manifest)
}

/// Copies each file of a verified archive to the place that `open` gives for its name.
pub(super) fn extract<E: From<ArchiveError>>(
    file: &mut File,
    manifest: &Manifest,
    mut open: impl FnMut(&str) -> Result<File, E>,
) -> Result<(), E> {
    let mut listed = manifest.files.iter();
    each_file(file, |name, content| {
        if name == MANIFEST {
            return Ok(());
        }
        let mut out = open(name)?;
        let copied = copy(name, content, &mut out).map_err(E::from)?;
        // The file may have been changed since it was verified.
        if listed.next() != Some(&copied) {
            return Err(ArchiveError::Changed(copied.name).into());
        }
        out.sync_all().map_err(|error| ArchiveError::Read(error).into())
    })
}

fn each_file<E: From<ArchiveError>>(
    file: &mut File,
    mut act: impl FnMut(&str, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error: io::Error| E::from(ArchiveError::Read(error));
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut archive = Archive::new(file);
    for entry in archive.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_plain_file = entry.header().entry_type() == EntryType::Regular;
        if !is_plain_file || !(name == MANIFEST || is_known(&name)) {
            return Err(ArchiveError::Foreign(name).into());
        }
        act(&name, &mut entry)?;
    }
    Ok(())
}

fn copy(name: &str, content: &mut dyn Read, out: &mut dyn Write) -> Result<Listed, ArchiveError> {
    let mut writer = FileWriter { out, hasher: blake3::Hasher::new(), bytes: 0 };
    let mut buffer = vec![0; PIECE];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            len => writer.write_all(buffer.get(..len).unwrap_or_default())?,
        }
    }
    Ok(Listed { name: name.to_owned(), bytes: writer.bytes, hash: writer.hasher.finalize() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        let mut writer = ArchiveWriter::begin(file.try_clone().unwrap(), "demo", 7);
        for (name, content) in files {
            writer.add(name, |out| out.write_all(content)).unwrap();
        }
        writer.finish().unwrap();
        file
    }

    fn all() -> Vec<(&'static str, &'static [u8])> {
        let keys = KEYS.map(|name| (name, b"key".as_slice()));
        let mut files = vec![(CONFIG, b"[gateway]".as_slice())];
        files.extend(keys);
        files.push(("data/client_ledger.sled/records", &[7; 100_000]));
        files
    }

    fn bytes(mut file: &File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn an_archive_comes_back_as_it_was_written() {
        let mut file = archive(&all());
        let manifest = verify(&mut file).unwrap();
        assert_eq!((manifest.id.as_str(), manifest.made, manifest.files.len()), ("demo", 7, 6));
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name.replace('/', "-"));
        extract(&mut file, &manifest, |name| File::create(place(name)).map_err(ArchiveError::from)).unwrap();
        for (name, content) in all() {
            assert_eq!(std::fs::read(place(name)).unwrap(), content);
        }
    }

    #[test]
    fn no_changed_byte_and_no_cut_goes_unnoticed() {
        let whole = bytes(&archive(&all()));
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
        // Each block has one changed byte in turn, at places that move through the blocks.
        for at in (0..used).step_by(509) {
            let mut changed = whole.clone();
            changed[at] ^= 0x11;
            let outcome = verify(&mut of_bytes(&changed));
            // Padding behind a file and unused fields of a header mean nothing.
            if let Ok(manifest) = outcome {
                assert_eq!(manifest, verify(&mut of_bytes(&whole)).unwrap(), "byte {at}");
                assert!(whole[at] == 0, "byte {at} was changed and not noticed");
            }
        }
        for len in (0..used).step_by(1_024) {
            assert!(verify(&mut of_bytes(&whole[..len])).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_is_no_part_of_a_backup_is_refused() {
        for name in ["data/../../evil", "/etc/passwd", "data/inboxes/a/b", "other", "data/inboxes/.hidden"] {
            let mut builder = Builder::new(tempfile::tempfile().unwrap());
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(EntryType::Regular);
            header.set_size(1);
            header.set_cksum();
            builder.append(&header, b"x".as_slice()).unwrap();
            let error = verify(&mut builder.into_inner().unwrap()).unwrap_err();
            assert!(matches!(error, ArchiveError::Foreign(_)), "{name}: {error}");
        }
        let mut builder = Builder::new(tempfile::tempfile().unwrap());
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, CONFIG, "/etc/passwd").unwrap();
        assert!(matches!(verify(&mut builder.into_inner().unwrap()), Err(ArchiveError::Foreign(_))));
        let mut lacking = archive(&all()[..3]);
        assert!(verify(&mut lacking).unwrap_err().to_string().contains("lacks"));
    }
}
