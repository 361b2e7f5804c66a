//! The documents, read as nym-api reads them before it lists a node.
//!
//! It tries a few places in a fixed order and takes the first that says it is up; then it reads the documents of that place. It gives each
//! of them five seconds.

use std::time::Instant;

use ed25519_dalek::{Signature, VerifyingKey};
use ipc::node_check::{Finding, NodeCheckRequest, Subject};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::patience;

/// The longest document in bytes.
const MAX_DOCUMENT: u64 = 64 * 1024;

/// Where the directory looks for the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Without a slash at the end.
    base: String,
    /// The TCP port.
    pub(crate) port: u16,
}

/// The places, in the order in which they are tried.
pub(crate) fn places(request: &NodeCheckRequest) -> Vec<Place> {
    let host = &request.host;
    let plain = |port: u16| Place { base: format!("http://{host}:{port}"), port };
    let custom = request.custom_http_port.map(plain);
    let rest = [
        plain(8080),
        Place { base: format!("https://{host}"), port: 443 },
        Place { base: format!("http://{host}"), port: 80 },
    ];
    custom.into_iter().chain(rest).collect()
}

#[derive(Deserialize)]
struct Health {
    status: String,
}

#[derive(Deserialize)]
struct Signed {
    data: HostInformation,
    signature: String,
}

/// The fields are in the order in which they are signed.
#[derive(Deserialize, Serialize)]
struct HostInformation {
    ip_address: Vec<std::net::IpAddr>,
    hostname: Option<String>,
    keys: Keys,
}

#[derive(Deserialize, Serialize)]
struct Keys {
    ed25519_identity: String,
    x25519_sphinx: String,
    primary_x25519_sphinx_key: RotatedKey,
    pre_announced_x25519_sphinx_key: Option<RotatedKey>,
    x25519_versioned_noise: Option<NoiseKey>,
}

#[derive(Deserialize, Serialize)]
struct RotatedKey {
    rotation_id: u32,
    public_key: String,
}

#[derive(Deserialize, Serialize)]
struct NoiseKey {
    supported_version: u8,
    x25519_pubkey: String,
}

#[derive(Deserialize)]
struct BuildInformation {
    binary_name: String,
    build_version: String,
}

#[derive(Deserialize)]
struct Roles {
    gateway_enabled: bool,
}

#[derive(Deserialize)]
struct Websockets {
    ws_port: u16,
    wss_port: Option<u16>,
}

#[derive(Deserialize)]
struct AuxiliaryDetails {
    announce_ports: AnnouncePorts,
    accepted_operator_terms_and_conditions: bool,
}

#[derive(Deserialize)]
struct AnnouncePorts {
    mix_port: Option<u16>,
}

/// Looks at every document.
pub(crate) fn look(request: &NodeCheckRequest, end: Instant) -> Vec<Finding> {
    let reader = Reader::new(end);
    let base = match reader.first_that_is_up(request) {
        Ok(base) => base,
        Err(why) => return vec![Finding::bad(Subject::Health, why)],
    };
    let check = |subject, outcome: Result<(), String>| match outcome {
        Ok(()) => Finding::good(subject),
        Err(why) => Finding::bad(subject, why),
    };
    let read = |path: &str| format!("{base}/api/v1{path}");
    let url = read("/host-information");
    let signed = reader.get::<Signed>(&url);
    // What a stranger says of itself is no finding about this gateway.
    if let Some(why) = signed.as_ref().ok().and_then(|signed| signed.of_another(&url, request)) {
        return vec![Finding::good(Subject::Health), Finding::bad(Subject::Identity, why)];
    }
    vec![
        Finding::good(Subject::Health),
        Finding::good(Subject::Identity),
        check(Subject::HostInformation, signed.and_then(|signed| signed.verify(&url, request))),
        check(Subject::BuildInformation, reader.build_information(&read("/build-information"), request)),
        check(Subject::Roles, reader.roles(&read("/roles"))),
        check(Subject::Websockets, reader.websockets(&read("/gateway/client-interfaces/mixnet-websockets"), request)),
        check(Subject::AuxiliaryDetails, reader.auxiliary_details(&read("/auxiliary-details"), request)),
    ]
}

struct Reader {
    agent: ureq::Agent,
    end: Instant,
}

