//! A start with much that is kept: many messages, and many clients. From the first moment of `run` until the ports serve.

use std::time::Instant;

use anyhow::Result;
use harness::{
    gateway::{Gateway, IPV4},
    home::Home,
};
use nix::sys::signal::Signal;

use super::seed::{INBOXES, seed};
use crate::{
    Scale,
    report::{
        Aim, Round,
        Unit::{Kib, Seconds},
    },
    usage::Resident,
};

pub(super) async fn measure(scale: Scale) -> Result<Round> {
    let mut round = Round::default();
    for (messages, clients) in [(scale.kept, INBOXES.min(scale.kept)), (0, scale.kept)] {
        let home = Home::init(IPV4).await?;
        seed(&home.data(), scale.budget.data, messages, clients)?;
        let what = match messages {
            0 => format!("with {clients} clients"),
            _ => format!("with {messages} messages stored"),
        };
        // The first start after it was written, and one like every other.
        let mut gateway = Gateway::start_in(home, &[]).await?;
        gateway.stop(Signal::SIGTERM).await?;
        let start = Instant::now();
        gateway.start_again().await?;
        let took = start.elapsed();
        let resident = Resident::now(&gateway)?;
        round.add(format!("start {what}"), took.as_secs_f64(), Seconds, Aim::AtMost(1.0));
        round.add(format!("memory {what}"), resident.sum() as f64, Kib, Aim::None);
        round.notes.push(format!("{what}: {resident}"));
        gateway.stop(Signal::SIGTERM).await?;
    }
    Ok(round)
}
