//! The id that a configuration names, which changes nothing: the gateway is that of its folder.

use crate::{config::Config, paths::GatewayId};

/// What to do about another id.
pub(crate) const OWN_ID: &str = "correct the id in the file, or move the folder";

/// The file names another gateway than its folder.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("[gateway] id is '{}' in config.toml, and the folder is that of gateway {folder}: the folder counts", file.escape_debug())]
pub(crate) struct OtherId {
    file: String,
    folder: GatewayId,
}

/// Checks that `config` names gateway `id`, to which its folder belongs, or none.
///
/// # Errors
/// If it names another. The gateway can run like this.
pub(crate) fn check_id(config: &Config, id: &GatewayId) -> Result<(), OtherId> {
    if config.id.is_empty() || config.id == id.as_str() {
        return Ok(());
    }
    Err(OtherId { file: config.id.clone(), folder: id.clone() })
}
