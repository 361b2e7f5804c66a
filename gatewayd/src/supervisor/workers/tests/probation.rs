//! The probation of new programs.

use std::sync::atomic::Ordering::Relaxed;

use ::figures::mix_ingress::Counters;
use sandbox::page::map_for_writing;

use super::*;
use crate::handover::Probation;

/// All workers ready, and watched for this time.
async fn watched_for(time: Duration) -> Stage {
    let mut stage = Stage::with(Role::Store, GOOD);
    stage.workers.put_on_probation(Probation { time, ..Probation::default() });
    stage.until(Stage::all_ready).await.unwrap();
    stage
}

async fn verdict(stage: &mut Stage) -> Result<(), String> {
    let verdict = async {
        loop {
            if let Some(verdict) = stage.workers.take_verdict() {
                return verdict;
            }
            stage.workers.step().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), verdict).await.unwrap()
}

#[tokio::test]
async fn programs_without_a_fault_pass_their_probation() {
    let mut stage = watched_for(Duration::from_millis(50)).await;
    assert!(stage.workers.is_on_probation() && !stage.workers.can_be_replaced());
    assert_eq!(verdict(&mut stage).await, Ok(()));
    assert!(!stage.workers.is_on_probation() && stage.workers.can_be_replaced());
}

#[tokio::test]
async fn a_worker_that_hangs_on_probation_fails_it() {
    let mut stage = watched_for(Duration::from_hours(1)).await;
    // The scripts report no heartbeat.
    for _ in 0..4 {
        stage.workers.check_heartbeats(Instant::now()).unwrap();
        assert_eq!(stage.workers.take_verdict(), None);
    }
    stage.workers.check_heartbeats(Instant::now()).unwrap();
    let why = verdict(&mut stage).await.unwrap_err();
    assert!(why.contains("has not turned for 20 s"), "{why}");
}

#[tokio::test]
async fn a_worker_that_was_silent_lately_is_waited_for() {
    let mut stage = watched_for(Duration::from_millis(50)).await;
    for _ in 0..2 {
        stage.workers.check_heartbeats(Instant::now()).unwrap();
    }
    let early = tokio::time::timeout(Duration::from_millis(500), verdict(&mut stage)).await;
    assert!(early.is_err(), "{early:?}");
    Role::ALL.into_iter().for_each(|role| stage.workers.on_heartbeat(role));
    assert_eq!(verdict(&mut stage).await, Ok(()));
}

#[tokio::test]
async fn packets_that_nobody_counts_fail_a_probation() {
    let mut stage = watched_for(Duration::ZERO).await;
    let page = stage.workers.spec.pages.grant_for(Role::MixIngress).unwrap().1;
    let ingress = Counters::take_up(map_for_writing(page).unwrap()).unwrap();
    ingress.packets_received.fetch_add(3, Relaxed);
    assert_eq!(verdict(&mut stage).await, Err("3 packets are not accounted for".to_owned()));
}
