//! The command line: which commands there are, and what each is handed to.
//!
//! | file | idea |
//! |---|---|
//! | [`flags`] | the flags of each command |
//! | [`help`] | the texts behind the flags |
//! | [`failure`] | why a command failed, and its exit code |

mod failure;
mod flags;
mod help;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use ipc::{
    log::{LineFormat, LogSettings},
    signer::SignText,
};

use self::{
    failure::{CANNOT_CREATE, CommandError, usage_error},
    flags::{
        AuditFlags, BackupFlags, BondingFlags, ClientFlags, ConfigCommand, ConfigFlags, FitnessFlags, InitFlags,
        LogFlags, LookFlags, ReloadFlags, RestoreFlags, RunFlags, RunningFlags, ShownFlags, SignFlags, StatusFlags,
        SupportFlags, UpgradeBinaryFlags, UpgradeFlags,
    },
    help::{
        AUDIT_EXAMPLES, BACKUP_EXAMPLES, BONDING_EXAMPLES, CHECK_EXAMPLES, CLIENT_EXAMPLES, CONFIG_EXAMPLES,
        DRAIN_EXAMPLES, FITNESS_EXAMPLES, HEALTH_EXAMPLES, INIT_EXAMPLES, LOG_EXAMPLES, MORE, RELOAD_EXAMPLES,
        RESTORE_EXAMPLES, RESUME_EXAMPLES, SIGN_EXAMPLES, STATUS_EXAMPLES, SUPPORT_EXAMPLES, UPGRADE_BINARY_EXAMPLES,
        UPGRADE_EXAMPLES,
    },
};
use crate::{
    audit,
    backup::{make, restore},
    banner::{self, PROGRAM_VERSION},
    check::{self as fitness, Depth, trial},
    clients,
    console::Console,
    init, log,
    node::{bonding, check},
    paths::Root,
    plan::{Environment, LEFT_OUT, PlanSource},
    run,
    sign::{self, SignOptions},
    status,
    steer::{config, level, newcomers, reload, upgrade_binary},
    support, upgrade,
};

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
    #[command(after_help = UPGRADE_EXAMPLES)]
    Upgrade(UpgradeFlags),
    /// Show what each process of the gateway can do, measured from inside its jail
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(AuditFlags),
    /// Show everything that would keep the gateway from starting or from serving
    #[command(after_help = FITNESS_EXAMPLES)]
    Check(FitnessFlags),
    /// Let no new clients into the running gateway; those that are connected stay
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(RunningFlags),
    /// Let new clients into the running gateway again
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(RunningFlags),
    /// Have the running gateway read its configuration again, and replace only the workers that it concerns
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload(ReloadFlags),
    /// Show the configuration of the running gateway
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(ConfigFlags),
    /// Have the running gateway become the programs beside this command, or go back to its own if they are no good
    #[command(after_help = UPGRADE_BINARY_EXAMPLES)]
    UpgradeBinary(UpgradeBinaryFlags),
    /// Change for a time what a process of the running gateway logs
    #[command(after_help = LOG_EXAMPLES)]
    Log(LogFlags),
    /// Show how many clients there are, or one client, or remove one
    #[command(after_help = CLIENT_EXAMPLES)]
    Client(ClientFlags),
    /// Back the running gateway up to a file
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupFlags),
    /// Make a gateway from a backup
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreFlags),
    /// Show what somebody who helps needs to know, and nothing that betrays anybody
    #[command(after_help = SUPPORT_EXAMPLES)]
    SupportBundle(SupportFlags),
    /// Show what a wallet asks for to bond the gateway
    #[command(after_help = BONDING_EXAMPLES)]
    BondingInformation(BondingFlags),
    /// Show what would be wrong with the gateway as a node of today's network, before it is bonded
    #[command(after_help = CHECK_EXAMPLES)]
    NodeCheck(LookFlags),
    /// Show how the running gateway is: clients, mail, packets, storage, workers
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusFlags),
    /// Say in one line whether the gateway serves
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(LookFlags),
    /// Sign a text with the gateway's identity key, as a wallet asks for before it bonds the gateway
    #[command(after_help = SIGN_EXAMPLES)]
    Sign(SignFlags),
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
            let printed = error.print().and_then(|()| io::stdout().flush());
            return match printed {
                _ if error.use_stderr() => usage_error(&command(), std::env::args_os()),
                Err(lost) if lost.kind() != io::ErrorKind::BrokenPipe => output_lost(&lost),
                _ => ExitCode::SUCCESS,
            };
        }
    };
    let printed = console.finish();
    logging::flush();
    match outcome {
        Ok(()) => match printed {
            Ok(()) => ExitCode::SUCCESS,
            Err(lost) => output_lost(&lost),
        },
        Err(error) => {
            // If standard error is closed, nobody can read the error.
            let _ = writeln!(io::stderr(), "error: {error}");
            if let Err(lost) = printed {
                output_lost(&lost);
            }
            error.exit_code()
        }
    }
}

/// Says that the output is lost, with a code that no verdict of a command has.
fn output_lost(error: &io::Error) -> ExitCode {
    let _ =
        writeln!(io::stderr(), "error: what the command had to say could not be written to standard output: {error}");
    ExitCode::from(CANNOT_CREATE)
}

