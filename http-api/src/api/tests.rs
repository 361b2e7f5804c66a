use std::time::{Duration, UNIX_EPOCH};

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use ipc::http_api::{AnnouncedProgram, Description, Load, PacketFigures};
use serde_json::Value;

use super::*;
use crate::answer::answer;

const BUILD: Build = Build {
    commit: "0123456789ab",
    commit_time: "2026-05-01T12:00:00+02:00",
    rustc: "1.95.0",
    channel: "stable",
    profile: "release",
    target: "x86_64-unknown-linux-gnu",
};

const IDENTITY: &str = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z";
const SIGNATURE: &str = "5U4PBZeuEnFauimgeun2dJnoP7sS37Mqpgvyarhf5jfjomGC8Y9fAXN4HRvxXNo5dPPJc3V1uk266s3UJVTCMPiJ";

/// The documents of [`published`], one file for each path.
const GOLDEN: [(&str, &str); 11] = [
    ("/api/v1/health", include_str!("../../golden/health.json")),
    ("/api/v1/host-information", include_str!("../../golden/host_information.json")),
    ("/api/v1/build-information", include_str!("../../golden/build_information.json")),
    ("/api/v1/roles", include_str!("../../golden/roles.json")),
    ("/api/v1/gateway/client-interfaces/mixnet-websockets", include_str!("../../golden/mixnet_websockets.json")),
    ("/api/v1/gateway", include_str!("../../golden/gateway.json")),
    ("/api/v1/auxiliary-details", include_str!("../../golden/auxiliary_details_v1.json")),
    ("/api/v2/auxiliary-details", include_str!("../../golden/auxiliary_details_v2.json")),
    ("/api/v1/description", include_str!("../../golden/description.json")),
    ("/api/v1/load", include_str!("../../golden/load.json")),
    ("/api/v1/metrics/mixing", include_str!("../../golden/mixing.json")),
];

/// A configuration with a value in every field.
pub(crate) fn config() -> HttpConfig {
    HttpConfig {
        description: Description {
            identity: from_base58(IDENTITY),
            moniker: "Nadir & sons".into(),
            website: "https://example.org".into(),
            security_contact: "security@example.org".into(),
            details: "A gateway <of> tests".into(),
            program: AnnouncedProgram { name: "gatewayd".into(), version: "1.31.0".into() },
            ws_port: 9000,
            wss_port: Some(9001),
            mix_port: 1789,
            location: Some("CH".into()),
            accepted_terms: true,
            account: Some("n1jw6mp7d5xqc7w6xm79lha27glmd0vdt339me94".into()),
        },
        max_connections: 16,
        max_connections_per_prefix: 16,
        request: Duration::from_secs(5),
        requests_per_connection: 100,
        metrics_allow: Vec::new(),
    }
}

/// Host information as `store` would sign it: with the keys of RFC 8032 (section 7.1, test 1) and RFC 7748 (section 6.1, Alice).
pub(crate) fn signed() -> SignedHostInformation {
    let data = concat!(
        r#"{"ip_address":["192.0.2.1"],"hostname":"example.org","keys":{"#,
        r#""ed25519_identity":"FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z","#,
        r#""x25519_sphinx":"9xgMXw7nrN39BoN9rJuGV6B9LwBNYXAJAMfeACcdyLMP","#,
        r#""primary_x25519_sphinx_key":{"rotation_id":4294967295,"#,
        r#""public_key":"9xgMXw7nrN39BoN9rJuGV6B9LwBNYXAJAMfeACcdyLMP"},"#,
        r#""pre_announced_x25519_sphinx_key":null,"x25519_versioned_noise":null}}"#
    );
    SignedHostInformation { data: data.into(), signature: from_base58(SIGNATURE) }
}

fn from_base58<const N: usize>(text: &str) -> [u8; N] {
    bs58::decode(text).into_vec().unwrap().try_into().unwrap()
}

pub(crate) fn api(config: &HttpConfig) -> Arc<Api> {
    Arc::new(Api::of_build(config, Arc::default(), &BUILD))
}

/// An API that was told everything.
fn published(config: &HttpConfig) -> Arc<Api> {
    let api = api(config);
    api.publish_host_information(&signed()).unwrap();
    for (minute, packets) in [(0, 1_000), (1, 1_500)] {
        let packets = PacketFigures { received: packets, sent: packets / 2, dropped: packets / 100 };
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + 60 * minute);
        api.publish_figures(NodeFigures { packets, load: Load::VeryHigh }, now);
    }
    api
}

