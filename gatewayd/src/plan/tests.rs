use std::fs;

use clap::Parser;
use ipc::log::LineFormat;

use super::*;
use crate::init;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    overrides: Overrides,
}

fn flags(text: &str) -> Overrides {
    let arguments = ["x"].into_iter().chain(text.split_whitespace());
    Flags::try_parse_from(arguments).unwrap().overrides
}

fn guard() -> PathGuard {
    PathGuard::new(Path::new("/nowhere"))
}

struct Home(tempfile::TempDir);

impl Home {
    /// A gateway `demo`, initialised with `text`.
    fn new(text: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let mut out = Vec::new();
        init::execute(&"demo".parse().unwrap(), &home.root(), &flags(text), &mut Console::new(&mut out)).unwrap();
        home
    }

    fn root(&self) -> Root {
        Root::new(Some(self.0.path().join("gateways")), None).unwrap()
    }

    fn config_file(&self) -> PathBuf {
        self.0.path().join("gateways/demo/config/config.toml")
    }

    fn prepare(&self, id: &str, text: &str) -> (Result<RunPlan, PlanError>, String) {
        let mut out = Vec::new();
        let id = id.parse().unwrap();
        let mut console = Console::new(&mut out);
        let plan = prepare(&id, &self.root(), guard(), None, &flags(text), Environment::for_tests(), &mut console);
        if let Ok(plan) = &plan {
            plan.print(&mut console);
        }
        (plan, String::from_utf8(out).unwrap())
    }

    /// The output of a run, with neutral texts in place of the test's folder and keys.
    fn printed(&self, text: &str) -> String {
        let (plan, printed) = self.prepare("demo", text);
        let keys = plan.unwrap().public_keys;
        printed
            .replace(self.0.path().to_str().unwrap(), "/home/nym/.nym")
            .replace(&keys.identity_base58(), "IDENTITY")
            .replace(&keys.sphinx_base58(), "SPHINX")
    }
}

const LOCAL: &str = "--mix-host 127.0.0.1:21789 --clients-host 127.0.0.1:29000";

const PRINTED: &str = "Starting gateway demo...
Public sphinx key: SPHINX

Public identity key: IDENTITY


##### NOTE #####

You are trying to bind to 127.0.0.1 - you might not be accessible to other nodes
You can ignore this warning if you're running setup on a local network\u{20}
or have set a custom 'announce-host'




##### NOTE #####

You are trying to bind to 127.0.0.1 - you might not be accessible to other nodes
You can ignore this warning if you're running setup on a local network\u{20}
or have set a custom 'announce-host'



Validator REST endpoint: http://127.0.0.1:1
Listening for incoming sphinx packets on 127.0.0.1:21789
Announcing the following socket address for sphinx packets: 127.0.0.1:21789
Listening for incoming clients packets on 127.0.0.1:29000
Announcing the following socket address for clients packets: ws://127.0.0.1:29000
Inboxes directory is: \"/home/nym/.nym/gateways/demo/data/inboxes\"
Clients ledger is stored at: \"/home/nym/.nym/gateways/demo/data/client_ledger.sled\"
";

#[test]
fn prints_what_0_10_1_printed() {
    let home = Home::new(LOCAL);
    assert_eq!(home.printed("--validators http://127.0.0.1:1"), PRINTED);
    let none = PRINTED.replace("Validator REST endpoint: http://127.0.0.1:1\n", "");
    assert_eq!(home.printed(""), none);
    let two = PRINTED.replace("http://127.0.0.1:1\n", "http://a:1, http://b:2\n");
    assert_eq!(home.printed("--validators http://a:1,http://b:2"), two);
}

#[test]
fn flags_hold_for_one_run_only() {
    let home = Home::new(LOCAL);
    let before = fs::read_to_string(home.config_file()).unwrap();
    let printed = home.printed("--mix-host [::1]:4000 --clients-host 203.0.113.5 --inboxes /etc");
    assert!(printed.contains("sphinx packets on [::1]:4000\n"), "{printed}");
    assert!(printed.contains("for sphinx packets: [::1]:4000\n"), "{printed}");
    assert!(printed.contains("for clients packets: ws://203.0.113.5:29000\n"), "{printed}");
    assert!(printed.contains("Inboxes directory is: \"/etc\"\n"), "{printed}");
    assert_eq!(printed.matches("NOTE").count(), 1, "{printed}");
    assert_eq!(fs::read_to_string(home.config_file()).unwrap(), before);
}

