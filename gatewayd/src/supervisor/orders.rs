//! Carries out the orders of the operator.

use std::time::Duration;

use super::Workers;
use crate::admin::{
    order::Ordered,
    wire::{AdminAnswer, Order},
};

impl Workers {
    /// Carries out an order, and answers.
    pub(super) fn carry_out(&mut self, Ordered { order, answer }: Ordered) {
        match order {
            Order::AdmitNewcomers(admitted) => self.admit_newcomers(admitted),
            Order::ChangeLog { of, level, seconds } => {
                self.change_level(of, level, Duration::from_secs(seconds.into()))
            }
        }
        // An error means that the command has not waited for the answer.
        let _ = answer.send(AdminAnswer::Done);
    }
}
