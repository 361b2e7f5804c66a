//! The result of an audit, for people and for programs.

use std::fmt::{self, Write as _};

use ipc::{Role, jail::ActiveLayers};
use serde::{Serialize, Serializer};

use super::{
    ability::{Ability, AbilityVerdict},
    look::Look,
    trial::TrialOutcome,
    wire::Tried,
};

/// The whole result.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    /// The gateway.
    pub id: String,
    /// Whether a running gateway was asked.
    pub running: bool,
    /// One cell for each role and ability.
    pub cells: Vec<Cell>,
    /// One entry for each role.
    pub processes: Vec<ProcessReport>,
}

/// One cell of the table.
#[derive(Debug, Serialize)]
pub struct Cell {
    /// The column.
    #[serde(serialize_with = "role_name")]
    pub role: Role,
    /// The line.
    pub ability: Ability,
    /// What the role should be able to do.
    pub expected: AbilityVerdict,
    /// What the role can do.
    pub measured: AbilityVerdict,
    /// What was tried.
    pub trials: Vec<TrialReport>,
}

/// One attempt and its outcome, in words.
#[derive(Debug, Serialize)]
pub struct TrialReport {
    attempt: String,
    outcome: String,
}

/// What the kernel shows of the processes of one role.
#[derive(Debug, Serialize)]
pub struct ProcessReport {
    /// The role.
    #[serde(serialize_with = "role_name")]
    pub role: Role,
    /// The layers of the probe's jail.
    pub layers: LayerReport,
    /// The probe.
    pub probe: Look,
    /// The live worker, if there is one.
    pub live: Option<Look>,
    /// What is wrong with either process.
    pub surprises: Vec<String>,
}

/// The active and the missing layers of a jail, as the process in it reports them.
#[derive(Debug, Serialize)]
pub struct LayerReport {
    held: Vec<&'static str>,
    missing: Vec<(&'static str, String)>,
}

impl LayerReport {
    /// In words.
    pub fn of(held: &ActiveLayers) -> Self {
        Self {
            held: held.active.iter().map(|layer| layer.name()).collect(),
            missing: held.missing.iter().map(|missing| (missing.layer.name(), missing.why.clone())).collect(),
        }
    }
}

fn role_name<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.name())
}

impl TrialReport {
    /// An attempt that was made.
    pub fn new(tried: &Tried) -> Self {
        Self { attempt: tried.attempt.to_string(), outcome: describe(&tried.outcome) }
    }

    /// An attempt that could not be made.
    pub fn failed(why: String) -> Self {
        Self { attempt: "none".to_owned(), outcome: why }
    }
}

fn describe(outcome: &TrialOutcome) -> String {
    match outcome {
        TrialOutcome::Allowed => "allowed".to_owned(),
        TrialOutcome::Denied(errno) => format!("denied: {}", std::io::Error::from_raw_os_error(*errno)),
        TrialOutcome::Refused(number) => format!("killed at system call {number}"),
        TrialOutcome::Killed => "killed".to_owned(),
        TrialOutcome::Broken(why) => format!("not measured: {why}"),
    }
}

impl Cell {
    fn is_of(&self, role: Role, ability: Ability) -> bool {
        (self.role, self.ability) == (role, ability)
    }

    const fn is_surprise(&self) -> bool {
        !matches!(
            (self.expected, self.measured),
            (AbilityVerdict::No, AbilityVerdict::No)
                | (AbilityVerdict::Own, AbilityVerdict::Own)
                | (AbilityVerdict::Yes, AbilityVerdict::Yes)
        )
    }
}

impl AuditReport {
    /// What is not as it should be, one line for each.
    pub fn surprises(&self) -> Vec<String> {
        let cells = self.cells.iter().filter(|cell| cell.is_surprise()).map(|cell| {
            let Cell { role, ability, expected, measured, trials } = cell;
            let decisive = trials.iter().filter(|trial| match measured {
                AbilityVerdict::Unknown => trial.outcome.starts_with("not measured"),
                AbilityVerdict::No => true,
                AbilityVerdict::Own | AbilityVerdict::Yes => trial.outcome == "allowed",
            });
            let ways: Vec<_> = decisive.map(|trial| format!("{}: {}", trial.attempt, trial.outcome)).collect();
            let (expected, measured) = (expected.name(), measured.name());
            format!("{role}: {}: {measured}, expected {expected} ({})", ability.name(), ways.join("; "))
        });
        let processes =
            self.processes.iter().flat_map(|seen| seen.surprises.iter().map(|what| format!("{}: {what}", seen.role)));
        cells.chain(processes).collect()
    }

