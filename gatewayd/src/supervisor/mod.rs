//! The supervisor: opens what the workers need, starts them, keeps them alive, and ends them in order.
//!
//! *Trusts*: the operator. *Holds*: listening sockets, key files it never reads, the ends of every control link.
//! *Promises*: nothing is printed as started before every worker has reported ready; a dead worker is replaced and
//! linked anew; an order to end is followed within ten seconds; no worker outlives the supervisor, because each watches
//! for its death.
//!
//! | file | idea |
//! |---|---|
//! | [`links`] | the trust graph |
//! | [`accounts`], [`ownership`] | who runs as whom, and whose the data is |
//! | [`data_folders`], [`lock`] | one gateway for one set of data, and for one id |
//! | [`holdings`] | what each role is lent |
//! | [`own_addresses`] | this machine as a next hop |
//! | [`worker`] | one process |
//! | [`crew`] | the four together; `drain`: their orderly end |
//! | [`prober`] | one process that shows what its role can do |
//! | [`admin`] | where an audit asks |
//! | [`restart`] | how long a dead worker stays dead |

mod accounts;
mod admin;
mod alive;
mod binaries;
mod crew;
mod data_folders;
mod each;
mod examiner;
mod holdings;
mod late_address;
mod links;
mod listeners;
mod lock;
mod lock_holder;
mod open_files;
mod own_addresses;
mod ownership;
mod prober;
mod restart;
mod self_test;
mod signals;
mod slices;
mod systemd;
mod worker;

