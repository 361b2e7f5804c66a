use std::{fs, os::unix::fs::MetadataExt as _};

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    overrides: Overrides,
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> Root {
        Root::new(Some(self.0.path().join("gateways")), None).unwrap()
    }

    fn paths(&self) -> GatewayPaths {
        GatewayPaths::new(&self.root(), &"demo".parse().unwrap())
    }

    /// The output, with neutral texts in place of the test's folder and keys.
    fn init(&self, flags: &str) -> Result<String, InitError> {
        let flags = Flags::try_parse_from(format!("x {flags}").split(' ')).unwrap();
        let mut out = Vec::new();
        execute(&"demo".parse().unwrap(), &self.root(), &flags.overrides, &mut Console::new(&mut out))?;
        let text = String::from_utf8(out).unwrap();
        let public = keys::load_public(&self.paths().keys(), &PathGuard::new(self.paths().home())).unwrap();
        Ok(text
            .replace(self.0.path().to_str().unwrap(), "/home/nym/.nym")
            .replace(&public.identity_base58(), "IDENTITY")
            .replace(&public.sphinx_base58(), "SPHINX"))
    }

    fn config(&self) -> Config {
        Config::load(&self.paths().config_file(), &self.paths(), &PathGuard::new(self.paths().home())).unwrap().config
    }

    fn config_text(&self) -> String {
        fs::read_to_string(self.paths().config_file()).unwrap()
    }
}

const LOCAL: &str = "--mix-host 127.0.0.1 --clients-host 127.0.0.1";

const FIRST: &str = "Initialising gateway demo...
Saved identity and mixnet sphinx keypairs
Saved configuration file to \"/home/nym/.nym/gateways/demo/config/config.toml\"
Gateway configuration completed.



Public identity key: IDENTITY

Public sphinx key: SPHINX


