//! The configuration, the keys that it names, and what is announced.

use crate::{
    check::PlanSource,
    config::{Config, LoadError},
    findings::Line,
    keys,
    node::Announced,
    own_command::command_for,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths},
    plan::{self, PlanError},
    version::{self, Fit},
};

/// What is to be done where an error says it itself.
const AS_SAID: &str = "correct this, and check again";

/// Checks them. Returns the configuration, if there is one.
pub(super) fn look(
    id: &GatewayId,
    paths: &GatewayPaths,
    guard: &PathGuard,
    source: &PlanSource,
    lines: &mut Vec<Line>,
) -> Option<Config> {
    if let Err(error) = guard.check() {
        lines.push(Line::bad(error.to_string(), AS_SAID));
    }
    let file = source.config_file.clone().unwrap_or_else(|| paths.config_file());
    let loaded = match Config::load(&file, paths, guard) {
        Ok(loaded) => loaded,
        Err(LoadError::Parse { path, errors }) => {
            lines.extend(errors.iter().map(|error| Line::bad(format!("{}: {error}", path.display()), AS_SAID)));
            return None;
        }
        Err(error) => {
            lines.push(Line::bad(PlanError::Load { id: id.clone(), error }.to_string(), AS_SAID));
            return None;
        }
    };
    let before = lines.len();
    for unknown in &loaded.unknown {
        lines.push(Line::doubtful(format!("{}: {unknown}", file.display()), "correct its name, or take it out"));
    }
    let overrides = &source.overrides;
    let mut config = loaded.config;
    let checks = [
        plan::check_addresses(&file, loaded.absent, overrides),
        plan::check_folders(overrides),
        overrides.apply(&mut config).map_err(PlanError::from),
    ];
    let run_dir = paths.run_dir(source.environment.runtime_directory.clone());
    let places = plan::check_own_places(&config, &run_dir).map_err(PlanError::from);
    let folders = plan::check_own_folders(&config).map_err(PlanError::from);
    for error in checks.into_iter().chain([places, folders]).filter_map(Result::err) {
        lines.push(Line::bad(error.to_string(), AS_SAID));
    }
    match version::check(config.version.as_ref(), id.as_str()) {
        Ok(Fit::Same) => {}
        Ok(Fit::Compatible(version)) => lines.push(Line::doubtful(
            format!("the file is of version {version}, and the network's is {}", version::NETWORK),
            format!("run `{}`", command_for("upgrade", id)),
        )),
        Err(error) => lines.push(Line::bad(error.to_string(), AS_SAID)),
    }
    if let Err(other) = plan::check_id(&config, id) {
        lines.push(Line::doubtful(other.to_string(), plan::OWN_ID));
    }
    if lines.len() == before {
        lines.push(Line::good(format!("{} can be used", file.display())));
    }
    if let Some(directory) = &source.environment.credentials_directory {
        config.keys.prefer_credentials(directory);
    }
    keys_and_announcement(&config, guard, lines);
    Some(config)
}

fn keys_and_announcement(config: &Config, guard: &PathGuard, lines: &mut Vec<Line>) {
    let public = keys::load_public(&config.keys, guard);
    let private = keys::readable_private(&config.keys, guard);
    let pairs = match (&public, &private) {
        (Ok(public), Ok(_)) => keys::check_pairs(&config.keys, guard, public),
        _ => Ok(()),
    };
    let announced = public.as_ref().ok().map(|public| Announced::of(config, public));
    for path in private.iter().flatten() {
        lines.push(Line::doubtful(
            format!("other users may read the private key {}", path.display()),
            format!("run `chmod 600 {}`; who has read it can pose as this gateway", path.display()),
        ));
    }
    let errors = [public.err(), private.err(), pairs.err()];
    let mut all_good = true;
    for error in errors.into_iter().flatten() {
        all_good = false;
        lines.push(Line::bad(error.to_string(), AS_SAID));
    }
    if all_good {
        lines.push(Line::good("the keys are there, and belong together"));
    }
    match announced {
        Some(Err(error)) => lines.push(Line::bad(error.to_string(), AS_SAID)),
        Some(Ok(announced)) => {
            lines.extend(
                announced.warning().map(|warning| Line::doubtful(warning.to_string(), "see [node] in config.toml")),
            );
        }
        None => {}
    }
}