use std::{
    io,
    pin::pin,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use ipc::{
    Role,
    control::OwnAddresses,
    jail::{JailSpec, LayerSettings},
};

pub use self::{
    accounts::AccountError, binaries::BinaryError, crew::CrewError, data_folders::FolderError, holdings::OpenError,
    listeners::ListenError, lock::LockError, lock_holder::LockHolder,
};
use self::{
    accounts::Accounts,
    admin::Admin,
    crew::{Crew, Drained, Equipment},
    data_folders::DataFolders,
    each::Each,
    holdings::Holdings,
    lock::RunLock,
    prober::{Places, Prober},
    signals::{Caught, Signals},
    systemd::Watchdog,
};
pub(crate) use self::{admin::SOCKET, data_folders::user_of_data, self_test::SelfTest};
use crate::{
    run::RunPlan,
    validator::{self, AddressTaken},
    version,
};

/// A signal to the process and one to its group are one order to end; a later one means haste.
const SAME_ORDER: Duration = Duration::from_secs(1);

/// Why a gateway did not come up, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// It runs already.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There are no accounts for the workers.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A worker's program is missing.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A port, a key or a directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another gateway announces our address.
    #[error(transparent)]
    AddressTaken(#[from] AddressTaken),
    /// A worker does not start.
    #[error(transparent)]
    Crew(#[from] CrewError),
    /// A second signal came while the workers were finishing.
    #[error("a second signal came: the workers were killed before they had finished")]
    Hurried,
    /// The operating system refused something that always works.
    #[error("cannot {step}: {source}")]
    System {
        /// What.
        step: &'static str,
        /// What it said.
        source: io::Error,
    },
}

fn system(step: &'static str) -> impl FnOnce(io::Error) -> SupervisorError {
    move |source| SupervisorError::System { step, source }
}

/// Runs the gateway until a signal ends it; `print` is called once the announced keys are known to be its own. To be called on the main thread, before there is any other.
///
/// # Errors
/// If the gateway does not come up. Nothing is left running then.
pub fn run(plan: RunPlan, print: impl FnOnce(&RunPlan)) -> Result<(), SupervisorError> {
    // The only thread beside the main one, and the supervisor never waits for it.
    logging::write_in_background().map_err(system("start the thread of the log"))?;
    tracing::info!(
        "gatewayd {} (commit {}), network version {}, client protocols of 2021 and 1 to {}",
        env!("CARGO_PKG_VERSION"),
        env!("GATEWAYD_COMMIT"),
        version::NETWORK,
        wire::CLIENT_PROTOCOL
    );
    tracing::info!("Starting nym gateway!");
    let accounts = Accounts::choose(plan.config.sandbox.first_account.get())?;
    // Before anything is touched: whoever runs by hand beside a unit has another runtime directory, and the same data.
    let data = open_data(&plan, accounts)?;
    let lock = RunLock::take(&plan.run_dir, plan.id.as_str(), &plan.guard)?;
    let equipment = Arc::new(equip(&plan, accounts, data)?);
    open_files::warn_if_few(&plan.config.limits).map_err(system("read the limit on open files"))?;
    validator::refuse_if_taken(&plan, accounts.of_query())?;
    announce(&equipment.holdings).map_err(system("read the address of a listener"))?;
    // One thread only: the workers die with the thread that started them.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the supervisor's loop"))?
        .block_on(async {
            let prober = Prober::new(Arc::clone(&equipment), Places::of(&plan));
            supervise(Crew::new(equipment), audience(&lock, prober), || print(&plan)).await
        })
}

/// The admin socket, if it can be had. A gateway that cannot be audited runs all the same.
fn audience(lock: &RunLock, prober: Prober) -> Option<Admin> {
    Admin::listen(lock, prober)
        .inspect_err(|error| tracing::warn!(%error, "there is no admin socket: `gatewayd audit` has nobody to ask"))
        .ok()
}

/// The directories of the store, locked.
fn open_data(plan: &RunPlan, accounts: Accounts) -> Result<DataFolders, OpenError> {
    let store = *accounts.of_workers().get(Role::Store);
    Ok(DataFolders::open(&plan.config, &plan.guard, store)?)
}

/// All that workers are started from.
fn equip(plan: &RunPlan, accounts: Accounts, data: DataFolders) -> Result<Equipment, SupervisorError> {
    let binaries = binaries::open()?;
    let holdings = Holdings::open(&plan.config, &plan.guard, data)?;
    let own = own_addresses(plan, &holdings).map_err(system("read the address of a listener"))?;
    let equipment = Equipment {
        binaries,
        holdings,
        configs: Each::new(|role| slices::slice(&plan.config, &own, role)),
        log: plan.log.clone(),
        threads: available_parallelism().map_or(1, |threads| u16::try_from(threads.get()).unwrap_or(u16::MAX)),
        jails: jails(plan, accounts, &own)?,
        layers_left_out: plan.layers_left_out.clone(),
        public_keys: plan.public_keys,
        key_paths: plan.keys.clone(),
    };
    if plan.insecure {
        tracing::warn!(
            "--insecure-no-sandbox: the workers run WITHOUT their jail; whoever takes one over can do what gatewayd's \
             account can. For debugging only"
        );
    } else if let Some(account) = accounts.of_workers().get(Role::Store) {
        equipment.holdings.give_to_store(plan, *account)?;
    }
    Ok(equipment)
}

/// What is known of this machine as a next hop.
fn own_addresses(plan: &RunPlan, holdings: &Holdings) -> io::Result<OwnAddresses> {
    Ok(own_addresses::find(&plan.config, holdings.mix_address()?, holdings.client_address()?))
}

/// The jail that each worker is to close.
fn jails(plan: &RunPlan, accounts: Accounts, own: &OwnAddresses) -> Result<Each<JailSpec>, SupervisorError> {
    let open_files = open_files::raise().map_err(system("raise the limit on open files"))?;
    let accounts = accounts.of_workers();
    let connect_ports = |role| match role {
        Role::MixEgress => own_addresses::ports_to_enforce(&plan.config.egress, own),
        Role::MixIngress | Role::ClientEdge | Role::Store => Vec::new(),
    };
    Ok(Each::new(|role| JailSpec {
        supervisor: std::process::id(),
        open_files,
        layers: (!plan.insecure).then(|| LayerSettings {
            account: *accounts.get(role),
            required: plan.config.sandbox.require.clone(),
            connect_ports: connect_ports(role),
        }),
    }))
}

/// A duration as a person says it: `1.8s`, `5m`, `8d`.
fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{:.1}s", duration.as_secs_f64()),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What nym-gateway 0.10.1 logs, in its order and words.
fn announce(holdings: &Holdings) -> io::Result<()> {
    let mix = holdings.mix_address()?;
    tracing::info!("Starting mix packet forwarder...");
    tracing::info!("Starting clients handler");
    tracing::info!("Starting mix socket listener...");
    tracing::info!("Running mix listener on {:?}", mix.to_string());
    tracing::info!("Starting mixnet listener at {mix}");
    tracing::info!("Starting client [web]socket listener...");
    tracing::info!("Starting websocket listener at {}", holdings.client_address()?);
    Ok(())
}

async fn supervise(mut crew: Crew, admin: Option<Admin>, print: impl FnOnce()) -> Result<(), SupervisorError> {
    let begun = Instant::now();
    let mut signals = Signals::catch().map_err(system("catch signals"))?;
    let mut watchdog = Watchdog::from_env();
    let mut print = Some(print);
    let outcome = loop {
        if let Some(print) = print.take_if(|_| crew.keys_are_proven()) {
            print();
        }
        if let Some(admin) = &admin {
            admin.publish(crew.roster());
        }
        tokio::select! {
            signal = signals.next() => match signal {
                Caught::End(signal) => {
                    tracing::info!("Received {signal} - the gateway will terminate now: draining");
                    break Ok(());
                }
                Caught::Other(signal) => signal.note(),
            },
            step = crew.step() => if let Err(error) = step {
                break Err(error);
            },
            () = watchdog.prove() => {}
        }
    };
    drop(admin);
    systemd::stopping();
    let told_at = Instant::now();
    let hurry = async {
        loop {
            match signals.next().await {
                Caught::End(_) if told_at.elapsed() >= SAME_ORDER => return,
                Caught::End(_) => {}
                Caught::Other(signal) => signal.note(),
            }
        }
    };
    let drained = {
        let mut drain = pin!(crew.drain(hurry));
        loop {
            tokio::select! {
                drained = &mut drain => break drained,
                () = watchdog.prove() => {}
            }
        }
    };
    match (outcome, drained) {
        (Err(error), _) => Err(error.into()),
        (Ok(()), Drained::InOrder) => {
            tracing::info!("ended in good order after {}, up {}", brief(told_at.elapsed()), brief(begun.elapsed()));
            Ok(())
        }
        (Ok(()), Drained::InHurry) => Err(SupervisorError::Hurried),
    }
}
