//! How much the log may hold.
//!
//! Of N segments of S bytes one is the spare for copies, one the segment that copies go to, and one that of the commits. As long as no
//! more than three quarters of the others are alive, one of them is at most three quarters alive, and its copy fits where
//! there is room already. Then it becomes the spare. So each cleaning gains a quarter of a segment, and needs nothing of the file
//! system: it goes on while others have filled the disk.
//!
//! This rests on four things. A copy, with its frames' padding and its index, needs less than a segment, since it is denser than the
//! original. The facts about gone messages that are rewritten are never more than those of the victim. A segment that cannot be
//! cleaned counts as wholly alive. A commit of new mail leaves a part of the open segment to removals while there is no spare, so
//! removals can always be written. If others have filled the disk, so much may be alive that cleaning gains nothing. Then removals
//! have that part, and each of them brings cleaning nearer.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Log, Settings, shelf::Shelf};
use crate::mailbox::Lack;

/// Segments that are never counted on for mail.
const APART: u64 = 3;
/// Bytes, or a sixteenth of what may be alive, that must be free before new mail is taken again: more than one commit puts, so that
/// service does not come and go with each commit.
const COMFORT: u64 = 4 * 1024 * 1024;
/// The part of the others that may be alive.
const ALIVE: (u64, u64) = (3, 4);

/// What decides whether there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes that are alive.
    pub(super) alive: u64,
    /// Bytes of all files.
    pub(super) files: u64,
    /// Bytes free on the disk.
    pub(super) free: u64,
}

impl Settings {
    /// The sizes for a limit of so many bytes, of which these are mail's.
    pub(crate) fn of(limit: u64, most: u64, floor: u64) -> Self {
        const SMALLEST: u64 = 1024 * 1024;
        const LARGEST: u64 = 256 * 1024 * 1024;
        const SEGMENTS: u64 = 1_024;
        let part = (limit / SEGMENTS).clamp(SMALLEST, LARGEST);
        // The power of two that is not larger.
        let segment = 1 << part.ilog2();
        Self { segment, most, floor, cleaning_wait: Duration::from_secs(5) }
    }

    /// Bytes that may be alive.
    pub(super) fn capacity(&self, space: &Space) -> u64 {
        let more = space.free.saturating_sub(self.floor);
        let files = self.most.min(space.files.saturating_add(more));
        (files / self.segment).saturating_sub(APART) * self.segment / ALIVE.1 * ALIVE.0
    }

    /// Bytes that must be free before mail that was refused is taken again.
    fn comfort(&self, space: &Space) -> u64 {
        COMFORT.min(self.capacity(space) / 16)
    }

    /// What keeps so many more bytes from being put.
    pub(super) fn lack(&self, space: &Space, more: u64) -> Option<Lack> {
        if space.alive + more <= self.capacity(space) {
            return None;
        }
        let most = self.capacity(&Space { free: u64::MAX, ..*space });
        if space.alive + more > most {
            Some(Lack::Mail { used: space.alive, most })
        } else {
            Some(Lack::Disk { free: space.free, floor: self.floor })
        }
    }
}

impl<S: Shelf> Log<S> {
    /// Bytes of all files.
    pub(super) fn files(&self) -> u64 {
        let segments: u64 = self.index().segments().map(|(_, segment)| segment.len).sum();
        segments + self.spares.count() * self.settings.segment
    }

    /// Whether one more segment may be made.
    pub(super) fn may_grow(&self) -> std::io::Result<bool> {
        let files = self.files() + self.settings.segment;
        let free = self.shelf.free()?;
        Ok(files <= self.settings.most && free >= self.settings.floor.saturating_add(self.settings.segment))
    }

    /// What keeps new mail from being taken, if there was too little room for some.
    pub(super) fn lack_of_comfort(&self) -> std::io::Result<Option<Lack>> {
        let space = self.space()?;
        Ok(self.settings.lack(&space, self.settings.comfort(&space)))
    }

    /// What keeps so many more bytes of mail from being put.
    pub(super) fn lack(&self, more: u64) -> std::io::Result<Option<Lack>> {
        let space = self.space()?;
        Ok(self.settings.lack(&space, more))
    }

    fn space(&self) -> std::io::Result<Space> {
        // One after the other: a thread that locks the index twice waits for ever if another waits to change it.
        let alive = self.index().occupied();
        let files = self.files();
        let space = Space { alive, files, free: self.shelf.free()? };
        self.capacity.store(self.settings.capacity(&space), Ordering::Relaxed);
        Ok(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn three_quarters_of_all_but_three_segments_may_be_alive() {
        let settings = Settings { segment: 16 * MIB, most: 160 * MIB, floor: 48 * MIB, cleaning_wait: Duration::ZERO };
        let space = Space { alive: 84 * MIB, files: 160 * MIB, free: 0 };
        assert_eq!(settings.lack(&space, 0), None);
        assert_eq!(settings.lack(&space, 1), Some(Lack::Mail { used: 84 * MIB, most: 84 * MIB }));
    }

    #[test]
    fn mail_is_taken_again_once_there_is_room_for_some_commits() {
        let settings = |segment| Settings { segment, most: 10 * segment, floor: 0, cleaning_wait: Duration::ZERO };
        let comfort = |segment: u64| settings(segment).comfort(&Space { alive: 0, files: 10 * segment, free: 0 });
        assert_eq!(comfort(MIB / 64), 7 * MIB / 64 * 3 / 4 / 16);
        assert_eq!(comfort(64 * MIB), 4 * MIB, "a sixteenth would be 21 MiB");
    }

    #[test]
    fn a_nearly_full_disk_counts_for_what_is_there_already() {
        let settings = Settings { segment: 16 * MIB, most: 160 * MIB, floor: 48 * MIB, cleaning_wait: Duration::ZERO };
        let space = |free| Space { alive: 11 * MIB, files: 64 * MIB, free };
        assert_eq!(settings.lack(&space(0), MIB), None);
        assert_eq!(settings.lack(&space(0), 2 * MIB), Some(Lack::Disk { free: 0, floor: 48 * MIB }));
        assert_eq!(settings.lack(&space(64 * MIB), 2 * MIB), None, "there is room for one segment more");
        // As much as may be alive at the most.
        assert_eq!(settings.lack(&space(0), 73 * MIB), Some(Lack::Disk { free: 0, floor: 48 * MIB }));
        assert_eq!(settings.lack(&space(0), 73 * MIB + 1), Some(Lack::Mail { used: 11 * MIB, most: 84 * MIB }));
    }

    #[test]
    fn segments_are_a_thousandth_of_the_limit_within_bounds() {
        let segment = |limit| Settings::of(limit, limit, 0).segment;
        assert_eq!(segment(1), MIB);
        assert_eq!(segment(10 << 30), 8 * MIB);
        assert_eq!(segment(1 << 50), 256 * MIB);
    }

    #[test]
    fn what_is_full_is_named_with_numbers() {
        let settings = Settings { segment: 16 * MIB, most: 160 * MIB, floor: 48 * MIB, cleaning_wait: Duration::ZERO };
        let said = |alive, files, free| {
            let space = Space { alive: alive * MIB, files: files * MIB, free: free * MIB };
            settings.lack(&space, 1).map(|lack| lack.to_string()).unwrap_or_default()
        };
        let text = said(84, 160, 1_000);
        assert!(text.contains("take 84 MiB") && text.contains("84 MiB of `data_bytes`"), "{text}");
        let text = said(12, 64, 47);
        assert!(text.contains("47 MiB are free") && text.contains("below 48 MiB"), "{text}");
    }
}
