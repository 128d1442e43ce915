//! Schedules of the store in paused time.

use super::*;
use crate::refresh::Facts;

fn query(path: &str) -> Query {
    Query::List {
        path: path.to_owned(),
    }
}

fn fetched(name: &str, lease_seconds: u64) -> Fetched {
    let leased = lease_seconds > 0;
    Fetched {
        answer: Answer::List(vec![name.to_owned()]),
        facts: Facts {
            leased,
            renewable: leased,
            duration: seconds(lease_seconds),
            ..Facts::none()
        },
        lease_id: if leased { "lease".to_owned() } else { String::new() },
        metadata: Metadata::Absent,
    }
}

fn verifiable(name: &str) -> Fetched {
    Fetched {
        metadata: Metadata::Open,
        ..fetched(name, 0)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn store() -> Store {
    Store::new(Settings {
        interval: seconds(100),
        threshold: 0.9,
    })
}

/// A store that wants this one question.
fn wanting(path: &str) -> (Store, Query, Instant) {
    let (mut store, query, now) = (store(), query(path), Instant::now());
    assert!(store.want(&query, None, now), "it is new");
    (store, query, now)
}

fn due(store: &mut Store, at: Instant) -> Vec<Due> {
    store.take_due(at, 100)
}

fn read(query: &Query) -> Due {
    Due::Read(query.clone(), None)
}

#[tokio::test(start_paused = true)]
async fn only_a_read_that_was_answered_and_holds_no_lease_is_cut_short_and_only_once() {
    let (mut store, query, now) = wanting("list");
    assert!(!store.is_steady(&query), "the first answer may take its time");
    store.fetched(&query, fetched("a", 0), now, 0.0);
    assert!(store.is_steady(&query), "it was answered before");
    store.failed(&query, now, 0.0);
    assert!(
        !store.is_steady(&query),
        "a slow server must be able to answer, too"
    );
    store.fetched(&query, fetched("a", 60), now, 0.0);
    assert!(!store.is_steady(&query), "each question makes a lease");

    let write = Query::Write {
        path: "pki/issue/app".to_owned(),
        data: std::collections::BTreeMap::new(),
    };
    store.want(&write, None, now);
    store.fetched(&write, fetched("a", 0), now, 0.0);
    assert!(!store.is_steady(&write), "each question issues something");
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_the_last_answer_and_asks_again_later() {
    let (mut store, query, now) = wanting("a");
    assert_eq!(due(&mut store, now), [read(&query)]);
    store.fetched(&query, fetched("x", 0), now, 0.5);
    let later = now + seconds(90);
    assert_eq!(due(&mut store, later), [read(&query)]);
    let delay = store.failed(&query, later, 1.0);
    assert_eq!(delay, Duration::from_millis(250), "the first delay is short");
    assert!(store.answer(&query).is_some(), "the answer that was there stays");
    assert_eq!(store.next(), Some(later + delay), "it is asked again soon");
}

#[tokio::test(start_paused = true)]
async fn what_is_being_asked_is_not_asked_twice() {
    let (mut store, query, now) = wanting("a");
    assert_eq!(due(&mut store, now), [read(&query)]);
    assert!(due(&mut store, now + seconds(1000)).is_empty(), "it is under way");
    assert_eq!(store.next(), None, "nothing to wake up for");
    store.put_back(&query);
    assert_eq!(
        due(&mut store, now),
        [read(&query)],
        "it came back without an answer"
    );
}

#[tokio::test(start_paused = true)]
async fn only_as_much_is_taken_as_there_is_room_for() {
    let (mut store, now) = (store(), Instant::now());
    for path in ["a", "b", "c"] {
        store.want(&query(path), None, now);
    }
    assert_eq!(store.take_due(now, 2).len(), 2, "two of three");
    assert_eq!(store.take_due(now, 2).len(), 1, "the third one");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_failed_too_often_is_told_until_it_is_answered() {
    let (mut store, query, now) = wanting("a");
    for failures in 1..=3 {
        store.failed(&query, now, 1.0);
        let told = (failures > 2).then_some(&query);
        assert_eq!(store.failed_after(2), told, "two retries, {failures} failures");
    }
    assert!(!store.is_answered(), "nothing was answered");
    store.fetched(&query, fetched("x", 0), now, 0.5);
    assert!(store.is_answered(), "the only question was");
    assert_eq!(store.failed_after(2), None, "an answer clears the record");
}

#[tokio::test(start_paused = true)]
async fn the_same_answer_is_no_change() {
    let (mut store, query, now) = wanting("a");
    assert!(
        store.fetched(&query, fetched("x", 0), now, 0.5),
        "the first one is news"
    );
    assert!(
        !store.fetched(&query, fetched("x", 0), now, 0.5),
        "nothing changed"
    );
    assert!(
        store.fetched(&query, fetched("y", 0), now, 0.5),
        "something changed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_secret_moves_no_other() {
    let (mut store, first, now) = wanting("a");
    let second = query("b");
    store.want(&second, None, now);
    due(&mut store, now);
    store.fetched(&first, fetched("x", 0), now, 0.5);
    store.fetched(&second, fetched("x", 0), now, 0.5);
    let later = now + seconds(50);
    store.fetched(&first, fetched("y", 0), later, 0.5);
    assert_eq!(
        due(&mut store, now + seconds(90)),
        [read(&second)],
        "its own time, and only it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_until_its_maximum_and_then_read_again() {
    let (mut store, query, now) = wanting("a");
    due(&mut store, now);
    store.fetched(&query, fetched("x", 90), now, 0.0);
    let later = now + seconds(60);
    assert_eq!(
        due(&mut store, later),
        [Due::Renew(query.clone(), "lease".to_owned())]
    );
    store.renewed(&query, seconds(90), true, later, 0.0);
    assert!(due(&mut store, later).is_empty(), "a renewed lease waits");
    let later = later + seconds(60);
    assert_eq!(
        due(&mut store, later),
        [Due::Renew(query.clone(), "lease".to_owned())]
    );
    store.renewed(&query, seconds(40), true, later, 0.0);
    assert!(due(&mut store, later + seconds(9)).is_empty(), "40 s are left");
    assert_eq!(
        due(&mut store, later + seconds(10)),
        [read(&query)],
        "at its maximum it is replaced while a third is left"
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_lease_is_looked_at_now_and_then() {
    let (mut store, query, now) = wanting("a");
    due(&mut store, now);
    store.fetched(&query, fetched("x", 3600), now, 0.0);
    let look = || Due::Check(query.clone(), "lease".to_owned());
    let at = now + seconds(100);
    assert_eq!(due(&mut store, at), [look()]);
    store.checked(&query, true, at);
    let at = at + seconds(100);
    assert_eq!(due(&mut store, at), [look()]);
    store.lease_ends(&query, at);
    assert_eq!(
        due(&mut store, at),
        [read(&query)],
        "one that was revoked is replaced at once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_denied_look_at_a_lease_is_remembered_until_there_is_a_new_token() {
    let (mut store, query, now) = wanting("a");
    due(&mut store, now);
    store.fetched(&query, fetched("x", 3600), now, 0.0);
    due(&mut store, now + seconds(100));
    store.checked(&query, false, now + seconds(100));
    assert_eq!(
        store.next(),
        Some(now + seconds(2400)),
        "only its renewal is left"
    );
    store.new_token(None, now + seconds(200));
    store.renewed(&query, seconds(3600), true, now + seconds(200), 0.0);
    assert_eq!(
        store.next(),
        Some(now + seconds(300)),
        "the new token may be allowed to"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_token_replaces_the_leases_that_end_with_the_old_one_in_time_and_nothing_else() {
    for replace_after in [Some(0), Some(20), None] {
        let (mut store, leased, now) = wanting("leased");
        let plain = query("plain");
        store.want(&plain, None, now);
        due(&mut store, now);
        store.fetched(&leased, fetched("x", 90), now, 0.0);
        store.fetched(&plain, fetched("x", 0), now, 0.5);
        store.new_token(replace_after.map(|after| now + seconds(after)), now);
        let Some(after) = replace_after else {
            assert_eq!(
                store.next(),
                Some(now + seconds(60)),
                "its own renewal comes first"
            );
            continue;
        };
        let at = now + seconds(after);
        assert_eq!(store.next(), Some(at), "before the old token ends");
        assert_eq!(
            due(&mut store, at),
            [read(&leased)],
            "replaced, not renewed; and nothing else"
        );
        store.failed(&leased, at, 1.0);
        assert!(
            due(&mut store, at).is_empty(),
            "a failure is not repeated at once"
        );
        let at = at + seconds(1);
        assert_eq!(due(&mut store, at), [read(&leased)], "but soon");
        store.fetched(&leased, fetched("y", 90), at, 0.0);
        assert_eq!(
            store.next(),
            Some(at + seconds(60)),
            "the new lease belongs to the new token"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_asks_again_what_failed() {
    let (mut store, query, now) = wanting("a");
    due(&mut store, now);
    store.fetched(&query, fetched("x", 0), now, 0.5);
    due(&mut store, now + seconds(90));
    for _ in 0..10 {
        store.failed(&query, now + seconds(90), 1.0);
    }
    store.new_token(Some(now), now + seconds(91));
    assert_eq!(due(&mut store, now + seconds(91)), [read(&query)], "at once");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_asked_only_where_it_may_be() {
    let (mut store, query, now) = wanting("a");
    due(&mut store, now);
    store.fetched(&query, verifiable("x"), now, 0.5);
    let held = |store: &Store| Due::Read(query.clone(), store.answer(&query));
    let at = now + seconds(90);
    let expected = held(&store);
    assert_eq!(
        due(&mut store, at),
        [expected],
        "the answer goes along, to be verified"
    );
    store.is_current(&query, at, 0.5);
    let at = at + seconds(90);
    assert_eq!(due(&mut store, at).len(), 1, "and again at the interval");

    let denied = Fetched {
        metadata: Metadata::Denied,
        ..fetched("y", 0)
    };
    store.fetched(&query, denied, at, 0.5);
    let at = at + seconds(90);
    assert_eq!(due(&mut store, at), [read(&query)], "it was denied");
    store.fetched(&query, verifiable("y"), at, 0.5);
    let at = at + seconds(90);
    assert_eq!(due(&mut store, at), [read(&query)], "a denial is remembered");
    store.new_token(Some(at), at);
    let expected = held(&store);
    assert_eq!(due(&mut store, at), [expected], "until there is a new token");
}

#[tokio::test(start_paused = true)]
async fn a_template_may_ask_for_an_interval_of_its_own() {
    let (mut store, query, now) = wanting("a");
    due(&mut store, now);
    store.fetched(&query, fetched("x", 0), now, 0.5);
    store.want(&query, Some(seconds(10)), now);
    assert_eq!(
        store.next(),
        Some(now + seconds(10)),
        "a shorter one counts at once"
    );
    store.fetched(&query, fetched("x", 0), now, 0.5);
    assert_eq!(store.next(), Some(now + seconds(9)), "and from then on");
}

#[tokio::test(start_paused = true)]
async fn what_no_template_asks_any_more_is_forgotten() {
    let (mut store, first, now) = wanting("a");
    let second = query("b");
    store.want(&second, None, now);
    store.fetched(&first, fetched("x", 0), now, 0.5);
    store.retain(|query| *query == second);
    assert!(store.answer(&first).is_none(), "it is gone");
    assert!(
        !store.fetched(&first, fetched("x", 0), now, 0.5),
        "an answer that comes late brings it not back"
    );
    assert!(store.answer(&first).is_none(), "it is gone");
}
