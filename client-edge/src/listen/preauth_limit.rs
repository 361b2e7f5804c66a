//! Limits the connections before login.
//!
//! When there is one too many, the network with the most of them loses its oldest connection, and the new one stays. A client logs
//! in within a second, so the oldest connection is the least likely to be a client's. If new connections were refused, or the oldest
//! of all were evicted, a network that connects faster than others would keep all slower clients out. Connections from a prefix that
//! has logged in lately are evicted after all others.

use worker::peer::{AddressPrefix, Admitted, ConnectionLimit, ConnectionPermit, FULL_PROOF, LimitReached};

/// The limit.
#[derive(Clone, Debug)]
pub(crate) struct PreauthLimit(ConnectionLimit);

/// The place of one connection before login. Free when dropped.
#[derive(Debug)]
pub(crate) struct PreauthSlot(ConnectionPermit);

impl PreauthLimit {
    /// At most `most` connections. There is no limit for one prefix; its share decides only which connection is evicted.
    pub(crate) fn new(most: u32) -> Self {
        Self(ConnectionLimit::new(most, u32::MAX))
    }

    /// Takes a slot, and says whether another connection was evicted for it.
    ///
    /// # Errors
    /// If too many evicted connections have not ended yet.
    pub(crate) async fn admit(&self, prefix: AddressPrefix) -> Result<(PreauthSlot, bool), LimitReached> {
        self.0.departures().await;
        let Admitted { permit, evicted_another } = self.0.admit(prefix)?;
        Ok((PreauthSlot(permit), evicted_another))
    }
}

impl PreauthSlot {
    /// The prefix that the connection comes from.
    pub(crate) const fn prefix(&self) -> AddressPrefix {
        self.0.prefix()
    }

    /// The slot of the same connection, counted for the `client` that its proxy has named, and whether another connection was
    /// evicted for it.
    ///
    /// # Errors
    /// If too many evicted connections have not ended yet.
    pub(crate) fn for_client(self, client: AddressPrefix) -> Result<(Self, bool), LimitReached> {
        self.0.for_client(client).map(|admitted| (Self(admitted.permit), admitted.evicted_another))
    }

    /// Waits until the connection is evicted. Returns once only.
    pub(crate) async fn evicted(&self) {
        self.0.evicted().await;
    }

    /// Gives the slot back because the client has logged in; its prefix is remembered.
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
    async fn the_oldest_of_the_network_with_the_most_is_evicted() {
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
    async fn a_connection_that_ends_makes_room() {
        let limit = PreauthLimit::new(1);
        let first = enter(&limit, [192, 0, 2, 1]).await.0;
        drop(first);
        let (second, evicted) = enter(&limit, [192, 0, 2, 1]).await;
        assert!(!evicted);
        let (_third, evicted) = enter(&limit, [192, 0, 2, 1]).await;
        assert!(evicted && has_to_go(&second));
    }

    #[tokio::test]
    async fn a_prefix_that_has_logged_in_is_evicted_last() {
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
