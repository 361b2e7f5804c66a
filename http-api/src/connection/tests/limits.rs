//! How long a connection lasts, and how much it may say.

use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn bytes_after_the_last_answer_are_read_for_a_while() {
    let mut peer = Peer::with(config(), 1_024);
    let head = "GET /api/v1/roles HTTP/1.1\r\ncontent-length: 100000\r\n\r\n";
    peer.stream.write_all(head.as_bytes()).await.unwrap();
    peer.stream.write_all(&[b'x'; 30_000]).await.unwrap();
    assert!(peer.rest().await.starts_with("HTTP/1.1 200"));
    peer.serving.await.unwrap();
    assert_eq!(peer.began.elapsed(), LINGER);
}

#[tokio::test(start_paused = true)]
async fn bytes_after_the_last_answer_are_not_read_for_ever() {
    let mut peer = Peer::with(config(), 1_024);
    peer.stream.write_all(b"GET /stats HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n").await.unwrap();
    let mut sent = 0;
    while peer.stream.write_all(&[b'x'; 512]).await.is_ok() {
        sent += 512;
    }
    assert!((LINGER_BYTES..LINGER_BYTES + 3 * MAX_HEAD).contains(&sent), "{sent}");
    peer.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_whole_is_ended_in_time() {
    for begin in [&b""[..], b"G", b"GET /api/v1/roles HTTP/1.1\r\nhost: x\r\n"] {
        let mut peer = Peer::connect();
        assert_eq!(peer.say(begin).await, "");
        assert_eq!((peer.began.elapsed(), peer.ends()), (LIMIT, vec![("request_timeouts", 1)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_gains_no_time() {
    let mut peer = Peer::connect();
    for byte in ROLES {
        if peer.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    peer.serving.await.unwrap();
    assert_eq!(peer.api.limits.counters.request_timeouts.load(Relaxed), 1);
    assert!(peer.began.elapsed() <= LIMIT + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_the_limit() {
    let mut peer = Peer::connect();
    sleep(Duration::from_secs(3)).await;
    peer.stream.write_all(ROLES).await.unwrap();
    peer.answer().await;
    assert_eq!(peer.rest().await, "");
    assert_eq!((peer.began.elapsed(), peer.ends()), (Duration::from_secs(3) + LIMIT, vec![("idle_closures", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_second_request_has_the_limit_of_its_own() {
    let mut peer = Peer::connect();
    sleep(Duration::from_secs(4)).await;
    peer.stream.write_all(ROLES).await.unwrap();
    peer.answer().await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(peer.say(b"GET").await, "");
    assert_eq!((peer.began.elapsed(), peer.ends()), (Duration::from_secs(4) + LIMIT, vec![("request_timeouts", 1)]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let mut peer = Peer::with(config(), 64);
    peer.stream.write_all(ROLES).await.unwrap();
    (&mut peer.serving).await.unwrap();
    assert_eq!((peer.began.elapsed(), peer.ends()), (LIMIT, vec![("answer_timeouts", 1)]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_taken_byte_by_byte_ends_the_connection() {
    let mut peer = Peer::with(config(), 64);
    peer.stream.write_all(ROLES).await.unwrap();
    while peer.stream.read_u8().await.is_ok() {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(peer.ends(), [("answer_timeouts", 1)]);
}

#[tokio::test(start_paused = true)]
async fn more_requests_gain_no_time_for_answers_not_taken() {
    let mut peer = Peer::with(config(), 2_048);
    let mut sent = 0;
    while peer.stream.write_all(ROLES).await.is_ok() {
        sent += 1;
        sleep(Duration::from_millis(50)).await;
    }
    // Some answers fit the buffers, and each of those had a limit of its own.
    assert_eq!(peer.ends(), [("answer_timeouts", 1)]);
    assert!(sent < 200 && peer.began.elapsed() < 3 * LIMIT, "{sent} requests in {:?}", peer.began.elapsed());
    peer.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_as_allowed_are_answered() {
    let mut peer = Peer::with(HttpConfig { requests_per_connection: 3, ..config() }, 1 << 20);
    let answers = peer.say(&ROLES.repeat(5)).await;
    assert_eq!((answers.matches("HTTP/1.1 200").count(), answers.matches("connection: close").count()), (3, 1));
    assert_eq!((peer.ends(), peer.answers()), (vec![], [3, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_head_over_the_limit_is_refused() {
    let head = |len: usize| {
        let begin = "GET /api/v1/roles HTTP/1.1\r\nconnection: close\r\nx: ";
        format!("{begin}{}\r\n\r\n", "a".repeat(len - begin.len() - 4)).into_bytes()
    };
    let mut peer = Peer::connect();
    assert!(peer.say(&head(MAX_HEAD)).await.starts_with("HTTP/1.1 200"));
    for head in [head(MAX_HEAD + 1), head(1_000_000), format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD)).into()]
    {
        let mut peer = Peer::connect();
        let answer = peer.say(&head).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert_eq!((peer.ends(), peer.answers()), (vec![("oversized_heads", 1)], [0; 3]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_with_too_many_fields_is_refused() {
    let head = |fields| [b"GET / HTTP/1.0\r\n", &b"a: b\r\n".repeat(fields)[..], b"\r\n"].concat();
    assert!(Peer::connect().say(&head(MAX_FIELDS)).await.starts_with("HTTP/1.0 200"));
    let mut peer = Peer::connect();
    assert!(peer.say(&head(MAX_FIELDS + 1)).await.contains(" 431 "));
    assert_eq!(peer.ends(), [("oversized_heads", 1)]);
}
