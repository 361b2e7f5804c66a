//! The running supervisor becomes a new program.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
};

use nix::libc::O_PATH;

use super::{
    exec::{Descriptors, become_program},
    record::{Probation, Purpose, Record},
    trial::Candidate,
    way_back::SUPERVISOR,
};
use crate::launch::LaunchSpec;

impl Candidate {
    /// Becomes the new program, whose way back is the program that this process is now. All workers have ended. Returns only if that fails.
    pub(crate) fn take_over(&self, spec: &LaunchSpec, newcomers: bool) -> io::Error {
        let Probation { time, before, served } = self.probation;
        // Open as long as this process is, even if its file is gone.
        let own = match File::options().read(true).custom_flags(O_PATH).open("/proc/self/exe") {
            Ok(own) => own,
            Err(error) => return error,
        };
        let mut programs: Descriptors<'_> = spec.programs();
        programs.push((SUPERVISOR.to_owned(), own.as_fd()));
        become_program(&self.program, &spec.resources.listeners(), &programs, |listeners, programs| {
            let purpose = Purpose::Probation { seconds: time.as_secs(), before, served };
            Record::new(self.number, purpose, newcomers, listeners, programs)
        })
    }
}
