//! The flags of each command.

use std::path::PathBuf;

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use ipc::{Role, log::LogLevel};
use semver::Version;
use wire::address::ClientAddress;

use super::help::{
    CLIENT_COUNT_EXAMPLES, CLIENT_FORGET_EXAMPLES, CLIENT_SHOW_EXAMPLES, CONFIG_DIFF_EXAMPLES, CONFIG_SHOW_EXAMPLES,
};
use crate::{
    audit::ability::Ability,
    clients::ClientOrder,
    overrides::Overrides,
    paths::GatewayId,
    sign::Output,
    steer::{
        level::{LevelTime, process_name, processes},
        upgrade_binary::Probation,
    },
    upgrade,
};

#[derive(Args)]
pub(super) struct InitFlags {
    /// A name for the gateway and its folder: letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    #[command(flatten)]
    pub(super) overrides: Overrides,
}

#[derive(Args)]
pub(super) struct RunFlags {
    /// Id of the gateway we want to run
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// The configuration file [default: config/config.toml in the gateway's folder]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Only check everything and open it, as `check` does, and close each jail once
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Only say whether the running gateway could become this program
    #[arg(long, hide = true, value_name = "FORM", conflicts_with = "dry_run")]
    pub(super) trial: Option<u32>,

    /// Run the workers without their jail, for debugging
    #[arg(long, hide = true)]
    pub(super) insecure_no_sandbox: bool,

    #[command(flatten)]
    pub(super) overrides: Overrides,
}

#[derive(Args)]
pub(super) struct FitnessFlags {
    /// Id of the gateway to check
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// The configuration file [default: config/config.toml in the gateway's folder]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) overrides: Overrides,
}

#[derive(Args)]
pub(super) struct UpgradeFlags {
    /// Id of the nym-gateway we want to upgrade
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// REQUIRED FOR PRE-0.9.0 UPGRADES. Specifies current version of the configuration file to help to determine a valid
    /// upgrade path. Valid formats include '0.8.1', 'v0.8.1' or 'V0.8.1'
    #[arg(long, value_name = "VERSION", value_parser = upgrade::parse_version)]
    pub(super) current_version: Option<Version>,
}

#[derive(Args)]
pub(super) struct AuditFlags {
    /// Id of the gateway we want to audit
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// The configuration file [default: config/config.toml in the gateway's folder]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Start probes in the place of workers, instead of asking the running gateway
    #[arg(long)]
    pub(super) self_test: bool,

    /// Show this column of the table only
    #[arg(long, value_name = "ROLE", value_parser = one_of(Role::ALL, Role::name))]
    pub(super) role: Option<Role>,

    /// Show this line of the table only
    #[arg(long, value_name = "ABILITY", value_parser = one_of(Ability::ALL, Ability::name))]
    pub(super) ability: Option<Ability>,
}

#[derive(Args)]
pub(super) struct RunningFlags {
    /// Id of the gateway, which has to be running
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,
}

#[derive(Args)]
pub(super) struct UpgradeBinaryFlags {
    #[command(flatten)]
    pub(super) gateway: RunningFlags,

    /// The folder of the new gatewayd [default: that of this command]
    #[arg(long, value_name = "FOLDER")]
    pub(super) from: Option<PathBuf>,

    /// For how long the new programs are watched
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(super) probation: Probation,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct ConfigFlags {
    #[command(subcommand)]
    pub(super) what: ConfigCommand,
}

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Show what the running gateway has in force, and where each value comes from
    #[command(after_help = CONFIG_SHOW_EXAMPLES)]
    Show(ShownFlags),
    /// Show what in the file is not as the running gateway has it in force
    #[command(after_help = CONFIG_DIFF_EXAMPLES)]
    Diff(ShownFlags),
}

