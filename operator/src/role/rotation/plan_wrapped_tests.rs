//! Tests of what becomes of wrapped secret-ids. Which one the consumer holds is known only from its wrapping token.

use super::tests::{NOW, UID, old, state, wish};
use super::*;

const TTL: i64 = 3600;

fn wrapped() -> AppRoleWish {
    AppRoleWish {
        wrap: Some(Duration::from_secs(3600)),
        ..wish()
    }
}

fn held(accessor: &str) -> Held {
    Held {
        accessor: accessor.to_owned(),
        issued: NOW - 10,
        expires: None,
    }
}

/// The secret-id `a` waits in the Secret; the consumer holds `h`.
fn seen(token: Token, age: i64) -> Seen {
    let wish = wrapped();
    let state = State {
        made_with: made_with(&wish),
        unwrapped: vec![held("h")],
        wrapping: Some(Wrapping {
            path: String::new(),
            ttl: TTL,
            issued: NOW,
        }),
        ..state()
    };
    Seen {
        state: Some(state),
        intact: true,
        token,
        known: vec!["a".to_owned(), "h".to_owned()],
        request: None,
        now: NOW + age,
    }
}

fn accessors(held: &[Held]) -> Vec<&str> {
    held.iter().map(|held| held.accessor.as_str()).collect()
}

fn ending(previous: &[Previous]) -> Vec<&str> {
    previous.iter().map(|old| old.accessor.as_str()).collect()
}

#[test]
fn a_token_that_waits_is_left_alone_until_two_thirds_of_its_life() {
    let rest = plan(&seen(Token::Waiting, TTL * 2 / 3 - 1), &wrapped(), UID);
    assert_eq!((rest.issue, rest.take_back), (None, None));
    assert_eq!(
        accessors(&rest.unwrapped),
        ["h"],
        "what the consumer holds works on"
    );
    assert!(!rest.rotates);
}

#[test]
fn a_token_about_to_expire_is_replaced_and_what_the_consumer_holds_stays() {
    let seen = seen(Token::Waiting, TTL * 2 / 3);
    let stale = plan(&seen, &wrapped(), UID);
    assert_eq!(stale.issue, Some(Cause::Stale));
    assert_eq!(stale.take_back.as_deref(), Some("a"));
    assert_eq!(
        accessors(&stale.unwrapped),
        ["h", "a"],
        "until it is known whether a was taken, it counts as taken"
    );
    assert!(!stale.rotates, "nobody has to restart for that");

    // What is stored then.
    let stored = State {
        accessor: Some("b".to_owned()),
        unwrapped: stale.unwrapped.clone(),
        ..state()
    };
    let nobody = stale.taken_back(&stored, "a", false, NOW + 600);
    assert_eq!(accessors(&nobody.unwrapped), ["h"]);
    assert_eq!(
        strays(&["a", "b", "h"].map(str::to_owned), &nobody),
        ["a"],
        "nobody can have it"
    );
    let taken = stale.taken_back(&stored, "a", true, NOW + 600);
    assert_eq!(accessors(&taken.unwrapped), ["a"], "the consumer was faster");
    assert_eq!(ending(&taken.previous), ["h"], "and has no use for the former");
}

#[test]
fn a_token_that_was_used_makes_its_secret_id_the_one_in_use() {
    let taken = plan(&seen(Token::Gone, 100), &wrapped(), UID);
    assert_eq!(taken.issue, Some(Cause::Taken));
    assert_eq!(accessors(&taken.unwrapped), ["a"], "without any end");
    assert_eq!(taken.previous, [old("h", NOW + 100 + 600)], "with an overlap");
    assert!(!taken.rotates && taken.take_back.is_none());
}

#[test]
fn nobody_is_locked_out_by_an_operator_that_was_away_too_long() {
    let late = plan(&seen(Token::Gone, TTL), &wrapped(), UID);
    assert_eq!(late.issue, Some(Cause::Late));
    assert_eq!(
        accessors(&late.unwrapped),
        ["h", "a"],
        "the token may have been used before it expired, or not"
    );
    assert_eq!(late.previous, []);
}

#[test]
fn a_rotation_ends_what_the_consumer_holds_and_takes_back_what_waits() {
    let mut asked = seen(Token::Waiting, 100);
    asked.request = Some("now".to_owned());
    let asked_plan = plan(&asked, &wrapped(), UID);
    assert_eq!(asked_plan.issue, Some(Cause::Requested));
    assert!(asked_plan.rotates);
    assert_eq!(ending(&asked_plan.previous), ["h"]);
    assert_eq!(asked_plan.take_back.as_deref(), Some("a"));
    let stored = State {
        unwrapped: asked_plan.unwrapped.clone(),
        ..state()
    };
    let taken = asked_plan.taken_back(&stored, "a", true, NOW + 700);
    assert_eq!(taken.unwrapped, []);
    assert_eq!(ending(&taken.previous), ["a"], "it was taken, and ends as well");

    asked.token = Token::Gone;
    let gone = plan(&asked, &wrapped(), UID);
    assert_eq!(ending(&gone.previous), ["h", "a"]);
    assert_eq!(gone.unwrapped, []);
}

#[test]
fn what_the_consumer_holds_is_rotated_by_its_own_age() {
    let mut wish = wrapped();
    wish.rotation.period = Period::Every(Duration::from_secs(1000));
    let mut seen = seen(Token::Waiting, 0);
    let state = seen.state.as_mut().unwrap();
    state.unwrapped[0].issued = NOW - 1000;
    let plan = plan(&seen, &wish, UID);
    assert_eq!(plan.issue, None, "another one waits already");
    assert_eq!(ending(&plan.previous), ["h"]);
    assert!(plan.rotates, "it has to take that one");
}

#[test]
fn one_use_is_no_reason_to_restart_the_one_who_used_it() {
    let wish = AppRoleWish {
        num_uses: 1,
        ..wrapped()
    };
    let mut seen = seen(Token::None, 10);
    seen.known = vec!["h".to_owned()];
    let used = plan(&seen, &wish, UID);
    assert_eq!(used.issue, Some(Cause::Lost));
    assert!(!used.rotates, "or it would be restarted for ever");
    assert_eq!(ending(&used.previous), ["h"]);
}

#[test]
fn with_plain_delivery_again_what_was_unwrapped_ends() {
    let plain = wish();
    let back = plan(&seen(Token::Waiting, 10), &plain, UID);
    assert_eq!(back.issue, Some(Cause::Changed));
    assert_eq!(ending(&back.previous), ["h"]);
    assert_eq!(back.take_back.as_deref(), Some("a"));
    // A crash came before it was taken back.
    let mut after = state();
    after.unwrapped = vec![held("h")];
    let seen = Seen {
        state: Some(after),
        token: Token::None,
        ..seen(Token::None, 10)
    };
    let rest = plan(&seen, &plain, UID);
    assert_eq!((rest.issue, ending(&rest.previous)), (None, vec!["h"]));
}

#[test]
fn outages_without_end_do_not_pile_up_what_may_be_held() {
    let mut seen = seen(Token::Gone, TTL);
    let state = seen.state.as_mut().unwrap();
    state.unwrapped = (0..MOST_PREVIOUS).map(|n| held(&format!("h-{n}"))).collect();
    seen.known
        .extend(state.unwrapped.iter().map(|held| held.accessor.clone()));
    let late = plan(&seen, &wrapped(), UID);
    assert_eq!(late.unwrapped.len(), MOST_PREVIOUS);
    assert_eq!(ending(&late.previous), ["h-0"], "the oldest ends with an overlap");
}