#[test]
fn the_plan_has_what_the_console_says() {
    let home = Home::new(LOCAL);
    let credentials = tempfile::tempdir().unwrap();
    let credential = credentials.path().join("private_identity.pem");
    fs::rename(home.0.path().join("gateways/demo/data/private_identity.pem"), &credential).unwrap();
    let environment = Environment {
        runtime_directory: Some("/run/gatewayd".into()),
        credentials_directory: Some(credentials.path().to_owned()),
        layers_left_out: Some("network-namespace nonsense".into()),
        log: LogSettings { filter: "debug".into(), format: LineFormat::Journal },
        insecure: false,
        uses_private_keys: true,
    };
    let mut out = Vec::new();
    let plan = prepare(
        &"demo".parse().unwrap(),
        &home.root(),
        guard(),
        None,
        &Overrides::default(),
        environment,
        &mut Console::new(&mut out),
    )
    .unwrap();
    assert_eq!(plan.config.home, home.0.path().join("gateways/demo"));
    assert_eq!(plan.run_dir.to_str(), Some("/run/gatewayd"));
    assert_eq!(plan.log.filter, "debug");
    assert_eq!(plan.layers_left_out, [Layer::NetworkNamespace]);
    assert_eq!((plan.config.mix.listen.port(), plan.config.clients.listen.port()), (21789, 29000));
    assert!(plan.config.allow_private());
    assert_eq!(plan.config.contract.as_deref(), Some(config::DEFAULT_CONTRACT));
    assert_eq!(plan.config.keys.private_identity, credential);
    assert!(plan.config.keys.private_sphinx.starts_with(&plan.config.home));
}

#[test]
fn another_configuration_file_is_used() {
    let home = Home::new(LOCAL);
    let other = home.0.path().join("other.toml");
    let text = fs::read_to_string(home.config_file()).unwrap().replace("127.0.0.1:21789", "127.0.0.1:5");
    fs::write(&other, text).unwrap();
    let prepared = |file: &str| {
        let mut out = Vec::new();
        let file = Some(home.0.path().join(file));
        let (id, mut console) = ("demo".parse().unwrap(), Console::new(&mut out));
        prepare(&id, &home.root(), guard(), file, &Overrides::default(), Environment::for_tests(), &mut console)
    };
    assert_eq!(prepared("other.toml").unwrap().config.mix.listen.port(), 5);
    assert!(prepared("none.toml").unwrap_err().to_string().contains("none.toml"));
}

#[test]
fn no_configuration_says_to_run_init() {
    let home = Home::new(LOCAL);
    let (plan, printed) = home.prepare("nosuch", "");
    let error = plan.unwrap_err().to_string();
    let words = "Failed to load config for nosuch. Are you sure you have run `init` before? (Error was: No such file or \
                 directory (os error 2)";
    assert!(error.starts_with(words), "{error}");
    assert_eq!(printed, "Starting gateway nosuch...\n");
}

#[test]
fn a_later_configuration_is_told_how_to_keep_its_keys() {
    let home = Home::new(LOCAL);
    let text = fs::read_to_string(home.config_file()).unwrap();
    // With keys that 0.10 does not know. The error must be about the version, not about these keys.
    let later = text.replace("'0.10.1'", "'1.1.0'") + "\n[wireguard]\nenabled = true\n";
    fs::write(home.config_file(), later).unwrap();
    let error = home.prepare("demo", "").0.unwrap_err().to_string();
    assert!(error.starts_with("the configuration is of nym-gateway 1.1.0"), "{error}");
    assert!(error.contains("`gatewayd init --id demo`") && error.contains("four key files"), "{error}");
}

#[test]
fn another_version_says_to_run_upgrade() {
    let home = Home::new(LOCAL);
    let text = fs::read_to_string(home.config_file()).unwrap();
    for (version, refused) in [("0.9.2", true), ("", true), ("0.10.0", false), ("0.10.9", false)] {
        fs::write(home.config_file(), text.replace("'0.10.1'", &format!("'{version}'"))).unwrap();
        match home.prepare("demo", "").0 {
            Ok(_) => assert!(!refused, "{version}"),
            Err(error) => assert!(refused && error.to_string().contains("upgrade --id demo"), "{error}"),
        }
    }
}

#[test]
fn an_unreadable_key_is_named() {
    for name in ["private_identity", "public_identity", "private_sphinx", "public_sphinx"] {
        let home = Home::new(LOCAL);
        fs::remove_file(home.0.path().join(format!("gateways/demo/data/{name}.pem"))).unwrap();
        let error = home.prepare("demo", "").0.unwrap_err().to_string();
        assert!(error.contains(&format!("/{name}.pem")), "{error}");
        assert!(error.contains(&format!("correct `{name}_key_file`")), "{error}");
    }
}

#[test]
fn an_address_that_nobody_chose_is_not_listened_on() {
    let home = Home::new(LOCAL);
    let text = fs::read_to_string(home.config_file()).unwrap();
    let cut: String = text.lines().take(20).map(|line| format!("{line}\n")).collect();
    fs::write(home.config_file(), cut).unwrap();
    let error = home.prepare("demo", "").0.unwrap_err().to_string();
    let missing = "[mixnet_endpoint] listening_address, [clients_endpoint] listening_address is missing";
    assert!(error.contains(missing) && error.contains("--mix-host"), "{error}");
    assert!(home.prepare("demo", "--mix-host 127.0.0.1 --clients-host 127.0.0.1").0.is_ok());
}

#[test]
fn a_flag_that_names_no_folder_starts_no_empty_gateway() {
    let home = Home::new(LOCAL);
    for flag in ["inboxes", "clients-ledger"] {
        let error = home.prepare("demo", &format!("--{flag} /nonexistent")).0.unwrap_err().to_string();
        assert!(error.starts_with(&format!("--{flag} /nonexistent: there is no such folder")), "{error}");
    }
}
