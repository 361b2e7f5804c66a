//! What the gateway has done, as `gatewayd` told it last and the time before.

use std::{
    fmt::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use ipc::http_api::{Load, NodeFigures, PacketFigures};
use serde_json::{Value, json};

/// The figures of two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    last: NodeFigures,
    came: SystemTime,
    packets_before: PacketFigures,
    came_before: SystemTime,
}

impl Figures {
    /// The figures of a gateway that has done nothing yet.
    pub(crate) fn at_start(now: SystemTime) -> Self {
        Self { last: NodeFigures::default(), came: now, packets_before: PacketFigures::default(), came_before: now }
    }

    /// Takes new figures that came at `now`.
    pub(crate) fn update(&mut self, figures: NodeFigures, now: SystemTime) {
        *self = Self { last: figures, came: now, packets_before: self.last.packets, came_before: self.came };
    }

    /// The document of packets.
    pub(crate) fn mixing(&self) -> Value {
        let now = self.last.packets;
        let grown = now.since(self.packets_before);
        json!({
            "update_time": rfc_3339(self.came),
            "previous_update_time": rfc_3339(self.came_before),
            "received_since_startup": now.received,
            "sent_since_startup": now.sent,
            "dropped_since_startup": now.dropped,
            "received_since_last_update": grown.received,
            "sent_since_last_update": grown.sent,
            "dropped_since_last_update": grown.dropped,
        })
    }

    /// The document of load. The gateway does not measure how busy its network is.
    pub(crate) fn load(&self) -> Value {
        let machine = name_of(self.last.load);
        json!({ "total": machine, "machine": machine, "network": name_of(Load::Unknown) })
    }
}

const fn name_of(load: Load) -> &'static str {
    match load {
        Load::Unknown => "unknown",
        Load::Negligible => "negligible",
        Load::Low => "low",
        Load::Medium => "medium",
        Load::High => "high",
        Load::VeryHigh => "very_high",
        Load::AtCapacity => "at_capacity",
    }
}

fn rfc_3339(time: SystemTime) -> String {
    let mut text = String::new();
    // The library panics before 1970, and fails after 9999.
    match write!(text, "{}", humantime::format_rfc3339_seconds(time.max(UNIX_EPOCH))) {
        Ok(()) => text,
        Err(fmt::Error) => "9999-12-31T23:59:59Z".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_load_has_the_name_that_readers_know() {
        use Load::{AtCapacity, High, Low, Medium, Negligible, Unknown, VeryHigh};
        let names = [Unknown, Negligible, Low, Medium, High, VeryHigh, AtCapacity].map(name_of);
        assert_eq!(names, ["unknown", "negligible", "low", "medium", "high", "very_high", "at_capacity"]);
    }

    #[test]
    fn a_clock_that_is_wrong_is_no_fault() {
        assert_eq!(rfc_3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc_3339(UNIX_EPOCH + Duration::from_secs(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(rfc_3339(UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn figures_that_fall_are_no_fault() {
        let mut figures = Figures::at_start(UNIX_EPOCH);
        let packets = PacketFigures { received: 5, sent: 4, dropped: 1 };
        figures.update(NodeFigures { packets, load: Load::Low }, UNIX_EPOCH);
        figures.update(NodeFigures::default(), UNIX_EPOCH);
        assert_eq!(figures.mixing().get("received_since_last_update"), Some(&json!(0)));
    }
}
