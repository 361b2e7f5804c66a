//! The screen, redrawn every few seconds, with rates.
//!
//! On anything but a terminal the screens follow each other.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use crossterm::{
    cursor::MoveTo,
    queue,
    terminal::{Clear, ClearType},
};
use figures::Reading;
use tokio::time::{MissedTickBehavior, interval};

use super::{Gateway, StatusError, screen};
use crate::{console::Console, paths::GatewayId};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// Redraws until the gateway ends, nobody reads any more, or the command is stopped. The first screen shows `readings`, and has no rates.
pub(super) async fn redraw(
    id: &GatewayId,
    gateway: &mut Gateway,
    readings: Vec<Reading>,
    console: &mut Console<'_>,
) -> Result<(), StatusError> {
    let clears = io::stdout().is_terminal();
    let (mut last, mut looked) = (readings, Instant::now());
    draw(&screen::text(id, &last, None, &gateway.upgrade().await), clears, console)?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    while !console.is_lost() {
        ticks.tick().await;
        let (now, at) = (gateway.figures().await?, Instant::now());
        let before = Some((&last[..], at.duration_since(looked)));
        draw(&screen::text(id, &now, before, &gateway.upgrade().await), clears, console)?;
        (last, looked) = (now, at);
    }
    // Whether that is an error is known at the end.
    Ok(())
}

fn draw(screen: &str, clears: bool, console: &mut Console<'_>) -> io::Result<()> {
    if clears {
        let mut out = io::stdout();
        queue!(out, MoveTo(0, 0), Clear(ClearType::All))?;
        out.flush()?;
    }
    console.line(screen);
    if !clears {
        console.line("");
    }
    console.flush();
    Ok(())
}
