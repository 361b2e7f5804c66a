//! From an accepted connection to a websocket that counts for the right client.
//!
//! *Trusts* the proxies of `trusted_proxies` to name the client for which they connect, and no other peer.
//!
//! *Promises*: a connection of such a proxy counts for the client, in every limit by prefix, as soon as the client is known, and
//! for the proxy if the proxy names none; a request has come within `websocket_upgrade`, and is answered soon after.

mod exchange;
pub mod forwarded;
pub mod http_request;
pub mod proxy_header;

use std::net::IpAddr;

use ipc::trusted_network::TrustedNetwork;
use session_ipc::SessionId;
use tokio::{net::TcpStream, time::Instant};
use worker::{
    counter::count,
    peer::{ConnectionPermit, LimitReached},
};

use crate::{context::Context, listen::preauth_limit::PreauthSlot, websocket::Websocket};
use exchange::{HttpExchange, NotUpgraded};

/// A connection that was accepted.
pub(crate) struct NewConnection {
    /// Its number.
    pub(crate) session: SessionId,
    /// The connection.
    pub(crate) socket: TcpStream,
    /// The address of its peer.
    pub(crate) peer: IpAddr,
    /// Its place among all connections.
    pub(crate) permit: ConnectionPermit,
    /// Its place among the connections before login.
    pub(crate) slot: PreauthSlot,
}

/// A connection that became a websocket.
pub(crate) struct Upgraded {
    /// The websocket.
    pub(crate) websocket: Websocket,
    /// Its place among all connections.
    pub(crate) permit: ConnectionPermit,
    /// Its place among the connections before login.
    pub(crate) slot: PreauthSlot,
}

/// The places of a connection that has no websocket yet.
struct Permits {
    permit: ConnectionPermit,
    slot: PreauthSlot,
}

/// Makes a websocket of the connection. If that fails, counts the failure and returns nothing.
pub(crate) async fn upgrade(context: &Context, new: NewConnection) -> Option<Upgraded> {
    let upgraded = tokio::select! {
        upgraded = exchange(context, new) => upgraded,
        () = context.drain.begun() => return None,
    };
    let counters = &context.counters;
    match upgraded {
        Ok(upgraded) => return Some(upgraded),
        Err(NotUpgraded::NoPlace) => {}
        Err(NotUpgraded::Page) => count(&counters.pages_served),
        Err(NotUpgraded::NotServed | NotUpgraded::PeerGone | NotUpgraded::Late) => count(&counters.upgrades_failed),
    }
    None
}

async fn exchange(context: &Context, new: NewConnection) -> Result<Upgraded, NotUpgraded> {
    let NewConnection { session: _, socket, peer, permit, slot } = new;
    let proxies = &context.config.trusted_proxies[..];
    let mut permits = Permits { permit, slot };
    let mut http = HttpExchange::new(socket, Instant::now() + context.config.websocket_upgrade);
    let mut client = peer;
    if is_proxy(proxies, peer)
        && let Some(source) = permits.unless_evicted(http.read_proxy_header()).await?
    {
        client = source;
        permits = permits.for_client(context, client)?;
    }
    let is_proxied = is_proxy(proxies, client);
    let request = permits.unless_evicted(http.read_request(if is_proxied { proxies } else { &[] })).await?;
    if is_proxied {
        client = request.client.unwrap_or(client);
        permits = permits.for_client(context, client)?;
    }
    permits.unless_evicted(http.answer(&request.answer)).await?;
    let HttpExchange { socket, bytes, .. } = http;
    let websocket = Websocket::new(socket, bytes, context.half_messages.permit()).await;
    Ok(Upgraded { websocket, permit: permits.permit, slot: permits.slot })
}

fn is_proxy(proxies: &[TrustedNetwork], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.contains(address))
}

impl Permits {
    /// Waits for `step` as long as the connection has its places.
    async fn unless_evicted<T>(&self, step: impl Future<Output = Result<T, NotUpgraded>>) -> Result<T, NotUpgraded> {
        tokio::select! {
            result = step => result,
            () = self.slot.evicted() => Err(NotUpgraded::NoPlace),
            () = self.permit.evicted() => Err(NotUpgraded::NoPlace),
        }
    }

    /// The places of the same connection, counted for `client`.
    fn for_client(self, context: &Context, client: IpAddr) -> Result<Self, NotUpgraded> {
        let counters = &context.counters;
        let admitted = self.permit.for_client(client.into()).map_err(|reached| {
            count(match reached {
                LimitReached::InAll => &counters.connections_refused_limit,
                LimitReached::ForPrefix => &counters.connections_refused_prefix,
            });
            NotUpgraded::NoPlace
        })?;
        if admitted.evicted_another {
            count(&counters.connections_evicted);
        }
        let (slot, evicted_another) = self.slot.for_client(client.into()).map_err(|_| {
            count(&counters.unauthenticated_refused);
            NotUpgraded::NoPlace
        })?;
        if evicted_another {
            count(&counters.unauthenticated_evicted);
        }
        Ok(Self { permit: admitted.permit, slot })
    }
}
