//! Calls of the store that fail: the kernel never sees them, and the disk is sound.

use anyhow::{Result, ensure};
use harness::{
    client::{Client, Era},
    counters::counted,
    deadline::{self, bounded},
    packet::expect_in_order,
    scene::Scene,
    trace::Tracer,
};
use nix::sys::signal::Signal;

use super::{count, expect_acked, expect_refused_registration, log_in, register, register_at_last, until_acked};

const FAILED: &str = "storage failed";
const WORKS_AGAIN: &str = "storage works again";

/// What happens while calls fail, and afterwards.
async fn expect_service_to_resume(faults: &[&str]) -> Result<()> {
    let mut scene = Scene::start().await?;
    let away = register(&scene, Era::TODAY).await?.leave().await?;
    let mut attached = register(&scene, Era::Of2021).await?;
    let mut sent = scene.send_many(away.address(), 50).await?;
    scene.mixnode.wait_for_acks(&sent).await?;
    let store = scene.gateway.worker("store")?;

    let tracer = Tracer::attach_failing(store, faults).await?;
    let refused = scene.send_many(away.address(), 20).await?;
    deadline::until(deadline::SOON, "the failure to be noticed", || count(&scene, FAILED) == 1).await?;
    for era in [Era::Of2021, Era::Version(2), Era::TODAY] {
        expect_refused_registration(&scene, era).await?;
    }
    // A client with a session gets live mail, which is acknowledged on receipt.
    let live = scene.send_many(attached.address(), 5).await?;
    expect_in_order(&attached.next_messages(5).await?, &live)?;
    scene.mixnode.wait_for_acks(&live).await?;
    let refused_later = scene.send_many(away.address(), 20).await?;
    // On the same way and behind them; so they were answered, too.
    let live = scene.send_many(attached.address(), 1).await?;
    scene.mixnode.wait_for_acks(&live).await?;
    ensure!(scene.mixnode.count_acked(&refused) == 0, "mail was acknowledged that could not be written");
    ensure!(scene.mixnode.count_acked(&refused_later) == 0, "mail was acknowledged that was not to be written");
    ensure!(count(&scene, WORKS_AGAIN) == 0, "storage does not work");
    tracer.stop().await?;

    deadline::until(deadline::SOON, "storage to work again", || count(&scene, WORKS_AGAIN) == 1).await?;
    sent.extend(refused.into_iter().chain(refused_later));
    until_acked(&mut scene, &away, &mut sent).await?;
    register(&scene, Era::TODAY).await?.leave().await?;
    attached.leave().await?;
    let told = (count(&scene, FAILED), count(&scene, WORKS_AGAIN));
    ensure!(told == (1, 1), "{told:?} lines said that storage failed, and that it works again");
    ensure!(scene.gateway.worker("store")? == store, "the store was replaced");

    scene.gateway.stop(Signal::SIGTERM).await?;
    let lines = scene.gateway.log().lines();
    for worker in ["store", "mix-ingress"] {
        let counted = counted(&lines, worker, "refused_storage_failed");
        ensure!(counted == 40, "{worker} counted {counted} refused messages");
    }
    ensure!(counted(&lines, "store", "registrations_refused") == 3, "not as many registrations were refused");
    scene.start_again().await?;
    let mut client = log_in(&scene, &away).await?;
    expect_acked(&scene, &mut client, &sent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn syncs_that_fail_stop_what_is_new_until_they_succeed() -> Result<()> {
    bounded(async {
        if !need::strace(29) {
            return Ok(());
        }
        expect_service_to_resume(&["fdatasync:error=EIO"]).await?;
        // A failing disk fails every way to sync.
        expect_service_to_resume(&["fdatasync,fsync,sync_file_range:error=EIO"]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_stop_what_is_new_until_they_succeed() -> Result<()> {
    bounded(async {
        if !need::strace(29) {
            return Ok(());
        }
        expect_service_to_resume(&["pwrite64:error=EIO"]).await?;
        expect_service_to_resume(&["pwrite64:error=EROFS"]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_accepted_rests_on_a_sync_that_failed() -> Result<()> {
    bounded(async {
        if !need::strace(11) {
            return Ok(());
        }
        let mut scene = Scene::start().await?;
        let away = register(&scene, Era::TODAY).await?.leave().await?;
        let mut sent = scene.send_many(away.address(), 50).await?;
        scene.mixnode.wait_for_acks(&sent).await?;

        let store = scene.gateway.worker("store")?;
        // Each thread fails once, until all have.
        let tracer = Tracer::attach_failing(store, &["fdatasync:error=EIO:when=1"]).await?;
        for _ in 0..5 {
            let more = scene.send_many(away.address(), 20).await?;
            scene.mixnode.wait_for_acks(&more).await?;
            sent.extend(more);
        }
        let trace = tracer.stop().await?;
        ensure!(scene.gateway.worker("store")? == store, "the store was replaced");
        ensure!(count(&scene, "a segment of mail failed") > 0, "nothing is said of it");

        let ingress = scene.gateway.worker("mix-ingress")?.sockets()?;
        let link = trace.socket_to(|peer| ingress.contains(&peer)).unwrap_or_default();
        ensure!(trace.check_accepted(&link, "/inboxes/mail/")? == 100);
        trace.check_left_alone("/inboxes/mail/")?;

        scene.gateway.kill_supervisor().await?;
        scene.start_again().await?;
        let mut client = Client::log_in(&away, scene.gateway.clients).await?;
        expect_acked(&scene, &mut client, &sent).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_sync_failed_is_rewritten() -> Result<()> {
    bounded(async {
        if !need::strace(11) {
            return Ok(());
        }
        let mut scene = Scene::start().await?;
        let store = scene.gateway.worker("store")?;
        let tracer = Tracer::attach_failing(store, &["fdatasync:error=EIO:when=1"]).await?;
        expect_refused_registration(&scene, Era::TODAY).await?;
        deadline::until(deadline::SOON, "storage to work again", || count(&scene, WORKS_AGAIN) > 0).await?;
        let account = register_at_last(&scene, Era::TODAY).await?.leave().await?;
        let trace = tracer.stop().await?;
        trace.check_rewritten("/client_ledger.sled/db", usize::MAX)?;
        scene.gateway.kill_supervisor().await?;
        scene.start_again().await?;
        log_in(&scene, &account).await?;
        Ok(())
    })
    .await
}
