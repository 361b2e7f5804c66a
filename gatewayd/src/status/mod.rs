//! `status` and `health`: how a running gateway is, asked at its admin socket.
//!
//! *Trusts*: the supervisor that answers. *Promises*: an answer takes a moment, whatever else the gateway is asked; the exit code says
//! how the gateway is.
//!
//! | file | idea |
//! |---|---|
//! | [`screen`] | one screen of text |
//! | [`json`] | all figures, for programs |
//! | [`watch`] | the screen, again and again |

mod json;
mod screen;
mod watch;

use std::{io, time::Duration};

use figures::{
    Page, Reading,
    health::{self, Health, Reason},
    page::layout,
};

use crate::{
    admin::{
        client::{AdminClient, AdminError},
        wire::{AdminAnswer, AdminQuestion},
    },
    console::Console,
    handover::wire::{UpgradeAnswer, UpgradeQuestion},
    paths::{GatewayId, Root, RootError},
};

/// The time for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The form of the output of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One screen.
    Text,
    /// All figures.
    Json,
    /// One screen, redrawn until the command is stopped.
    Watch,
}

/// Why a gateway is not well, or cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no folder of gateways.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The gateway cannot be asked.
    #[error(transparent)]
    Ask(#[from] AdminError),
    /// The gateway is of another version.
    #[error("the running gateway is of another version, whose figures are others; restart it, or use its own gatewayd")]
    OtherVersion,
    /// The gateway serves, and something is wrong.
    #[error("{0}")]
    Impaired(Reason),
    /// The gateway does not serve.
    #[error("{0}")]
    Down(Reason),
    /// The figures cannot be written.
    #[error("cannot write the figures: {0}")]
    Write(#[from] io::Error),
}

impl StatusError {
    /// Whether the gateway serves nevertheless.
    pub const fn serves(&self) -> bool {
        matches!(self, Self::Impaired(_))
    }
}

/// Prints how gateway `id` is.
///
/// # Errors
/// If it cannot be asked, or is not well.
pub fn show(id: &GatewayId, root: &Root, form: Form, console: &mut Console<'_>) -> Result<(), StatusError> {
    in_runtime(async {
        let mut gateway = Gateway::find(id, root)?;
        let readings = gateway.figures().await?;
        match form {
            Form::Text => console.line(screen::text(id, &readings, None, &gateway.upgrade().await)),
            Form::Json => console.line(json::document(&readings, &gateway.upgrade().await)),
            Form::Watch => return watch::redraw(id, &mut gateway, readings, console).await,
        }
        verdict(&readings)
    })
}

/// Prints in one line whether gateway `id` serves.
///
/// # Errors
/// If it cannot be asked, or is not well.
pub fn check(id: &GatewayId, root: &Root, console: &mut Console<'_>) -> Result<(), StatusError> {
    in_runtime(async {
        verdict(&Gateway::find(id, root)?.figures().await?)?;
        console.line("the gateway serves");
        Ok(())
    })
}

fn in_runtime(asking: impl Future<Output = Result<(), StatusError>>) -> Result<(), StatusError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking)
}

fn verdict(readings: &[Reading]) -> Result<(), StatusError> {
    match health::of(readings) {
        Health::Good => Ok(()),
        Health::Impaired(reason) => Err(StatusError::Impaired(reason)),
        Health::Down(reason) => Err(StatusError::Down(reason)),
    }
}

/// A running gateway.
struct Gateway(AdminClient);

impl Gateway {
    fn find(id: &GatewayId, root: &Root) -> Result<Self, StatusError> {
        Ok(Self(AdminClient::open(id, root)?))
    }

    /// How its latest upgrade stands. A gateway that does not say at once has none to speak of: it ends, or its old programs come back.
    async fn upgrade(&mut self) -> UpgradeAnswer {
        let question = AdminQuestion::Upgrade(UpgradeQuestion::Outcome.encode());
        match self.0.ask(question, ANSWER_LIMIT).await {
            Ok(AdminAnswer::Upgrade(text)) => UpgradeAnswer::decode(&text).unwrap_or(UpgradeAnswer::None),
            _ => UpgradeAnswer::None,
        }
    }

    /// Its figures now.
    async fn figures(&mut self) -> Result<Vec<Reading>, StatusError> {
        let answer = match self.0.ask(AdminQuestion::Figures, ANSWER_LIMIT).await? {
            AdminAnswer::Figures(answer) => answer,
            other => return Err(AdminError::of_other_answer(&other).into()),
        };
        if answer.layout != layout() || answer.pages.len() != Page::ALL.len() {
            return Err(StatusError::OtherVersion);
        }
        let pages = Page::ALL.into_iter().zip(answer.pages);
        let readings: Option<Vec<_>> = pages.map(|(page, values)| Reading::of_values(page, values)).collect();
        readings.ok_or(StatusError::OtherVersion)
    }
}

#[cfg(test)]
mod tests;
