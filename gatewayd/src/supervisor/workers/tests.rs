//! Workers that are shell scripts, which speak just enough of the control link.

mod probation;

use std::path::Path;

use ipc::{
    control::WorkerReport,
    jail::{Layer, Missing},
    log::LogLevel,
};
use nix::{sys::signal::Signal, unistd::Pid};

use super::{drain::Drained, *};
use crate::{
    admin::wire::{AdminAnswer, ReloadAnswer, ReloadReport},
    config::Config,
    launch::{EventKind, Program, fixtures},
};

/// Reports ready, writes every command to `$orders`, and ends in order.
const GOOD: &str = r#"
printf '\000' >&0
while :; do
    order=$(dd bs=65536 count=1 2>/dev/null | od -An -tx1 -N2 | tr -d ' \n')
    case $order in
        00*) ;;
        '') exit 1 ;;
        02) echo "$name drained" >> "$orders"; exit 0 ;;
        *) echo "$name $order" >> "$orders" ;;
    esac
done
"#;

struct Stage {
    home: tempfile::TempDir,
    workers: Workers,
}

impl Stage {
    /// All workers are good, but `special` runs `script`. `$lives` counts how often each was started.
    fn with(special: Role, script: &str) -> Self {
        Self::of(fixtures::node_config, special, script)
    }

    fn of(config: impl Fn(&Path) -> Config, special: Role, script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let binaries = PerRole::new(|role| {
            let script = if role == special { script } else { GOOD };
            let prelude = format!(
                "name={role}; orders={0}/orders; echo >> {0}/lives-{role}; lives=$(wc -l < {0}/lives-{role})",
                home.path().display()
            );
            let path = fixtures::program(home.path(), role.name(), &format!("{prelude}\n{script}"));
            Some(Program::script(role, path))
        });
        let workers = Workers::new(Arc::new(fixtures::spec(config(home.path()), binaries)));
        Self { home, workers }
    }

    async fn until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), WorkersError> {
        let steps = async {
            while !done(self) {
                self.workers.step().await?;
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(60), steps).await.unwrap()
    }

    fn all_ready(&self) -> bool {
        Role::ALL.iter().all(|role| matches!(self.state(*role), WorkerState::Ready { .. }))
    }

    fn all_gone(&self) -> bool {
        Role::ALL.iter().all(|role| matches!(self.state(*role), WorkerState::Gone))
    }

    fn state(&self, role: Role) -> &WorkerState {
        &self.workers.slots.get(role).state
    }

    fn deaths(&self, role: Role) -> u32 {
        self.workers.slots.get(role).deaths
    }

    fn pid(&self, role: Role) -> u32 {
        match self.state(role) {
            WorkerState::Ready { worker, .. } => worker.pid(),
            other => panic!("{role} is {other:?}"),
        }
    }

    fn orders(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.home.path().join("orders")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Steps until the scripts have written so many commands, which may take them a moment.
    async fn until_orders(&mut self, number: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.orders().len() < number {
            assert!(Instant::now() < deadline, "{:?}", self.orders());
            let _ = tokio::time::timeout(Duration::from_millis(20), self.workers.step()).await;
        }
    }
}

fn never() -> impl Future<Output = ()> {
    std::future::pending()
}

#[tokio::test]
async fn all_come_up_and_finish_in_order() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    assert_eq!(stage.workers.phase, GatewayPhase::Open);
    assert!(stage.workers.events.is_empty());
    assert_eq!(stage.workers.drain(never()).await, Drained::InOrder);
    assert!(stage.all_gone());
    let mut drained = stage.orders();
    drained.retain(|order| order.ends_with("drained"));
    drained[..2].sort();
    drained[3..].sort();
    let names = ["http-api", "mix-ingress", "client-edge", "mix-egress", "store"];
    assert_eq!(drained, names.map(|name| format!("{name} drained")));
}

