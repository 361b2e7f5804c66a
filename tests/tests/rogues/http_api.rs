//! `http-api` in the hands of an attacker: it has nothing to take, and cannot have anything signed.

use anyhow::{Result, ensure};
use harness::{
    deadline::bounded,
    gateway::IPV4,
    home::Home,
    rogue::{Taken, TakenLink},
};
use ipc::{
    Role,
    http_api::{Rule, StoreToHttpApi},
};

use crate::attached::{attached_clients, ensure_all_are_attached};

/// All that comes to it is the text that anybody may read.
#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_http_api_gets_what_is_public_and_nothing_signed() -> Result<()> {
    bounded(async {
        let taken = Taken::over(Home::init(IPV4).await?, Role::HttpApi).await?;
        let mut attached = attached_clients(&taken.gateway).await?;
        taken
            .breaks(Rule::Spoke, Role::Store, async {
                let mut link: TakenLink<StoreToHttpApi, ()> = taken.link(Role::Store).await?;
                let StoreToHttpApi::PublishHostInformation(signed) = link.hear().await?;
                ensure!(signed.data.contains("127.0.0.1"), "{signed:?}");
                // A frame without a message.
                link.write(&[0, 0, 0, 0]).await?;
                Ok(link)
            })
            .await?;
        ensure_all_are_attached(&mut attached).await
    })
    .await
}