async fn ask(api: &Api, method: Method, uri: &str) -> (StatusCode, HeaderMap, Bytes) {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let (head, body) = answer(api, &request).into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

async fn get(api: &Api, uri: &str) -> (StatusCode, Value) {
    let (status, headers, body) = ask(api, Method::GET, uri).await;
    assert_eq!(headers[CONTENT_TYPE], "application/json");
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn every_document_is_as_its_golden_file() {
    let api = published(&config());
    tokio::time::advance(Duration::from_secs(61)).await;
    for (path, golden) in GOLDEN {
        let golden: Value = serde_json::from_str(golden).unwrap();
        assert_eq!(get(&api, path).await, (StatusCode::OK, golden), "{path}");
    }
}

#[tokio::test]
async fn older_paths_have_the_same_documents() {
    let api = published(&config());
    for (old, path) in [("/description", "/api/v1/description"), ("/stats", "/api/v1/metrics/mixing")] {
        assert_eq!(get(&api, old).await, get(&api, path).await);
    }
}

/// The signature is over these bytes, and a reader of another build may not write them as we would.
#[tokio::test]
async fn signed_bytes_are_published_as_they_came() {
    let api = published(&config());
    let (_, _, body) = ask(&api, Method::GET, "/api/v1/host-information").await;
    assert!(body.starts_with(format!(r#"{{"data":{},"signature":""#, signed().data).as_bytes()));
}

#[tokio::test]
async fn without_host_information_the_gateway_is_not_ready() {
    let api = api(&config());
    for path in ["/api/v1/health", "/api/v1/host-information"] {
        assert_eq!(get(&api, path).await.0, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    assert_eq!(get(&api, "/api/v1/roles").await.0, StatusCode::OK);
    let too_long = SignedHostInformation { data: " ".repeat(MAX_HOST_INFORMATION + 1), signature: [0; 64] };
    assert_eq!(api.publish_host_information(&too_long), Err(Rule::TooLong));
    assert_eq!(get(&api, "/api/v1/health").await.0, StatusCode::SERVICE_UNAVAILABLE);
    api.publish_host_information(&signed()).unwrap();
    assert_eq!(get(&api, "/api/v1/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_announced_is_null_or_not_found() {
    let mut config = config();
    config.description = Description { wss_port: None, location: None, account: None, ..config.description };
    let api = published(&config);
    let websockets = get(&api, "/api/v1/gateway/client-interfaces/mixnet-websockets").await.1;
    assert_eq!(websockets, json!({ "ws_port": 9000, "wss_port": null }));
    assert_eq!(get(&api, "/api/v1/auxiliary-details").await.1["location"], Value::Null);
    assert_eq!(get(&api, "/api/v2/auxiliary-details").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let api = published(&config());
    for path in ["/api/v1/network-requester", "/api/v1/health/", "//", "/api/v1/../v1/health", "/API/v1/health", "*"] {
        let (status, body) = get(&api, path).await;
        assert_eq!((status, body["message"].is_string()), (StatusCode::NOT_FOUND, true), "{path}");
    }
}

#[tokio::test]
async fn methods_that_change_something_are_refused() {
    let api = published(&config());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT, Method::TRACE] {
        let (status, headers, _) = ask(&api, method, "/api/v1/health").await;
        assert_eq!((status, &headers[ALLOW]), (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap()));
    }
}

#[tokio::test]
async fn yaml_is_the_same_document_and_other_outputs_are_refused() {
    let api = published(&config());
    let (_, _, json) = ask(&api, Method::GET, "/api/v1/roles?output=json").await;
    let (status, headers, yaml) = ask(&api, Method::GET, "/api/v1/roles?output=yaml").await;
    assert_eq!((status, &headers[CONTENT_TYPE], yaml), (StatusCode::OK, &"application/yaml".parse().unwrap(), json));
    let (status, body) = get(&api, "/api/v1/roles?output=bincode").await;
    assert_eq!((status, &body["message"]), (StatusCode::BAD_REQUEST, &json!("the outputs served are json and yaml")));
}

#[tokio::test]
async fn the_page_names_the_operator_and_loads_nothing() {
    let api = published(&config());
    let (status, headers, page) = ask(&api, Method::GET, "/?x=y").await;
    let page = std::str::from_utf8(&page).unwrap();
    assert_eq!((status, &headers[CONTENT_TYPE]), (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap()));
    assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'none'; style-src 'unsafe-inline'");
    assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    for text in
        ["Nadir &amp; sons", "https://example.org", "security@example.org", "A gateway &lt;of&gt; tests", IDENTITY]
    {
        assert!(page.contains(text), "{text}");
    }
    for forbidden in ["<script", "src=", "href=", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test]
async fn what_is_empty_has_no_row_on_the_page() {
    let mut config = config();
    config.description = Description { website: String::new(), ..config.description };
    let (_, _, page) = ask(&api(&config), Method::GET, "/").await;
    let page = std::str::from_utf8(&page).unwrap();
    assert!(!page.contains("Website") && page.contains("Security contact"));
}
