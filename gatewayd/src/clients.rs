//! `gatewayd client`: how many clients are registered, what is known of one, and the end of one.
//!
//! *Trusts* the running gateway, whose `store` answers. *Promises*: a time is shown as a day only. Nothing that is asked here is logged with
//! an address. A client that is said to be forgotten is in neither ledger nor mail log, whatever happens then. Bytes of its record stay in
//! the ledger's file until that writes over them.

use std::time::{Duration, UNIX_EPOCH};

use ipc::operator::{ClientCount, ClientFacts, ClientKind, DAY, Mail, StoreAnswer, StoreQuestion};
use serde::Serialize;
use serde_json::json;
use wire::address::ClientAddress;

use crate::{
    admin::client::{AdminError, ask_store},
    console::Console,
    paths::{GatewayId, Root},
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOrder {
    /// How many are registered?
    Count,
    /// What is known of this one?
    Show(ClientAddress),
    /// Remove this one.
    Forget(ClientAddress),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The running gateway cannot be asked.
    #[error(transparent)]
    Ask(#[from] AdminError),
    /// There is no such client.
    #[error("no client of address {0} is registered at this gateway: compare the address with that of the client")]
    NotRegistered(ClientAddress),
    /// Something about it is being decided.
    #[error("the client logs in or registers at this moment: try again")]
    Contested,
    /// Somebody else asks.
    #[error("the gateway answers the same question of somebody else: try again when that has ended")]
    Busy,
    /// The ledger fails.
    #[error("the ledger of clients cannot be read or written now: the gateway's log says what is wrong with the disk")]
    StorageFailed,
    /// No JSON could be made of it.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Asks gateway `id` below `root`, and prints the answer.
///
/// # Errors
/// If there is none.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    order: ClientOrder,
    json: bool,
    console: &mut Console<'_>,
) -> Result<(), ClientError> {
    let question = match order {
        ClientOrder::Count => StoreQuestion::CountClients,
        ClientOrder::Show(client) => StoreQuestion::ShowClient { client },
        ClientOrder::Forget(client) => StoreQuestion::ForgetClient { client },
    };
    let answer = ask_store(id, root, question)?;
    match (order, answer) {
        (ClientOrder::Count, StoreAnswer::Counted(count)) if json => console.line(Counted::of(count).json()?),
        (ClientOrder::Count, StoreAnswer::Counted(count)) => console.line(Counted::of(count).text()),
        (ClientOrder::Show(client), StoreAnswer::Shown(facts)) if json => {
            console.line(Shown::of(client, &facts).json()?)
        }
        (ClientOrder::Show(client), StoreAnswer::Shown(facts)) => console.line(Shown::of(client, &facts).text()),
        (ClientOrder::Forget(client), StoreAnswer::Forgotten) if json => {
            console.line(json!({ "address": client.to_string(), "forgotten": true }));
        }
        (ClientOrder::Forget(_), StoreAnswer::Forgotten) => {
            console.line("The client is forgotten: its registration and its mail are removed.");
        }
        (ClientOrder::Show(client) | ClientOrder::Forget(client), StoreAnswer::NotRegistered) => {
            return Err(ClientError::NotRegistered(client));
        }
        (_, StoreAnswer::Contested) => return Err(ClientError::Contested),
        (_, StoreAnswer::Busy) => return Err(ClientError::Busy),
        (_, StoreAnswer::StorageFailed) => return Err(ClientError::StorageFailed),
        _ => return Err(AdminError::other_answer().into()),
    }
    Ok(())
}

/// Registered clients, as they are shown.
#[derive(Debug, Serialize)]
struct Counted {
    clients: u64,
    of_2021: u64,
    token: u64,
    signed: u64,
}

impl Counted {
    const fn of(ClientCount { of_2021, token, signed }: ClientCount) -> Self {
        Self { clients: of_2021 + token + signed, of_2021, token, signed }
    }

    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn text(&self) -> String {
        let Self { clients, of_2021, token, signed } = self;
        format!(
            "Registered clients: {clients}\n  of 2021, which log in by token:     {of_2021}\n  of later versions, by token:        \
             {token}\n  of later versions, by signature:    {signed}"
        )
    }
}

/// A client, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    address: String,
    kind: &'static str,
    connected: bool,
    /// A date; nothing if it was never written down.
    last_seen: Option<String>,
    mail: ShownMail,
    quota: ShownMail,
}

#[derive(Debug, Serialize)]
struct ShownMail {
    messages: u64,
    bytes: u64,
    without_surb_ack: u64,
}

impl From<Mail> for ShownMail {
    fn from(Mail { messages, bytes, without_ack }: Mail) -> Self {
        Self { messages, bytes, without_surb_ack: without_ack }
    }
}

impl Shown {
    fn of(client: ClientAddress, facts: &ClientFacts) -> Self {
        Self {
            address: client.to_string(),
            kind: match facts.kind {
                ClientKind::Of2021 => "2021",
                ClientKind::Token => "token",
                ClientKind::Signed => "signed",
            },
            connected: facts.connected,
            last_seen: facts.last_seen.map(date),
            mail: facts.mail.into(),
            quota: facts.quota.into(),
        }
    }

    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn text(&self) -> String {
        let kind = match self.kind {
            "2021" => "of 2021, logs in by token",
            "token" => "of a later version, logs in by token",
            _ => "of a later version, logs in by signature",
        };
        let seen = match (&self.last_seen, self.connected) {
            (_, true) => "connected now",
            (Some(date), false) => date.as_str(),
            (None, false) => "not known",
        };
        let mail = |ShownMail { messages, bytes, without_surb_ack }: &ShownMail| {
            format!("{messages} messages, {bytes} bytes; {without_surb_ack} without SURB-ack")
        };
        format!(
            "Client:     {}\nKind:       {kind}\nLast seen:  {seen}\nMail:       {}\nMay have:   {}",
            self.address,
            mail(&self.mail),
            mail(&self.quota)
        )
    }
}

/// The date of a day that is counted from 1970.
fn date(day: u64) -> String {
    // The last day of the year 9999, behind which there are no dates.
    const LAST: u64 = 2_932_896;
    let time = UNIX_EPOCH + Duration::from_secs(day.min(LAST) * DAY.as_secs());
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_shown_with_a_day_and_no_time() {
        let mail = Mail { messages: 3, bytes: 120, without_ack: 1 };
        let quota = Mail { messages: 50, bytes: 9_000, without_ack: 256 };
        let facts = ClientFacts { kind: ClientKind::Signed, connected: false, last_seen: Some(20_787), mail, quota };
        let shown = Shown::of(ClientAddress([7; 32]), &facts);
        let address = ClientAddress([7; 32]).to_string();
        assert_eq!(
            shown.text(),
            format!(
                "Client:     {address}\nKind:       of a later version, logs in by signature\nLast seen:  2026-11-30\n\
                 Mail:       3 messages, 120 bytes; 1 without SURB-ack\n\
                 May have:   50 messages, 9000 bytes; 256 without SURB-ack"
            )
        );
        let value: serde_json::Value = serde_json::from_str(&shown.json().unwrap()).unwrap();
        assert_eq!(
            value,
            json!({
                "address": address, "kind": "signed", "connected": false, "last_seen": "2026-11-30",
                "mail": { "messages": 3, "bytes": 120, "without_surb_ack": 1 },
                "quota": { "messages": 50, "bytes": 9_000, "without_surb_ack": 256 },
            })
        );
        let never = Shown::of(ClientAddress([7; 32]), &ClientFacts { last_seen: None, ..facts });
        assert!(never.text().contains("not known"));
        assert_eq!(date(u64::MAX), "9999-12-31");
    }

    #[test]
    fn all_kinds_of_clients_are_counted_together() {
        let counted = Counted::of(ClientCount { of_2021: 1, token: 2, signed: 3 });
        assert!(counted.text().starts_with("Registered clients: 6\n"));
        assert_eq!(counted.json().unwrap(), r#"{"clients":6,"of_2021":1,"token":2,"signed":3}"#);
    }
}
