//! What wakes the thread that cleans, and what ends it.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Word for the thread that cleans.
#[derive(Debug, Default)]
pub(super) struct Chores {
    state: Mutex<ChoreState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ChoreState {
    is_due: bool,
    is_over: bool,
}

impl Chores {
    fn lock(&self) -> MutexGuard<'_, ChoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to do.
    pub(super) fn call(&self) {
        self.lock().is_due = true;
        self.changed.notify_all();
    }

    /// The thread ends soon.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Waits until there is something to do, or the time is over.
    pub(super) fn wait(&self, limit: Duration) {
        let state = self.lock();
        let waits = |state: &mut ChoreState| !state.is_due && !state.is_over;
        let (mut state, _) =
            self.changed.wait_timeout_while(state, limit, waits).unwrap_or_else(PoisonError::into_inner);
        state.is_due = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Longer than a busy machine takes for anything here.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    /// How long it waits.
    fn wait(chores: &Chores, limit: Duration) -> Duration {
        let begin = Instant::now();
        chores.wait(limit);
        begin.elapsed()
    }

    #[test]
    fn nobody_waits_who_was_called_and_then_waits_for_the_next_call() {
        let chores = Chores::default();
        assert!(wait(&chores, SHORT) >= SHORT, "nothing is due");
        chores.call();
        assert!(wait(&chores, LONG) < LONG);
        assert!(wait(&chores, SHORT) >= SHORT, "what was due is being done");
    }

    #[test]
    fn nobody_waits_once_it_is_over() {
        let chores = Chores::default();
        assert!(!chores.is_over());
        chores.end();
        assert!(chores.is_over());
        for _ in 0..2 {
            assert!(wait(&chores, LONG) < LONG);
        }
    }

    #[test]
    fn a_call_and_the_end_wake_who_waits() {
        for wake in [Chores::call, Chores::end] {
            let chores = Chores::default();
            let waited = std::thread::scope(|scope| {
                let waits = scope.spawn(|| wait(&chores, LONG));
                // If it comes before the wait begins, nobody waits: the same is true.
                std::thread::sleep(SHORT);
                wake(&chores);
                waits.join().unwrap()
            });
            assert!(waited < LONG);
        }
    }
}
