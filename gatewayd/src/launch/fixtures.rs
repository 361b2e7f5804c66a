//! What the tests of several rooms start workers from.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipc::{
    Role,
    control::{OwnAddresses, WorkerConfig},
    jail::JailSpec,
    log::LogSettings,
};

use super::{
    binaries::Program,
    data_folders::DataFolders,
    pages::FiguresPages,
    passed::PassedListeners,
    per_role::PerRole,
    resources::{ResourceError, WorkerResources},
    spec::LaunchSpec,
    worker_config,
};
use crate::{
    config::Config,
    keys::PublicKeys,
    node::Announced,
    overrides::Overrides,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{Environment, PlanSource, RunPlan},
};

/// A configuration with keys, whose files are all below `home`.
pub(crate) fn config(home: &Path) -> Config {
    let root = Root::new(Some(home.into()), None).unwrap();
    let id: GatewayId = "demo".parse().unwrap();
    let paths = GatewayPaths::new(&root, &id);
    let mut config = Config::new(&id, &paths);
    config.mix.listen = "127.0.0.1:0".parse().unwrap();
    config.clients.listen = "127.0.0.1:0".parse().unwrap();
    fs::create_dir_all(paths.data_dir()).unwrap();
    for (path, text) in [(&config.keys.private_sphinx, "sphinx"), (&config.keys.private_identity, "identity")] {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    config
}

/// The descriptors of a gateway with this configuration.
pub(crate) fn resources(config: &Config) -> Result<WorkerResources, ResourceError> {
    let guard = PathGuard::new(&config.root.join(&config.id));
    WorkerResources::open(config, &guard, DataFolders::open(config, &guard, None)?, PassedListeners::none())
}

/// A program that runs `script`.
pub(crate) fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    // Written by another process. If this process had the file open for writing, a test that forks meanwhile would inherit the descriptor,
    // and the program could not be run (text file busy).
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$2""#, "sh", script])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A jail order, which scripts ignore.
pub(crate) fn jail(open_files: u64) -> JailSpec {
    JailSpec { supervisor: std::process::id(), open_files, layers: None }
}

/// A configuration of a gateway that is described to today's network, so that all roles run.
pub(crate) fn node_config(home: &Path) -> Config {
    let mut config = config(home);
    config.egress.allow_private = Some(true);
    config.node.enabled = true;
    config.node.http_bind_address = "127.0.0.1:0".parse().unwrap();
    config.node.public_ips = vec![[127, 0, 0, 1].into()];
    config
}

/// The public keys of the fixtures, which belong to no private key.
const KEYS: PublicKeys = PublicKeys { identity: [1; 32], sphinx: [2; 32] };

/// The configuration of one worker.
pub(crate) fn config_of(config: &Config, role: Role) -> WorkerConfig {
    let announced = Announced::of(config, &KEYS).unwrap();
    worker_config::for_role(config, &announced, &OwnAddresses::default(), role)
}

/// What workers are launched with that are these programs.
pub(crate) fn spec(config: Config, binaries: PerRole<Option<Program>>) -> LaunchSpec {
    let plan = RunPlan {
        id: config.id.parse().unwrap(),
        guard: PathGuard::new(&config.home),
        config_file: config.home.join("config/config.toml"),
        source: PlanSource {
            root: Root::new(Some(config.root.clone()), None).unwrap(),
            config_file: None,
            overrides: Overrides::default(),
            environment: Environment::for_tests(),
        },
        settings: Vec::new(),
        run_dir: config.home.join("run"),
        announced: Announced::of(&config, &KEYS).unwrap(),
        public_keys: KEYS,
        layers_left_out: Vec::new(),
        log: LogSettings::default(),
        insecure: false,
        config,
    };
    LaunchSpec {
        binaries: Arc::new(binaries),
        resources: Arc::new(resources(&plan.config).unwrap()),
        pages: Arc::new(FiguresPages::make().unwrap()),
        configs: PerRole::new(|role| config_of(&plan.config, role)),
        threads: 1,
        jails: PerRole::new(|_| jail(256)),
        plan,
    }
}
