//! A role that is taken over: `client-edge` is replaced by a program of the attacker's, in the same jail and with the same links.
//! It gets nobody's mail and no key, and takes no other role along; whatever it breaks, it is replaced.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use proto::{
    ipc::{
        codec::FRAME_LIMIT,
        store_edge::{AuthenticationRefusal, EdgeToStore, Sequence, SessionId, StoreToEdge},
    },
    wire::client::{
        key::SessionKey,
        login::{LoginProof, LoginRefusal},
        token::{AuthenticationToken, GcmSivToken, SignedLogin},
    },
};
use tests::{
    account::{Account, fresh_iv, now},
    client::{Client, Era, Identity},
    deadline::bounded,
    gateway::{Gateway, IPV4, WORKERS},
    home::Home,
    process::Process,
    rogue::{LentLink, Order},
    scene::Scene,
};
use tokio::net::TcpListener;

const MESSAGES: usize = 5;
const SESSION: SessionId = SessionId(7);
const EDGE: &str = "client-edge";

/// A client that is not connected, and its mail.
struct Absent {
    account: Account,
    mail: Vec<Vec<u8>>,
}

/// One of each era, in the inboxes of a gateway that has stopped.
async fn absent_clients() -> Result<(Home, Vec<Absent>)> {
    let mut scene = Scene::start().await?;
    let (port, identity) = (scene.gateway.clients, scene.gateway.identity);
    let mut absent = Vec::new();
    for era in Era::ALL {
        let account = Client::register_in(era, &Identity::random(), port, &identity).await?.leave().await?;
        let sent = scene.send_many(account.address(), MESSAGES).await?;
        scene.mixnode.wait_for_acks(&sent).await?;
        absent.push(Absent { account, mail: sent.into_iter().map(|packet| packet.message).collect() });
    }
    ensure!(scene.gateway.stop(Signal::SIGTERM).await?.success());
    Ok((scene.gateway.home, absent))
}

/// A gateway in which `client-edge` has been taken over.
struct Taken {
    gateway: Gateway,
    /// All but `client-edge`.
    others: Vec<Process>,
}

impl Taken {
    async fn over(home: Home) -> Result<Self> {
        let gateway = Gateway::start_in(home.with_impostor(EDGE, "rogue_edge")?, &[]).await?;
        let others = others(&gateway)?;
        Ok(Self { gateway, others })
    }

    fn port(&self) -> SocketAddr {
        self.gateway.clients
    }

    async fn link(&self) -> Result<LentLink> {
        LentLink::of(self.port()).await
    }

    /// The rogue dies of what `attempt` does, another comes in its place, and nobody else dies.
    async fn dies_of<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<Process> {
        let rogue = self.gateway.worker(EDGE)?;
        let _not_given_up = attempt.await?;
        self.gateway.wait_for_successor(EDGE, rogue).await?;
        ensure!(!rogue.runs());
        self.ensure_others_live()?;
        Ok(rogue)
    }

    /// The store drops the link, which `attempt` has borrowed, because this rule was broken, and says so.
    async fn breaks(&self, rule: &str, attempt: impl Future<Output = Result<LentLink>>) -> Result<()> {
        let before = self.gateway.log().lines().len();
        self.dies_of(attempt).await?;
        let lines = self.gateway.log().lines();
        let said = |line: &&String| {
            line.contains("worker broke a rule of its link worker=client-edge reporter=store") && line.contains(rule)
        };
        ensure!(lines.iter().skip(before).any(|line| said(&line)), "nobody says: {rule}");
        Ok(())
    }

    /// The rogue's jail kills it for this system call, before it can tell what came of the order.
    async fn is_killed_for(&self, syscall: &str, order: Order) -> Result<()> {
        let attempt = async {
            let answer = order.give(self.port()).await?;
            ensure!(answer.is_none(), "{order:?}: {answer:?}");
            Ok(())
        };
        let rogue = self.dies_of(attempt).await?;
        self.gateway.log().expect_refusal(EDGE, rogue, syscall).await
    }

    fn ensure_others_live(&self) -> Result<()> {
        ensure!(others(&self.gateway)? == self.others, "another role was replaced");
        ensure!(self.others.iter().all(|process| process.runs()), "another role has died");
        Ok(())
    }
}

fn others(gateway: &Gateway) -> Result<Vec<Process>> {
    WORKERS.into_iter().filter(|name| *name != EDGE).map(|name| gateway.worker(name)).collect()
}

/// What somebody with this account would log in with.
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

/// What somebody can make up who has no key of this client.
fn made_up(account: &Account) -> Result<LoginProof> {
    Ok(match proof_of(&Account::imaginary(account.identity.clone(), account.era))? {
        LoginProof::Signed(login) => LoginProof::Signed(SignedLogin { signature: [7; 64], ..login }),
        token => token,
    })
}

