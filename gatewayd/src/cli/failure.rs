//! Why a command failed, and the exit code that says so.

use std::process::ExitCode;

use crate::{
    audit::AuditError,
    init::InitError,
    node::{bonding::BondingError, check::CheckError},
    paths::RootError,
    run::RunError,
    sign::SignError,
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
}

/// The code of sysexits.h for a configuration that has to be corrected before another attempt makes sense.
const CONFIGURATION: u8 = 78;

impl CommandError {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Run(error) if error.is_of_configuration() => ExitCode::from(CONFIGURATION),
            _ => ExitCode::FAILURE,
        }
    }
}
