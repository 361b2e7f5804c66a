//! Connections before login: so many at the most.
//!
//! With one too many, the network that has most of them loses its oldest, and not the newcomer. A client logs in within a second,
//! so whoever has been here longest is most likely none; and if newcomers were turned away, or the oldest of all went, whoever
//! connects faster than others would keep out everybody who takes longer. Clients from where somebody has logged in lately
//! go after all others.

use proto::peer::{AddressPrefix, Admitted, ConnectionLimit, ConnectionPermit, FULL_PROOF, LimitReached};

/// The limit.
#[derive(Clone, Debug)]
pub(crate) struct PreauthLimit(ConnectionLimit);

/// The place of one of them. Another's when dropped.
#[derive(Debug)]
pub(crate) struct PreauthSlot(ConnectionPermit);

impl PreauthLimit {
    /// So many at the most. How many of them one prefix has is only a matter of who goes first.
    pub(crate) fn new(most: u32) -> Self {
        Self(ConnectionLimit::new(most, u32::MAX))
    }

    /// Lets one in, and says whether another had to go for it.
    ///
    /// # Errors
    /// If too many that had to go are still there.
    pub(crate) async fn admit(&self, prefix: AddressPrefix) -> Result<(PreauthSlot, bool), LimitReached> {
        self.0.departures().await;
        let Admitted { permit, evicted_another } = self.0.admit(prefix)?;
        Ok((PreauthSlot(permit), evicted_another))
    }
}

impl PreauthSlot {
    /// Where the connection comes from.
    pub(crate) const fn prefix(&self) -> AddressPrefix {
        self.0.prefix()
    }

    /// The slot of the same connection as one from `client`, now that its proxy has named the client, and whether another had to
    /// go for it.
    ///
    /// # Errors
    /// If too many that had to go are still there.
    pub(crate) fn for_client(self, client: AddressPrefix) -> Result<(Self, bool), LimitReached> {
        self.0.for_client(client).map(|admitted| (Self(admitted.permit), admitted.evicted_another))
    }

    /// Waits until the connection has to go. Says so once.
    pub(crate) async fn evicted(&self) {
        self.0.evicted().await;
    }

    /// The client has logged in and needs the slot no more; where it comes from is remembered.
    pub(crate) fn logged_in(self) {
        self.0.prove(FULL_PROOF);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    fn address(last: [u8; 4]) -> AddressPrefix {
        AddressPrefix::V4(Ipv4Addr::from(last))
    }

    async fn enter(limit: &PreauthLimit, from: [u8; 4]) -> (PreauthSlot, bool) {
        limit.admit(address(from)).await.unwrap()
    }

    fn has_to_go(slot: &PreauthSlot) -> bool {
        slot.evicted().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_oldest_of_the_network_with_the_most_goes() {
        let limit = PreauthLimit::new(40);
        let honest = enter(&limit, [192, 0, 2, 1]).await.0;
        let mut crowd = Vec::new();
        // Five addresses that connect as fast as they can.
        for number in 0..400_u16 {
            crowd.push(enter(&limit, [127, 0, (number % 5) as u8, 1]).await.0);
            if crowd.len() > 39 {
                assert!(has_to_go(&crowd.remove(0)), "{number}");
            }
        }
        assert!(!has_to_go(&honest), "it was the oldest of all for long");
    }

    #[tokio::test]
    async fn whoever_leaves_makes_room() {
        let limit = PreauthLimit::new(1);
        let first = enter(&limit, [192, 0, 2, 1]).await.0;
        drop(first);
        let (second, evicted) = enter(&limit, [192, 0, 2, 1]).await;
        assert!(!evicted);
        let (_third, evicted) = enter(&limit, [192, 0, 2, 1]).await;
        assert!(evicted && has_to_go(&second));
    }

    #[tokio::test]
    async fn where_somebody_logged_in_newcomers_go_last() {
        let limit = PreauthLimit::new(40);
        enter(&limit, [192, 0, 2, 1]).await.0.logged_in();
        let known = enter(&limit, [192, 0, 2, 1]).await.0;
        let mut bots = Vec::new();
        for number in 0..200 {
            bots.push(enter(&limit, [10, 0, number, 1]).await.0);
            bots.retain(|bot| !has_to_go(bot));
        }
        assert!(!has_to_go(&known));
        assert_eq!(bots.len(), 39);
    }
}
