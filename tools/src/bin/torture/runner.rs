//! The gateway goes through what was planned for it.

use std::{
    fmt,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use harness::output::say;

use crate::{
    coverage::{Coverage, Effect},
    fault::Kind,
    schedule::{Happening, Meanwhile, Planned},
    sut::Sut,
};

/// Brings about what is planned until the time is over, and the first fault of each kind in any case.
///
/// # Errors
/// If the gateway does not come back from something.
pub(crate) async fn go_through(
    schedule: Vec<Planned>,
    sut: &mut Sut,
    kinds: &[Kind],
    duration: Duration,
) -> Result<Coverage> {
    let begin = Instant::now();
    let mut coverage = Coverage::of(kinds);
    for planned in schedule {
        tokio::time::sleep_until((begin + planned.at).into()).await;
        let at = Instant::now();
        let effect = if at > begin + duration && !planned.is_first {
            Effect::NotDone("the time is over".into())
        } else {
            take_place(planned, sut, begin, &mut coverage).await.with_context(|| planned.happening.to_string())?
        };
        say_done(&planned.happening, &effect, begin, at..Instant::now())?;
        coverage.note(planned.kind, effect);
    }
    tokio::time::sleep_until((begin + duration).into()).await;
    Ok(coverage)
}

async fn take_place(planned: Planned, sut: &mut Sut, begin: Instant, coverage: &mut Coverage) -> Result<Effect> {
    match planned.happening {
        Happening::Sudden(fault) => sut.suffer(fault).await,
        Happening::Lasting { condition, lasts, meanwhile } => {
            let (effect, inner) = sut.endure(condition, lasts, meanwhile).await?;
            if let (Some((inner, when)), Some(Meanwhile { kind, fault, .. })) = (inner, meanwhile) {
                say_done(&format_args!("  meanwhile {fault}"), &inner, begin, when)?;
                coverage.note_overlapping(kind, inner);
            }
            Ok(effect)
        }
    }
}

fn say_done(what: &dyn fmt::Display, effect: &Effect, begin: Instant, when: Range<Instant>) -> Result<()> {
    let (at, took) = (when.start - begin, when.end - when.start);
    say(format_args!("{:7.2} s  {what}: {effect} ({:.2} s)", at.as_secs_f64(), took.as_secs_f64()))
}
