//! `gatewayd upgrade-binary`: the running supervisor becomes another program, with the same process number, arguments, environment and
//! listening sockets, and can become the old one again.
//!
//! The processes of a gateway are of one build, because the formats between them are private. So the workers are not replaced one by one, which
//! would let two builds talk to each other, but all at once: the old ones end in order, as at a stop, and the new ones start. The listening
//! sockets stay open meanwhile. Who connects waits in the kernel, and is then served.
//!
//! 1. A command orders the upgrade ([`wire`]).
//! 2. The new programs are tried beside the running gateway ([`trial`], and in the new program [`check::trial`](crate::check::trial)). If
//!    anything is wrong, nothing has changed.
//! 3. The workers end, and the supervisor becomes the new program ([`exec`], [`record`]).
//! 4. The new supervisor is on probation ([`supervisor`](crate::supervisor)): if a worker dies or hangs, if packets are not accounted for, if storage is
//!    worse, if more is refused for a fault of the gateway than before, or if nobody is served any more, its workers end and it becomes the old program
//!    again, which starts the old workers.
//!
//! *Trusts*: the operator, who names the new programs. *Holds*: the old programs as open descriptors, so that the way back works even if their
//! files are gone. *Promises*: a listening socket is never closed. A message that was acknowledged is on disk before a worker ends. What
//! cannot be undone: a new `gatewayd` that dies before it can go back; the service manager then restarts the gateway.
//!
//! | file | idea |
//! |---|---|
//! | [`wire`] | what the command and the supervisor say to each other, which every build understands |
//! | [`trial`], [`fitness`] | the running supervisor tries the new programs, and what they answer |
//! | [`record`] | what is handed over |
//! | [`exec`], [`take_over`] | becoming another program |
//! | [`way_back`] | becoming the old one again |
//! | [`refusals`] | what is refused for a fault of the gateway, before and after |
//! | [`served`] | whom it served before |

mod exec;
mod fitness;
mod record;
mod refusals;
mod served;
mod take_over;
mod trial;
mod way_back;
pub(crate) mod wire;

pub use self::record::HandoverError;
pub(crate) use self::{
    fitness::Fitness,
    record::{FORMAT, Handover, Probation, Purpose},
    refusals::Refusals,
    served::Served,
    trial::{Candidate, try_programs},
    way_back::WayBack,
};