/// Asks for the session of a client, and takes the refusal.
async fn expect_no_session(link: &mut LentLink, proof: LoginProof) -> Result<()> {
    link.ask(&EdgeToStore::AuthenticateClient { session: SESSION, proof }).await?;
    let reason = match proof {
        LoginProof::Signed(_) => LoginRefusal::InvalidSignature,
        LoginProof::CtrHmac(_) | LoginProof::GcmSiv(_) => LoginRefusal::NotProven,
    };
    let refusal = StoreToEdge::RefuseAuthentication { session: SESSION, reason: AuthenticationRefusal::Login(reason) };
    let answer = link.answer().await?;
    ensure!(answer == refusal, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_edge_gets_no_session_confirms_no_mail_and_takes_nobody_along() -> Result<()> {
    const PHASE: &str = "asked for what its session's phase does not allow";

    bounded(async {
        let (home, absent) = absent_clients().await?;
        let taken = Taken::over(home).await?;
        let oldest = &absent.first().context("there is an era")?.account;

        // Nobody's key comes without a proof; and what is not attached cannot be confirmed.
        let up_to = Sequence(0);
        taken
            .breaks(PHASE, async {
                let mut link = taken.link().await?;
                for client in &absent {
                    expect_no_session(&mut link, made_up(&client.account)?).await?;
                }
                link.ask(&EdgeToStore::ConfirmReceipt { session: SESSION, up_to }).await?;
                Ok(link)
            })
            .await?;

        // A client logs in through the rogue, which then has its session, and no more than that.
        let proof = proof_of(oldest)?;
        taken
            .breaks("confirmed a message that was not pushed in the session", async {
                let mut link = taken.link().await?;
                link.ask(&EdgeToStore::AuthenticateClient { session: SESSION, proof }).await?;
                let StoreToEdge::AttachSession { session: SESSION, .. } = link.answer().await? else {
                    anyhow::bail!("the proof of a client is refused");
                };
                let mut last = None;
                for _ in 0..MESSAGES {
                    let StoreToEdge::PushMessage { sequence, .. } = link.answer().await? else {
                        anyhow::bail!("the mail of the client does not come");
                    };
                    last = Some(sequence);
                }
                let Sequence(last) = last.context("there is mail")?;
                link.ask(&EdgeToStore::ConfirmReceipt { session: SESSION, up_to: Sequence(last + 1) }).await?;
                Ok(link)
            })
            .await?;

        // Its proof was good for once; and nobody is forgotten who has not asked for it.
        taken
            .breaks(PHASE, async {
                let mut link = taken.link().await?;
                expect_no_session(&mut link, proof).await?;
                link.ask(&EdgeToStore::ForgetClient { session: SESSION }).await?;
                Ok(link)
            })
            .await?;
        taken
            .breaks(PHASE, async {
                let mut link = taken.link().await?;
                link.ask(&EdgeToStore::FinishHandshake { session: SESSION, material: vec![0; 64] }).await?;
                Ok(link)
            })
            .await?;

        // What is no message, and what is no frame.
        let too_long = u32::try_from(FRAME_LIMIT + 1)?.to_be_bytes();
        for (rule, bytes) in [
            ("bytes that are not a message of this link", &[0, 0, 0, 3, 0xee, 0xee, 0xee][..]),
            ("is over the limit", &too_long),
        ] {
            taken
                .breaks(rule, async {
                    let mut link = taken.link().await?;
                    link.write(bytes).await?;
                    Ok(link)
                })
                .await?;
        }

        // All the mail is there for its owners.
        let mut gateway = taken.gateway;
        ensure!(gateway.stop(Signal::SIGTERM).await?.success());
        let gateway = Gateway::start_in(gateway.home.without_impostors(), &[]).await?;
        for Absent { account, mail } in &absent {
            let mut client = Client::log_in(account, gateway.clients).await?;
            ensure!(client.next_messages(MESSAGES).await? == *mail, "mail of a client of {} is lost", account.era);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_edge_dies_of_what_its_jail_does_not_allow_and_nobody_else_does() -> Result<()> {
    bounded(async {
        let taken = Taken::over(Home::init(IPV4).await?).await?;

        // To open a file for reading is the one thing that does not kill: the C library tries it. It never works.
        let key: PathBuf = taken.gateway.home.data().join("private_identity.pem");
        ensure!(key.is_file());
        let answer = Order::Read { path: key }.give(taken.port()).await?;
        ensure!(answer.as_deref() == Some("Function not implemented (os error 38)"), "{answer:?}");

        let planted = taken.gateway.home.path().join("planted");
        taken.is_killed_for("openat", Order::Write { path: planted.clone() }).await?;
        ensure!(!planted.exists());

        let outside = TcpListener::bind("127.0.0.1:0").await?;
        taken.is_killed_for("socket", Order::Connect { to: outside.local_addr()? }).await?;

        let store = i32::try_from(taken.gateway.worker("store")?.0)?;
        taken.is_killed_for("kill", Order::Kill { process: store }).await
    })
    .await
}
