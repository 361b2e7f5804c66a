//! The counters of the process. Each packet that is handed over in good order ends in exactly one of the counters of packets.

pub use figures::mix_egress::EgressCounters;
