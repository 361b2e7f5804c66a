//! A worker that was taken over: the program `rogue` in the place of a role's own, in the same jail and with the same links.
//!
//! A worker has no arguments and no environment, so the rogue is told what to do over connections that it opens before its jail
//! closes, to a socket beside its program. The bytes for its links are made by the test, as those of an attacker would be made
//! outside.

use std::{fmt::Display, marker::PhantomData, net::SocketAddr, path::PathBuf, str};

use anyhow::{Context, Result, bail, ensure};
use bincode::{Decode, Encode};
use ipc::{Role, codec};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::{
    deadline,
    gateway::{Gateway, WORKERS},
    home::Home,
    process::Process,
};

/// The socket's name, beside the programs.
pub const SOCKET: &str = "master";

/// Orders that one rogue takes in its life.
pub const ORDERS: usize = 4;

/// One line on a connection of its own. All but the first are answered with what came of it, if the process lives to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Copy everything that follows to the link to this peer, and everything that comes from there back. When either side
    /// ends, both do.
    LendLink {
        /// The peer of the link.
        peer: Role,
    },
    /// Read a file.
    Read {
        /// The path of the file.
        path: PathBuf,
    },
    /// Write a file.
    Write {
        /// The path of the file.
        path: PathBuf,
    },
    /// Open a TCP connection.
    Connect {
        /// The address.
        to: SocketAddr,
    },
    /// Kill a process.
    Kill {
        /// Its number.
        process: i32,
    },
}

impl Order {
    fn to_line(&self) -> String {
        match self {
            Self::LendLink { peer } => format!("lend {peer}\n"),
            Self::Read { path } => format!("read {}\n", path.display()),
            Self::Write { path } => format!("write {}\n", path.display()),
            Self::Connect { to } => format!("connect {to}\n"),
            Self::Kill { process } => format!("kill {process}\n"),
        }
    }

    /// Parses a line without its end.
    ///
    /// # Errors
    /// If it is no order.
    pub fn from_line(line: &[u8]) -> Result<Self> {
        let line = str::from_utf8(line)?;
        Ok(match line.split_once(' ').context("an order of one word")? {
            ("lend", peer) => Self::LendLink { peer: role(peer)? },
            ("read", path) => Self::Read { path: path.into() },
            ("write", path) => Self::Write { path: path.into() },
            ("connect", to) => Self::Connect { to: to.parse()? },
            ("kill", process) => Self::Kill { process: process.parse()? },
            _ => bail!("no order: {line}"),
        })
    }
}

/// The role of this name.
///
/// # Errors
/// If there is none.
pub fn role(name: &str) -> Result<Role> {
    Role::ALL.into_iter().find(|role| role.name() == name).with_context(|| format!("no role: {name}"))
}

/// A gateway in which one worker has been taken over.
#[derive(Debug)]
pub struct Taken {
    /// The gateway.
    pub gateway: Gateway,
    role: Role,
    master: UnixListener,
    /// All other workers.
    others: Vec<Process>,
}

