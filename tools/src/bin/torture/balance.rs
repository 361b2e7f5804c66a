//! Whether every packet is accounted for once all is quiet, whatever died on the way.

use anyhow::Result;
use figures::balance::{FORWARDED, RECEIVED};
use harness::{home::Home, shown::Shown};

/// Looks before a sum counts as uneven: a last packet may still be on its way.
const LOOKS: u32 = 20;

/// What is wrong with the balance.
///
/// # Errors
/// If the gateway cannot be asked.
pub(crate) async fn look_at(home: &Home) -> Result<Vec<String>> {
    let mut off = [0, 0];
    for _ in 0..LOOKS {
        let shown = Shown::by(home).await?;
        off = [shown.off(&RECEIVED)?, shown.off(&FORWARDED)?];
        if off == [0, 0] {
            return Ok(Vec::new());
        }
    }
    Ok(vec![format!("the balance is off: {} packets received and {} forwarded are not accounted for", off[0], off[1])])
}
