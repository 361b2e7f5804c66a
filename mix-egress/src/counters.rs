//! The counters of the process. Each packet that is handed over in good order ends in exactly one of the counters of packets.

use figures::Number;
pub use figures::mix_egress::EgressCounters;

use crate::places::Origin;

/// The packets of one link: those that were taken, and those that were lost on the way.
pub(crate) const fn of_link(counters: &EgressCounters, origin: Origin) -> (&Number, &Number) {
    match origin {
        Origin::Acks => (&counters.acks_taken, &counters.acks_lost_on_link),
        Origin::Clients => (&counters.clients_packets_taken, &counters.clients_packets_lost_on_link),
    }
}
