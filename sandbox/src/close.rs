//! Step 4: the steps of the jail, in this order and nowhere else.

use std::os::fd::BorrowedFd;

use ipc::jail::{Account, ActiveLayers, JailSpec, Layer};

use crate::{
    account, capabilities, landlock, limits, namespaces,
    policy::{Network, Policy},
    refusal, seccomp,
    step::{JailError, LayerBuilder, Step, Why, must},
};

/// Open descriptors for one connection at a time, and for the lookup of its address.
const RENOUNCED_FILES: u64 = 64;

/// What the jail is made of.
#[derive(Clone, Copy, Debug)]
pub struct Jail<'a> {
    /// The role's own part.
    pub policy: &'static Policy,
    /// The supervisor's part.
    pub spec: &'a JailSpec,
    /// The directories below which files may be opened: none but for the store.
    pub directories: &'a [BorrowedFd<'a>],
}

/// Proof that the steps were taken.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed {
    layers: ActiveLayers,
}

impl Closed {
    /// Which layers hold. None, if the supervisor was told to do without.
    pub const fn layers(&self) -> &ActiveLayers {
        &self.layers
    }
}

/// Takes the steps. To be called while the process has one thread.
///
/// # Errors
/// If a step fails that always works, or a required layer is unavailable. The process is then half closed and must end.
pub fn close(jail: Jail<'_>) -> Result<Closed, JailError> {
    let Jail { policy, spec, directories } = jail;
    limits::resources(spec.open_files, !directories.is_empty())?;
    limits::ignore_signals_meant_for_the_supervisor()?;
    let Some(settings) = &spec.layers else {
        limits::die_with_the_supervisor(spec.supervisor)?;
        no_new_privileges()?;
        return Ok(Closed { layers: ActiveLayers::default() });
    };

    let mut layers = LayerBuilder::new(&settings.required);
    let network = match policy.network {
        Network::Accepts => Some(namespaces::leave_network(settings.account.is_some())),
        Network::Connects => {
            namespaces::gain_capabilities(settings.account.is_some());
            None
        }
    };
    let bounding = capabilities::empty_bounding_set();
    layers.add(Layer::Account, account::change(settings.account))?;
    layers.add(Layer::Capabilities, bounding.and_then(|()| capabilities::drop_all()))?;
    if let Some(account) = settings.account {
        account::is_for_good(account)?;
    }
    if let Some(network) = network {
        layers.add(Layer::NetworkNamespace, network)?;
    }
    // After the change of account, which clears the signal.
    limits::die_with_the_supervisor(spec.supervisor)?;
    not_dumpable()?;
    no_new_privileges()?;
    layers.add(Layer::LandlockFiles, landlock::files(directories))?;
    layers.add(Layer::LandlockPorts, landlock::ports(policy.network, &settings.connect_ports))?;
    layers.add(Layer::LandlockScopes, landlock::scopes())?;
    layers.add(Layer::Seccomp, filter(policy))?;
    Ok(Closed { layers: layers.finish() })
}

/// The jail of a program that asks strangers one question and ends. It keeps the network, but connects to no TCP port other than
/// `ports` and that of name servers, and reads only how this machine finds an address by its name. It gives up its account, if
/// it is told another one, every capability, and all system calls but those of `policy`. To be called while the
/// process has one thread. Returns which layers of Landlock and of seccomp hold; the others depend on what it was told.
///
/// # Errors
/// If a step fails, or the process was given an account and can still go back. The process must end.
pub fn renounce(policy: &Policy, account: Option<Account>, ports: &[u16]) -> Result<Closed, JailError> {
    limits::resources(RENOUNCED_FILES, false)?;
    let bounding = capabilities::empty_bounding_set();
    let changed = match account::change(account) {
        Step::Done => true,
        Step::Unavailable(_) => false,
        Step::Fatal(error) => return Err(error),
    };
    let dropped = bounding.and_then(|()| capabilities::drop_all());
    // Without an account to change to there was no privilege either, and nothing is lost if nothing can be dropped.
    if changed && dropped.is_err() {
        return Err(JailError::Hole("capabilities cannot be given up"));
    }
    if let Some(account) = account {
        account::is_for_good(account)?;
    }
    not_dumpable()?;
    no_new_privileges()?;
    // As for workers: best effort, and not without the list of system calls.
    let mut layers = LayerBuilder::new(&[Layer::Seccomp]);
    layers.add(Layer::LandlockFiles, landlock::names())?;
    layers.add(Layer::LandlockPorts, landlock::destinations(ports))?;
    layers.add(Layer::LandlockScopes, landlock::scopes())?;
    layers.add(Layer::Seccomp, filter(policy))?;
    Ok(Closed { layers: layers.finish() })
}

/// The list of system calls, and a report of any call that is not on the list.
fn filter(policy: &Policy) -> Result<(), Why> {
    let filter = seccomp::filter(policy)?;
    refusal::report()?;
    filter.apply()
}

/// No core file, no ptrace, no reading of /proc/<pid>/mem by others of the same account.
fn not_dumpable() -> Result<(), JailError> {
    must("not dumpable", nix::sys::prctl::set_dumpable(false))
}

fn no_new_privileges() -> Result<(), JailError> {
    must("no new privileges", nix::sys::prctl::set_no_new_privs())
}
