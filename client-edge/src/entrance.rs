//! From an accepted connection to a websocket that counts for the right client.
//!
//! *Trusts* what the proxies of `trusted_proxies` say about whom they connect for, and nobody else. *Promises*: a connection of such a
//! proxy counts for the client as soon as the client is known, in every limit by prefix, and for the proxy if it names nobody;
//! a request has come within `websocket_upgrade`, and is answered soon after.

use std::net::IpAddr;

use proto::{
    counter::count,
    peer::{ConnectionPermit, LimitReached, TrustedNetwork},
};
use tokio::time::Instant;

use crate::{
    connection::{Arrival, Context, stopped},
    preauth_limit::PreauthSlot,
    upgrade::{Beginning, NoWebsocket},
    websocket::Websocket,
};

/// A websocket and its places.
pub(crate) struct Entered {
    /// The websocket.
    pub(crate) websocket: Websocket,
    /// Its place, to the end.
    pub(crate) permit: ConnectionPermit,
    /// Its place until it has authenticated.
    pub(crate) slot: PreauthSlot,
}

/// A connection's places, until it has a websocket.
struct Places {
    permit: ConnectionPermit,
    slot: PreauthSlot,
}

/// Makes a websocket of the connection. None if it becomes none; that is counted.
pub(crate) async fn enter(context: &Context, arrival: Arrival) -> Option<Entered> {
    let mut stop = context.stop.clone();
    let entered = tokio::select! {
        entered = begin(context, arrival) => entered,
        () = stopped(&mut stop) => return None,
    };
    let counters = &context.counters;
    match entered {
        Ok(entered) => return Some(entered),
        Err(NoWebsocket::Evicted) => {}
        Err(NoWebsocket::Page) => count(&counters.pages_served),
        Err(NoWebsocket::Refused | NoWebsocket::Gone | NoWebsocket::Late) => count(&counters.upgrades_failed),
    }
    None
}

async fn begin(context: &Context, arrival: Arrival) -> Result<Entered, NoWebsocket> {
    let Arrival { session: _, socket, peer, permit, slot } = arrival;
    let proxies = &context.config.trusted_proxies[..];
    let mut places = Places { permit, slot };
    let mut beginning = Beginning::new(socket, Instant::now() + context.config.websocket_upgrade);
    let mut client = peer;
    if is_proxy(proxies, peer)
        && let Some(source) = places.hold(beginning.read_proxy_header()).await?
    {
        client = source;
        places = places.for_client(context, client)?;
    }
    let is_proxied = is_proxy(proxies, client);
    let request = places.hold(beginning.read_request(if is_proxied { proxies } else { &[] })).await?;
    if is_proxied {
        client = request.client.unwrap_or(client);
        places = places.for_client(context, client)?;
    }
    places.hold(beginning.answer(&request.answer)).await?;
    let Beginning { socket, bytes, .. } = beginning;
    let websocket = Websocket::new(socket, bytes, context.half_messages.partial()).await;
    Ok(Entered { websocket, permit: places.permit, slot: places.slot })
}

fn is_proxy(proxies: &[TrustedNetwork], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.contains(address))
}

impl Places {
    /// Waits for `step` as long as the connection has its places.
    async fn hold<T>(&self, step: impl Future<Output = Result<T, NoWebsocket>>) -> Result<T, NoWebsocket> {
        tokio::select! {
            result = step => result,
            () = self.slot.evicted() => Err(NoWebsocket::Evicted),
            () = self.permit.evicted() => Err(NoWebsocket::Evicted),
        }
    }

    /// The places of the same connection as one of `client`.
    fn for_client(self, context: &Context, client: IpAddr) -> Result<Self, NoWebsocket> {
        let counters = &context.counters;
        let admitted = self.permit.for_client(client.into()).map_err(|reached| {
            count(match reached {
                LimitReached::InAll => &counters.connections_refused_limit,
                LimitReached::ForPrefix => &counters.connections_refused_prefix,
            });
            NoWebsocket::Evicted
        })?;
        if admitted.evicted_another {
            count(&counters.connections_evicted);
        }
        let (slot, evicted_another) = self.slot.for_client(client.into()).map_err(|_| {
            count(&counters.unauthenticated_refused);
            NoWebsocket::Evicted
        })?;
        if evicted_another {
            count(&counters.unauthenticated_evicted);
        }
        Ok(Self { permit: admitted.permit, slot })
    }
}
