//! What a trace must look like if nothing is promised before it is on the medium.

use anyhow::{Context, Result, bail, ensure};
use ipc::ingress_store::{IngressToStore, StoreToIngress};

use super::{Call, Trace};

impl Trace {
    /// Checks that what was asked at one time was on the medium before it was answered at another: all of `content` was
    /// written to the database, then a sync of it began, and returned.
    ///
    /// # Errors
    /// If it was not.
    pub fn check_durable(&self, database: &str, content: &[u8], asked: usize, answered: usize) -> Result<()> {
        let holds_it = |call: &&Call| call.bytes.windows(content.len()).any(|part| part == content);
        let written = self.writes(database).filter(|call| call.began > asked && call.returned < answered);
        let mut written = written.filter(holds_it).peekable();
        if written.peek().is_none() {
            bail!("it was not written to {database} between lines {asked} and {answered}");
        }
        let is_synced = |write: &Call| {
            let brings_it = |sync: &Call| sync.began > write.returned && sync.returned < answered;
            self.syncs(&write.target).any(brings_it)
        };
        ensure!(written.any(is_synced), "no sync of what it was written to began and returned before line {answered}");
        Ok(())
    }

    /// Checks that every message that was accepted on this link was on the medium before, in a file of this folder. Says how many
    /// there were.
    ///
    /// # Errors
    /// If one was not.
    pub fn check_accepted(&self, link: &str, folder: &str) -> Result<usize> {
        let asked: Vec<(usize, IngressToStore)> = self.received(link)?;
        let mut accepted = 0;
        for (answered, message) in self.sent::<StoreToIngress>(link)? {
            let StoreToIngress::AcceptDelivery { delivery } = message else { continue };
            let content = |message: &IngressToStore| match message {
                IngressToStore::DeliverMessage { delivery: asked, message, .. } if *asked == delivery => {
                    Some(message.0.clone())
                }
                _ => None,
            };
            let mut questions = asked.iter().filter_map(|(asked, message)| Some((*asked, content(message)?)));
            let (asked, content) = questions.next().context("an answer to no question")?;
            self.check_durable(folder, &content, asked, answered)?;
            accepted += 1;
        }
        Ok(accepted)
    }

    /// Checks that no file of this folder was written or synced again after a sync of it had failed, and that one has.
    ///
    /// # Errors
    /// If one was, or none has.
    pub fn check_left_alone(&self, folder: &str) -> Result<()> {
        let mut failed = 0;
        for failure in self.on(folder).filter(|call| call.is_sync() && call.result < 0) {
            failed += 1;
            let again = |call: &&Call| call.target == failure.target && call.began > failure.returned;
            let again = self.on(folder).filter(|call| call.is_sync() || call.name.starts_with("pwrite")).find(again);
            ensure!(again.is_none(), "{} was used again after its sync had failed: {again:?}", failure.target);
        }
        ensure!(failed > 0, "no sync has failed");
        Ok(())
    }

    /// Checks that what was answered after syncs had failed rests on nothing that only those would have brought to the medium: all
    /// of it was rewritten and synced before.
    ///
    /// # Errors
    /// If it was not, or no sync has failed that would have brought something.
    pub fn check_rewritten(&self, database: &str, answered: usize) -> Result<()> {
        let mut in_doubt = 0;
        let failures = self.on(database).filter(|call| call.is_sync() && call.result < 0 && call.returned < answered);
        for failed in failures {
            in_doubt += self.check_rewritten_after(failed, database, answered)?;
        }
        ensure!(in_doubt > 0, "no sync has failed that would have brought something to the medium");
        Ok(())
    }

    /// Returns how many writes this failure has left in doubt.
    fn check_rewritten_after(&self, failed: &Call, database: &str, answered: usize) -> Result<usize> {
        let is_in_doubt = |write: &&Call| {
            let on_medium = |sync: &Call| sync.began > write.returned && sync.returned < failed.began;
            write.began < failed.returned && !self.syncs(database).any(on_medium)
        };
        let is_good = |write: &&Call| {
            let on_medium = |sync: &Call| sync.began > write.returned && sync.returned < answered;
            write.began > failed.returned && self.syncs(database).any(on_medium)
        };
        let rewritten: Vec<(u64, u64)> = self.writes(database).filter(is_good).filter_map(Call::range).collect();
        let mut in_doubt = 0;
        for (mut at, end) in self.writes(database).filter(is_in_doubt).filter_map(Call::range) {
            in_doubt += 1;
            while at < end {
                let further = rewritten.iter().filter(|(from, _)| *from <= at).map(|(_, to)| *to).max();
                let further = further.filter(|to| *to > at);
                at = further.with_context(|| format!("bytes {at} to {end} of {database} were not rewritten"))?;
            }
        }
        Ok(in_doubt)
    }

    fn writes<'a>(&'a self, database: &'a str) -> impl Iterator<Item = &'a Call> {
        self.on(database).filter(|call| call.name.starts_with("pwrite") && call.result > 0)
    }

    fn syncs<'a>(&'a self, database: &'a str) -> impl Iterator<Item = &'a Call> {
        self.on(database).filter(|call| call.is_sync() && call.result == 0)
    }
}

