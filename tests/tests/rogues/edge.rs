//! `client-edge` in the hands of an attacker gets no mail and no key.

use anyhow::{Context, Result, bail, ensure};
use client_wire::{
    key::SessionKey,
    login::{LoginError, LoginForm, LoginProof},
    token::{AuthenticationToken, GcmSivToken, SignedLogin},
};
use harness::{
    account::{Account, fresh_iv, now},
    client::Era,
    deadline::bounded,
    rogue::{Taken, TakenLink},
};
use ipc::Role;
use session_ipc::{
    AuthenticationRefusal, EdgeToStore, Sequence, SessionAnswer, SessionId, SessionRequest, StoreToEdge,
};

use crate::absent::{MESSAGES, absent_clients, ensure_all_mail_is_there};

type EdgeLink = TakenLink<StoreToEdge, EdgeToStore>;

const SESSION: SessionId = SessionId(7);

/// A login of this account.
fn proof_of(account: &Account) -> Result<LoginProof> {
    Ok(match (&account.key, account.era) {
        (SessionKey::CtrHmac(key), _) => {
            LoginProof::CtrHmac(AuthenticationToken::create(key, account.address(), fresh_iv()))
        }
        (SessionKey::GcmSiv(key), Era::Version(3)) => {
            LoginProof::GcmSiv(GcmSivToken::create(key, account.address(), rand::random()))
        }
        (SessionKey::GcmSiv(_), _) => LoginProof::Signed(account.signed_login(now())?),
    })
}

/// A login that can be made up without the client's key.
fn made_up(account: &Account) -> Result<LoginProof> {
    Ok(match proof_of(&Account::imaginary(account.identity.clone(), account.era))? {
        LoginProof::Signed(login) => LoginProof::Signed(SignedLogin { signature: [7; 64], ..login }),
        token => token,
    })
}

/// Asks for the session of a client, and takes the refusal.
async fn expect_no_session(link: &mut EdgeLink, proof: LoginProof) -> Result<()> {
    link.say(&EdgeToStore { session: SESSION, request: SessionRequest::AuthenticateClient { proof } }).await?;
    let reason = match proof {
        LoginProof::Signed(_) => LoginError::InvalidSignature,
        LoginProof::CtrHmac(_) | LoginProof::GcmSiv(_) => LoginError::NotProven,
    };
    let refusal = StoreToEdge {
        session: SESSION,
        answer: SessionAnswer::RefuseAuthentication { reason: AuthenticationRefusal::Login(reason) },
    };
    let answer = link.hear().await?;
    ensure!(answer == refusal, "{answer:?}");
    Ok(())
}

/// However much it says in how many sessions, `store` does not run out of memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_edge_opens_no_more_sessions_than_connections_allowed() -> Result<()> {
    const CONNECTIONS: u64 = 500;
    const GROWTH: u64 = 40 << 20;
    bounded(async {
        let (home, absent) = absent_clients().await?;
        home.set_config("limits", "max_client_connections", &CONNECTIONS.to_string())?;
        let taken = Taken::over(home, Role::ClientEdge).await?;
        let store = taken.gateway.worker("store")?;
        let before = store.resident()?;
        taken
            .breaks(session_ipc::Rule::TooManySessions, Role::Store, async {
                let mut link: EdgeLink = taken.link(Role::Store).await?;
                for session in 0..=2 * CONNECTIONS {
                    let init = vec![b'?'; 100_000];
                    link.say(&EdgeToStore {
                        session: SessionId(session),
                        request: SessionRequest::BeginHandshake { init, logins: LoginForm::Signed },
                    })
                    .await?;
                }
                Ok(link)
            })
            .await?;
        let grown = taken.gateway.worker("store")?.resident()?.saturating_sub(before);
        ensure!(grown <= GROWTH, "store grew by {grown} bytes");
        ensure_all_mail_is_there(&taken.back().await?, &absent).await
    })
    .await
}

/// No other worker goes down with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_edge_gets_no_session_and_confirms_no_mail() -> Result<()> {
    const PHASE: session_ipc::Rule = session_ipc::Rule::Phase;

    bounded(async {
        let (home, absent) = absent_clients().await?;
        let taken = Taken::over(home, Role::ClientEdge).await?;
        let oldest = &absent.first().context("there is an era")?.account;

        // No key comes without a proof, and no mail is confirmed without a session.
        let up_to = Sequence(0);
        taken
            .breaks(PHASE, Role::Store, async {
                let mut link: EdgeLink = taken.link(Role::Store).await?;
                for client in &absent {
                    expect_no_session(&mut link, made_up(&client.account)?).await?;
                }
                link.say(&EdgeToStore { session: SESSION, request: SessionRequest::ConfirmReceipt { up_to } }).await?;
                Ok(link)
            })
            .await?;

        // A client logs in through the rogue, which then has its session, and no more than that.
        let proof = proof_of(oldest)?;
        taken
            .breaks(session_ipc::Rule::UnpushedReceipt, Role::Store, async {
                let mut link: EdgeLink = taken.link(Role::Store).await?;
                link.say(&EdgeToStore { session: SESSION, request: SessionRequest::AuthenticateClient { proof } })
                    .await?;
                let StoreToEdge { session: SESSION, answer: SessionAnswer::AttachSession { .. } } = link.hear().await?
                else {
                    bail!("the proof of a client is refused");
                };
                let mut last = None;
                for _ in 0..MESSAGES {
                    let StoreToEdge { answer: SessionAnswer::PushMessage { sequence, .. }, .. } = link.hear().await?
                    else {
                        bail!("the mail of the client does not come");
                    };
                    last = Some(sequence);
                }
                let Sequence(last) = last.context("there is mail")?;
                link.say(&EdgeToStore {
                    session: SESSION,
                    request: SessionRequest::ConfirmReceipt { up_to: Sequence(last + 1) },
                })
                .await?;
                Ok(link)
            })
            .await?;

        // The proof is good for one login, and no client is forgotten without having asked.
        taken
            .breaks(PHASE, Role::Store, async {
                let mut link: EdgeLink = taken.link(Role::Store).await?;
                expect_no_session(&mut link, proof).await?;
                link.say(&EdgeToStore { session: SESSION, request: SessionRequest::ForgetClient }).await?;
                Ok(link)
            })
            .await?;
        taken
            .breaks(PHASE, Role::Store, async {
                let mut link: EdgeLink = taken.link(Role::Store).await?;
                link.say(&EdgeToStore {
                    session: SESSION,
                    request: SessionRequest::FinishHandshake { material: vec![0; 64] },
                })
                .await?;
                Ok(link)
            })
            .await?;

        ensure_all_mail_is_there(&taken.back().await?, &absent).await
    })
    .await
}
