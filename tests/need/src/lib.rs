//! What a test needs of the machine, and the list of what was therefore not tested.
//!
//! A test that cannot do its work must not pass in silence. It asks [`need`]; where the answer is no, the test or its part is left
//! out, and a line is added to the file that the variable `NOT_TESTED` names. `make test` prints that list at its end. With
//! `STRICT=1` a test that lacks what it needs fails at once.

use std::{
    env,
    fmt::{self, Display},
    fs::{self, OpenOptions},
    io::{self, Write},
};

/// Names the file for the list.
const LIST: &str = "NOT_TESTED";
/// With `1`, nothing may be left out.
const STRICT: &str = "STRICT";

/// Something that not every machine or account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To run as root.
    Root,
    /// To trace the system calls of workers.
    Strace,
    /// To mount file systems that nobody else sees.
    Mount,
    /// To mount a file as a disk.
    LoopDevice,
    /// The program `promtool` of Prometheus.
    Promtool,
    /// To make a network namespace, and the program `ip` of iproute2.
    NetworkNamespace,
}

impl Need {
    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Strace => "strace",
            Self::Mount => "mount",
            Self::LoopDevice => "loop-device",
            Self::Promtool => "promtool",
            Self::NetworkNamespace => "network-namespace",
        }
    }
}

impl Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether this process is root. Otherwise the test that calls is listed as one that left something of `promise` out, a number in
/// SPECIFICATION.md.
///
/// # Panics
/// If there is no root and the run is strict.
#[must_use]
pub fn root(promise: u8) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        missing(Need::Root, promise);
    }
    is_root
}

/// As [`root`], for a test that traces workers: they cannot be dumped, so the kernel lets root alone do it, and nobody while another
/// traces them already, as `dev/syscalls` does. That strace is installed is not asked; a test without it fails.
///
/// # Panics
/// If this is not root and the run is strict.
#[must_use]
pub fn strace(promise: u8) -> bool {
    let may =
        nix::unistd::geteuid().is_root() && !is_traced(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    if !may {
        missing(Need::Strace, promise);
    }
    may
}

/// As [`root`], for a test that has Prometheus' own tool look at what is written for Prometheus.
///
/// # Panics
/// If there is no such program and the run is strict.
#[must_use]
pub fn promtool(promise: u8) -> bool {
    let is_there =
        env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join("promtool").is_file()));
    if !is_there {
        missing(Need::Promtool, promise);
    }
    is_there
}

/// Whether a process of this status has a tracer, and so have those that it starts.
fn is_traced(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// Lists the test that calls as one that left something of `promise` out, since the machine does not give what it needs.
///
/// # Panics
/// If the run is strict.
pub fn missing(need: Need, promise: u8) {
    let test = current_test();
    eprintln!("not tested: {test} needs {need} for promise {promise}");
    if let Some(list) = env::var_os(LIST) {
        let added =
            OpenOptions::new().append(true).create(true).open(list).and_then(|file| add(file, &test, need, promise));
        assert!(added.is_ok(), "what was not tested cannot be written to the file that {LIST} names: {added:?}");
    }
    assert!(!is_strict(env::var(STRICT).ok().as_deref()), "{STRICT} is set, and {test} needs {need}");
}

/// One line in one write, so that tests side by side do not mix theirs.
fn add(mut list: impl Write, test: &str, need: Need, promise: u8) -> io::Result<()> {
    list.write_all(format!("{need}\t{promise}\t{test}\n").as_bytes())
}

fn is_strict(value: Option<&str>) -> bool {
    value == Some("1")
}

/// The test's binary and name: as nextest says, else as the thread is called.
fn current_test() -> String {
    let says = |variable| env::var(variable).ok();
    let name = says("NEXTEST_TEST_NAME").or_else(|| std::thread::current().name().map(str::to_owned));
    let binary = says("NEXTEST_BINARY_ID").map(|binary| binary + " ");
    format!("{}{}", binary.unwrap_or_default(), name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_needed_for_which_promise() {
        let mut list = Vec::new();
        add(&mut list, "tests::audit a_b_c", Need::Root, 45).unwrap();
        add(&mut list, "d", Need::Mount, 29).unwrap();
        assert_eq!(String::from_utf8(list).unwrap(), "root\t45\ttests::audit a_b_c\nmount\t29\td\n");
        assert!(current_test().contains("a_line_says_what_was_needed_for_which_promise"));
    }

    #[test]
    fn whoever_has_a_tracer_is_traced() {
        assert!(is_traced("Name:\tx\nTracerPid:\t77\n"));
        assert!(!is_traced("Name:\tx\nTracerPid:\t0\n") && !is_traced(""));
    }

    #[test]
    fn only_one_is_strict() {
        assert!(is_strict(Some("1")) && !is_strict(Some("0")) && !is_strict(Some("")) && !is_strict(None));
    }
}
