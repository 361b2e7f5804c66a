//! One screen about the gateway, for people.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use figures::{
    Page, Reading, balance,
    client_edge::ATTACHED,
    health::{self, Health},
    mix_egress, mix_ingress,
    supervisor::BALANCE_OFF,
};
use ipc::Role;

use crate::{handover::wire::UpgradeAnswer, paths::GatewayId};

/// An earlier look, and how long ago it was.
pub(super) type Before<'a> = Option<(&'a [Reading], Duration)>;

/// The screen. With an earlier look it has rates.
pub(super) fn text(id: &GatewayId, readings: &[Reading], before: Before<'_>, upgrade: &UpgradeAnswer) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Screen { readings, before, now, text: String::new() }.draw(id, upgrade)
}

struct Screen<'a> {
    readings: &'a [Reading],
    before: Before<'a>,
    /// Seconds since 1970.
    now: u64,
    text: String,
}

const INGRESS: Page = Page::Worker(Role::MixIngress);
const EGRESS: Page = Page::Worker(Role::MixEgress);
const EDGE: Page = Page::Worker(Role::ClientEdge);
const STORE: Page = Page::Worker(Role::Store);

impl Screen<'_> {
    fn draw(mut self, id: &GatewayId, upgrade: &UpgradeAnswer) -> String {
        let health = match health::of(self.readings) {
            Health::Good => "serves".to_owned(),
            Health::Impaired(reason) => format!("serves, but {reason}"),
            Health::Down(reason) => format!("DOES NOT SERVE: {reason}"),
        };
        let up = self.since(self.value(Page::Supervisor, "start_timestamp"));
        self.line("gateway", format_args!("{id}, up {up}"));
        self.line("health", format_args!("{health}"));
        self.upgrade(upgrade);
        self.clients();
        self.mail();
        self.packets();
        self.storage();
        self.workers();
        self.text
    }

    fn upgrade(&mut self, upgrade: &UpgradeAnswer) {
        let text = match upgrade {
            UpgradeAnswer::Probation { left: Some(left), .. } => format!("on probation for {left} s more"),
            UpgradeAnswer::Probation { left: None, .. } => "on probation".to_owned(),
            UpgradeAnswer::Kept { .. } => "the new programs stay".to_owned(),
            UpgradeAnswer::Failed { why, .. } => format!("FAILED, and the new programs run on: {why}"),
            UpgradeAnswer::Undone { why, .. } => format!("undone, the old programs run: {why}"),
            UpgradeAnswer::None | UpgradeAnswer::Busy | UpgradeAnswer::Begun { .. } | UpgradeAnswer::Refused { .. } => {
                return;
            }
        };
        self.line("upgrade", format_args!("{text}"));
    }

    fn clients(&mut self) {
        let [of_2021, of_2022, of_2024] = ATTACHED.map(|field| self.value(EDGE, field));
        let all = of_2021.saturating_add(of_2022).saturating_add(of_2024);
        let registered = self.value(STORE, "clients_registered");
        self.line(
            "clients",
            format_args!(
                "{all} logged in ({of_2021} of 2021, {of_2022} of 2022, {of_2024} of 2024), {registered} registered"
            ),
        );
        let (open, most) = (self.value(EDGE, "connections_open"), self.value(EDGE, "connections_limit"));
        let (mix, most_mix) = (self.value(INGRESS, "connections_open"), self.value(INGRESS, "connections_limit"));
        self.line("connections", format_args!("{open} of {most} of clients, {mix} of {most_mix} of mix nodes"));
    }

    fn mail(&mut self) {
        let (messages, size) = (self.value(STORE, "messages_stored"), self.value(STORE, "messages_stored_size"));
        let full = self.value(STORE, "inboxes_full");
        let oldest = match self.value(STORE, "oldest_message_timestamp") {
            0 => "none".to_owned(),
            came => self.since(came),
        };
        self.line(
            "mail",
            format_args!(
                "{messages} messages stored ({}), the oldest for {oldest}; {full} inboxes are full",
                bytes(size)
            ),
        );
        let pushed = self.counted(STORE, &["pushed"]);
        let delivered = self.counted(STORE, &["delivered"]);
        self.line("", format_args!("pushed {pushed}, proved received and removed {delivered}"));
    }

    fn packets(&mut self) {
        let received = self.counted(INGRESS, &["packets_received"]);
        let accepted = self.counted(INGRESS, &mix_ingress::ACCEPTED);
        let dropped = self.counted(INGRESS, &mix_ingress::DROPPED);
        let in_flight = self.value(INGRESS, "packets_in_flight");
        self.line(
            "packets in",
            format_args!("received {received}, accepted {accepted}, dropped {dropped}, {in_flight} in flight"),
        );
        let taken = self.counted(EGRESS, &mix_egress::TAKEN);
        let sent = self.counted(EGRESS, &["packets_sent"]);
        let lost = self.counted(EGRESS, &mix_egress::DROPPED);
        let waiting = self.value(EGRESS, "packets_waiting");
        self.line("packets out", format_args!("taken {taken}, sent {sent}, dropped {lost}, {waiting} waiting"));
        let off = self.not_accounted_for();
        let [new, proven, away] =
            ["hops_new", "hops_proven", "hops_unreachable"].map(|state| self.value(EGRESS, state));
        self.line("", format_args!("{off}; next hops: {proven} work, {new} are new, {away} cannot be reached"));
        let (marks, most) = (self.value(INGRESS, "replay_marks"), self.value(INGRESS, "replay_marks_limit"));
        let saved = match self.value(INGRESS, "replay_saved_timestamp") {
            0 => "not saved since the start".to_owned(),
            at => format!("saved {} ago", self.since(at)),
        };
        self.line("replay", format_args!("{marks} of {most} marks, {saved}"));
    }

    /// Which sums are off, and by how many packets.
    fn not_accounted_for(&self) -> String {
        let off = balance::ALL.into_iter().zip(BALANCE_OFF).filter_map(|(sum, field)| {
            let off = self.value(Page::Supervisor, field);
            (off > 0).then(|| format!("{off} {}", sum.name))
        });
        let off: Vec<String> = off.collect();
        if off.is_empty() { "0 not accounted for".to_owned() } else { format!("NOT ACCOUNTED FOR: {}", off.join(", ")) }
    }

    fn storage(&mut self) {
        let (data, most) = (self.value(STORE, "data_size"), self.value(STORE, "data_limit"));
        let free = self.value(STORE, "disk_free");
        self.line("storage", format_args!("{} of {}, {} free on the disk", bytes(data), bytes(most), bytes(free)));
        // Counting goes through all of them, so that it is not done for each look.
        let counted = match self.value(STORE, "measured_timestamp") {
            0 => "not counted yet".to_owned(),
            at => format!("as of {} ago", self.since(at)),
        };
        self.line("", format_args!("storage, stored mail and registered clients {counted}"));
    }

    fn workers(&mut self) {
        for role in Role::ALL {
            let of = |what: &str| {
                let field = format!("{what}_{}", Page::Worker(role).name());
                self.value(Page::Supervisor, &field)
            };
            let (ready, deaths, resident, open) = (of("ready"), of("deaths"), of("resident"), of("descriptors"));
            if ready == 0 && deaths == 0 && role == Role::HttpApi {
                continue;
            }
            let state = if ready == 0 { "AWAY" } else { "at work" };
            self.line(
                role.name(),
                format_args!("{state}, {} of memory, {open} descriptors, died {deaths} times", bytes(resident)),
            );
        }
    }

    fn line(&mut self, what: &str, text: std::fmt::Arguments<'_>) {
        let separator = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a text does not fail.
        let _ = write!(self.text, "{separator}{what:<13}{text}");
    }

    fn value(&self, page: Page, field: &str) -> u64 {
        value(self.readings, page, field)
    }

    /// The sum of counters, and how fast it grows.
    fn counted(&self, page: Page, fields: &[&str]) -> String {
        let sum = |readings| fields.iter().fold(0_u64, |sum, field| sum.saturating_add(value(readings, page, field)));
        let now = sum(self.readings);
        match self.before {
            Some((before, ago)) if !ago.is_zero() => {
                let grown = now.saturating_sub(sum(before));
                format!("{now} ({:.1}/s)", grown as f64 / ago.as_secs_f64())
            }
            _ => now.to_string(),
        }
    }

    /// How long ago this was.
    fn since(&self, time: u64) -> String {
        let seconds = self.now.saturating_sub(time);
        match seconds {
            0..120 => format!("{seconds} s"),
            120..7_200 => format!("{} min", seconds / 60),
            7_200..172_800 => format!("{} h", seconds / 3_600),
            _ => format!("{} days", seconds / 86_400),
        }
    }
}

fn value(readings: &[Reading], page: Page, field: &str) -> u64 {
    readings.iter().find(|reading| reading.page() == page).map_or(0, |reading| reading.value(field))
}

fn bytes(bytes: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let step = STEPS.iter().find(|(step, _)| bytes >= *step);
    step.map_or_else(|| format!("{bytes} B"), |(step, name)| format!("{:.1} {name}", bytes as f64 / *step as f64))
}
