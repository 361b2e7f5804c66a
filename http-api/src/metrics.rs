//! What the operator's own programs are told, on a listener of their own: `/metrics`, `/healthz` and `/readyz`.
//!
//! *Trusts*: the operator, who says who can reach the listener. *Holds*: the pages of all processes, which it can read and not write.
//! *Promises*: metrics are those of the last whole minute, and coarse (see [`figures::privacy`]); health is
//! that of now, since no client can change it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use figures::{
    Page, Reading,
    exposition::open_metrics,
    health::{self, Health, Reason},
    privacy::publish,
};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use sandbox::page::ReadOnlyPage;
use tokio::{sync::watch, time::sleep};

use crate::limits::Limits;

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Time between two publications.
const MINUTE: Duration = Duration::from_secs(60);

/// The pages, and what is published of them.
#[derive(Debug)]
pub struct Metrics {
    pages: Vec<(Page, ReadOnlyPage)>,
    published: watch::Sender<Option<Bytes>>,
    pub(crate) limits: Limits,
}

impl Metrics {
    /// Nothing is published before the first whole minute.
    pub fn new(pages: Vec<(Page, ReadOnlyPage)>, limits: Limits) -> Self {
        Self { pages, published: watch::Sender::new(None), limits }
    }

    /// Publishes at each whole minute of the clock, until dropped.
    pub(crate) async fn publish_each_minute(&self) {
        loop {
            // A clock that was set in the meantime makes one minute longer or shorter.
            sleep(until_the_minute(SystemTime::now())).await;
            self.publish();
        }
    }

    fn publish(&self) {
        let document = open_metrics(&publish(self.read()));
        self.published.send_replace(Some(document.into()));
    }

    fn read(&self) -> Vec<Reading> {
        self.pages.iter().map(|(page, read)| Reading::take(*page, |place| read.value(place))).collect()
    }

    /// Whether the gateway takes new mail and new clients.
    fn readiness(&self) -> Response<Full<Bytes>> {
        let readings = self.read();
        let supervisor = readings.iter().find(|reading| reading.page() == Page::Supervisor);
        match health::of(&readings) {
            Health::Good if supervisor.is_some_and(|reading| reading.value("admits_newcomers") == 0) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "new clients are not let in, by order of `gatewayd drain`\n")
            }
            health => verdict(health, takes_all),
        }
    }

    /// The answer to a request.
    pub(crate) fn answer<Body>(&self, request: &Request<Body>) -> Response<Full<Bytes>> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/metrics" => match &*self.published.borrow() {
                Some(document) => response(StatusCode::OK, OPEN_METRICS, document.clone()),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "metrics are published at each whole minute\n"),
            },
            "/healthz" => verdict(health::of(&self.read()), serves),
            "/readyz" => self.readiness(),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
        }
    }
}

fn until_the_minute(now: SystemTime) -> Duration {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    MINUTE.saturating_sub(Duration::new(since.as_secs() % MINUTE.as_secs(), since.subsec_nanos()))
}

/// Whether the gateway serves at all.
const fn serves(health: Health) -> bool {
    matches!(health, Health::Good | Health::Impaired(_))
}

/// Whether the gateway takes new mail and new clients.
const fn takes_all(health: Health) -> bool {
    matches!(health, Health::Good | Health::Impaired(Reason::BalanceOff))
}

