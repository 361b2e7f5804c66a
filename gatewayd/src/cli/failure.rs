//! Why a command failed, and the exit code that says so.

use std::{ffi::OsString, process::ExitCode};

use crate::{
    admin::client::AdminError,
    audit::AuditError,
    backup::{make::BackupError, restore::RestoreError},
    check::{UnfitError, trial::UnfitProgram},
    clients::ClientError,
    init::InitError,
    node::{bonding::BondingError, check::CheckError},
    paths::RootError,
    run::RunError,
    sign::SignError,
    status::StatusError,
    steer::{config::ConfigError, reload::ReloadError, upgrade_binary::UpgradeBinaryError},
    support::SupportError,
    upgrade::UpgradeError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Bonding(#[from] BondingError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Running(#[from] AdminError),
    #[error(transparent)]
    Unfit(#[from] UnfitError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Reload(#[from] ReloadError),
    #[error(transparent)]
    Trial(#[from] UnfitProgram),
    #[error(transparent)]
    UpgradeBinary(#[from] UpgradeBinaryError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Support(#[from] SupportError),
    #[error(transparent)]
    Status(#[from] StatusError),
}

/// The commands of nym-gateway 0.10, in which wrong arguments end with 1. Scripts of operators may know it.
const OF_0_10: [&str; 3] = ["init", "run", "upgrade"];

/// The code for wrong arguments, as of most programs.
const USAGE: u8 = 2;

/// The code of sysexits.h for a running gateway that cannot be asked: there is none, it is busy or ending, or it does not answer this
/// account.
const UNAVAILABLE: u8 = 69;

/// The code of sysexits.h for an output file that cannot be created, or output that cannot be written.
pub(super) const CANNOT_CREATE: u8 = 73;

/// The code of sysexits.h for a configuration that has to be corrected before another attempt makes sense.
const CONFIGURATION: u8 = 78;

/// The code of `status` and `health` for a gateway that does not serve, or cannot be asked.
const NOT_SERVING: u8 = 2;

/// The exit code for wrong arguments. It is that of 0.10 where 0.10 has the command, and for a command that there is not.
pub(super) fn usage_error(command: &clap::Command, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let commands: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let named = arguments.skip(1).find_map(|argument| commands.iter().find(|command| argument == **command));
    match named {
        Some(command) if !OF_0_10.contains(command) => ExitCode::from(USAGE),
        _ => ExitCode::FAILURE,
    }
}

impl CommandError {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Run(error) if error.is_of_configuration() => ExitCode::from(CONFIGURATION),
            Self::Reload(error) if error.is_of_configuration() => ExitCode::from(CONFIGURATION),
            Self::Config(ConfigError::File(_) | ConfigError::Wrong(_)) | Self::Unfit(UnfitError::Configuration(_)) => {
                ExitCode::from(CONFIGURATION)
            }
            Self::Running(_)
            | Self::Client(ClientError::Ask(_))
            | Self::Backup(BackupError::Ask(_))
            | Self::Audit(AuditError::Ask { .. })
            | Self::Config(ConfigError::Running(_))
            | Self::Reload(ReloadError::Running(_)) => ExitCode::from(UNAVAILABLE),
            Self::UpgradeBinary(error) if error.is_unavailable() => ExitCode::from(UNAVAILABLE),
            Self::Backup(error) if error.is_of_output() => ExitCode::from(CANNOT_CREATE),
            Self::Restore(error) if error.is_of_output() => ExitCode::from(CANNOT_CREATE),
            Self::Support(error) if error.is_of_output() => ExitCode::from(CANNOT_CREATE),
            Self::Status(error) if !error.serves() => ExitCode::from(NOT_SERVING),
            _ => ExitCode::FAILURE,
        }
    }
}
