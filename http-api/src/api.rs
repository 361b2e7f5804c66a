//! What is published, by path.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use ipc::{
    control::HttpConfig,
    http_api::{MAX_HOST_INFORMATION, NodeFigures, Rule, SignedHostInformation},
};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use crate::{
    counters::HttpCounters,
    documents::{Build, Documents, bytes},
    figures::Figures,
    limits::Limits,
    refusal::Refusal,
};

/// Everything that connections of strangers need: what to answer, and their limits.
#[derive(Debug)]
pub struct Api {
    documents: Documents,
    host_information: watch::Sender<Option<Bytes>>,
    figures: watch::Sender<Figures>,
    began: Instant,
    pub(crate) limits: Limits,
}

/// The documents that have a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Page,
    Health,
    HostInformation,
    BuildInformation,
    Roles,
    Websockets,
    Gateway,
    AuxiliaryV1,
    AuxiliaryV2,
    Description,
    Load,
    Mixing,
}

impl Route {
    /// The document of `path`. `/description` and `/stats` are older paths that some readers still ask for.
    pub(crate) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/api/v1/health" => Self::Health,
            "/api/v1/host-information" => Self::HostInformation,
            "/api/v1/build-information" => Self::BuildInformation,
            "/api/v1/roles" => Self::Roles,
            "/api/v1/gateway/client-interfaces/mixnet-websockets" => Self::Websockets,
            "/api/v1/gateway" => Self::Gateway,
            "/api/v1/auxiliary-details" => Self::AuxiliaryV1,
            "/api/v2/auxiliary-details" => Self::AuxiliaryV2,
            "/api/v1/description" | "/description" => Self::Description,
            "/api/v1/load" => Self::Load,
            "/api/v1/metrics/mixing" | "/stats" => Self::Mixing,
            _ => return None,
        })
    }
}

impl Api {
    /// What is published from the start. Host information comes later, and without it the gateway says that it is not ready.
    pub fn new(config: &HttpConfig, counters: Arc<HttpCounters>) -> Self {
        Self::of_build(config, counters, &Build::THIS)
    }

    fn of_build(config: &HttpConfig, counters: Arc<HttpCounters>, build: &Build) -> Self {
        Self {
            documents: Documents::of(&config.description, build),
            host_information: watch::Sender::new(None),
            figures: watch::Sender::new(Figures::at_start(SystemTime::now())),
            began: Instant::now(),
            limits: Limits::of(config, counters),
        }
    }

    /// Publishes what `store` has signed, in place of what it signed before.
    ///
    /// # Errors
    /// If it is longer than any host information can be.
    pub fn publish_host_information(&self, signed: &SignedHostInformation) -> Result<(), Rule> {
        if signed.data.len() > MAX_HOST_INFORMATION {
            return Err(Rule::TooLong);
        }
        let signature = bs58::encode(signed.signature).into_string();
        // Written out as it was signed: the signature is over these very bytes.
        let document = format!(r#"{{"data":{},"signature":"{signature}"}}"#, signed.data);
        self.host_information.send_replace(Some(document.into()));
        Ok(())
    }

    /// Publishes figures that came at `now`.
    pub fn publish_figures(&self, figures: NodeFigures, now: SystemTime) {
        self.figures.send_modify(|kept| kept.update(figures, now));
    }

    /// The document at `route`.
    pub(crate) fn read(&self, route: Route) -> Result<Bytes, Refusal> {
        let documents = &self.documents;
        let document = match route {
            Route::Page => &documents.page,
            Route::BuildInformation => &documents.build_information,
            Route::Roles => &documents.roles,
            Route::Websockets => &documents.websockets,
            Route::Gateway => &documents.gateway,
            Route::AuxiliaryV1 => &documents.auxiliary_v1,
            Route::AuxiliaryV2 => documents.auxiliary_v2.as_ref().ok_or(Refusal::NoAccount)?,
            Route::Description => &documents.description,
            Route::HostInformation => return self.host_information.borrow().clone().ok_or(Refusal::NotReady),
            // A reader takes the address with a good health, and then asks for everything else.
            Route::Health if self.host_information.borrow().is_none() => return Err(Refusal::NotReady),
            Route::Health => return Ok(bytes(&json!({ "status": "up", "uptime": self.began.elapsed().as_secs() }))),
            Route::Load => return Ok(bytes(&self.figures.borrow().load())),
            Route::Mixing => return Ok(bytes(&self.figures.borrow().mixing())),
        };
        Ok(document.clone())
    }
}

#[cfg(test)]
pub(crate) mod tests;
