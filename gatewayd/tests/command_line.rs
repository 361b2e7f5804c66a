//! The two programs from outside: output, exit codes, and where their files go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Output, Stdio},
};

const NAMES: [&str; 2] = [env!("CARGO_BIN_EXE_gatewayd"), env!("CARGO_BIN_EXE_nym-gateway")];

const BANNER: &str = concat!(
    r"

      _ __  _   _ _ __ ___
     | '_ \| | | | '_ \ _ \
     | | | | |_| | | | | | |
     |_| |_|\__, |_| |_| |_|
            |___/

             (gateway - version ",
    env!("CARGO_PKG_VERSION"),
    ")\n\n    \n"
);

fn command(program: &str, home: &Path, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).args(arguments.split_whitespace());
    command
}

/// The exit code, the output after the banner, and standard error.
fn run(program: &str, home: &Path, arguments: &str) -> (i32, String, String) {
    read(command(program, home, arguments).output().unwrap())
}

/// The exit code and the output of a command that programs may read. Without a terminal there is no banner.
fn run_plain(program: &str, home: &Path, arguments: &str) -> (i32, String) {
    let output = command(program, home, arguments).output().unwrap();
    (output.status.code().expect("ends by itself"), String::from_utf8(output.stdout).unwrap())
}

fn read(output: Output) -> (i32, String, String) {
    let stdout = String::from_utf8(output.stdout).unwrap();
    let after_banner = stdout.strip_prefix(BANNER).unwrap_or_else(|| panic!("no banner: {stdout}"));
    let code = output.status.code().expect("ends by itself");
    (code, after_banner.to_owned(), String::from_utf8(output.stderr).unwrap())
}

const INIT: &str = "init --id demo --mix-host 127.0.0.1 --clients-host 127.0.0.1";

