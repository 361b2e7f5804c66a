use super::*;

/// Pages with these numbers; all workers are at work.
fn readings(fields: &[(Page, &str, u64)]) -> Vec<Reading> {
    let of_page = |page: Page| {
        let values = page.table().iter().flat_map(|figure| {
            let given = fields.iter().find(|(of, field, _)| (*of, *field) == (page, figure.field));
            let value = given.map_or(u64::from(figure.field.starts_with("ready_")), |(_, _, value)| *value);
            std::iter::repeat_n(value, figure.slots())
        });
        Reading::of_values(page, values.collect()).unwrap()
    };
    Page::ALL.into_iter().map(of_page).collect()
}

const EDGE: Page = Page::Worker(ipc::Role::ClientEdge);
const INGRESS: Page = Page::Worker(ipc::Role::MixIngress);
const STORE: Page = Page::Worker(ipc::Role::Store);

#[test]
fn the_screen_says_how_it_is_and_fits_a_terminal() {
    let id = "demo".parse().unwrap();
    let now = readings(&[
        (EDGE, "attached_2021", 3),
        (EDGE, "attached_2024", 4),
        (STORE, "messages_stored_size", 3 << 20),
        (STORE, "measured_timestamp", 1),
        (INGRESS, "packets_received", 500),
    ]);
    let text = screen::text(&id, &now, None, &UpgradeAnswer::None);
    for part in [
        "demo",
        "serves",
        "registered clients as of ",
        "7 logged in (3 of 2021, 0 of 2022, 4 of 2024)",
        "3.0 MiB",
        "received 500,",
        "store ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 100), "{text}");

    let before = readings(&[(INGRESS, "packets_received", 300)]);
    let text = screen::text(&id, &now, Some((&before, Duration::from_secs(2))), &UpgradeAnswer::None);
    assert!(text.contains("received 500 (100.0/s)"), "{text}");
}

#[test]
fn trouble_is_on_the_screen_and_in_the_verdict() {
    let id = "demo".parse().unwrap();
    let away = readings(&[(Page::Supervisor, "ready_store", 0)]);
    let text = screen::text(&id, &away, None, &UpgradeAnswer::None);
    assert!(text.contains("DOES NOT SERVE: the worker store") && text.contains("AWAY"), "{text}");
    assert!(matches!(verdict(&away), Err(error) if !error.serves()));
    let full = readings(&[(STORE, "storage_trouble", 1)]);
    assert!(matches!(verdict(&full), Err(error) if error.serves()));
}

#[test]
fn json_has_every_metric_by_its_name() {
    let document: serde_json::Value = serde_json::from_str(&json::document(
        &readings(&[(EDGE, "attached_2021", 3)]),
        &UpgradeAnswer::Kept { number: 7 },
    ))
    .unwrap();
    assert_eq!((&document["health"], &document["reason"]), (&"good".into(), &serde_json::Value::Null));
    assert_eq!(document["upgrade"]["state"], "kept");
    let metrics = document["metrics"].as_array().unwrap();
    let figures: usize = Page::ALL.iter().map(|page| page.table().len()).sum();
    assert_eq!(metrics.len(), figures);
    let attached = metrics.iter().find(|metric| metric["era"] == "2021").unwrap();
    assert_eq!((&attached["name"], &attached["value"]), (&"gatewayd_client_edge_clients_attached".into(), &3.into()));
}

#[test]
fn an_upgrade_is_on_the_screen_until_the_next_start() {
    let line = |upgrade: UpgradeAnswer| {
        let text = screen::text(&"demo".parse().unwrap(), &readings(&[]), None, &upgrade);
        text.lines().find_map(|line| line.strip_prefix("upgrade")).map(|line| line.trim().to_owned())
    };
    assert_eq!(line(UpgradeAnswer::None), None);
    let watched = UpgradeAnswer::Probation { number: 1, left: Some(42) };
    assert_eq!(line(watched).as_deref(), Some("on probation for 42 s more"));
    assert_eq!(line(UpgradeAnswer::Kept { number: 1 }).as_deref(), Some("the new programs stay"));
    let undone = UpgradeAnswer::Undone { number: 1, why: "store died".into() };
    assert_eq!(line(undone).as_deref(), Some("undone, the old programs run: store died"));
}