    /// The result as JSON.
    ///
    /// # Errors
    /// Never.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            report: &'a AuditReport,
            surprises: Vec<String>,
        }
        serde_json::to_string_pretty(&Whole { report: self, surprises: self.surprises() })
    }

    /// The result for people. With `red`, a surprise is coloured too.
    pub fn text(&self, red: bool) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, red);
        text
    }

    fn write(&self, text: &mut String, red: bool) -> fmt::Result {
        const FIRST: usize = 28;
        const OTHER: usize = 21;
        let source =
            if self.running { "beside its running workers" } else { "in a self-test, beside no running worker" };
        writeln!(text, "Audit of gateway {}: measured by probes in the jail of each role, {source}.", self.id)?;
        writeln!(text, "Each cell: expected / measured. A surprise has a !\n")?;
        write!(text, "{:FIRST$}", "")?;
        let measured = |role| self.processes.iter().any(|seen| seen.role == role);
        for role in COLUMNS.into_iter().filter(|role| measured(*role)) {
            write!(text, "{:OTHER$}", role.name())?;
        }
        text.truncate(text.trim_end_matches(' ').len());
        for ability in Ability::ALL {
            let line = COLUMNS.into_iter().filter_map(|role| self.cells.iter().find(|cell| cell.is_of(role, ability)));
            if line.clone().next().is_some() {
                write!(text, "\n{:FIRST$}", ability.name())?;
            }
            for cell in line {
                let mark = if cell.is_surprise() { " !" } else { "" };
                let words = format!("{} / {}{mark}", cell.expected.name(), cell.measured.name());
                match cell.is_surprise() && red {
                    true => write!(text, "\x1b[31m{words:OTHER$}\x1b[0m")?,
                    false => write!(text, "{words:OTHER$}")?,
                }
            }
            text.truncate(text.trim_end_matches(' ').len());
        }
        writeln!(text, "\n")?;
        self.write_layers(text)?;
        for ProcessReport { role, probe, live, surprises, .. } in &self.processes {
            let likeness = match live {
                None => "no live worker to compare".to_owned(),
                Some(live) => {
                    let like = if surprises.is_empty() { "like" } else { "NOT like" };
                    let hidden = if live.descriptors.is_none() {
                        "; its descriptors and namespaces are hidden from this account, ask as root"
                    } else {
                        ""
                    };
                    format!("the live worker {} is {like} the probe{hidden}", live.pid)
                }
            };
            writeln!(text, "{:12} {}; {likeness}", role.name(), line_of(probe))?;
        }
        let surprises = self.surprises();
        if surprises.is_empty() {
            return writeln!(text, "\nNo surprise.");
        }
        writeln!(text, "\n{} surprises:", surprises.len())?;
        surprises.iter().try_for_each(|surprise| writeln!(text, "  {surprise}"))
    }
}

impl AuditReport {
    /// Roles with the same layers share a line.
    fn write_layers(&self, text: &mut String) -> fmt::Result {
        let mut lines: Vec<(Vec<&str>, String)> = Vec::new();
        for ProcessReport { role, layers, .. } in &self.processes {
            let held = if layers.held.is_empty() { "none".to_owned() } else { layers.held.join(", ") };
            let missing: String =
                layers.missing.iter().map(|(layer, why)| format!("\n    NOT {layer}: {why}")).collect();
            let words = format!("{held}{missing}");
            match lines.iter_mut().find(|(_, same)| *same == words) {
                Some((roles, _)) => roles.push(role.name()),
                None => lines.push((vec![role.name()], words)),
            }
        }
        for (roles, words) in lines {
            writeln!(text, "layers that hold in {}: {words}", roles.join(", "))?;
        }
        writeln!(text)
    }
}

/// The columns, in the order in which a packet passes the roles.
const COLUMNS: [Role; 5] = [Role::MixIngress, Role::MixEgress, Role::ClientEdge, Role::Store, Role::HttpApi];

fn line_of(look: &Look) -> String {
    let of = |name| {
        let values: std::collections::BTreeSet<_> = look.threads.iter().filter_map(|lines| lines.get(name)).collect();
        values.into_iter().map(String::as_str).collect::<Vec<_>>().join("/")
    };
    let uid = of("Uid").split(' ').next().unwrap_or_default().to_owned();
    let namespaces = match &look.own_namespaces {
        None => "hidden".to_owned(),
        Some(own) if own.is_empty() => "none".to_owned(),
        Some(own) => own.iter().copied().collect::<Vec<_>>().join(" "),
    };
    let (privileges, seccomp, effective, bounding) = (of("NoNewPrivs"), of("Seccomp"), of("CapEff"), of("CapBnd"));
    format!(
        "uid {uid}, seccomp {seccomp}, no-new-privs {privileges}, capabilities {} (bounding {}), own namespaces: {namespaces}",
        brief(&effective),
        brief(&bounding)
    )
}

fn brief(set: &str) -> &str {
    match set.trim_start_matches('0') {
        "" => "none",
        rest => rest,
    }
}
