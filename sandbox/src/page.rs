//! Pages of numbers that one process writes and others read.
//!
//! *Promises*: a page has a fixed size that nobody can change, so that no access can fail later. A process maps the page before its jail
//! is closed, and keeps no descriptor.
#![allow(unsafe_code)]

use std::{
    fs::{File, Permissions},
    io,
    num::NonZeroUsize,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    slice,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap},
    },
    unistd::ftruncate,
};

/// Makes a page of `bytes`, all of them zero. Its size is sealed. Only its owner can open it again, and only for reading unless it is
/// privileged.
///
/// # Errors
/// If the kernel gives none.
pub fn create(bytes: usize) -> io::Result<OwnedFd> {
    let page = memfd_create(c"figures", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    ftruncate(&page, i64::try_from(bytes).map_err(io::Error::other)?)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&page, FcntlArg::F_ADD_SEALS(seals))?;
    let page = File::from(page);
    page.set_permissions(Permissions::from_mode(0o400))?;
    Ok(page.into())
}

/// A further descriptor of the page, which can be read and not written.
///
/// # Errors
/// If the kernel gives none.
pub fn reopen_for_reading(page: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/self/fd/{}", page.as_raw_fd()))?.into())
}

/// Maps a page for the process that writes it, for as long as the process lives.
///
/// # Errors
/// If the kernel refuses, or the size of the page can change.
pub fn map_for_writing(page: OwnedFd) -> io::Result<&'static [AtomicU64]> {
    map(page, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
}

/// A page of another process.
#[derive(Clone, Copy, Debug)]
pub struct ReadOnlyPage(&'static [AtomicU64]);

impl ReadOnlyPage {
    /// Maps a page, for as long as the process lives.
    ///
    /// # Errors
    /// If the kernel refuses, or the size of the page can change.
    pub fn map(page: OwnedFd) -> io::Result<Self> {
        Ok(Self(map(page, ProtFlags::PROT_READ)?))
    }

    /// The number at this place, if there is one.
    pub fn value(&self, place: usize) -> Option<u64> {
        Some(self.0.get(place)?.load(Relaxed))
    }
}

fn map(page: OwnedFd, access: ProtFlags) -> io::Result<&'static [AtomicU64]> {
    let seals = SealFlag::from_bits_truncate(fcntl(&page, FcntlArg::F_GET_SEALS)?);
    if !seals.contains(SealFlag::F_SEAL_SHRINK) {
        return Err(io::Error::other("the size of the page for figures is not sealed"));
    }
    let page = File::from(page);
    let bytes = usize::try_from(page.metadata()?.len()).map_err(io::Error::other)?;
    let length = NonZeroUsize::new(bytes).ok_or_else(|| io::Error::other("the page for figures is empty"))?;
    // SAFETY: a fresh mapping at an address that the kernel chooses.
    let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, page.as_fd(), 0) }?;
    // SAFETY: the mapping is never undone, so it lives as long as the process; it is aligned to a page of the machine, has `bytes` bytes,
    // which is sealed, and any bits are a number. Other processes access it with atomic instructions only. Where it is mapped for reading
    // only, `ReadOnlyPage` makes nothing but relaxed loads, which read-only memory allows.
    Ok(unsafe { slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), bytes / size_of::<AtomicU64>()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_writes_others_read() {
        let page = create(640).unwrap();
        let reader = ReadOnlyPage::map(reopen_for_reading(&page).unwrap()).unwrap();
        let again = page.try_clone().unwrap();
        let numbers = map_for_writing(page).unwrap();
        assert_eq!((numbers.len(), reader.value(79), reader.value(80)), (80, Some(0), None));
        numbers[3].fetch_add(5, Relaxed);
        // The next life of the writer goes on where the first stopped.
        let next = map_for_writing(again).unwrap();
        assert_eq!((reader.value(3), next[3].load(Relaxed)), (Some(5), 5));
    }

    #[test]
    fn a_page_cannot_change_its_size_nor_be_written_by_a_reader() {
        let page = create(640).unwrap();
        assert!(ftruncate(&page, 64).is_err() && ftruncate(&page, 6_400).is_err());
        let read_only = reopen_for_reading(&page).unwrap();
        assert!(map_for_writing(read_only).is_err());
        let unsealed = memfd_create(c"other", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, 640).unwrap();
        assert!(ReadOnlyPage::map(unsealed).is_err());
    }
}
