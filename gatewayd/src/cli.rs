//! The command line: commands, flags and exit codes. The exit code is 0, or 78 if `run` cannot use the configuration, or 1 for any other
//! error.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use ipc::{
    Role,
    log::{LineFormat, LogSettings},
    signer::SignText,
};
use semver::Version;

use crate::{
    audit::{self, AuditError, ability::Ability},
    banner::{self, PROGRAM_VERSION},
    console::Console,
    init::{self, InitError},
    log,
    node::{
        bonding::{self, BondingError},
        check::{self, CheckError},
    },
    overrides::Overrides,
    paths::{GatewayId, Root, RootError},
    plan::{Environment, LEFT_OUT},
    run::{self, RunError},
    sign::{self, Output, SignError, SignOptions},
    upgrade::{self, UpgradeError},
};

/// The text after the flags in the help of `gatewayd` and of `run`. No line has more than 80 characters, because clap would break a longer
/// line and with it the columns.
const MORE: &str = "\
Examples:
  gatewayd init --id mygateway --mix-host 203.0.113.5 --clients-host 203.0.113.5
  gatewayd run --id mygateway
  RUST_LOG=info,store=debug gatewayd run --id mygateway

Environment:
  GATEWAYD_HOME  the folder of all gateways, as --home
  RUST_LOG       what is logged: error, warn, info (default), debug or trace,
                 for everything or for one of gatewayd, mix-ingress, mix-egress,
                 client-edge, store and http-api (store=debug), separated by
                 commas

