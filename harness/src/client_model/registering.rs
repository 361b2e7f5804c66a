//! A client that registers again and again, with a key of one kind and of the other in turn. Of its keys one opens at any time. A
//! registration that was not answered leaves open which, until one of the two is taken; what was replaced is never taken again.

use std::{
    mem,
    time::{Duration, Instant},
};

use anyhow::Result;
use client_wire::key::KeyKind;
use rand::RngExt;

use super::{ClientModel, keys::Doubt};
use crate::{
    account::{Account, Registration},
    addrs::Addrs,
    client::Client,
    era::Era,
};

/// A registration that was not answered by then came to nothing, if the key of before is still good.
const COMES_TO_NOTHING: Duration = Duration::from_secs(20);

impl ClientModel {
    /// Logs in or registers again.
    pub(super) async fn come_with_some_key(&mut self, addrs: Addrs) -> Result<Client<Account>> {
        self.try_what_was_replaced(addrs).await?;
        if let Some(doubt) = &mut self.keys.doubt {
            mem::swap(&mut self.account, &mut doubt.other);
            doubt.is_older = !doubt.is_older;
        } else if self.random.random_bool(0.5) {
            return self.change_keys(addrs).await;
        }
        let client = self.log_in_with_its_key(addrs).await?;
        match self.keys.doubt.take() {
            Some(doubt) if doubt.is_older => self.keys.replaced = Some(doubt.other),
            Some(doubt) if doubt.since.elapsed() < COMES_TO_NOTHING => self.keys.doubt = Some(doubt),
            _ => {}
        }
        Ok(client)
    }

    async fn change_keys(&mut self, addrs: Addrs) -> Result<Client<Account>> {
        let era = match self.account.era.key_kind() {
            KeyKind::CtrHmac => Era::TODAY,
            KeyKind::GcmSiv => Era::Of2021,
        };
        let mut connection = self.connect(addrs).await?;
        let registration = Registration::of(era, self.account.identity.clone());
        let (account, finish) = registration.agree(&mut connection, &self.gateway_identity).await?;
        self.oracle.registered(&account);
        let other = mem::replace(&mut self.account, account.clone());
        self.keys.doubt = Some(Doubt { other, is_older: true, since: Instant::now() });
        registration.conclude(&mut connection, &finish).await?;
        Account::expect_registered(&connection.next_text().await?)?;
        self.keys.replaced = self.keys.doubt.take().map(|doubt| doubt.other);
        self.oracle.session_begins(self.inbox);
        Ok(Client::new(account, connection))
    }

    async fn try_what_was_replaced(&mut self, addrs: Addrs) -> Result<()> {
        let Some(replaced) = self.keys.replaced.clone() else { return Ok(()) };
        let mut connection = self.connect(addrs).await?;
        connection.send_text(self.login_text(&replaced)?).await?;
        let answer = connection.next_text().await?;
        if replaced.expect_yes(&answer).is_ok() {
            self.oracle.note(format!("{self} was let in with a key of {} that it had replaced", replaced.era));
        }
        self.keys.replaced = None;
        Ok(())
    }
}