#[test]
fn both_names_say_the_same() {
    let home = tempfile::tempdir().unwrap();
    for program in NAMES {
        let usage = "usage: --help to see available options.\n\n\n";
        assert_eq!(run(program, home.path(), ""), (0, usage.into(), String::new()));

        let version = format!("Nym Mixnet Gateway {} (gatewayd)\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run_plain(program, home.path(), "--version"), (0, version));

        let (code, help) = run_plain(program, home.path(), "--help");
        assert_eq!(code, 0);
        for words in ["init", "Initialise the gateway", "run", "Starts the gateway", "upgrade", "--home"] {
            assert!(help.contains(words), "{help}");
        }
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

/// Without a terminal, `COLUMNS` sets the width.
#[test]
fn help_is_as_wide_as_it_is_told() {
    let home = tempfile::tempdir().unwrap();
    let widest = |columns: &str| {
        let output = command(NAMES[0], home.path(), "audit --help").env("COLUMNS", columns).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.chars().count()).max()
    };
    assert!(widest("60") <= Some(60));
    assert!(widest("90") > Some(60) && widest("90") <= Some(90));
}

#[test]
fn every_flag_of_0_10_1_is_there() {
    let home = tempfile::tempdir().unwrap();
    let shared = "--id --mix-host --mix-port --clients-host --clients-port --mix-announce-host --mix-announce-port \
                  --clients-announce-host --clients-announce-port --inboxes --clients-ledger --validators \
                  --mixnet-contract";
    let cases = [
        ("init", shared.to_owned()),
        ("run", format!("{shared} --config")),
        ("upgrade", "--id --current-version".into()),
    ];
    for (command, flags) in cases {
        let (code, help) = run_plain(NAMES[0], home.path(), &format!("{command} --help"));
        assert_eq!(code, 0);
        for flag in flags.split_whitespace() {
            assert!(help.contains(&format!("{flag} <")), "{command} {flag}: {help}");
        }
    }
}

#[test]
fn wrong_arguments_end_with_1_and_name_the_flag() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        ("bogus", "bogus"),
        ("init --id demo --mix-host 127.0.0.1", "--clients-host"),
        ("init --id demo --clients-host 127.0.0.1", "--mix-host"),
        ("init --mix-host ::1 --clients-host ::1", "--id"),
        ("run", "--id"),
        ("run --id ..", "--id"),
        ("init --id a/b --mix-host ::1 --clients-host ::1", "--id"),
        ("upgrade --id .", "--id"),
        ("init --id demo --mix-host foo.example --clients-host ::1", "--mix-host"),
        ("init --id demo --mix-host ::1 --clients-host ::1 --clients-port 70000", "--clients-port"),
        ("run --id demo --mix-announce-port 0", "--mix-announce-port"),
        ("upgrade --id demo --current-version x", "--current-version"),
    ] {
        let (code, _, stderr) = run(NAMES[0], home.path(), arguments);
        assert_eq!(code, 1, "{arguments}: {stderr}");
        assert!(stderr.contains(words), "{arguments}: {stderr}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing was written");
}

#[test]
fn the_root_is_below_home_and_can_be_moved() {
    let home = tempfile::tempdir().unwrap();
    let config = |root: &str| home.path().join(root).join("demo/config/config.toml");

    let (code, printed, _) = run(NAMES[1], home.path(), INIT);
    assert_eq!(code, 0);
    assert!(printed.contains(&format!("{:?}", config(".nym/gateways"))), "{printed}");
    assert!(config(".nym/gateways").is_file());

    let flag = format!("{INIT} --home {}", home.path().join("flag").display());
    assert_eq!(run(NAMES[0], home.path(), &flag).0, 0);
    assert!(config("flag").is_file());

    let by_environment = command(NAMES[0], home.path(), INIT).env("GATEWAYD_HOME", home.path().join("env")).output();
    assert_eq!(read(by_environment.unwrap()).0, 0);
    assert!(config("env").is_file());

    let nowhere = command(NAMES[0], home.path(), INIT).env_remove("HOME").output();
    let (code, _, stderr) = read(nowhere.unwrap());
    assert_eq!(code, 1);
    assert!(stderr.contains("--home"), "{stderr}");
    // 1 would be the verdict on a gateway that serves.
    for verdict in ["status", "health"] {
        let nowhere = command(NAMES[0], home.path(), &format!("{verdict} --id nosuch")).env_remove("HOME").output();
        let nowhere = nowhere.unwrap();
        assert_eq!(nowhere.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--home"), "{nowhere:?}");
    }
}

#[test]
fn commands_on_a_gateway_that_is_not_there_fail() {
    let home = tempfile::tempdir().unwrap();
    let (code, printed, stderr) = run(NAMES[0], home.path(), "run --id nosuch");
    assert_eq!((code, printed.as_str()), (78, "Starting gateway nosuch...\n"));
    assert!(
        stderr.contains("error: Failed to load config for nosuch. Are you sure you have run `init` before?"),
        "{stderr}"
    );
    let (code, printed, stderr) = run(NAMES[0], home.path(), "upgrade --id nosuch");
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(stderr.contains("error: failed to load existing config file! - No such file"), "{stderr}");
}

#[test]
fn unknown_keys_are_logged_with_their_line() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(run(NAMES[0], home.path(), INIT).0, 0);
    let file = home.path().join(".nym/gateways/demo/config/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[gateway]\n", "[gateway]\nlocation = 'x'\n")).unwrap();
    let (code, _, stderr) = run(NAMES[0], home.path(), "upgrade --id demo");
    assert_eq!(code, 0);
    assert!(stderr.contains("WARN") && stderr.contains("unknown key `location` in [gateway]"), "{stderr}");

    fs::write(&file, text.replace("[limits]\n", "[limits]\nlocation = 'x'\n")).unwrap();
    let (code, _, stderr) = run(NAMES[0], home.path(), "upgrade --id demo");
    assert_eq!(code, 1);
    assert!(stderr.contains("unknown field `location`") && stderr.contains("line "), "{stderr}");
}

#[test]
fn a_reader_that_goes_away_does_not_stop_init() {
    let home = tempfile::tempdir().unwrap();
    let mut child = command(NAMES[0], home.path(), INIT).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
    assert!(home.path().join(".nym/gateways/demo/config/config.toml").is_file());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".nym"), "a file").unwrap();
    let (code, _, stderr) = run(NAMES[0], home.path(), INIT);
    assert_eq!(code, 1);
    assert!(stderr.contains("/.nym: Not a directory") && !stderr.contains("panicked"), "{stderr}");
}
