//! Step 4: the process closes its own doors, in this order and nowhere else.

use std::{fmt, os::fd::BorrowedFd};

use proto::ipc::jail::{Account, Held, JailOrder, Layer, Missing};

use crate::{
    account, capabilities, landlock, limits, namespaces,
    policy::{Network, Policy, VALIDATOR_QUERY},
    refusal, seccomp,
};

/// Descriptors for one connection at a time, and for what it takes to find where to.
const ENOUGH_FILES: u64 = 64;

/// What the jail is made of.
#[derive(Clone, Copy, Debug)]
pub struct Jail<'a> {
    /// The role's own part.
    pub policy: &'static Policy,
    /// The supervisor's part.
    pub order: &'a JailOrder,
    /// The directories below which files may be opened: none but for the store.
    pub directories: &'a [BorrowedFd<'a>],
}

/// A step failed; the worker must not go on.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The kernel refused a step that it never refuses.
    #[error("cannot close the jail: step `{step}` failed: {source}")]
    Step {
        /// Which.
        step: &'static str,
        /// What the kernel said.
        source: nix::Error,
    },
    /// The supervisor died before its death could be watched.
    #[error("the supervisor is gone")]
    Orphaned,
    /// There is a way back to what was given up.
    #[error("the jail has a hole: {0}")]
    Hole(&'static str),
    /// A layer that the operator requires cannot be had.
    #[error(
        "the jail's layer {layer} cannot be had: {why}; or take `{layer}` out of `require` in the section [sandbox] of \
         config.toml, to run without it"
    )]
    Required {
        /// Which.
        layer: Layer,
        /// Why, and what to do.
        why: String,
    },
}

/// Proof that the steps were taken.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed {
    held: Held,
}

impl Closed {
    /// Which layers hold. None, if the supervisor was told to do without.
    pub const fn held(&self) -> &Held {
        &self.held
    }
}

/// Takes the steps. To be called while the process has one thread.
///
/// # Errors
/// If a step fails that always works, or a required layer cannot be had. The process is then half closed and must end.
pub fn close(jail: Jail<'_>) -> Result<Closed, JailError> {
    let Jail { policy, order, directories } = jail;
    limits::resources(order.open_files, !directories.is_empty())?;
    limits::ignore_signals_meant_for_the_supervisor()?;
    let Some(walls) = &order.walls else {
        limits::die_with_the_supervisor(order.supervisor)?;
        no_new_privileges()?;
        return Ok(Closed { held: Held::default() });
    };

    let mut laid = Laid { required: &walls.required, held: Held::default() };
    let network = match policy.network {
        Network::Accepts => Some(namespaces::leave_network(walls.account.is_some())),
        Network::Connects => {
            namespaces::gain_capabilities(walls.account.is_some());
            None
        }
    };
    let bounding = capabilities::empty_bounding_set();
    laid.layer(Layer::Account, account::change(walls.account)?)?;
    laid.layer(Layer::Capabilities, bounding.and_then(|()| capabilities::drop_all()))?;
    if let Some(account) = walls.account {
        account::is_for_good(account)?;
    }
    if let Some(network) = network {
        laid.layer(Layer::NetworkNamespace, network)?;
    }
    // Behind the change of account, which clears the signal.
    limits::die_with_the_supervisor(order.supervisor)?;
    // No core file, no ptrace, no reading of /proc/<pid>/mem by others of the same account.
    step("not dumpable", nix::sys::prctl::set_dumpable(false))?;
    no_new_privileges()?;
    laid.layer(Layer::LandlockFiles, landlock::files(directories))?;
    laid.layer(Layer::LandlockPorts, landlock::ports(policy.network, &walls.connect_ports))?;
    laid.layer(Layer::LandlockScopes, landlock::scopes())?;
    laid.layer(Layer::Seccomp, filter(policy))?;
    Ok(Closed { held: laid.held })
}

/// What a program does that asks strangers one question and ends. It keeps the network, but connects to no TCP port other than
/// `ports` and that of name servers, and reads only how this machine finds an address by its name. It gives up its account, if
/// it is told another one, every capability, and all system calls but those of [`VALIDATOR_QUERY`]. To be called while the
/// process has one thread. Returns which layers of Landlock and of seccomp hold; the others depend on what it was told.
///
/// # Errors
/// If a step fails, or who was told an account can still go back. The process must end.
pub fn renounce(account: Option<Account>, ports: &[u16]) -> Result<Closed, JailError> {
    limits::resources(ENOUGH_FILES, false)?;
    let bounding = capabilities::empty_bounding_set();
    // Without an account to change to there was no privilege either, and nothing is lost if nothing can be dropped.
    let changed = account::change(account)?.is_ok();
    let dropped = bounding.and_then(|()| capabilities::drop_all());
    if changed && dropped.is_err() {
        return Err(JailError::Hole("capabilities cannot be given up"));
    }
    if let Some(account) = account {
        account::is_for_good(account)?;
    }
    step("not dumpable", nix::sys::prctl::set_dumpable(false))?;
    no_new_privileges()?;
    // As for workers: best effort, and not without the list of system calls.
    let mut laid = Laid { required: &[Layer::Seccomp], held: Held::default() };
    laid.layer(Layer::LandlockFiles, landlock::names())?;
    laid.layer(Layer::LandlockPorts, landlock::destinations(ports))?;
    laid.layer(Layer::LandlockScopes, landlock::scopes())?;
    laid.layer(Layer::Seccomp, filter(&VALIDATOR_QUERY))?;
    Ok(Closed { held: laid.held })
}

/// The list of system calls, and last words for whoever makes another one.
fn filter(policy: &Policy) -> Result<(), Why> {
    let filter = seccomp::filter(policy)?;
    refusal::report()?;
    filter.apply()
}

fn no_new_privileges() -> Result<(), JailError> {
    step("no new privileges", nix::sys::prctl::set_no_new_privs())
}

pub(crate) fn step<T>(step: &'static str, result: nix::Result<T>) -> Result<T, JailError> {
    result.map_err(|source| JailError::Step { step, source })
}

/// Why a layer cannot be had, and what to do about it.
pub(crate) type Why = String;

pub(crate) fn because(error: impl fmt::Display, remedy: &str) -> Why {
    format!("{error}; {remedy}")
}

struct Laid<'a> {
    required: &'a [Layer],
    held: Held,
}

impl Laid<'_> {
    fn layer(&mut self, layer: Layer, outcome: Result<(), Why>) -> Result<(), JailError> {
        match outcome {
            Ok(()) => self.held.layers.push(layer),
            Err(why) if self.required.contains(&layer) => return Err(JailError::Required { layer, why }),
            Err(why) => self.held.missing.push(Missing { layer, why }),
        }
        Ok(())
    }
}