impl Reader {
    fn new(end: Instant) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
        Self { agent: ureq::Agent::new_with_config(config.max_redirects_will_error(false).build()), end }
    }

    fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let failed = |error: ureq::Error| format!("{url}: {error}");
        let request = self.agent.get(url).header("accept", "application/json");
        let mut response = request.config().timeout_global(Some(patience(self.end))).build().call().map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("{url} was answered with status {}", response.status().as_u16()));
        }
        let body = response.body_mut().with_config().limit(MAX_DOCUMENT).read_to_vec().map_err(failed)?;
        serde_json::from_slice(&body).map_err(|error| format!("{url} is no such document: {error}"))
    }

    fn first_that_is_up(&self, request: &NodeCheckRequest) -> Result<String, String> {
        let mut reasons = Vec::new();
        for Place { base, .. } in places(request) {
            match self.get::<Health>(&format!("{base}/api/v1/health")) {
                Ok(health) if health.status == "up" => return Ok(base),
                Ok(health) => reasons.push(format!("{base} says that it is {}", health.status)),
                Err(why) => reasons.push(why),
            }
        }
        Err(reasons.join("; "))
    }

    fn build_information(&self, url: &str, request: &NodeCheckRequest) -> Result<(), String> {
        let BuildInformation { binary_name, build_version } = self.get(url)?;
        let program = &request.program;
        same(url, &format!("{binary_name} {build_version}"), &format!("{} {}", program.name, program.version))
    }

    fn roles(&self, url: &str) -> Result<(), String> {
        let Roles { gateway_enabled } = self.get(url)?;
        if gateway_enabled { Ok(()) } else { Err(format!("{url} says that this is no gateway")) }
    }

    fn websockets(&self, url: &str, request: &NodeCheckRequest) -> Result<(), String> {
        let Websockets { ws_port, wss_port } = self.get(url)?;
        let words =
            |ws: u16, wss: Option<u16>| format!("{ws} and {}", wss.map_or("none".into(), |port| port.to_string()));
        same(url, &words(ws_port, wss_port), &words(request.ws_port, request.wss_port))
    }

    fn auxiliary_details(&self, url: &str, request: &NodeCheckRequest) -> Result<(), String> {
        let details: AuxiliaryDetails = self.get(url)?;
        let port = details.announce_ports.mix_port.map_or("none".to_owned(), |port| port.to_string());
        same(url, &port, &request.mix_port.to_string())?;
        let words = |accepted: bool| if accepted { "terms accepted" } else { "terms not accepted" };
        same(url, words(details.accepted_operator_terms_and_conditions), words(request.accepted_terms))
    }
}

impl Signed {
    /// Says so if another gateway answers at `url`.
    fn of_another(&self, url: &str, request: &NodeCheckRequest) -> Option<String> {
        let identity = &self.data.keys.ed25519_identity;
        let is_ours = *identity == bs58::encode(request.identity).into_string();
        (!is_ours).then(|| format!("another gateway answers at {url}: its identity is {identity}"))
    }

    /// As the directory does: it writes the data that it has read without spaces, and verifies that.
    fn verify(self, url: &str, request: &NodeCheckRequest) -> Result<(), String> {
        let Self { data: information, signature } = self;
        let not = |what: &str| format!("{url} is no host information: {what}");
        let signed = serde_json::to_string(&information).map_err(|error| not(&error.to_string()))?;
        let bytes = bs58::decode(&signature).into_vec().map_err(|_| not("its signature is not base58"))?;
        let signature = Signature::from_slice(&bytes).map_err(|_| not("its signature is none of Ed25519"))?;
        let verified = VerifyingKey::from_bytes(&request.identity)
            .and_then(|key| key.verify_strict(signed.as_bytes(), &signature));
        verified.map_err(|_| not("its signature is not that of this identity key"))?;
        let facts = &request.facts;
        let sphinx = bs58::encode(facts.sphinx).into_string();
        if information.keys.x25519_sphinx != sphinx {
            return Err(not("it names another Sphinx key than the one in the key file"));
        }
        if (information.ip_address, information.hostname) != (facts.addresses.clone(), facts.hostname.clone()) {
            return Err(format!(
                "{url} names other addresses than config.toml does: restart the gateway to announce them"
            ));
        }
        Ok(())
    }
}

/// Compares what is served with what is configured.
fn same(url: &str, served: &str, configured: &str) -> Result<(), String> {
    if served == configured {
        return Ok(());
    }
    Err(format!(
        "{url} says {served}, and config.toml says {configured}: restart the gateway, or look for what answers there"
    ))
}

#[cfg(test)]
mod tests {
    use ipc::http_api::{AnnouncedProgram, HostFacts};

    use super::*;

    #[test]
    fn the_places_are_tried_in_the_order_of_the_directory() {
        let mut request = NodeCheckRequest {
            account: None,
            host: "gw.example".into(),
            custom_http_port: Some(81),
            identity: [1; 32],
            facts: HostFacts { addresses: vec![], hostname: None, sphinx: [2; 32] },
            program: AnnouncedProgram { name: "p".into(), version: "1.0.0".into() },
            ws_port: 9000,
            wss_port: None,
            mix_port: 1789,
            accepted_terms: true,
        };
        let bases = |request: &NodeCheckRequest| -> Vec<String> {
            places(request).into_iter().map(|place| place.base).collect()
        };
        let rest = ["http://gw.example:8080", "https://gw.example", "http://gw.example"];
        assert_eq!(bases(&request), [&["http://gw.example:81"], &rest[..]].concat());
        request.custom_http_port = None;
        assert_eq!(bases(&request), rest);
    }
}
