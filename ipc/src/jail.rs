//! The jail as messages: what `gatewayd` asks for, and what a worker reports once it has closed the jail.
//!
//! The crate `sandbox` builds the jail. Here is only what both ends of a control link share.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};

/// A layer of the jail that a kernel, a container or the lack of root may withhold. The rest of the jail always holds, or the
/// worker does not start: resource limits, death with the supervisor, not dumpable, no new privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Layer {
    /// An account of its own, the way back closed. Only when started as root.
    Account,
    /// No capability, in no set.
    Capabilities,
    /// A network with no interface. Not for a role that connects to others.
    NetworkNamespace,
    /// Landlock: no file can be opened but below the directories that were given.
    LandlockFiles,
    /// Landlock: no TCP port can be bound, and none connected to by a role that does not connect. A role that connects does
    /// so only to the ports that were named, if any were.
    LandlockPorts,
    /// Landlock: no signal to, and no abstract Unix socket of, a process outside.
    LandlockScopes,
    /// A list of system calls. The kernel kills a process that makes any other.
    Seccomp,
}

impl Layer {
    /// Every layer, in the order in which they are applied.
    pub const ALL: [Self; 7] = [
        Self::Account,
        Self::Capabilities,
        Self::NetworkNamespace,
        Self::LandlockFiles,
        Self::LandlockPorts,
        Self::LandlockScopes,
        Self::Seccomp,
    ];

    /// The name in `config.toml` and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Capabilities => "capabilities",
            Self::NetworkNamespace => "network-namespace",
            Self::LandlockFiles => "landlock-files",
            Self::LandlockPorts => "landlock-ports",
            Self::LandlockScopes => "landlock-scopes",
            Self::Seccomp => "seccomp",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a layer of the jail; there are account, capabilities, network-namespace, landlock-files, \
     landlock-ports, landlock-scopes and seccomp"
)]
pub struct UnknownLayer(String);

impl FromStr for Layer {
    type Err = UnknownLayer;

    fn from_str(name: &str) -> Result<Self, UnknownLayer> {
        Self::ALL.into_iter().find(|layer| layer.name() == name).ok_or_else(|| UnknownLayer(name.to_owned()))
    }
}

/// Numbers of a user and of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The jail that a process is to close around itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JailSpec {
    /// Process number of `gatewayd`, to notice a death that came before the watch on it.
    pub supervisor: u32,
    /// Most descriptors that may be open.
    pub open_files: u64,
    /// The layers; none at all under `run --insecure-no-sandbox`.
    pub layers: Option<LayerSettings>,
}

/// How the layers are to be set up.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LayerSettings {
    /// The account to change to; none if `gatewayd` is not root.
    pub account: Option<Account>,
    /// Layers without which the process must not go on.
    pub required: Vec<Layer>,
    /// The TCP ports to which a role that connects may connect; empty for any port.
    pub connect_ports: Vec<u16>,
}

/// Which layers of a closed jail hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ActiveLayers {
    /// Layers that hold.
    pub active: Vec<Layer>,
    /// Layers that belong to the jail and do not hold.
    pub missing: Vec<Missing>,
}

impl ActiveLayers {
    /// The names of the layers that hold, with spaces in between.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.active.iter().map(|layer| layer.name()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(" ") }
    }
}

/// A layer that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Missing {
    /// The layer.
    pub layer: Layer,
    /// The reason, and what to do.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_a_name_that_leads_back_to_it() {
        for layer in Layer::ALL {
            assert_eq!(layer.name().parse(), Ok(layer));
            assert_eq!(layer.to_string(), layer.name());
        }
        let error = "sekkomp".parse::<Layer>().unwrap_err().to_string();
        for layer in Layer::ALL {
            assert!(error.contains(layer.name()), "{layer} is not in {error}");
        }
    }

    #[test]
    fn active_layers_are_named_in_a_row_and_none_is_said() {
        let named = |active: &[Layer]| ActiveLayers { active: active.to_vec(), missing: Vec::new() }.names();
        assert_eq!(named(&[Layer::Account, Layer::Seccomp]), "account seccomp");
        assert_eq!(named(&[]), "none");
    }
}