#[tokio::test]
async fn the_dead_are_replaced_and_their_peers_get_new_links() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    let before = stage.orders().len();
    let first = stage.pid(Role::Store);
    nix::sys::signal::kill(Pid::from_raw(first.try_into().unwrap()), Signal::SIGKILL).unwrap();
    stage.until(|stage| stage.deaths(Role::Store) == 1).await.unwrap();
    assert!(matches!(stage.state(Role::Store), WorkerState::Dead { .. }));
    stage.until(Stage::all_ready).await.unwrap();
    assert_ne!(stage.pid(Role::Store), first);
    stage.until_orders(before + 3).await;
    let mut orders = stage.orders().split_off(before);
    orders.sort();
    assert_eq!(orders, ["client-edge 0103", "http-api 0103", "mix-ingress 0103"], "the peers, and nobody else");
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn a_worker_that_says_why_it_cannot_start_ends_the_start() {
    let mut stage = Stage::with(Role::ClientEdge, r"printf '\001\007no port' >&0; exit 1");
    let error = stage.until(Stage::all_ready).await.unwrap_err();
    assert_eq!(error.to_string(), "client-edge cannot start: no port");
    stage.workers.drain(never()).await;
    assert!(stage.all_gone());
    assert_eq!(std::fs::read_to_string(stage.home.path().join("lives-client-edge")).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_worker_that_keeps_dying_at_start_ends_the_start() {
    let mut stage = Stage::with(Role::MixEgress, "exit 3");
    let error = stage.until(Stage::all_ready).await.unwrap_err().to_string();
    assert!(
        error.starts_with("mix-egress died 6 times before the gateway was up, the last time with exit status: 3"),
        "{error}"
    );
    stage.workers.drain(never()).await;
    assert!(stage.all_gone());
}

#[tokio::test]
async fn a_program_that_cannot_be_started_ends_the_start_too() {
    let mut stage = Stage::with(Role::Store, GOOD);
    std::fs::remove_file(stage.workers.spec.program(Role::Store).unwrap().path()).unwrap();
    let error = stage.until(Stage::all_ready).await.unwrap_err().to_string();
    assert!(error.starts_with("store died 6 times") && error.contains("No such file"), "{error}");
    stage.workers.drain(never()).await;
    assert!(stage.all_gone());
}

#[tokio::test]
async fn a_worker_that_breaks_a_rule_is_replaced() {
    let accuse_edge = format!("[ $lives -gt 1 ] || printf '\\002\\002\\001\\001r' >&0\n{GOOD}");
    let mut stage = Stage::with(Role::Store, &accuse_edge);
    stage.until(|stage| stage.all_ready() && stage.deaths(Role::ClientEdge) == 1).await.unwrap();
    assert_eq!(stage.deaths(Role::Store), 0);
    assert_eq!(stage.workers.phase, GatewayPhase::Open);
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn a_worker_that_closes_a_link_and_lives_on_is_replaced() {
    let edge_let_go = format!("[ $lives -gt 1 ] || printf '\\006\\002\\001' >&0\n{GOOD}");
    let mut stage = Stage::with(Role::Store, &edge_let_go);
    stage.until(|stage| stage.all_ready() && stage.deaths(Role::ClientEdge) == 1).await.unwrap();
    assert_eq!(stage.deaths(Role::Store), 0);
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn no_worker_is_killed_for_its_predecessor_or_for_dying() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    let lost = |link| WorkerReport::LinkLost { peer: Role::ClientEdge, link };
    let violated = |link| WorkerReport::LinkViolated { peer: Role::ClientEdge, link, rule: "r".into() };
    let say = |stage: &mut Stage, report| {
        stage.workers.on_event(WorkerEvent { role: Role::Store, kind: EventKind::Report(report) }).unwrap();
    };
    // The links of a worker end with it, and the reports about them come before its death.
    say(&mut stage, lost(1));
    assert!(stage.workers.next_pending_kill().is_some());
    let edge = stage.pid(Role::ClientEdge);
    nix::sys::signal::kill(Pid::from_raw(edge.try_into().unwrap()), Signal::SIGKILL).unwrap();
    stage.until(|stage| stage.deaths(Role::ClientEdge) == 1).await.unwrap();
    assert!(stage.workers.next_pending_kill().is_none());
    stage.until(Stage::all_ready).await.unwrap();
    // Late reports about the dead worker.
    say(&mut stage, lost(1));
    say(&mut stage, violated(1));
    assert!(stage.all_ready() && stage.workers.next_pending_kill().is_none());
    // Reports about the living worker.
    say(&mut stage, lost(2));
    assert!(stage.all_ready() && stage.workers.next_pending_kill().is_some());
    say(&mut stage, violated(2));
    assert!(!stage.all_ready() && stage.workers.next_pending_kill().is_none());
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn a_worker_that_reports_too_many_peers_is_replaced_too() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    for link in 1..=peer_reports::MAX_PEER_REPORTS {
        assert_eq!(stage.deaths(Role::Store), 0);
        let pid = stage.pid(Role::Store);
        let report = WorkerReport::LinkViolated { peer: Role::ClientEdge, link, rule: "r".into() };
        stage.workers.on_event(WorkerEvent { role: Role::Store, kind: EventKind::Report(report) }).unwrap();
        stage.until(|stage| stage.deaths(Role::ClientEdge) == link).await.unwrap();
        // The test does not wait for the growing delay.
        stage.workers.slots.get_mut(Role::ClientEdge).state = WorkerState::Dead { retry_at: Instant::now() };
        stage.until(Stage::all_ready).await.unwrap();
        assert_eq!(stage.pid(Role::Store) == pid, link < peer_reports::MAX_PEER_REPORTS);
    }
    assert_eq!(stage.deaths(Role::Store), 1);
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn a_report_about_a_stranger_replaces_the_reporter_only() {
    let accuse_egress = format!("[ $lives -gt 1 ] || printf '\\002\\001\\001\\001r' >&0\n{GOOD}");
    let mut stage = Stage::with(Role::Store, &accuse_egress);
    stage.until(|stage| stage.all_ready() && stage.deaths(Role::Store) == 1).await.unwrap();
    assert_eq!(stage.deaths(Role::MixEgress), 0);
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn bytes_that_are_no_report_or_a_closed_link_end_a_worker() {
    for nonsense in ["printf 'nonsense' >&0", "exec 0</dev/null"] {
        let script = format!("[ $lives -gt 1 ] || {{ {nonsense}; exec sleep 600; }}\n{GOOD}");
        let mut stage = Stage::with(Role::MixIngress, &script);
        stage.until(|stage| stage.all_ready() && stage.deaths(Role::MixIngress) == 1).await.unwrap();
        stage.workers.drain(never()).await;
    }
}

#[tokio::test]
async fn a_failed_start_when_open_does_not_end_the_gateway() {
    let script = format!("[ $lives -eq 1 ] || {{ printf '\\001\\002no' >&0; exit 1; }}\n{GOOD}");
    let mut stage = Stage::with(Role::MixEgress, &script);
    stage.until(Stage::all_ready).await.unwrap();
    let pid = stage.pid(Role::MixEgress);
    nix::sys::signal::kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    stage.until(|stage| stage.deaths(Role::MixEgress) == 3).await.unwrap();
    assert_eq!(stage.workers.phase, GatewayPhase::Open);
    stage.workers.drain(never()).await;
    assert!(stage.all_gone());
}

#[tokio::test]
async fn a_worker_that_does_not_finish_is_killed() {
    let deaf = r"printf '\000' >&0; exec sleep 600";
    let mut stage = Stage::with(Role::MixIngress, deaf);
    stage.until(Stage::all_ready).await.unwrap();
    let began = Instant::now();
    assert_eq!(stage.workers.drain(never()).await, Drained::InOrder);
    assert!(stage.all_gone() && began.elapsed() < Duration::from_secs(10));

    let mut stage = Stage::with(Role::MixIngress, deaf);
    stage.until(Stage::all_ready).await.unwrap();
    assert_eq!(stage.workers.drain(std::future::ready(())).await, Drained::InHurry);
    assert!(stage.all_gone());
    assert!(!stage.orders().iter().any(|order| order.ends_with("drained")));
}

#[tokio::test]
async fn the_call_that_killed_a_worker_has_a_name() {
    // In its first life the worker closes its jail, is ready, reports call 59 (execve), and dies as if the filter had killed it. Its second
    // life is good.
    let refused = r#"
if [ "$lives" -eq 1 ]; then
    printf '\004\001\006\000' >&0; printf '\000' >&0
    [ "$(dd bs=65536 count=1 2>/dev/null | wc -c)" -gt 0 ] && printf '\005\073' >&0
    kill -SYS $$
fi
"#;
    let mut stage = Stage::with(Role::MixEgress, &format!("{refused}\n{GOOD}"));
    stage.until(|stage| stage.deaths(Role::MixEgress) == 1).await.unwrap();
    let slot = stage.workers.slots.get(Role::MixEgress);
    assert_eq!(slot.layers.active, [Layer::Seccomp]);
    assert_eq!(slot.refused, Some(59));
    stage.until(Stage::all_ready).await.unwrap();
    assert_eq!(stage.workers.slots.get(Role::MixEgress).refused, None);
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn a_worker_that_does_not_come_back_ends_the_gateway() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    for _ in 0..RETRIES {
        stage.workers.on_death(Role::Store, Duration::ZERO, "exit status: 3").unwrap();
    }
    let error = stage.workers.on_death(Role::Store, Duration::ZERO, "exit status: 3").unwrap_err().to_string();
    assert!(error.starts_with("store could not be started again in 25 attempts"), "{error}");
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn without_a_node_http_api_never_starts() {
    let mut stage = Stage::of(fixtures::config, Role::Store, GOOD);
    let is_ready = |stage: &Stage, role| matches!(stage.state(role), WorkerState::Ready { .. });
    stage.until(|stage| stage.workers.spec.roles().all(|role| is_ready(stage, role))).await.unwrap();
    assert!(matches!(stage.state(Role::HttpApi), WorkerState::Gone));
    assert!(!stage.home.path().join("lives-http-api").exists());
    assert_eq!(stage.workers.phase, GatewayPhase::Open);
    assert_eq!(stage.workers.drain(never()).await, Drained::InOrder);
}

#[tokio::test]
async fn a_worker_that_hangs_again_and_again_ends_the_gateway() {
    let mut stage = Stage::with(Role::Store, GOOD);
    let hangs = async {
        for hangs in 1.. {
            stage.until(Stage::all_ready).await?;
            // The last check counts `store` as hanging, because it has sent no heartbeat.
            for look in 0..=12 {
                for role in Role::ALL.into_iter().filter(|role| *role != Role::Store) {
                    stage.workers.on_heartbeat(role);
                }
                assert!(hangs < 4, "look {look}");
                stage.workers.check_heartbeats(Instant::now())?;
            }
            stage.until(|stage| stage.deaths(Role::Store) == hangs).await?;
        }
        Ok::<(), WorkersError>(())
    };
    let error = hangs.await.unwrap_err().to_string();
    assert!(error.starts_with("store has hung 3 times"), "{error}");
    stage.workers.drain(never()).await;
}

/// Reports a public key of 32 equal bytes, and then runs like the good workers.
fn with_key(byte: &str) -> String {
    format!(
        r#"key=$(for i in 1 2 3 4 5 6 7 8; do printf '\{byte}\{byte}\{byte}\{byte}'; done); printf "\\010$key" >&0{GOOD}"#
    )
}

#[tokio::test]
async fn a_public_key_of_another_gateway_ends_the_start() {
    let mut stage = Stage::with(Role::Store, &with_key("003"));
    let error = stage.until(Stage::all_ready).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, WorkersError::OtherKey(_)) && text.contains("public_identity"), "{text}");
    assert!(text.contains(&bs58::encode([1; 32]).into_string()), "{text}");
    assert!(text.contains(&bs58::encode([3; 32]).into_string()), "{text}");

    let mut stage = Stage::with(Role::Store, &with_key("001"));
    stage.until(Stage::all_ready).await.unwrap();
    assert!(stage.workers.slots.get(Role::Store).has_proved_key && !stage.workers.keys_are_proven());
}

#[tokio::test]
async fn a_layer_that_is_left_out_on_purpose_is_no_warning() {
    let mut stage = Stage::with(Role::Store, GOOD);
    Arc::get_mut(&mut stage.workers.spec).unwrap().plan.layers_left_out.push(Layer::NetworkNamespace);
    for layer in [Layer::NetworkNamespace, Layer::LandlockPorts] {
        let missing = Missing { layer, why: "start gatewayd as root".into() };
        stage.workers.slots.get_mut(Role::Store).layers.missing.push(missing);
    }
    assert_eq!(stage.workers.lacks(true), ["network-namespace in store"]);
    assert_eq!(stage.workers.lacks(false), ["landlock-ports is missing in store: start gatewayd as root"]);
}

#[tokio::test]
async fn a_level_falls_back_by_itself() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    let before = stage.orders().len();
    stage.workers.change_level(Some(Role::Store), LogLevel::Debug, Duration::from_millis(1));
    let usual = stage.workers.spec.plan.log.clone();
    assert_eq!(stage.workers.levels.settings(Role::Store, &usual).filter, "info,store=debug");
    assert_eq!(stage.workers.levels.settings(Role::MixIngress, &usual), usual);
    stage.until_orders(before + 2).await;
    // The second byte is the length of the filter: `info,store=debug`, then `info`.
    assert_eq!(stage.orders().split_off(before), ["store 0510", "store 0504"]);
    assert_eq!(stage.workers.levels.settings(Role::Store, &usual), usual);
    assert!(stage.workers.levels.next_end().is_none());
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn only_the_clients_port_hears_of_newcomers() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    let before = stage.orders().len();
    for admitted in [false, true] {
        stage.workers.admit_newcomers(admitted);
        assert_eq!(stage.workers.serving() == systemd::SERVING, admitted);
    }
    stage.until_orders(before + 2).await;
    assert_eq!(stage.orders().split_off(before), ["client-edge 0400", "client-edge 0401"]);
    stage.workers.drain(never()).await;
}

/// The spec of the stage, with another limit of `client-edge`, and the report of its change.
fn changed(stage: &Stage) -> (Arc<LaunchSpec>, ReloadReport) {
    let mut plan = stage.workers.spec.plan.clone();
    // The stage does not know the addresses of this machine, and a spec that is made of a plan does.
    let before = stage.workers.spec.with_plan(plan.clone()).unwrap();
    plan.config.timeouts.keepalive += Duration::from_secs(1);
    let spec = Arc::new(before.with_plan(plan).unwrap());
    let replaced = before.differing(&spec);
    (spec, ReloadReport { replaced, ..ReloadReport::default() })
}

#[tokio::test]
async fn only_a_worker_whose_part_has_changed_is_replaced() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    let pids = Role::ALL.map(|role| stage.pid(role));
    let (spec, report) = changed(&stage);
    assert_eq!(report.replaced, [Role::ClientEdge]);
    let (asker, mut answer) = tokio::sync::oneshot::channel();
    stage.workers.replace(Arc::clone(&spec), report.clone(), Some(asker));
    stage.until(|stage| stage.workers.replacement.is_none()).await.unwrap();
    assert_eq!(answer.try_recv(), Ok(AdminAnswer::Reload(ReloadAnswer::Done(report))));
    assert!(Arc::ptr_eq(&stage.workers.spec, &spec));
    for (role, pid) in Role::ALL.into_iter().zip(pids) {
        assert_eq!(stage.pid(role) == pid, role != Role::ClientEdge, "{role}");
        assert_eq!(stage.deaths(role), 0, "{role}");
    }
    let lines = stage.orders();
    assert!(lines.iter().any(|line| line == "client-edge drained"), "{lines:?}");
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn a_worker_that_does_not_start_brings_the_old_configuration_back() {
    let script = format!("[ $lives -ne 2 ] || {{ printf '\\001\\002no' >&0; exit 1; }}\n{GOOD}");
    let mut stage = Stage::with(Role::ClientEdge, &script);
    stage.until(Stage::all_ready).await.unwrap();
    let before = Arc::clone(&stage.workers.spec);
    let (spec, report) = changed(&stage);
    let (asker, mut answer) = tokio::sync::oneshot::channel();
    stage.workers.replace(spec, report, Some(asker));
    stage.until(|stage| stage.workers.replacement.is_none()).await.unwrap();
    let why = "client-edge does not start with it: no".to_owned();
    assert_eq!(answer.try_recv(), Ok(AdminAnswer::Reload(ReloadAnswer::Undone(why))));
    assert!(Arc::ptr_eq(&stage.workers.spec, &before) && stage.all_ready());
    assert_eq!(stage.deaths(Role::ClientEdge), 0, "no delay is due to it");
    stage.workers.drain(never()).await;
}

#[tokio::test]
async fn a_replacement_that_the_end_overtakes_is_given_up() {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.until(Stage::all_ready).await.unwrap();
    let (spec, report) = changed(&stage);
    let (asker, mut answer) = tokio::sync::oneshot::channel();
    stage.workers.replace(spec, report, Some(asker));
    assert_eq!(stage.workers.drain(never()).await, Drained::InOrder);
    assert!(stage.all_gone());
    assert_eq!(answer.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
}
