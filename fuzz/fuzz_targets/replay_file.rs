//! The file of marks of packets seen. What is offered is what the file holds; what an earlier version left is removed; whatever else
//! is there is put aside as it was, once.
//! Input: in bits, whether length and checksum are to be right and whether it stands where the first gateways put it; and the file.
#![no_main]

use std::{fs, os::fd::OwnedFd, path::PathBuf, sync::LazyLock};

use fuzz::{CHECKSUM_LEN, MARKS_BEGIN, made_whole, number_in};
use ipc::ingress_store::GENERATIONS_LIMIT;
use libfuzzer_sys::fuzz_target;
use store::replay::found::offered;

/// How files of earlier versions begin.
const EARLIER: [&[u8]; 2] = [b"packseen\x01\0\0\0", b"packseen\x02\0\0\0"];

/// Bytes of a file's header: with fewer its version is not read.
const HEADER_LEN: usize = MARKS_BEGIN;

/// The places of the first gateways, for even and for odd numbers.
const EARLIER_NAMES: [&str; 2] = ["generation-even", "generation-odd"];

/// The folder goes with that of all temporary files: a static is never dropped.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| tempfile::tempdir().unwrap().keep());

fn directory() -> OwnedFd {
    fs::File::open(&*FOLDER).unwrap().into()
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let file =
        if kind % 2 == 1 { made_whole(&bytes[..bytes.len().saturating_sub(CHECKSUM_LEN)]) } else { bytes.to_vec() };
    let number = number_in(&file).unwrap_or_default();
    let path = FOLDER.join(match kind & 2 {
        0 => format!("generation-{:02}", number % GENERATIONS_LIMIT as u64),
        _ => EARLIER_NAMES[usize::from(number % 2 == 1)].to_owned(),
    });
    fs::write(&path, &file).unwrap();
    let aside = path.with_extension("damaged");
    match &offered(directory())[..] {
        [] if file.len() >= HEADER_LEN && EARLIER.iter().any(|start| file.starts_with(start)) => {
            assert!(!path.exists() && !aside.exists(), "an earlier version's file is not removed");
        }
        [] => {
            assert!(fs::read(&aside).unwrap() == file && !path.exists(), "not put aside as it was");
            assert!(offered(directory()).is_empty());
            fs::remove_file(&aside).unwrap();
        }
        [(generation, marks)] => {
            assert!(
                *marks == file[MARKS_BEGIN..file.len() - CHECKSUM_LEN] && Some(generation.number) == number_in(&file)
            );
            assert!(!aside.exists());
            fs::remove_file(&path).unwrap();
        }
        more => panic!("one file holds {} generations", more.len()),
    }
});
