//! `config.toml`: its content ([`Config`]), how it is read ([`load`](Config::load)) and how it is written ([`edit`]).
//!
//! Files of 0.10.x load as they are. An unknown key in `[gateway]` or `[debug]` is a warning, because 0.10.x ignored it there. An
//! unknown key anywhere else is an error, as it was in 0.10.x. Both name the line.
//!
//! | file | idea |
//! |---|---|
//! | [`settings`], [`tuning`], [`node`], [`metrics`] | the values, and their defaults |
//! | [`file`], [`values`], [`load`] | the text, and how it becomes values |
//! | [`edit`] | how values change the text |
//! | [`origin`] | every value that is in force, and where it comes from |
//! | [`memory`] | the budgets that one setting is divided into |
//! | [`error`] | what is wrong, and in which line |

mod edit;
mod error;
mod file;
mod load;
mod memory;
mod metrics;
mod node;
mod origin;
mod settings;
mod tuning;
mod values;

pub(crate) use self::origin::known_keys;
pub use self::{
    edit::{EditError, TEMPLATE, fresh, update},
    error::{LoadError, ParseError, UnknownKey, WrittenSetting},
    load::Loaded,
    memory::MemoryBudgets,
    metrics::{MetricsAddress, MetricsSection},
    node::{DEFAULT_HTTP_PORT, HttpSection, NodeSection},
    origin::{ENVIRONMENT, Origin, SettingInForce, Stages, in_force},
    settings::{
        ClientsEndpoint, Config, DEFAULT_CLIENTS_PORT, DEFAULT_CONTRACT, DEFAULT_MIX_PORT, FILE_MODE, MixEndpoint,
    },
    tuning::{
        DebugSection, DeliverySection, EgressSection, LimitsSection, ProtocolSection, ReplaySection, SandboxSection,
        TimeoutsSection,
    },
};

#[cfg(test)]
mod tests;
