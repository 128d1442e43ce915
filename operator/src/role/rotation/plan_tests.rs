//! Tests of when a secret-id is replaced.

use vaultkeeper_crds::role::CredentialsSecret;

use super::super::state::Dress;
use super::*;
use crate::role::validate::RotationWish;

pub(super) const UID: &str = "uid-1";
pub(super) const NOW: i64 = 1_000_000;
const HOUR: i64 = 3600;

pub(super) fn wish() -> AppRoleWish {
    AppRoleWish {
        secret_name: "app-vault".to_owned(),
        secret: CredentialsSecret::default(),
        role_id: None,
        bind_secret_id: true,
        local_secret_ids: false,
        bound_cidrs: Vec::new(),
        ttl: Duration::ZERO,
        num_uses: 0,
        rotation: RotationWish {
            period: Period::Never,
            overlap: Some(Duration::from_secs(600)),
            targets: Vec::new(),
        },
        wrap: None,
    }
}

fn with_period(period: Period) -> AppRoleWish {
    let mut wish = wish();
    wish.rotation.period = period;
    wish
}

pub(super) fn state() -> State {
    State {
        accessor: Some("a".to_owned()),
        checksum: String::new(),
        issued: NOW,
        expires: None,
        made_with: made_with(&wish()),
        request: None,
        previous: Vec::new(),
        unwrapped: Vec::new(),
        wrapping: None,
        restart_pending: false,
        dress: Dress::default(),
    }
}

fn current(state: &State) -> Held {
    Held::of(state).unwrap()
}

pub(super) fn old(accessor: &str, until: i64) -> Previous {
    Previous {
        accessor: accessor.to_owned(),
        until,
    }
}

/// At rest, but for a change.
fn seen(change: impl FnOnce(&mut Seen, &mut State)) -> Seen {
    let mut state = state();
    let mut seen = Seen {
        state: None,
        intact: true,
        token: Token::None,
        known: vec!["a".to_owned()],
        request: None,
        now: NOW,
    };
    change(&mut seen, &mut state);
    seen.state = Some(state);
    seen
}

fn decided(seen: &Seen, wish: &AppRoleWish) -> (Option<Cause>, Vec<Previous>) {
    let Plan { issue, previous, .. } = plan(seen, wish, UID);
    (issue, previous)
}

fn ending() -> Vec<Previous> {
    vec![old("a", NOW + 600)]
}

#[test]
fn at_rest_nothing_is_made_whoever_looks() {
    let rest = seen(|_, _| ());
    assert_eq!(decided(&rest, &wish()), (None, Vec::new()));
    let much_later = seen(|seen, _| seen.now += 1000 * HOUR);
    assert_eq!(
        decided(&much_later, &wish()).0,
        None,
        "without a period no time is long enough"
    );
}

#[test]
fn the_first_one_has_nothing_before_it() {
    let first = Seen {
        state: None,
        ..seen(|_, _| ())
    };
    assert_eq!(decided(&first, &wish()), (Some(Cause::First), Vec::new()));
    assert!(
        plan(&first, &wish(), UID).rotates,
        "who holds what was there before has to take this one"
    );
    let none = Seen {
        known: Vec::new(),
        ..first
    };
    assert!(!plan(&none, &wish(), UID).rotates, "nobody holds anything yet");
}

#[test]
fn each_reason_makes_a_new_one_and_lets_the_old_one_work_on() {
    type Change = fn(&mut Seen, &mut State);
    let reasons: [(Cause, Change); 3] = [
        (Cause::Edited, |seen, _| seen.intact = false),
        (Cause::Changed, |_, state| {
            "ttl=60 uses=0".clone_into(&mut state.made_with);
        }),
        (Cause::Requested, |seen, _| seen.request = Some("now".to_owned())),
    ];
    for (cause, change) in reasons {
        assert_eq!(
            decided(&seen(change), &wish()),
            (Some(cause), ending()),
            "{cause:?}"
        );
    }
    let lost = seen(|seen, _| seen.known.clear());
    assert_eq!(
        decided(&lost, &wish()),
        (Some(Cause::Lost), Vec::new()),
        "there is nothing left to work on"
    );
}

#[test]
fn a_request_is_answered_once() {
    let answered = |text: &str| {
        seen(|seen, state| {
            seen.request = Some(text.to_owned());
            state.request = Some(remembered("monday"));
        })
    };
    assert_eq!(decided(&answered("monday"), &wish()).0, None);
    assert_eq!(decided(&answered("tuesday"), &wish()).0, Some(Cause::Requested));
    let taken_away = seen(|_, state| state.request = Some(remembered("monday")));
    assert_eq!(
        decided(&taken_away, &wish()).0,
        None,
        "to take a request away asks for nothing"
    );
}

#[test]
fn time_comes_at_the_period_or_up_to_a_quarter_before_and_not_earlier() {
    let wish = with_period(Period::Every(Duration::from_secs(4 * 3600)));
    let after = |seconds: i64| decided(&seen(|seen, _| seen.now += seconds), &wish).0;
    assert_eq!(after(3 * HOUR - 1), None);
    assert_eq!(after(4 * HOUR), Some(Cause::Due));
    let dues: std::collections::BTreeSet<Option<i64>> = (0..50)
        .map(|n| due(&current(&state()), &wish, &format!("uid-{n}")))
        .collect();
    assert!(
        dues.len() > 20,
        "many roles of the same minute are spread: {dues:?}"
    );
}

