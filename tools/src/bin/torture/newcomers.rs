//! Clients that register while everything is going on. A registration that was answered is a promise: the client can log in from
//! then on, whatever happens. In a soak they are also forgotten again, so that inboxes come and go.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use harness::{
    addrs::Addrs,
    client_model::{ClientModel, Manner},
    era::Era,
    mix_model::Addressee,
    oracle::{Inbox, Oracle},
};
use tokio::{sync::watch, task::JoinSet};

/// How newcomers come, and whether they stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// From one to the next.
    pub(crate) every: Duration,
    /// After so long they want to be forgotten; never, if there is no such time.
    pub(crate) stay: Option<Duration>,
    /// The eras they speak, in turn.
    pub(crate) eras: &'static [Era],
}

/// Whom mix nodes send to.
pub(crate) type Addresses = watch::Sender<Vec<Addressee>>;

/// Lets newcomers in.
pub(crate) struct Registrar {
    /// How they come.
    pub(crate) pace: Pace,
    /// The first newcomer's number in the oracle.
    pub(crate) first: Inbox,
    /// To be told of newcomers.
    pub(crate) addresses: Arc<Addresses>,
    /// Where the gateway is.
    pub(crate) addrs: watch::Receiver<Addrs>,
    /// Who it is.
    pub(crate) gateway_identity: [u8; 32],
    /// The oracle.
    pub(crate) oracle: Arc<Oracle>,
}

impl Registrar {
    /// Lets them in until told to stop. Returns those who are still there.
    ///
    /// # Errors
    /// If a client that wants to be forgotten is not.
    pub(crate) async fn register(self, mut stop: watch::Receiver<bool>) -> Result<Vec<ClientModel>> {
        const MANNERS: [Manner; 3] = [Manner::Flapping, Manner::Online, Manner::Offline];
        let mut inside = JoinSet::new();
        let mut inbox = self.first;
        let mut models = Vec::new();
        while !*stop.borrow() {
            // The time is over, or the run is: the loop sees which.
            let _ = tokio::time::timeout(self.pace.every, stop.wait_for(|stop| *stop)).await;
            let era =
                self.pace.eras.iter().cycle().nth(inbox % self.pace.eras.len().max(1)).copied().unwrap_or(Era::TODAY);
            let manner = match self.pace.stay {
                // They leave with nothing left to fetch, so they must be there.
                Some(_) => Manner::Flapping,
                None => MANNERS.into_iter().cycle().nth(inbox % MANNERS.len()).unwrap_or(Manner::Flapping),
            };
            let addrs = *self.addrs.borrow();
            let registered =
                ClientModel::register((inbox, era, manner), addrs, &self.gateway_identity, self.oracle.clone()).await;
            // A gateway under a fault may refuse.
            let Ok(client_model) = registered else { continue };
            inbox += 1;
            self.addresses.send_modify(|all| all.push(client_model.addressee()));
            inside.spawn(visit(client_model, self.pace.stay, self.addresses.clone(), self.addrs.clone(), stop.clone()));
            while let Some(client_model) = inside.try_join_next() {
                models.extend(client_model??);
            }
        }
        while let Some(client_model) = inside.join_next().await {
            models.extend(client_model??);
        }
        Ok(models)
    }
}

/// Lives until told to stop, or until it is time to be forgotten.
async fn visit(
    client_model: ClientModel,
    stay: Option<Duration>,
    addresses: Arc<Addresses>,
    addrs: watch::Receiver<Addrs>,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<ClientModel>> {
    let (leave, leaves) = watch::channel(false);
    let own = tokio::spawn(client_model.live(addrs.clone(), leaves));
    let told = stop.wait_for(|stop| *stop);
    let is_over = match stay {
        // An error means that the run is over.
        Some(stay) => tokio::time::timeout(stay, told).await.is_ok(),
        None => told.await.is_ok(),
    };
    leave.send_replace(true);
    let client_model = own.await??;
    if is_over {
        return Ok(Some(client_model));
    }
    addresses.send_modify(|all| all.retain(|addressee| addressee.inbox != client_model.inbox));
    let here = *addrs.borrow();
    client_model.be_forgotten(here).await?;
    Ok(None)
}