impl Taken {
    /// Starts it.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn over(home: Home, role: Role) -> Result<Self> {
        let home = home.with_impostor(role.name(), "rogue")?;
        let master = UnixListener::bind(home.root().join("bin").join(SOCKET))?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let others = others(&gateway, role)?;
        Ok(Self { gateway, role, master, others })
    }

    /// Stops the gateway, and starts it again with its own workers.
    ///
    /// # Errors
    /// If it does not end, or not start.
    pub async fn back(self) -> Result<Gateway> {
        let Self { mut gateway, .. } = self;
        ensure!(gateway.stop(Signal::SIGTERM).await?.success(), "it did not end in order");
        Gateway::start_in(gateway.home.without_impostors(), &[]).await
    }

    /// The process of the living rogue.
    ///
    /// # Errors
    /// If there was none yet.
    pub fn rogue(&self) -> Result<Process> {
        self.gateway.worker(self.role.name())
    }

    /// Gives the living rogue an order. A rogue takes [`ORDERS`] in its life.
    async fn order(&self, order: &Order) -> Result<UnixStream> {
        let rogue = self.rogue()?;
        let take = async {
            loop {
                let (mut line, _) = self.master.accept().await?;
                // Connections of dead rogues wait here, too.
                if line.read_u32().await.is_ok_and(|process| process == rogue.0) {
                    return Ok::<_, anyhow::Error>(line);
                }
            }
        };
        let mut line = deadline::soon("a rogue that takes orders", take).await??;
        line.write_all(order.to_line().as_bytes()).await?;
        Ok(line)
    }

    /// The rogue's answer; empty, if the order killed it.
    ///
    /// # Errors
    /// If it does neither in time.
    pub async fn ask(&self, order: Order) -> Result<Option<String>> {
        let mut line = self.order(&order).await?;
        let mut answer = String::new();
        // The connections of a process that is killed may be reset.
        let read = deadline::soon("the rogue's answer", line.read_to_string(&mut answer)).await?;
        Ok((read.is_ok() && !answer.is_empty()).then_some(answer))
    }

    /// Its link to `peer`, on which it hears `In` and says `Out`. Each rogue has one to lend, once.
    ///
    /// # Errors
    /// If it takes no order.
    pub async fn link<In, Out>(&self, peer: Role) -> Result<TakenLink<In, Out>> {
        let line = self.order(&Order::LendLink { peer }).await?;
        Ok(TakenLink { line, unread: Vec::new(), outgoing: PhantomData })
    }

    /// The rogue ends of what `attempt` does, another is started in its place, and all other workers live on.
    ///
    /// # Errors
    /// If that is not so.
    pub async fn ends_by<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<Process> {
        let rogue = self.rogue()?;
        let _not_given_up = attempt.await?;
        self.gateway.wait_for_successor(self.role.name(), rogue).await?;
        ensure!(!rogue.runs(), "the rogue lives on");
        ensure!(others(&self.gateway, self.role)? == self.others, "another role was replaced");
        ensure!(self.others.iter().all(|process| process.runs()), "another role has died");
        Ok(rogue)
    }

    /// `peer` drops the link, which `attempt` has borrowed, because this rule was broken, and says so.
    ///
    /// # Errors
    /// If that is not so.
    pub async fn breaks<T>(
        &self,
        rule: impl Display,
        peer: Role,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<()> {
        let (rule, before) = (rule.to_string(), self.gateway.log().lines().len());
        self.ends_by(attempt).await?;
        let lines = self.gateway.log().lines();
        let report = format!("worker broke a rule of its link worker={} reporter={peer}", self.role);
        let said = |line: &String| line.contains(&report) && line.contains(&rule);
        ensure!(lines.iter().skip(before).any(said), "nobody says: {rule}");
        Ok(())
    }

    /// Sends `peer` what is no message of the link, and what is no frame: it drops the link, and says why.
    ///
    /// # Errors
    /// If that is not so.
    pub async fn breaks_form(&self, peer: Role) -> Result<()> {
        let too_long = u32::try_from(codec::FRAME_LIMIT + 1)?.to_be_bytes();
        for (rule, bytes) in [
            (codec::CodecError::Malformed.to_string(), &[0, 0, 0, 3, 0xee, 0xee, 0xee][..]),
            ("is over the limit".to_owned(), &too_long),
        ] {
            let garble = async {
                let mut link = self.link::<(), ()>(peer).await?;
                link.write(bytes).await?;
                Ok(link)
            };
            self.breaks(rule, peer, garble).await?;
        }
        Ok(())
    }

    /// Closes the link to `peer` and lives on: that ends it too.
    ///
    /// # Errors
    /// If it does not.
    pub async fn lets_go(&self, peer: Role) -> Result<()> {
        self.ends_by(async { self.link::<(), ()>(peer).await.map(drop) }).await?;
        let report = format!("worker closed its link and lives on worker={} reporter={peer}", self.role);
        let lines = self.gateway.log().lines();
        ensure!(lines.iter().any(|line| line.contains(&report)), "{peer} says nothing");
        Ok(())
    }

    /// The rogue's jail kills it for this system call, before it can tell what came of the order.
    ///
    /// # Errors
    /// If that is not so.
    pub async fn is_killed_for(&self, syscall: &str, order: Order) -> Result<()> {
        let attempt = async {
            let answer = self.ask(order).await?;
            ensure!(answer.is_none(), "{answer:?}");
            Ok(())
        };
        let rogue = self.ends_by(attempt).await?;
        self.gateway.log().expect_refusal(self.role.name(), rogue, syscall).await
    }
}

fn others(gateway: &Gateway, role: Role) -> Result<Vec<Process>> {
    WORKERS.into_iter().filter(|name| *name != role.name()).map(|name| gateway.worker(name)).collect()
}

/// A link of the rogue, in the hands of the test.
#[derive(Debug)]
pub struct TakenLink<In, Out> {
    line: UnixStream,
    unread: Vec<In>,
    outgoing: PhantomData<fn(Out)>,
}

impl<In, Out> TakenLink<In, Out> {
    /// Sends bytes of any form.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.line.write_all(bytes).await?)
    }

    /// Sends a message in its frame.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn say(&mut self, message: &Out) -> Result<()>
    where
        Out: Encode,
    {
        let body = codec::encode_one(message)?;
        self.write(&u32::try_from(body.len())?.to_be_bytes()).await?;
        self.write(&body).await
    }

    /// The next message of the peer.
    ///
    /// # Errors
    /// If nothing comes.
    pub async fn hear(&mut self) -> Result<In>
    where
        In: Decode<()>,
    {
        if self.unread.is_empty() {
            let mut header = [0; codec::FRAME_HEADER_LEN];
            deadline::soon("a frame of the peer", self.line.read_exact(&mut header)).await??;
            let mut body = vec![0; codec::body_len(header)?];
            deadline::soon("the rest of a frame", self.line.read_exact(&mut body)).await??;
            self.unread = codec::decode_body(&body)?;
            ensure!(!self.unread.is_empty(), "an empty frame");
        }
        Ok(self.unread.remove(0))
    }
}