#[test]
fn a_share_counts_of_the_life_that_vault_gives() {
    let wish = with_period(Period::AfterPercent(50));
    let lives = |seconds: i64| {
        seen(|seen, state| {
            state.expires = Some(NOW + 4 * HOUR);
            seen.now += seconds;
        })
    };
    assert_eq!(decided(&lives(HOUR), &wish).0, None, "three quarters of the half");
    assert_eq!(decided(&lives(2 * HOUR), &wish).0, Some(Cause::Due));
    // It was asked for a longer one than the mount allows.
    for period in [Period::Every(Duration::from_secs(100 * 3600)), Period::Never] {
        assert_eq!(
            decided(&lives(4 * HOUR - 1), &with_period(period)).0,
            Some(Cause::Due),
            "{period:?}: before it ends, whatever was asked for"
        );
    }
}

#[test]
fn an_old_one_ends_with_its_overlap_or_with_its_own_life() {
    let short = seen(|seen, state| {
        seen.intact = false;
        state.expires = Some(NOW + 60);
    });
    assert_eq!(decided(&short, &wish()).1, [old("a", NOW + 60)]);
    let over = seen(|seen, state| {
        seen.intact = false;
        state.expires = Some(NOW);
    });
    assert_eq!(decided(&over, &wish()).1, [], "it is over");
    let mut at_once = wish();
    at_once.rotation.overlap = Some(Duration::ZERO);
    let edited = seen(|seen, _| seen.intact = false);
    assert_eq!(decided(&edited, &at_once).1, [], "that is the wish");
}

#[test]
fn an_earlier_one_works_until_its_end_and_no_longer() {
    let at = |now: i64| {
        seen(|seen, state| {
            seen.now = now;
            seen.known.push("b".to_owned());
            state.previous = vec![old("b", NOW + 5)];
        })
    };
    assert_eq!(decided(&at(NOW + 4), &wish()), (None, vec![old("b", NOW + 5)]));
    assert_eq!(decided(&at(NOW + 5), &wish()), (None, Vec::new()));
    let gone = seen(|_, state| state.previous = vec![old("b", NOW + 5)]);
    assert_eq!(
        decided(&gone, &wish()),
        (None, Vec::new()),
        "Vault does not know it any more"
    );
}

#[test]
fn a_clock_that_was_ahead_neither_keeps_a_secret_id_too_long_nor_an_earlier_one_for_years() {
    let year = 365 * 24 * HOUR;
    let daily = with_period(Period::Every(Duration::from_secs(24 * 3600)));
    let ahead = seen(|seen, state| {
        state.issued = NOW + year;
        state.expires = Some(NOW + year + 48 * HOUR);
        state.previous = vec![old("b", NOW + year)];
        seen.known.push("b".to_owned());
    });
    let (issue, previous) = decided(&ahead, &daily);
    assert_eq!(issue, Some(Cause::Due), "Vault ends it long before that time");
    assert_eq!(
        previous.first(),
        Some(&old("b", NOW + 600)),
        "it works on for an overlap from now"
    );
    let a_little = seen(|_, state| state.issued = NOW + SKEW);
    assert_eq!(decided(&a_little, &daily).0, None, "clocks differ");
    let for_ever = seen(|_, state| state.issued = NOW + year);
    assert_eq!(
        decided(&for_ever, &wish()).0,
        None,
        "one without an end is good at any time"
    );
}

#[test]
fn requests_without_end_do_not_pile_up_old_ones() {
    let many = seen(|seen, state| {
        seen.request = Some("again".to_owned());
        state.previous = (0..MOST_PREVIOUS)
            .map(|n| old(&format!("p-{n}"), NOW + 9))
            .collect();
        seen.known
            .extend(state.previous.iter().map(|old| old.accessor.clone()));
    });
    let (issue, previous) = decided(&many, &wish());
    assert_eq!(issue, Some(Cause::Requested));
    assert_eq!(previous.len(), MOST_PREVIOUS);
    assert_eq!(previous.last(), Some(&old("a", NOW + 600)), "the newest stays");
    assert_eq!(previous.first(), Some(&old("p-1", NOW + 9)), "the oldest goes");
}

#[test]
fn a_login_without_a_secret_id_keeps_none() {
    let none = AppRoleWish {
        bind_secret_id: false,
        ..wish()
    };
    assert_eq!(
        decided(&seen(|_, _| ()), &none),
        (Some(Cause::Changed), Vec::new()),
        "the one that there is goes"
    );
    let without = seen(|_, state| state.accessor = None);
    assert_eq!(decided(&without, &none), (None, Vec::new()));
    assert_eq!(
        decided(&without, &wish()).0,
        Some(Cause::Changed),
        "and back again"
    );
    let edited = seen(|seen, state| {
        state.accessor = None;
        seen.intact = false;
    });
    assert_eq!(decided(&edited, &none).0, Some(Cause::Changed));
}

#[test]
fn everything_that_is_neither_stored_nor_working_on_is_a_stray() {
    let known = ["a", "b", "c"].map(str::to_owned);
    let mut state = state();
    state.previous = vec![old("b", NOW + 5)];
    assert_eq!(strays(&known, &state), ["c"]);
    assert_eq!(strays(&known[..2], &state), [""; 0]);
}

#[test]
fn the_next_look_is_at_the_first_end_or_at_the_rotation() {
    let wish = with_period(Period::Every(Duration::from_secs(4 * 3600)));
    let mut state = state();
    let rotation = due(&current(&state), &wish, &UID);
    assert_eq!(next(&state, &wish, &UID), rotation);
    state.previous = vec![old("b", NOW + 50), old("c", NOW + 40)];
    assert_eq!(next(&state, &wish, &UID), Some(NOW + 40));
    assert_eq!(
        next(&super::super::plan::tests::state(), &self::wish(), &UID),
        None
    );
}