/// A program that reads JSON, or the output of a command, must not get the banner. A journal has no use for it.
fn shows_banner(parsed: &Result<Cli, clap::Error>, format: LineFormat) -> bool {
    match parsed {
        _ if format == LineFormat::Journal => false,
        Ok(Cli { command: Some(Command::Audit(flags)), .. }) => !flags.json,
        Ok(Cli {
            command:
                Some(
                    Command::Sign(_)
                    | Command::BondingInformation(_)
                    | Command::NodeCheck(_)
                    | Command::Check(_)
                    | Command::Drain(_)
                    | Command::Resume(_)
                    | Command::Log(_)
                    | Command::Reload(_)
                    | Command::UpgradeBinary(_)
                    | Command::Config(_)
                    | Command::Client(_)
                    | Command::Backup(_)
                    | Command::Restore(_)
                    | Command::SupportBundle(_)
                    | Command::Status(_)
                    | Command::Health(_),
                ),
            ..
        }) => false,
        Ok(_) => true,
        Err(error) => error.use_stderr() || io::stdout().is_terminal(),
    }
}

/// All commands and flags, as they are read and shown.
pub fn command() -> clap::Command {
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
    let root = match (Root::new(cli.home, std::env::var_os("HOME")), &command) {
        // Their codes are verdicts, and 1 is that of a gateway that serves.
        (Err(error), Command::Status(_) | Command::Health(_)) => return Err(status::StatusError::from(error).into()),
        (root, _) => root?,
    };
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
            let RunFlags { id, config, overrides, dry_run, trial: tried, insecure_no_sandbox } = flags;
            let environment = Environment { insecure: insecure_no_sandbox, ..environment(log) };
            if let Some(form) = tried {
                let source = PlanSource { root, config_file: config, overrides, environment };
                trial::execute(&id, source, form, console)?;
                return Ok(());
            }
            if dry_run {
                let source = PlanSource { root, config_file: config, overrides, environment };
                fitness::execute(&id, source, Depth::Opening, false, console)?;
                return Ok(());
            }
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
        Command::Check(FitnessFlags { id, config, json, overrides }) => {
            let source = PlanSource { root, config_file: config, overrides, environment: environment(log) };
            fitness::execute(&id, source, Depth::Reading, json, console)?;
        }
        Command::Drain(RunningFlags { id }) => newcomers::execute(&id, &root, false, console)?,
        Command::Resume(RunningFlags { id }) => newcomers::execute(&id, &root, true, console)?,
        Command::Reload(ReloadFlags { gateway, dry_run, json }) => {
            reload::execute(&gateway.id, &root, dry_run, json, console)?;
        }
        Command::UpgradeBinary(UpgradeBinaryFlags { gateway, from, probation, json }) => {
            upgrade_binary::execute(&gateway.id, &root, from, probation, json, console)?;
        }
        Command::Config(ConfigFlags { what }) => match what {
            ConfigCommand::Show(flags) => config::show(&flags.gateway.id, &root, flags.json, console)?,
            ConfigCommand::Diff(flags) => config::diff(&flags.gateway.id, &root, flags.json, console)?,
        },
        Command::Log(LogFlags { gateway, role, level, time }) => {
            level::execute(&gateway.id, &root, role, level, time, console)?;
        }
        Command::Client(ClientFlags { what }) => {
            let (order, ShownFlags { gateway, json }) = what.parts();
            clients::execute(&gateway.id, &root, order, json, console)?;
        }
        Command::Backup(BackupFlags { gateway, file }) => {
            make::execute(&gateway.id, &root, &file, environment(log), console)?;
        }
        Command::Restore(RestoreFlags { id, file }) => restore::execute(&id, &root, &file, console)?,
        Command::SupportBundle(SupportFlags { id, file }) => {
            support::execute(&id, &root, file.as_deref(), console)?;
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
        Command::NodeCheck(LookFlags { id }) => {
            check::execute(&id, &root, Environment { uses_private_keys: false, ..environment(log) }, console)?;
        }
        Command::Status(StatusFlags { gateway, json, watch }) => {
            let form = match (json, watch) {
                (true, _) => status::Form::Json,
                (false, true) => status::Form::Watch,
                (false, false) => status::Form::Text,
            };
            status::show(&gateway.id, &root, form, console)?;
        }
        Command::Health(LookFlags { id }) => {
            status::check(&id, &root, console)?;
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

    #[test]
    fn every_command_has_an_example_in_its_help() {
        fn walk(command: &clap::Command, path: &str) {
            for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
                let path = format!("{path} {}", command.get_name());
                let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(text.contains("Example") && text.contains(&format!("  {path} ")), "{path}: {text}");
                walk(command, &path);
            }
        }
        walk(&command(), "gatewayd");
    }

    #[test]
    fn a_usage_error_ends_with_2_but_where_0_10_ended_with_1() {
        let code = |line: &str| format!("{:?}", usage_error(&command(), line.split(' ').map(OsString::from)));
        for line in
            ["gatewayd", "gatewayd bogus", "gatewayd run --id", "gatewayd --home x upgrade", "gatewayd init --id log"]
        {
            assert_eq!(code(line), format!("{:?}", ExitCode::FAILURE), "{line}");
        }
        for line in ["gatewayd log", "gatewayd --home x audit --bogus", "gatewayd config bogus"] {
            assert_eq!(code(line), format!("{:?}", ExitCode::from(2)), "{line}");
        }
    }
}
