//! The way of an order, from the conversation that hears it to the loop of the supervisor that carries it out.
//!
//! *Promises*: a conversation never waits for more than [`ORDER_LIMIT`], and no more than [`QUEUE`] orders wait for the loop. Once the loop
//! takes no more orders, each conversation is told that the gateway is ending.

use std::{os::fd::OwnedFd, time::Duration};

use ipc::operator::StoreQuestion;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};

use super::wire::{AdminAnswer, Order};
use crate::handover::wire::UpgradeQuestion;

/// The time for one order. The longest is a reload, in which a store may have to restart.
pub(crate) const ORDER_LIMIT: Duration = Duration::from_secs(120);
/// Orders that wait for the loop.
const QUEUE: usize = 4;

/// What the loop is to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Carry out an order.
    CarryOut(Order),
    /// Begin an upgrade, or say how it stands.
    Upgrade(UpgradeQuestion),
    /// Lend `store` a socket, on which it answers a question.
    AskStore {
        /// The question.
        question: StoreQuestion,
        /// The end of `store`.
        socket: OwnedFd,
    },
}

/// A task, and the way back to the connection that has given it.
#[derive(Debug)]
pub(crate) struct Ordered {
    /// The task.
    pub(crate) task: Task,
    /// Takes the answer. If it is dropped, the answer is that the gateway is ending.
    pub(crate) answer: oneshot::Sender<AdminAnswer>,
}

/// The end of the conversations.
#[derive(Clone, Debug)]
pub(super) struct OrderQueue(mpsc::Sender<Ordered>);

/// A queue without orders, and the end of the loop.
pub(super) fn queue() -> (OrderQueue, mpsc::Receiver<Ordered>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (OrderQueue(sender), receiver)
}

impl OrderQueue {
    /// Whether the loop takes no more orders.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Has `task` done, and waits for the answer.
    pub(super) async fn carry_out(&self, task: Task) -> AdminAnswer {
        let (answer, answered) = oneshot::channel();
        match self.0.try_send(Ordered { task, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return AdminAnswer::Busy,
            Err(TrySendError::Closed(_)) => return AdminAnswer::Ending,
        }
        match timeout(ORDER_LIMIT, answered).await {
            Ok(answer) => answer.unwrap_or(AdminAnswer::Ending),
            Err(_) => AdminAnswer::Late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn task() -> Task {
        Task::CarryOut(Order::AdmitNewcomers(false))
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_that_nobody_carries_out_is_late() {
        let (queue, mut orders) = queue();
        let answered = tokio::spawn(async move { queue.carry_out(task()).await });
        let kept = orders.recv().await.unwrap();
        assert_eq!(answered.await.unwrap(), AdminAnswer::Late);
        assert!(kept.answer.is_closed());
    }

    #[tokio::test]
    async fn one_order_too_many_is_told_so_and_so_is_one_at_the_end() {
        let (queue, mut orders) = queue();
        let waiting: Vec<_> = (0..QUEUE)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.carry_out(task()).await })
            })
            .collect();
        while queue.0.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.carry_out(task()).await, AdminAnswer::Busy);
        orders.recv().await.unwrap().answer.send(AdminAnswer::Done).unwrap();
        drop(orders);
        assert_eq!(queue.carry_out(task()).await, AdminAnswer::Ending);
        assert!(queue.is_closed());
        let mut answers = Vec::new();
        for answer in waiting {
            answers.push(answer.await.unwrap());
        }
        assert_eq!(answers.iter().filter(|answer| **answer == AdminAnswer::Done).count(), 1);
        assert_eq!(answers.iter().filter(|answer| **answer == AdminAnswer::Ending).count(), QUEUE - 1);
    }
}
