//! `store` in the hands of an attacker can lie about what it keeps, to its two peers, in due form.

use anyhow::Result;
use harness::{
    deadline::bounded,
    gateway::IPV4,
    home::Home,
    rogue::{Taken, TakenLink},
};
use ipc::{
    Role,
    ingress_store::{DeliveryId, IngressToStore, StoreToIngress},
};

/// Its peers live on.
#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_store_that_breaks_a_rule_is_replaced_alone() -> Result<()> {
    bounded(async {
        let taken = Taken::over(Home::init(IPV4).await?, Role::Store).await?;
        taken
            .breaks(ipc::ingress_store::Rule::UnknownDelivery, Role::MixIngress, async {
                let mut link: TakenLink<IngressToStore, StoreToIngress> = taken.link(Role::MixIngress).await?;
                link.say(&StoreToIngress::AcceptDelivery { delivery: DeliveryId(7) }).await?;
                Ok(link)
            })
            .await
    })
    .await
}
