use std::fs;

use super::*;

const OF_0_10_1: &str = include_str!("../../tests/fixtures/config-0.10.1.toml");

struct Home(tempfile::TempDir);

impl Home {
    /// A gateway `demo` with this configuration.
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.0.path().join("demo/config")).unwrap();
        fs::write(home.file("config.toml"), config).unwrap();
        home
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("demo/config").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path().join("demo/config")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn upgrade(&self, current: Option<&str>) -> (Result<(), UpgradeError>, String) {
        let root = Root::new(Some(self.0.path().into()), None).unwrap();
        let current = current.map(|text| parse_version(text).unwrap());
        let mut out = Vec::new();
        let outcome = execute(&"demo".parse().unwrap(), &root, current, &mut Console::new(&mut out));
        (outcome, String::from_utf8(out).unwrap())
    }
}

fn without(text: &str, key: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(key));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A file of 0.9.2, which has no contract.
fn of_0_9_2() -> String {
    without(&OF_0_10_1.replace("'0.10.1'", "'0.9.2'"), "mixnet_contract_address")
}

const RECENT: &str = "You're using the most recent version!\n";

#[test]
fn the_same_version_needs_nothing() {
    let home = Home::new(OF_0_10_1);
    let (outcome, printed) = home.upgrade(None);
    outcome.unwrap();
    assert_eq!(printed, RECENT);
    assert_eq!(home.read("config.toml"), OF_0_10_1);
    assert_eq!(home.names(), ["config.toml"]);
}

#[test]
fn a_patch_changes_the_version_only_and_keeps_a_backup() {
    let old = OF_0_10_1.replace("'0.10.1'", "'0.10.0'");
    let home = Home::new(&old);
    let (outcome, printed) = home.upgrade(None);
    outcome.unwrap();
    assert_eq!(
        printed,
        "\n==================\nTrying to upgrade gateway from 0.10.0 to 0.10.1 ...\n\
         Upgrade from 0.10.0 to 0.10.1 was successful!\n==================\n\n"
            .to_owned()
            + RECENT
    );
    assert_eq!(home.read("config.toml"), OF_0_10_1);
    assert_eq!(home.read("config.toml.bak-0.10.0"), old);
    assert_eq!(home.names(), ["config.toml", "config.toml.bak-0.10.0"]);
}

const FROM_0_9: &str = "Setting mixnet contract address to hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94\n";

#[test]
fn a_0_9_file_gets_the_contract_and_keeps_its_validators() {
    let home = Home::new(&of_0_9_2());
    let (outcome, printed) = home.upgrade(None);
    outcome.unwrap();
    assert_eq!(
        printed,
        format!(
            "\n==================\nTrying to upgrade gateway from 0.9.2 to 0.10.1 ...\n{FROM_0_9}\
             Upgrade from 0.9.2 to 0.10.1 was successful!\n==================\n\n{RECENT}"
        )
    );
    let text = home.read("config.toml");
    assert!(text.contains("mixnet_contract_address = 'hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94'"), "{text}");
    assert!(text.contains("'http://127.0.0.1:1317',"), "{text}");
    assert_eq!(home.read("config.toml.bak-0.9.2"), of_0_9_2());
}

#[test]
fn a_0_8_file_goes_two_steps() {
    let old = "[gateway]\nid = 'demo'\npresence = 'x'\n\n[mixnet_endpoint]\nlistening_address = '127.0.0.1:1789'\n";
    for spelling in ["0.8.1", "v0.8.1", "V0.8.1"] {
        let home = Home::new(old);
        let (outcome, printed) = home.upgrade(Some(spelling));
        outcome.unwrap();
        assert_eq!(
            printed,
            format!(
                "\n==================\nTrying to upgrade gateway from 0.8.1 to 0.9.0 ...\n\
                 Upgrade from 0.8.1 to 0.9.0 was successful!\n==================\n\n\
                 \n==================\nTrying to upgrade gateway from 0.9.0 to 0.10.1 ...\n{FROM_0_9}\
                 Upgrade from 0.9.0 to 0.10.1 was successful!\n==================\n\n{RECENT}"
            )
        );
        assert_eq!(home.read("config.toml.bak-0.8.1"), old);
        let text = home.read("config.toml");
        assert!(text.contains("version = '0.10.1'") && !text.contains("validator_rest"), "{text}");
    }
}

#[test]
fn a_backup_is_never_replaced() {
    let home = Home::new(&of_0_9_2());
    fs::write(home.file("config.toml.bak-0.9.2"), "precious").unwrap();
    home.upgrade(None).0.unwrap();
    assert_eq!(home.read("config.toml.bak-0.9.2"), "precious");
    assert_eq!(home.read("config.toml.bak-0.9.2-2"), of_0_9_2());
}

#[test]
fn what_cannot_be_upgraded_stays_as_it_is() {
    let without_version = without(OF_0_10_1, "version");
    let with_contract = OF_0_10_1.replace("'0.10.1'", "'0.9.2'");
    let newer = OF_0_10_1.replace("'0.10.1'", "'0.11.0'");
    let next = OF_0_10_1.replace("'0.10.1'", "'0.10.2'");
    let from_0_11 = "the configuration is of nym-gateway 0.11.0; gatewayd takes over from 0.10 and cannot read it.";
    for (text, current, words) in [
        (&without_version, None, "trying to upgrade from pre v0.9.0 without providing current system version!"),
        (&without_version, Some("0.9.0"), "--current-version 0.9.0 is wrong"),
        (&without_version, Some("0.7.0"), "Cannot perform upgrade from 0.7.0 to 0.10.1."),
        (&with_contract, None, "existing config seems to have specified mixnet contract address"),
        (&newer, None, from_0_11),
        (&next, None, "Cannot perform upgrade from 0.10.2 to 0.10.1."),
    ] {
        let home = Home::new(text);
        let (outcome, printed) = home.upgrade(current);
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
        assert_eq!(&home.read("config.toml"), text);
        assert_eq!(home.names(), ["config.toml"]);
        assert!(!printed.contains("successful"), "{printed}");
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let home = Home::new("");
    fs::remove_file(home.file("config.toml")).unwrap();
    let error = home.upgrade(None).0.unwrap_err().to_string();
    assert!(error.starts_with("failed to load existing config file! - No such file or directory"), "{error}");
}

#[test]
fn versions_have_three_numbers() {
    assert!(parse_version("0.8").is_err());
    assert!(parse_version("vv0.8.1").is_err());
}