To bond your gateway you will [most likely] need to provide the following:
    Identity key: IDENTITY
    Sphinx key: SPHINX
    Mix Host: 127.0.0.1:1789
    Clients Host: ws://127.0.0.1:9000
    Location: [physical location of your node's server]
    Version: 0.10.1
    \n";

const AGAIN: &str =
    "Gateway \"demo\" was already initialised before! Config information will be overwritten (but keys will be kept)!";

#[test]
fn prints_what_0_10_1_printed() {
    let home = Home::new();
    assert_eq!(home.init(LOCAL).unwrap(), FIRST);
    let saved = "config.toml\"\n";
    let again = FIRST
        .replace("Saved identity and mixnet sphinx keypairs", AGAIN)
        .replace(saved, &format!("{saved}Nothing has changed in it: keys and settings are kept\n"));
    assert_eq!(home.init(LOCAL).unwrap(), again);
}

#[test]
fn makes_files_with_the_right_modes() {
    let home = Home::new();
    home.init(LOCAL).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o7777;
    let paths = home.paths();
    assert_eq!(mode(paths.home().to_owned()), 0o755);
    assert_eq!(mode(paths.config_dir()), 0o755);
    assert_eq!(mode(paths.data_dir()), 0o700);
    assert_eq!(mode(paths.config_file()), 0o644);
    assert_eq!(mode(paths.keys().private_identity), 0o600);
    assert_eq!(fs::read_dir(paths.data_dir()).unwrap().count(), 4);
    assert_eq!(fs::read_dir(paths.config_dir()).unwrap().count(), 1);
}

#[test]
fn flags_are_kept_in_the_file() {
    let home = Home::new();
    let flags = "--mix-host ::1 --clients-host [::1]:4000 --validators http://a:1,http://b:2 --mixnet-contract hal1x \
                 --inboxes /inb --clients-ledger /led --clients-announce-host nym.example --clients-announce-port 5001";
    let printed = home.init(flags).unwrap();
    assert!(printed.contains("    Mix Host: [::1]:1789\n    Clients Host: ws://nym.example:5001\n"), "{printed}");
    let config = home.config();
    assert_eq!(config.validators, ["http://a:1", "http://b:2"]);
    assert_eq!(config.contract.as_deref(), Some("hal1x"));
    assert_eq!(config.clients.listen.to_string(), "[::1]:4000");
    assert_eq!(config.clients.inboxes, Path::new("/inb"));
    assert_eq!(config.clients.ledger, Path::new("/led"));
}

#[test]
fn a_second_init_keeps_keys_comments_and_settings() {
    let home = Home::new();
    home.init(&format!("{LOCAL} --validators http://a:1 --mix-announce-host nym.example")).unwrap();
    let keys = home.paths().keys();
    let read_keys = || keys.all().map(|path| fs::read(path).unwrap());
    let keys_before = read_keys();
    let edited = home
        .config_text()
        .replace("[delivery]\n", "[delivery]\n# my own words\n")
        .replace("inbox_messages = 50000", "inbox_messages = 7 # few");
    fs::write(home.paths().config_file(), &edited).unwrap();

    home.init(LOCAL).unwrap();
    assert_eq!(home.config_text(), edited);

    let printed = home.init(&format!("{LOCAL} --mix-port 4000")).unwrap();
    assert!(printed.contains("listening_address: '127.0.0.1:1789' -> '127.0.0.1:4000'"), "{printed}");
    let expected =
        edited.replace("'127.0.0.1:1789'", "'127.0.0.1:4000'").replace("'nym.example:1789'", "'nym.example:4000'");
    assert_eq!(home.config_text(), expected);
    assert_eq!(read_keys(), keys_before);
}

#[test]
fn private_next_hops_are_allowed_in_private_networks_only() {
    let cases: [(&[&str], bool); 6] = [
        (&["--mix-host 127.0.0.1 --clients-host 127.0.0.1"], true),
        (&["--mix-host 203.0.113.9 --clients-host 127.0.0.1"], false),
        // Behind a NAT the announced address counts.
        (&["--mix-host 10.0.0.1 --mix-announce-host 203.0.113.5 --clients-host 127.0.0.1"], false),
        (&["--mix-host :: --mix-announce-host fd00::1 --clients-host 127.0.0.1"], true),
        (&["--mix-host 10.0.0.1 --clients-host 127.0.0.1", "--mix-host 203.0.113.5 --clients-host 127.0.0.1"], false),
        (&["--mix-host 203.0.113.5 --clients-host 127.0.0.1", "--mix-host 10.0.0.1 --clients-host 127.0.0.1"], true),
    ];
    for (inits, allowed) in cases {
        let home = Home::new();
        for flags in inits {
            home.init(flags).unwrap();
        }
        assert_eq!(home.config().egress.allow_private, Some(allowed), "{inits:?}");
    }

    // The operator's choice stays while the network stays the same.
    let home = Home::new();
    home.init(LOCAL).unwrap();
    let text = home.config_text().replace("allow_private = true", "allow_private = false");
    fs::write(home.paths().config_file(), text).unwrap();
    home.init(LOCAL).unwrap();
    assert_eq!(home.config().egress.allow_private, Some(false));
}

#[test]
fn a_home_of_0_10_1_is_not_touched_beyond_the_flags() {
    let home = Home::new();
    home.init(LOCAL).unwrap();
    let gateways = home.paths().root().to_str().unwrap().to_owned();
    let old = include_str!("../../tests/fixtures/config-0.10.1.toml").replace("/home/nym/.nym/gateways", &gateways);
    fs::write(home.paths().config_file(), &old).unwrap();
    home.init(LOCAL).unwrap();
    assert_eq!(home.config_text(), old);

    fs::write(home.paths().config_file(), old.replace("'0.10.1'", "'0.10.0'")).unwrap();
    home.init(LOCAL).unwrap();
    assert_eq!(home.config_text(), old);
}

#[test]
fn missing_keys_are_never_replaced() {
    let home = Home::new();
    home.init(LOCAL).unwrap();
    let text = home.config_text();
    let keys = home.paths().keys();
    fs::remove_file(&keys.private_sphinx).unwrap();
    let error =
        execute(&"demo".parse().unwrap(), &home.root(), &Overrides::default(), &mut Console::new(&mut Vec::new()))
            .unwrap_err()
            .to_string();
    assert!(error.contains("private_sphinx.pem") && !error.contains("public_sphinx.pem"), "{error}");
    assert!(error.contains("Restore them from a backup"), "{error}");
    for path in keys.all() {
        let _ = fs::remove_file(path);
    }
    let outcome =
        execute(&"demo".parse().unwrap(), &home.root(), &Overrides::default(), &mut Console::new(&mut Vec::new()));
    assert!(matches!(outcome, Err(InitError::MissingKeys { missing, .. }) if missing.len() == 4));
    assert_eq!(home.config_text(), text);
}

#[test]
fn keys_without_a_configuration_are_kept() {
    let home = Home::new();
    home.init(LOCAL).unwrap();
    let before = keys::load_public(&home.paths().keys(), &PathGuard::new(home.paths().home())).unwrap();
    fs::remove_file(home.paths().config_file()).unwrap();
    assert!(home.init(LOCAL).unwrap().contains(AGAIN));
    assert_eq!(keys::load_public(&home.paths().keys(), &PathGuard::new(home.paths().home())).unwrap(), before);
}

#[test]
fn an_unusable_configuration_or_key_changes_nothing() {
    let home = Home::new();
    home.init(LOCAL).unwrap();
    let good = home.config_text();
    for bad in [good.replace("0.10.1", "0.9.2"), good.replace("0.10.1", "0.11.0"), "[".into()] {
        fs::write(home.paths().config_file(), &bad).unwrap();
        assert!(home.init(LOCAL).is_err());
        assert_eq!(home.config_text(), bad);
    }
    fs::write(home.paths().config_file(), &good).unwrap();
    fs::write(home.paths().keys().public_identity, "x").unwrap();
    let outcome =
        execute(&"demo".parse().unwrap(), &home.root(), &Overrides::default(), &mut Console::new(&mut Vec::new()));
    assert!(matches!(outcome, Err(InitError::Key(_))));
    assert_eq!(home.config_text(), good);
}

#[test]
fn addresses_that_nobody_can_use_change_nothing() {
    for (flags, words) in [
        ("--mix-host 127.0.0.1:5 --clients-host 127.0.0.1:5", "port 5 is set twice"),
        ("--mix-host 127.0.0.1 --clients-host 0.0.0.0:1789", "port 1789 is set twice"),
        ("--mix-host 0.0.0.0 --clients-host 127.0.0.1", "with --mix-announce-host"),
        ("--mix-host 127.0.0.1 --clients-host ::", "with --clients-announce-host"),
        ("--mix-host 127.0.0.1:7 --mix-port 8 --clients-host ::1", "give the port once"),
    ] {
        let home = Home::new();
        let error = home.init(flags).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!home.paths().home().exists());
    }
    let announced = "--mix-announce-host nym.example --clients-announce-host nym.example";
    Home::new().init(&format!("--mix-host :: --clients-host 0.0.0.0 {announced}")).unwrap();
    Home::new().init("--mix-host 127.0.0.1:5 --clients-host [::1]:5").unwrap();
}
