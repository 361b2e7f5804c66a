//! Finds out what a process can do by trying. Each attempt is made of bare system calls, so that nothing but the kernel decides.
//!
//! *Trusts*: the supervisor, which says what to try. *Promises*: an attempt leaves nothing behind but its own process: files it
//! makes have no name, signals it sends are none, a process it makes ends at once.

mod files;
mod identity;
mod memory;
mod network;
mod processes;
mod syscall;

use ipc::probe::{Attempt, Finding};

/// Makes the attempt, and passes what it finds to `report`. If the process may die half-way, `report` is called before as well; the last
/// finding counts.
pub fn attempt(what: &Attempt, report: &mut dyn FnMut(Finding)) {
    let done = match what {
        Attempt::Wait => Ok(()),
        Attempt::OpenFile { path } => files::open(path),
        Attempt::CreateFile { directory } => files::create(directory),
        Attempt::OpenBeneath { path } => files::open_beneath(path, report),
        Attempt::ReadDatabase { directory } => files::read_database(*directory, report),
        Attempt::WriteDatabase { directory } => files::write_database(*directory, report),
        Attempt::FindByPosition { begin } => files::find_by_position(begin),
        Attempt::FindByRewinding { begin } => files::find_by_rewinding(begin),
        Attempt::FindByReading { begin } => files::find_by_reading(begin),
        Attempt::Connect { to } => network::connect(*to),
        Attempt::SendDatagram { to } => network::send_datagram(*to),
        Attempt::BindPort { at } => network::bind(*at),
        Attempt::ListenUnbound => network::listen_unbound(),
        Attempt::ConnectUnix { path } => network::connect_unix(path, report),
        Attempt::Fork => processes::fork(),
        Attempt::ForkByClone3 => processes::fork_by_clone3(),
        Attempt::Execute { path } => processes::execute(path),
        Attempt::ExecuteAt { path } => processes::execute_at(path),
        Attempt::Trace { pid } => processes::trace(*pid),
        Attempt::Signal { pid } => processes::signal(*pid),
        Attempt::SignalThread { pid } => processes::signal_thread(*pid),
        Attempt::QueueSignal { pid } => processes::queue_signal(*pid),
        Attempt::ReadMemory { pid } => processes::read_memory(*pid),
        Attempt::LookAt { pid } => processes::read_group(*pid),
        Attempt::HoldProcess { pid } => processes::hold(*pid),
        Attempt::AskAffinity { pid } => processes::ask_affinity(*pid),
        Attempt::ReadClock { pid } => processes::read_clock(*pid),
        Attempt::AskClock { pid } => processes::ask_clock(*pid),
        Attempt::SleepByClock { pid } => processes::sleep_by_clock(*pid),
        Attempt::TakeLock { pid } => processes::take_lock(*pid),
        Attempt::MapExecutable => memory::map_executable(),
        Attempt::ProtectExecutable => memory::protect_executable(),
        Attempt::ProtectExecutableByKey => memory::protect_executable_by_key(),
        Attempt::BecomeUser { uid } => identity::become_user(*uid),
        Attempt::NewUserNamespace => identity::new_user_namespace(),
    };
    report(match done {
        Ok(()) => Finding::Allowed,
        Err(error) => Finding::Denied { errno: error.raw_os_error().unwrap_or_default() },
    });
}

#[cfg(test)]
mod tests;
