//! Whether every packet is accounted for once all is quiet, whatever died on the way.

use anyhow::Result;
use harness::{home::Home, shown::Shown};

/// Looks before a sum counts as uneven: a last packet may still be on its way.
const LOOKS: u32 = 20;

/// What is wrong with the balance.
///
/// # Errors
/// If the gateway cannot be asked.
pub(crate) async fn look_at(home: &Home) -> Result<Vec<String>> {
    let mut off = Vec::new();
    for _ in 0..LOOKS {
        off = Shown::by(home).await?.off()?;
        if off.is_empty() {
            return Ok(off);
        }
    }
    Ok(vec![format!("the balance is off: packets are not accounted for: {}", off.join(", "))])
}