fn verdict(health: Health, is_well: fn(Health) -> bool) -> Response<Full<Bytes>> {
    let status = if is_well(health) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match health {
        Health::Good => text(status, "the gateway serves\n"),
        Health::Impaired(reason) | Health::Down(reason) => text(status, format!("{reason}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, TEXT, body.into())
}

fn response(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::Ordering::Relaxed};

    use figures::{client_edge::Counters, supervisor::SupervisorFigures};
    use http_body_util::BodyExt as _;
    use ipc::Role;
    use sandbox::page::{create, map_for_writing, reopen_for_reading};

    use super::*;
    use crate::api::tests::config;

    /// A gateway whose workers are all at work.
    fn gateway() -> (Metrics, Counters, SupervisorFigures) {
        let edge = Page::Worker(Role::ClientEdge);
        let made = [edge, Page::Supervisor].map(|page| (page, create(page.bytes()).unwrap()));
        let read = |(page, made): &(Page, std::os::fd::OwnedFd)| {
            (*page, ReadOnlyPage::map(reopen_for_reading(made).unwrap()).unwrap())
        };
        let limits = Limits::of(&config(), Arc::default());
        let metrics = Metrics::new(made.iter().map(read).collect(), limits);
        let [(_, edge), (_, supervisor)] = made;
        let counters = Counters::in_page(map_for_writing(edge).unwrap()).unwrap();
        let supervisor = SupervisorFigures::in_page(map_for_writing(supervisor).unwrap()).unwrap();
        Role::ALL.into_iter().for_each(|role| supervisor.of(role).ready.store(1, Relaxed));
        supervisor.admits_newcomers.store(1, Relaxed);
        (metrics, counters, supervisor)
    }

    async fn get(metrics: &Metrics, path: &str) -> (u16, String) {
        let response = metrics.answer(&Request::get(path).body(()).unwrap());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn metrics_change_only_when_a_minute_is_over() {
        let (metrics, counters, _supervisor) = gateway();
        assert_eq!(get(&metrics, "/metrics").await.0, 503);
        counters.attached_2024.fetch_add(9, Relaxed);
        counters.registrations.fetch_add(8, Relaxed);
        metrics.publish();
        let (status, first) = get(&metrics, "/metrics").await;
        assert!(status == 200 && first.contains("\ngatewayd_client_edge_registrations_total 8\n"), "{first}");
        counters.registrations.fetch_add(8, Relaxed);
        assert_eq!(get(&metrics, "/metrics").await.1, first);
        metrics.publish();
        assert!(get(&metrics, "/metrics").await.1.contains("_registrations_total 16\n"));
    }

    /// In one world one client gets nearly all, in the other all get the same. Each minute the totals are equal, and so is what is shown.
    #[tokio::test]
    async fn two_worlds_same_metrics() {
        const CLIENTS: u64 = 9;
        let worlds = [gateway(), gateway()];
        for (_, counters, _) in &worlds {
            counters.attached_2024.fetch_add(CLIENTS, Relaxed);
            counters.authentications.fetch_add(CLIENTS, Relaxed);
        }
        for minute in 1..=3 {
            let [(one, uneven, _), (other, even, _)] = &worlds;
            for client in 0..CLIENTS {
                uneven.messages_pushed.fetch_add(if client == minute { 101 } else { 2 }, Relaxed);
                even.messages_pushed.fetch_add(13, Relaxed);
            }
            // They came at other moments of the minute: what is asked within it shows the minute before.
            one.publish();
            other.publish();
            let [shown, of_other] = [get(one, "/metrics").await, get(other, "/metrics").await];
            assert_eq!(shown, of_other);
            let line = format!("\ngatewayd_client_edge_messages_pushed_total {}\n", 117 * minute / 8 * 8);
            assert!(shown.1.contains(&line), "{line}: {}", shown.1);
        }
    }

    #[tokio::test]
    async fn few_clients_are_shown_in_steps() {
        let (metrics, counters, _supervisor) = gateway();
        counters.attached_2024.fetch_add(3, Relaxed);
        counters.registrations.fetch_add(10, Relaxed);
        metrics.publish();
        let shown = get(&metrics, "/metrics").await.1;
        assert!(shown.contains("_registrations_total 8\n") && shown.contains("{era=\"2024\"} 0\n"), "{shown}");
    }

    #[tokio::test]
    async fn health_is_that_of_now_with_its_reason() {
        let (metrics, _counters, supervisor) = gateway();
        assert_eq!(get(&metrics, "/healthz").await, (200, "the gateway serves\n".to_owned()));
        assert_eq!(get(&metrics, "/readyz").await.0, 200);
        supervisor.admits_newcomers.store(0, Relaxed);
        assert_eq!(get(&metrics, "/healthz").await.0, 200);
        assert!(get(&metrics, "/readyz").await.1.contains("gatewayd drain"));
        supervisor.of(Role::Store).ready.store(0, Relaxed);
        for path in ["/healthz", "/readyz"] {
            let (status, reason) = get(&metrics, path).await;
            assert!(status == 503 && reason.contains("store"), "{reason}");
        }
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let (metrics, ..) = gateway();
        assert_eq!(get(&metrics, "/").await.0, 404);
        assert_eq!(metrics.answer(&Request::post("/metrics").body(()).unwrap()).status(), 405);
    }

    #[test]
    fn a_minute_ends_when_the_clock_says_so() {
        let at = |millis| until_the_minute(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!([at(0), at(59_999), at(120_500)].map(|wait| wait.as_millis()), [60_000, 1, 59_500]);
    }
}
