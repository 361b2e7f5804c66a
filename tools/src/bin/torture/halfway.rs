//! Kills in the middle of a registration, or of a client's being forgotten. Afterwards there is all of its account or nothing of it,
//! and what the client was told is so.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use client_wire::control::answer::GatewayResponse;
use harness::{
    account::{Account, Identity},
    client::Client,
    client_model::{ClientModel, Manner},
    connection::Connection,
    deadline,
    era::Era,
    mix_model,
    packet::FinalHopPacket,
    process::Process,
};
use rand::seq::IndexedRandom;

use crate::{coverage::Effect, sut::Sut};

/// Eras whose clients can ask to be forgotten.
const ERAS_THAT_ARE_FORGOTTEN: [Era; 4] = [Era::Version(3), Era::Version(4), Era::Version(5), Era::Version(6)];
/// Messages that the client has when it wants to be forgotten.
const MESSAGES: usize = 3;
/// Until those are acknowledged, as far as they will be.
const ACKED: Duration = Duration::from_secs(2);
const BEFORE_RETRY: Duration = Duration::from_millis(100);
/// Mail that is there comes within this.
const MAIL: Duration = Duration::from_millis(300);

impl Sut {
    /// Kills a worker at some moment of a registration, and right after its end if that comes first.
    pub(crate) async fn kill_in_registration(&mut self, worker: &str, after: Duration) -> Result<Effect> {
        let identity = Identity::random();
        let era = *Era::ALL.choose(&mut self.random).unwrap_or(&Era::TODAY);
        let (clients, gateway_identity) = (self.gateway.clients, self.gateway.identity);
        let victim = self.process(worker).await?;
        let registration = Client::register_in(era, &identity, clients, &gateway_identity);
        let Ok(client) = self.kill_during(victim, after, registration).await? else {
            self.wait_for_all().await?;
            self.register_at_last(era, &identity).await?;
            return Ok(Effect::Done("it was not told, and could register again".into()));
        };
        let account = client.credentials.clone();
        drop(client);
        self.oracle.registered(&account);
        self.wait_for_all().await?;
        if self.let_in_or_refused(&account).await?.is_none() {
            self.log_oracle.note(format!("a client of {era} was told that it is registered, and is not"));
        }
        Ok(Effect::Done("it was told that it is registered".into()))
    }

    /// Kills a worker at some moment while a client with mail is being forgotten, and right after that if that comes first.
    pub(crate) async fn kill_in_forgetting(&mut self, worker: &str, after: Duration) -> Result<Effect> {
        let era = *ERAS_THAT_ARE_FORGOTTEN.choose(&mut self.random).unwrap_or(&Era::TODAY);
        let client_model = self.register_extra_client(era).await?;
        // What becomes of its mail is judged here alone.
        self.oracle.forgotten(client_model.inbox);
        let mail = self.send_mail_to(&client_model).await?;
        let Some(account) = client_model.account().cloned() else { bail!("a client without a key") };
        let victim = self.process(worker).await?;
        let (identity, addrs) = (account.identity.clone(), *self.addrs.borrow());
        let is_told = self.kill_during(victim, after, client_model.be_forgotten(addrs)).await?.is_ok();
        self.wait_for_all().await?;
        let let_in = self.let_in_or_refused(&account).await?;
        let is_let_in = let_in.is_some();
        if let Some(client) = let_in {
            if is_told {
                self.log_oracle.note(format!("a client of {era} was told that it is forgotten, and is let in"));
            }
            self.look_for_mail(client, &mail).await?;
        } else {
            let mut client = self.register_at_last(era, &identity).await?;
            if let Ok(Ok(Some(_))) = tokio::time::timeout(MAIL, client.next_message_or_end()).await {
                self.log_oracle.note(format!("mail of a client of {era} that was forgotten came to its successor"));
            }
        }
        Ok(Effect::Done(
            match (is_told, is_let_in) {
                (true, _) => "it was told that it is forgotten",
                (false, true) => "it was not told, and is there",
                (false, false) => "it was not told, and is forgotten",
            }
            .into(),
        ))
    }

