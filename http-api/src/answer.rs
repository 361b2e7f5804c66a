//! The answer to a request. Only method, path and the output that is asked for are looked at.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};
use serde_json::json;

use crate::{
    api::{Api, Route},
    documents::bytes,
    refusal::Refusal,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// JSON is YAML, so the document is the same. Readers that do not know the name of this type decode JSON.
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The page loads nothing, and runs nothing.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// The answer to `request`. Its body is left out by the connection if the request wants the head only.
pub(crate) fn answer<Body>(api: &Api, request: &Request<Body>) -> Response<Full<Bytes>> {
    find(api, request).unwrap_or_else(refusal)
}

fn find<Body>(api: &Api, request: &Request<Body>) -> Result<Response<Full<Bytes>>, Refusal> {
    let route = Route::of(request.uri().path()).ok_or(Refusal::UnknownPath)?;
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return Err(Refusal::Method);
    }
    if route == Route::Page {
        let mut page = response(StatusCode::OK, HTML, api.read(route)?);
        page.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
        return Ok(page);
    }
    let content_type = content_type(request.uri().query())?;
    Ok(response(StatusCode::OK, content_type, api.read(route)?))
}

/// The content type that the query asks for. Real nodes understand the parameter `output`, and nothing else.
fn content_type(query: Option<&str>) -> Result<HeaderValue, Refusal> {
    let mut content_type = JSON;
    for parameter in query.unwrap_or_default().split('&') {
        content_type = match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("output", "json") => JSON,
            ("output", "yaml") => YAML,
            ("output", _) => return Err(Refusal::Output),
            _ => continue,
        };
    }
    Ok(content_type)
}

fn refusal(refusal: Refusal) -> Response<Full<Bytes>> {
    // The form of the errors of real nodes.
    let mut response = response(refusal.status(), JSON, bytes(&json!({ "message": refusal.message() })));
    if refusal == Refusal::Method {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn response(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let fields: [(HeaderName, HeaderValue); 2] =
        [(CONTENT_TYPE, content_type), (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];
    response.headers_mut().extend(fields);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_json_or_yaml_or_refused() {
        for query in
            [None, Some(""), Some("a=b"), Some("output=json"), Some("x&output=json&y=1"), Some("outputs=bincode")]
        {
            assert_eq!(content_type(query), Ok(JSON), "{query:?}");
        }
        assert_eq!(content_type(Some("output=yaml")), Ok(YAML));
        for query in
            ["output=bincode", "output=", "output", "output=JSON", "output=yaml&output=xml", "a=b&output=%6ason"]
        {
            assert_eq!(content_type(Some(query)), Err(Refusal::Output), "{query}");
        }
    }
}