impl Call {
    fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync")
    }

    /// What part of the file was written.
    fn range(&self) -> Option<(u64, u64)> {
        let from = self.offset?;
        Some((from, from + u64::try_from(self.result).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &[&str]) -> Trace {
        Trace::parse(&lines.join("\n")).unwrap()
    }

    const WRITE: &str = r#"11 pwrite64(9<\x2f\x64\x62>, "\x00\x01", 2, 4096) = 2"#;
    const WRITE_BEHIND: &str = r#"11 pwrite64(9<\x2f\x64\x62>, "\x05", 1, 4098) = 1"#;
    const WRITE_BOTH: &str = r#"11 pwrite64(9<\x2f\x64\x62>, "\x00\x01\x05", 3, 4096) = 3"#;
    const OTHER_WRITE: &str = r#"11 pwrite64(9<\x2f\x64\x62>, "\x01\x00", 2, 8192) = 2"#;
    const SYNC: &str = r"12 fdatasync(10<\x2f\x64\x62>) = 0";
    const SYNC_BEGINS: &str = r"12 fdatasync(10<\x2f\x64\x62> <unfinished ...>";
    const SYNC_RETURNS: &str = r"12 <... fdatasync resumed>) = 0";
    const SYNC_FAILS: &str = r"12 fdatasync(10<\x2f\x64\x62>) = -1 EIO (Input/output error)";
    const FLUSH: &str = r"12 sync_file_range(10<\x2f\x64\x62>, 0, 2, SYNC_FILE_RANGE_WRITE) = 0";
    const OTHER: &str = r"12 fdatasync(11<\x2f\x6c\x6f\x67>) = 0";
    const ANSWER: &str = r#"10 sendto(7<UNIX-STREAM:[1->2]>, "\x00\x00\x00\x01\x05", 5, MSG_NOSIGNAL, NULL, 0) = 5"#;
    const ASK: &str = r#"10 recvfrom(7<UNIX-STREAM:[1->2]>, "\x00\x00\x00\x02\x05\x06", 65536, 0, NULL, NULL) = 6"#;

    #[test]
    fn only_an_answer_after_the_sync_is_found_good() {
        let check = |lines: &[&str]| {
            let trace = trace(lines);
            let (answered, _): (usize, u8) = trace.sent("UNIX-STREAM:[1->2]").unwrap()[0];
            let (asked, _): (usize, u8) = trace.received("UNIX-STREAM:[1->2]").unwrap()[0];
            trace.check_durable("/db", &[0, 1], asked, answered)
        };
        check(&[ASK, WRITE, SYNC, ANSWER]).unwrap();
        check(&[ASK, WRITE, SYNC_BEGINS, SYNC_RETURNS, ANSWER]).unwrap();
        check(&[ASK, WRITE, FLUSH, SYNC_BEGINS, WRITE, SYNC_RETURNS, OTHER, ANSWER]).unwrap();
        for bad in [
            &[ASK, WRITE, ANSWER, SYNC][..],
            &[ASK, WRITE, SYNC_BEGINS, ANSWER, SYNC_RETURNS],
            &[ASK, SYNC, WRITE, ANSWER],
            &[ASK, SYNC_BEGINS, WRITE, SYNC_RETURNS, ANSWER],
            &[WRITE, ASK, SYNC, ANSWER],
            &[ASK, WRITE, SYNC_FAILS, ANSWER],
            &[ASK, WRITE, FLUSH, ANSWER],
            &[ASK, WRITE, OTHER, ANSWER],
            &[ASK, SYNC, ANSWER],
            &[ASK, OTHER_WRITE, SYNC, WRITE, ANSWER],
            &[ASK, OTHER_WRITE, SYNC, ANSWER],
        ] {
            assert!(check(bad).is_err(), "{bad:#?}");
        }
    }

    #[test]
    fn what_a_failed_sync_leaves_in_doubt_is_to_be_rewritten() {
        let check = |lines: &[&str]| {
            let trace = trace(lines);
            let (answered, _): (usize, u8) = trace.sent("UNIX-STREAM:[1->2]").unwrap()[0];
            trace.check_rewritten("/db", answered)
        };
        check(&[WRITE, SYNC_FAILS, WRITE, SYNC, ANSWER]).unwrap();
        check(&[OTHER_WRITE, SYNC, WRITE, SYNC_FAILS, WRITE, SYNC, ANSWER]).unwrap();
        check(&[WRITE, WRITE_BEHIND, SYNC_FAILS, WRITE, SYNC, WRITE_BEHIND, SYNC, ANSWER]).unwrap();
        check(&[WRITE_BOTH, SYNC_FAILS, WRITE, SYNC, WRITE_BEHIND, SYNC, ANSWER]).unwrap();
        check(&[SYNC_FAILS, WRITE, SYNC_FAILS, WRITE, SYNC, ANSWER]).unwrap();
        check(&[WRITE, SYNC_FAILS, WRITE, SYNC, ANSWER, OTHER_WRITE, SYNC_FAILS]).unwrap();
        for bad in [
            &[WRITE, SYNC_FAILS, SYNC, ANSWER][..],
            &[WRITE, SYNC_FAILS, WRITE_BEHIND, SYNC, ANSWER],
            &[WRITE, SYNC_FAILS, WRITE, ANSWER, SYNC],
            &[WRITE_BOTH, SYNC_FAILS, WRITE, SYNC, ANSWER],
            &[WRITE, SYNC, ANSWER],
            &[WRITE, SYNC, SYNC_FAILS, ANSWER],
            &[WRITE, SYNC_FAILS, WRITE, SYNC, WRITE_BEHIND, SYNC_FAILS, SYNC, ANSWER],
        ] {
            assert!(check(bad).is_err(), "{bad:#?}");
        }
    }
}
