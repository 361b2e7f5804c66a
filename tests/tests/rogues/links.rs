//! What is no message, and a link that is let go of, have the rogue replaced, and its peer lives on: at both ends of every link.

use anyhow::Result;
use harness::{deadline::bounded, gateway::IPV4, home::Home, rogue::Taken};
use ipc::Role;

use crate::attached::{attached_clients, ensure_all_are_attached};

/// Clients stay attached unless they are the rogue's own.
async fn break_link(rogue: Role, peer: Role) -> Result<()> {
    bounded(async {
        let taken = Taken::over(Home::init(IPV4).await?, rogue).await?;
        let mut attached = match rogue {
            Role::MixIngress | Role::MixEgress | Role::HttpApi => attached_clients(&taken.gateway).await?,
            Role::ClientEdge | Role::Store => Vec::new(),
        };
        taken.breaks_form(peer).await?;
        taken.lets_go(peer).await?;
        ensure_all_are_attached(&mut attached).await
    })
    .await
}

macro_rules! links {
    ($($test:ident: $rogue:ident, $peer:ident;)*) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() -> Result<()> {
            break_link(Role::$rogue, Role::$peer).await
        }
    )* };
}
links! {
    a_rogue_ingress_that_breaks_its_link_to_store_is_replaced: MixIngress, Store;
    a_rogue_store_that_breaks_its_link_to_ingress_is_replaced: Store, MixIngress;
    a_rogue_ingress_that_breaks_its_link_to_egress_is_replaced: MixIngress, MixEgress;
    a_rogue_egress_that_breaks_its_link_to_ingress_is_replaced: MixEgress, MixIngress;
    a_rogue_edge_that_breaks_its_link_to_store_is_replaced: ClientEdge, Store;
    a_rogue_store_that_breaks_its_link_to_edge_is_replaced: Store, ClientEdge;
    a_rogue_edge_that_breaks_its_link_to_egress_is_replaced: ClientEdge, MixEgress;
    a_rogue_egress_that_breaks_its_link_to_edge_is_replaced: MixEgress, ClientEdge;
    a_rogue_http_api_that_breaks_its_link_to_store_is_replaced: HttpApi, Store;
    a_rogue_store_that_breaks_its_link_to_http_api_is_replaced: Store, HttpApi;
}