    /// Kills `victim` after this time, or once the attempt has ended. Returns the outcome of the attempt, which has time limits of its
    /// own: one that is dropped in its middle takes along the mail that it was given.
    async fn kill_during<T>(
        &mut self,
        victim: Process,
        after: Duration,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<Result<T>> {
        tokio::pin!(attempt);
        let done = tokio::time::timeout(after, &mut attempt).await;
        self.kill_process(victim).await?;
        Ok(match done {
            Ok(outcome) => outcome,
            Err(_) => attempt.await,
        })
    }

    async fn register_extra_client(&mut self, era: Era) -> Result<ClientModel> {
        self.next_extra_client += 1;
        let who = (self.next_extra_client, era, Manner::Online);
        deadline::at_last("a client to be registered", async || {
            let (addrs, identity) = (*self.addrs.borrow(), self.gateway.identity);
            ClientModel::register(who, addrs, &identity, self.oracle.clone()).await
        })
        .await
    }

    async fn register_at_last(&self, era: Era, identity: &Identity) -> Result<Client<Account>> {
        deadline::at_last("a client to be registered again", || {
            Client::register_in(era, identity, self.gateway.clients, &self.gateway.identity)
        })
        .await
    }

    async fn log_in_at_last(&self, account: &Account) -> Result<Client<Account>> {
        deadline::at_last("a client to be let in again", || Client::log_in(account, self.gateway.clients)).await
    }

    /// Sends some, and returns those that are acknowledged.
    async fn send_mail_to(&self, client_model: &ClientModel) -> Result<Vec<FinalHopPacket>> {
        let mut sent = Vec::new();
        for _ in 0..MESSAGES {
            let (maker, mix) = (self.packet_maker(), self.addrs.borrow().mix);
            sent.push(mix_model::send_one(maker, &self.oracle, client_model.addressee(), None, mix).await?);
        }
        let begin = Instant::now();
        while begin.elapsed() < ACKED && !sent.iter().all(|packet| self.oracle.has_acked(packet)) {
            tokio::time::sleep(BEFORE_RETRY).await;
        }
        sent.retain(|packet| self.oracle.has_acked(packet));
        Ok(sent)
    }

    /// The client if it is let in, once the gateway has made up its mind.
    async fn let_in_or_refused(&self, account: &Account) -> Result<Option<Client<Account>>> {
        deadline::at_last("a client to be let in or refused", || self.ask_to_be_let_in(account)).await
    }

    /// Fails if it is told neither, for now.
    async fn ask_to_be_let_in(&self, account: &Account) -> Result<Option<Client<Account>>> {
        const NO: [&str; 2] = ["the client is not registered", "failed to verify"];
        let mut connection = Connection::open(self.gateway.clients).await?;
        connection.send_text(account.login_text()).await?;
        let answer = connection.next_text().await?;
        Ok(match answer.parse() {
            Ok(GatewayResponse::Authenticate { status: true, .. }) => {
                // Its mail may be with it already, and proved: only who takes that from it knows what was delivered.
                Some(Client::new(account.clone(), connection))
            }
            Ok(GatewayResponse::Authenticate { status: false, .. }) => None,
            _ if NO.iter().any(|words| answer.contains(words)) => None,
            _ => bail!("neither let in nor refused: {answer}"),
        })
    }

    /// Notes it if a client that is there has lost mail.
    async fn look_for_mail(&mut self, mut client: Client<Account>, mail: &[FinalHopPacket]) -> Result<()> {
        let account = client.credentials.clone();
        let mut missing: Vec<_> = mail.iter().filter(|packet| !self.oracle.has_delivered(packet)).collect();
        // All the time that there is: mail that comes late, after a fault on a busy machine, or over another connection is not lost.
        let comes = async {
            while !missing.is_empty() {
                if let Ok(Some(message)) = client.next_message_or_end().await {
                    missing.retain(|packet| packet.message != message);
                } else {
                    tokio::time::sleep(BEFORE_RETRY).await;
                    client = self.log_in_at_last(&account).await?;
                }
            }
            Ok::<_, anyhow::Error>(())
        };
        if let Ok(let_in) = tokio::time::timeout(deadline::SOON, comes).await {
            let_in?;
        }
        if !missing.is_empty() {
            let (era, missing) = (account.era, missing.len());
            self.log_oracle.note(format!("a client of {era} that is there has lost {missing} messages"));
        }
        Ok(())
    }
}