Files, in $HOME/.nym/gateways/<ID>:
  config/config.toml  the settings, each explained
  data/*.pem          the keys: back them up
  data/               ledger of clients, stored messages, marks of packets seen

Exit codes:
  0   ended in good order
  1   failed; another attempt may succeed
  78  `run` cannot use the configuration: correct it first";

/// The text after the flags in the help of `init`.
const INIT_EXAMPLES: &str = "\
Examples:
  gatewayd init --id mygateway --mix-host 203.0.113.5 --clients-host 203.0.113.5
  gatewayd init --id athome \\
      --mix-host 192.168.1.5 --mix-announce-host nym.example \\
      --clients-host 192.168.1.5 --clients-announce-host wss://nym.example";

/// Behind the help of `sign`.
const SIGN_EXAMPLES: &str = "\
Examples:
  gatewayd sign --id mygateway --contract-msg 22Z9wt4PyiBCbMiErxj5bBa4VCCFsjNawZ1KnLyMeV9p...
  gatewayd sign --id mygateway --text 'I run this gateway'

What the signature says is shown first, on standard error. Without --yes it is
made only if you type yes.";

/// Behind the help of `bonding-information`.
const BONDING_EXAMPLES: &str = "\
Examples:
  gatewayd bonding-information --id mygateway
  gatewayd bonding-information --id mygateway --output json";

/// Behind the help of `node-check`.
const CHECK_EXAMPLES: &str = "\
Example:
  gatewayd node-check --id mygateway

The gateway has to be running, and is looked at through its public address.
The exit code is 1 if something would keep clients or the directory away.";

/// Implementation of the Nym Mixnet Gateway
#[derive(Parser)]
#[command(name = "Nym Mixnet Gateway", version = format!("{PROGRAM_VERSION} (gatewayd)"), propagate_version = true, after_help = MORE)]
struct Cli {
    /// Folder that contains the gateways' folders [default: $HOME/.nym/gateways]
    #[arg(long, global = true, env = "GATEWAYD_HOME", value_name = "FOLDER")]
    home: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Initialise the gateway, or change the settings of an existing one
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitFlags),
    /// Starts the gateway; flags hold for this run only
    #[command(after_help = MORE)]
    Run(RunFlags),
    /// Try to upgrade the gateway
    Upgrade(UpgradeFlags),
    /// Show what each process of the gateway can do, measured from inside its jail
    Audit(AuditFlags),
    /// Show what a wallet asks for to bond the gateway
    #[command(after_help = BONDING_EXAMPLES)]
    BondingInformation(BondingFlags),
    /// Show what would be wrong with the gateway as a node of today's network, before it is bonded
    #[command(after_help = CHECK_EXAMPLES)]
    NodeCheck(CheckFlags),
    /// Sign a text with the gateway's identity key, as a wallet asks for before it bonds the gateway
    #[command(after_help = SIGN_EXAMPLES)]
    Sign(SignFlags),
}

#[derive(Args)]
struct InitFlags {
    /// A name for the gateway and its folder: letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "ID")]
    id: GatewayId,

    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Args)]
struct RunFlags {
    /// Id of the gateway we want to run
    #[arg(long, value_name = "ID")]
    id: GatewayId,

    /// The configuration file [default: config/config.toml in the gateway's folder]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Run the workers without their jail, for debugging
    #[arg(long, hide = true)]
    insecure_no_sandbox: bool,

    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Args)]
struct UpgradeFlags {
    /// Id of the nym-gateway we want to upgrade
    #[arg(long, value_name = "ID")]
    id: GatewayId,

    /// REQUIRED FOR PRE-0.9.0 UPGRADES. Specifies current version of the configuration file to help to determine a valid
    /// upgrade path. Valid formats include '0.8.1', 'v0.8.1' or 'V0.8.1'
    #[arg(long, value_name = "VERSION", value_parser = upgrade::parse_version)]
    current_version: Option<Version>,
}

#[derive(Args)]
struct AuditFlags {
    /// Id of the gateway we want to audit
    #[arg(long, value_name = "ID")]
    id: GatewayId,

    /// The configuration file [default: config/config.toml in the gateway's folder]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Start probes in the place of workers, instead of asking the running gateway
    #[arg(long)]
    self_test: bool,

    /// Show this column of the table only
    #[arg(long, value_name = "ROLE", value_parser = one_of(Role::ALL, Role::name))]
    role: Option<Role>,

    /// Show this line of the table only
    #[arg(long, value_name = "ABILITY", value_parser = one_of(Ability::ALL, Ability::name))]
    ability: Option<Ability>,
}

#[derive(Args)]
struct BondingFlags {
    /// Id of the gateway to bond
    #[arg(long, value_name = "ID")]
    id: GatewayId,

    /// The form of the output
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Args)]
struct CheckFlags {
    /// Id of the gateway to look at, which has to be running
    #[arg(long, value_name = "ID")]
    id: GatewayId,
}

#[derive(Args)]
struct SignFlags {
    /// Id of the gateway whose identity key signs
    #[arg(long, value_name = "ID")]
    id: GatewayId,

    /// Sign this text as it is
    #[arg(long, value_name = "TEXT", required_unless_present = "contract_msg")]
    text: Option<String>,

    /// Sign the message in this text of a wallet: the message is shown in words, and must bond this gateway
    #[arg(long, value_name = "BASE58", conflicts_with = "text")]
    contract_msg: Option<String>,

    /// The form of the output
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Takes the name of one of `all`.
fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(name))
        .try_map(move |given| all.into_iter().find(|one| name(*one) == given).ok_or("it has no such name"))
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
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
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Run(error) if error.is_of_configuration() => ExitCode::from(CONFIGURATION),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    let mut stdout = io::stdout();
    let mut console = Console::new(&mut stdout);
    let parsed = parse(command(), std::env::args_os());
    let log = log::begin();
    if shows_banner(&parsed, log.format) {
        banner::print(&mut console);
    }
    let outcome = match parsed {
        Ok(cli) => dispatch(cli, log, &mut console),
        Err(error) => {
            console.flush();
            // Help goes to standard output, errors go to standard error. If that is closed, nobody can read them.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    console.flush();
    logging::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, nobody can read the error.
            let _ = writeln!(io::stderr(), "error: {error}");
            error.exit_code()
        }
    }
}

/// A program that reads JSON, or the output of a command, must not get the banner. A journal has no use for it.
fn shows_banner(parsed: &Result<Cli, clap::Error>, format: LineFormat) -> bool {
    match parsed {
        _ if format == LineFormat::Journal => false,
        Ok(Cli { command: Some(Command::Audit(flags)), .. }) => !flags.json,
        Ok(Cli {
            command: Some(Command::Sign(_) | Command::BondingInformation(_) | Command::NodeCheck(_)), ..
        }) => false,
        Ok(_) => true,
        Err(error) => error.use_stderr() || io::stdout().is_terminal(),
    }
}

fn command() -> clap::Command {
    // `init` requires two flags that `run` does not, because a first `init` has no configured addresses.
    Cli::command().mut_subcommand("init", |init| {
        init.mut_arg("mix_host", |host| host.required(true)).mut_arg("clients_host", |host| host.required(true))
    })
}

fn parse(command: clap::Command, arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

fn dispatch(cli: Cli, log: LogSettings, console: &mut Console<'_>) -> Result<(), CommandError> {
    let Some(command) = cli.command else {
        console.line("usage: --help to see available options.\n\n");
        return Ok(());
    };
    let root = Root::new(cli.home, std::env::var_os("HOME"))?;
    let environment = |log| Environment {
        runtime_directory: std::env::var_os("RUNTIME_DIRECTORY"),
        credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        layers_left_out: std::env::var_os(LEFT_OUT),
        log,
        insecure: false,
        uses_private_keys: true,
    };
    match command {
        Command::Init(flags) => init::execute(&flags.id, &root, &flags.overrides, console)?,
        Command::Run(flags) => {
            let RunFlags { id, config, overrides, insecure_no_sandbox } = flags;
            let environment = Environment { insecure: insecure_no_sandbox, ..environment(log) };
            run::execute(&id, &root, config, &overrides, environment, console)?;
        }
        Command::Upgrade(flags) => {
            upgrade::execute(&flags.id, &root, flags.current_version, console)?;
        }
        Command::Audit(flags) => {
            let AuditFlags { id, config, json, self_test, role, ability } = flags;
            let options = audit::AuditOptions { json, self_test, config, role, ability };
            audit::execute(&id, &root, options, environment(log), console)?;
        }
        Command::BondingInformation(BondingFlags { id, output }) => {
            bonding::execute(
                &id,
                &root,
                output,
                Environment { uses_private_keys: false, ..environment(log) },
                console,
            )?;
        }
        Command::NodeCheck(CheckFlags { id }) => {
            check::execute(&id, &root, Environment { uses_private_keys: false, ..environment(log) }, console)?;
        }
        Command::Sign(flags) => {
            let SignFlags { id, text, contract_msg, output, yes } = flags;
            let text = match (text, contract_msg) {
                (Some(text), _) => SignText::Plain(text),
                (None, message) => SignText::ContractMessage(message.unwrap_or_default()),
            };
            sign::execute(&id, &root, SignOptions { text, output, yes }, environment(log), console)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The help on a terminal of so many columns.
    fn help_on(columns: usize, arguments: &[&str]) -> String {
        match parse(command().term_width(columns), arguments.iter().map(OsString::from)) {
            Ok(_) => panic!("no help for {arguments:?}"),
            Err(help) => help.to_string(),
        }
    }

    fn help(arguments: &[&str]) -> String {
        help_on(100, arguments)
    }

    #[test]
    fn help_stays_within_the_terminal() {
        for command in [&["gatewayd"][..], &["gatewayd", "init"], &["gatewayd", "run"], &["gatewayd", "audit"]] {
            let arguments = [command, &["--help"]].concat();
            for columns in [80, 100] {
                let text = help_on(columns, &arguments);
                // The usage stays one line, so that it can be copied.
                let lines = text.lines().filter(|line| !line.starts_with("Usage: "));
                let widest = lines.map(|line| line.chars().count()).max();
                assert!(widest <= Some(columns), "{widest:?} of {columns} columns: {text}");
            }
            // clap must not break the lines after the flags.
            let of_it = |text: String| text.split_once("Examples:").map(|(_, rest)| rest.to_owned());
            assert_eq!(of_it(help_on(80, &arguments)), of_it(help(&arguments)));
        }
    }

    #[test]
    fn help_has_defaults_examples_files_and_exit_codes() {
        let init = help(&["gatewayd", "init", "--help"]);
        for part in ["--mix-port <PORT>", "[default: 1789]", "[default: 9000]", "--id <ID>", "Examples:", "203.0.113.5"]
        {
            assert!(init.contains(part), "{part} is missing in {init}");
        }
        for text in [help(&["gatewayd", "--help"]), help(&["gatewayd", "run", "--help"])] {
            for part in ["RUST_LOG", "client-edge", "config/config.toml", "Exit codes:", "78  ", "GATEWAYD_HOME"] {
                assert!(text.contains(part), "{part} is missing in {text}");
            }
        }
    }
}
