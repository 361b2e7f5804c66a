//! Tells `http-api` the signed host information, once for each link.
//!
//! *Trusts* `http-api` with nothing: it gets what is public, and nothing that it says is read. A new `http-api` gets the same text, which
//! is signed once, at the start.

use std::os::fd::OwnedFd;

use ipc::{
    Role,
    control::WorkerReport,
    http_api::{Rule, SignedHostInformation, StoreToHttpApi},
};
use tokio::sync::mpsc;
use worker::{
    duplex::{self, LaneCapacity, LinkEvent, LinkSender},
    lossy::NoReply,
};

/// One message for each link.
const LANES: LaneCapacity = LaneCapacity { control: 1, bulk: 1 };

/// Serves the link until dropped.
pub(crate) async fn publish(
    signed: SignedHostInformation,
    ends: mpsc::Receiver<OwnedFd>,
    reports: mpsc::Sender<WorkerReport>,
) {
    let (events_tx, mut events) = mpsc::channel::<LinkEvent<NoReply, StoreToHttpApi>>(1);
    let tell = async {
        // Keeps the senders of the present link, which ends when they are dropped.
        let mut current: Option<LinkSender<StoreToHttpApi>> = None;
        while let Some(event) = events.recv().await {
            match event {
                LinkEvent::Up(link) => {
                    // The lane is new and has room for one. If the peer is gone already, the next one is told.
                    let _ = link.control.try_send(StoreToHttpApi::PublishHostInformation(signed.clone()));
                    current = Some(link);
                }
                LinkEvent::Batch(_) => {
                    if let Some(link) = &current {
                        link.drop_link(Rule::Spoke);
                    }
                }
                LinkEvent::Down => current = None,
            }
        }
    };
    tokio::join!(duplex::serve(Role::HttpApi, ends, LANES, events_tx, reports), tell);
}
