//! Answers the questions of an audit: the same for a running gateway and for a self-test.

use super::prober::{Prober, Waiting};
use crate::audit::wire::{Answer, Crew, Live, Question};

/// Asked one question after the other.
#[derive(Debug)]
pub(crate) struct Examiner {
    prober: Prober,
    waiting: Option<Waiting>,
}

impl Examiner {
    pub(crate) const fn new(prober: Prober) -> Self {
        Self { prober, waiting: None }
    }

    /// Answers one, with these workers alive.
    pub(crate) async fn answer(&mut self, question: Question, live: Vec<Live>) -> Answer {
        self.waiting = None;
        let crew = Crew { supervisor: std::process::id(), live };
        match question {
            Question::ShowCrew => Answer::Crew(crew),
            Question::WaitInJail { role } => match self.prober.wait_in_jail(role).await {
                Ok(waiting) => {
                    let waiting = self.waiting.insert(waiting);
                    Answer::Waiting { pid: waiting.pid(), held: waiting.held().clone() }
                }
                Err(error) => Answer::Failed(error.to_string()),
            },
            Question::Measure { role, ability } => {
                let others = crew.others_than(role);
                if others.is_empty() {
                    return Answer::Failed(format!("no worker but {role} is alive to try it on"));
                }
                let measured = self.prober.measure(role, ability, others).await;
                measured.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Measured)
            }
        }
    }
}