#[derive(Args)]
pub(super) struct ShownFlags {
    #[command(flatten)]
    pub(super) gateway: RunningFlags,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct ReloadFlags {
    #[command(flatten)]
    pub(super) gateway: RunningFlags,

    /// Only say what would happen
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct LogFlags {
    #[command(flatten)]
    pub(super) gateway: RunningFlags,

    /// The process, by the name that the log prints
    #[arg(long, value_name = "ROLE", value_parser = one_of(processes(), process_name))]
    pub(super) role: Process,

    /// What it is to log
    #[arg(value_name = "LEVEL", value_parser = one_of(LogLevel::ALL, LogLevel::name))]
    pub(super) level: LogLevel,

    /// For how long; then RUST_LOG holds again
    #[arg(long = "for", value_name = "TIME", default_value = "10m")]
    pub(super) time: LevelTime,
}

/// The supervisor is none of the roles. The name keeps clap from taking the flag for one that may be missing.
pub(super) type Process = Option<Role>;

#[derive(Args)]
pub(super) struct ClientFlags {
    #[command(subcommand)]
    pub(super) what: ClientCommand,
}

#[derive(Subcommand)]
pub(super) enum ClientCommand {
    /// Show how many clients are registered
    #[command(after_help = CLIENT_COUNT_EXAMPLES)]
    Count(ShownFlags),
    /// Show what is known of a client
    #[command(after_help = CLIENT_SHOW_EXAMPLES)]
    Show(OneClientFlags),
    /// Remove a client's registration and its mail, and end its session
    #[command(after_help = CLIENT_FORGET_EXAMPLES)]
    Forget(OneClientFlags),
}

#[derive(Args)]
pub(super) struct OneClientFlags {
    #[command(flatten)]
    pub(super) shown: ShownFlags,

    /// The client's address, in base58
    #[arg(value_name = "ADDRESS")]
    pub(super) address: ClientAddress,
}

impl ClientCommand {
    /// What is asked, of which gateway, and in which form.
    pub(super) fn parts(self) -> (ClientOrder, ShownFlags) {
        match self {
            Self::Count(shown) => (ClientOrder::Count, shown),
            Self::Show(OneClientFlags { shown, address }) => (ClientOrder::Show(address), shown),
            Self::Forget(OneClientFlags { shown, address }) => (ClientOrder::Forget(address), shown),
        }
    }
}

#[derive(Args)]
pub(super) struct BackupFlags {
    #[command(flatten)]
    pub(super) gateway: RunningFlags,

    /// The file to make, which must not exist
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Args)]
pub(super) struct RestoreFlags {
    /// Id of the gateway to make, which must not exist
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// The backup
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Args)]
pub(super) struct SupportFlags {
    /// Id of the gateway
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// The file to make, which must not exist [default: print it]
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct BondingFlags {
    /// Id of the gateway to bond
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// The form of the output
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

#[derive(Args)]
pub(super) struct LookFlags {
    /// Id of the gateway to look at, which has to be running
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,
}

#[derive(Args)]
pub(super) struct StatusFlags {
    #[command(flatten)]
    pub(super) gateway: LookFlags,

    /// Print all figures as JSON
    #[arg(long, conflicts_with = "watch")]
    pub(super) json: bool,

    /// Redraw the screen every two seconds, with rates, until the command is stopped
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Args)]
pub(super) struct SignFlags {
    /// Id of the gateway whose identity key signs
    #[arg(long, value_name = "ID")]
    pub(super) id: GatewayId,

    /// Sign this text as it is
    #[arg(long, value_name = "TEXT", required_unless_present = "contract_msg")]
    pub(super) text: Option<String>,

    /// Sign the message in this text of a wallet: the message is shown in words, and must bond this gateway
    #[arg(long, value_name = "BASE58", conflicts_with = "text")]
    pub(super) contract_msg: Option<String>,

    /// The form of the output
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,

    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

/// Takes the name of one of `all`.
fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(name))
        .try_map(move |given| all.into_iter().find(|one| name(*one) == given).ok_or("it has no such name"))
}
