//! One connection: requests in, answers out, until the peer, a limit or the worker ends it.
//!
//! *Trusts* nothing that is read. *Holds* at most [`MAX_HEAD`] bytes of a request, and as much of answers before the last.
//! *Promises*: the connection ends, whatever the peer does; never more requests are answered than allowed; no body is read. Bytes that are
//! not HTTP, or too many, end this connection only.

use std::{convert::Infallible, future::ready, io, pin::pin, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    select,
    time::timeout,
};
use worker::{counter::count, drain::Drain};

use crate::{
    answer::answer,
    api::Api,
    counters::{self, HttpCounters},
    exchange::{Exchange, Overdue, Watched},
    limits::Limits,
};

/// The longest head of a request, in bytes. hyper takes no smaller limit.
pub const MAX_HEAD: usize = 8 * 1024;

/// Most fields in the head of a request.
const MAX_FIELDS: usize = 64;

/// How long, and for how many bytes, a peer may go on sending after the last answer. If the connection were closed before the peer's bytes
/// are read, the kernel would reset it, and the peer might lose the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// Why a connection ended.
enum End {
    Http(hyper::Result<()>),
    Overdue(Overdue),
    Evicted,
}

/// Serves a stranger at `stream` until its end, or until `evicted` says that its place is needed for others.
pub async fn serve<S>(stream: S, api: &Api, drain: &Drain, evicted: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    serve_with(stream, &api.limits, drain, evicted, |request| answer(api, request)).await;
}

/// As [`serve`], with another `answer`.
pub(crate) async fn serve_with<S>(
    stream: S,
    limits: &Limits,
    drain: &Drain,
    evicted: impl Future<Output = ()>,
    answer: impl Fn(&Request<Incoming>) -> Response<Full<Bytes>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = Exchange::new(limits.request);
    let mut stream = Watched::new(stream, exchange.clone());
    let mut evicted = pin!(evicted);
    let end = {
        let service =
            service_fn(|request| ready(Ok::<_, Infallible>(respond(limits, &exchange, &request, answer(&request)))));
        let mut connection = pin!(http().serve_connection(TokioIo::new(&mut stream), service));
        let mut draining = false;
        loop {
            // The connection is polled last: otherwise bytes that always keep coming would hide the others.
            select! {
                biased;
                overdue = exchange.overdue() => break End::Overdue(overdue),
                () = &mut evicted => break End::Evicted,
                () = drain.begun(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = connection.as_mut() => break End::Http(ended),
            }
        }
    };
    count_end(&end, &exchange, &limits.counters);
    if matches!(end, End::Http(_)) {
        select! {
            biased;
            () = &mut evicted => {}
            () = drain.begun() => {}
            // Whether the peer closed in time makes no difference.
            _ = timeout(LINGER.min(limits.request), discard(&mut stream)) => {}
        }
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // One buffer is written at a time, so that the process makes no call for several.
    http.max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .writev(false)
        .header_read_timeout(None);
    http
}

fn respond(
    limits: &Limits,
    exchange: &Exchange,
    request: &Request<impl Body>,
    mut response: Response<Full<Bytes>>,
) -> Response<Full<Bytes>> {
    let requests = exchange.request();
    counters::answered(&limits.counters, response.status());
    if requests >= limits.requests_per_connection || !request.body().is_end_stream() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn count_end(end: &End, exchange: &Exchange, counters: &HttpCounters) {
    let counter = match end {
        End::Http(Err(error)) if error.is_parse_too_large() => &counters.oversized_heads,
        End::Http(Err(error)) if error.is_parse() && exchange.began_as_tls() => &counters.tls_hellos,
        End::Http(Err(error)) if error.is_parse() => &counters.bad_heads,
        End::Http(Err(error)) if error.is_incomplete_message() => &counters.requests_cut_short,
        End::Overdue(Overdue::Request) => &counters.request_timeouts,
        End::Overdue(Overdue::Answer) => &counters.answer_timeouts,
        End::Overdue(Overdue::Next) => &counters.idle_closures,
        // Evictions are counted where the other connection is accepted.
        End::Http(_) | End::Evicted => return,
    };
    count(counter);
}

/// Reads and forgets what the peer still sends.
async fn discard(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut bytes = [0; 512];
    let mut left = LINGER_BYTES;
    while left > 0 {
        let came = stream.read(&mut bytes).await?;
        if came == 0 {
            return Ok(());
        }
        left = left.saturating_sub(came);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
