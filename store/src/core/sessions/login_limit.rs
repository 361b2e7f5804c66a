//! Limits the logins of each client in an hour: each login costs a commit of the ledger, and a place in the memory of spent logins.
//!
//! Only logins count that were proven and are new, so that no stranger can use up a client's logins, be it by guessing or by sending a
//! login that was overheard. Logins by token and signed ones are counted apart: a thief of a session key cannot sign.
//!
//! *Holds* a number for each client that has logged in within the hour, up to [`CLIENTS`]. An hour begins for all at once, so
//! within any hour a client may log in twice as often at the most.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use client_wire::login::LoginForm;
use wire::address::ClientAddress;

const PERIOD: Duration = Duration::from_secs(3_600);
/// Clients counted at once, at about 60 bytes each. With more clients all counts begin again: an attacker that can register so many
/// gains nothing by more logins of one.
const CLIENTS: usize = 65_536;

/// The limit, and how much of it each client has used.
#[derive(Debug)]
pub(super) struct LoginLimit {
    most: u32,
    began: Instant,
    taken: HashMap<(ClientAddress, LoginForm), u32>,
}

impl LoginLimit {
    pub(super) fn new(most: u32, now: Instant) -> Self {
        Self { most, began: now, taken: HashMap::new() }
    }

    /// Counts a login that was proven. Says whether it is within the limit.
    pub(super) fn allows(&mut self, client: &ClientAddress, form: LoginForm, now: Instant) -> bool {
        if now.saturating_duration_since(self.began) >= PERIOD || self.taken.len() >= CLIENTS {
            (self.began, self.taken) = (now, HashMap::new());
        }
        let taken = self.taken.entry((*client, form)).or_default();
        let allowed = *taken < self.most;
        *taken += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_one_client_and_form_are_limited_for_an_hour() {
        let start = Instant::now();
        let mut limit = LoginLimit::new(2, start);
        let [one, other] = [1, 2].map(|byte| ClientAddress([byte; 32]));
        let mut take =
            |client, form, minutes: u64| limit.allows(client, form, start + Duration::from_secs(60 * minutes));
        assert!(take(&one, LoginForm::Token, 0) && take(&one, LoginForm::Token, 1));
        assert!(!take(&one, LoginForm::Token, 59));
        assert!(take(&one, LoginForm::Signed, 59) && take(&other, LoginForm::Token, 59));
        assert!(
            take(&one, LoginForm::Token, 60) && take(&one, LoginForm::Token, 61) && !take(&one, LoginForm::Token, 61)
        );
    }
}
