//! `gatewayd drain` and `gatewayd resume`.

use crate::{
    admin::{
        client::{AdminError, give_order},
        wire::{AdminAnswer, Order},
    },
    console::Console,
    own_command::command_for,
    paths::{GatewayId, Root},
};

/// Has the gateway let new clients in, or not, and prints what that means.
///
/// # Errors
/// If the gateway cannot be told.
pub fn execute(id: &GatewayId, root: &Root, admitted: bool, console: &mut Console<'_>) -> Result<(), AdminError> {
    match give_order(id, root, Order::AdmitNewcomers(admitted))? {
        AdminAnswer::Done if admitted => console.line("New clients are let in."),
        AdminAnswer::Done => console.line(format_args!(
            "No new clients are let in. Those that are connected stay and get their mail, and mix nodes still deliver.\n\
             `{}` lets new clients in again, and so does a restart.",
            command_for("resume", id)
        )),
        other => return Err(AdminError::of_other_answer(&other)),
    }
    Ok(())
}
