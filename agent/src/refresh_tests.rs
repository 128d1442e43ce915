//! The rules of refreshing, from answers as the engines give them.

use super::*;
use vaultkeeper_template::json::{Numbers, parse};

const NOW: Duration = Duration::from_secs(1_000);

fn settings() -> Settings {
    Settings {
        interval: Duration::from_secs(300),
        threshold: 0.9,
    }
}

fn facts(leased: bool, renewable: bool, seconds: u64, data: &str) -> Facts {
    let data = parse(data, Numbers::AsSent).unwrap();
    Facts::of(leased, renewable, Duration::from_secs(seconds), &data, NOW)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// In the middle of the jitter.
fn middle(facts: &Facts) -> Next {
    next(facts, &settings(), None, 0.5)
}

#[test]
fn a_secret_without_a_lease_follows_the_interval_with_jitter() {
    let facts = facts(false, false, 0, "{}");
    assert_eq!(next(&facts, &settings(), None, 0.0), Next::Read(seconds(255)));
    assert_eq!(next(&facts, &settings(), None, 1.0), Next::Read(seconds(285)));
}

#[test]
fn a_secret_may_have_an_interval_of_its_own() {
    let facts = facts(false, false, 0, "{}");
    let next = next(&facts, &settings(), Some(seconds(10)), 0.5);
    assert_eq!(next, Next::Read(seconds(9)), "what the user asked for this one");
}

#[test]
fn of_two_templates_the_more_eager_one_counts() {
    let shorter = |a: Option<u64>, b: Option<u64>| {
        super::shorter(a.map(seconds), b.map(seconds), &settings()).map(|interval| interval.as_secs())
    };
    assert_eq!(shorter(Some(10), Some(20)), Some(10));
    assert_eq!(shorter(Some(10), None), Some(10), "sooner than the 300 s of all");
    assert_eq!(shorter(None, Some(3600)), None, "the 300 s of all are sooner");
    assert_eq!(shorter(None, None), None);
}

#[test]
fn kv_version_1_follows_the_interval_and_not_its_month_long_lease() {
    let facts = facts(false, false, 2_764_800, "{\"a\":1}");
    assert_eq!(middle(&facts), Next::Read(seconds(270)));
}

#[test]
fn kv_version_1_follows_the_ttl_that_is_written_into_the_secret() {
    for key in ["ttl", "lease"] {
        let facts = facts(false, false, 30, &format!("{{\"{key}\":\"30s\",\"a\":1}}"));
        assert_eq!(
            middle(&facts),
            Next::Read(seconds(27)),
            "the key {key} is a wish of its writer"
        );
        assert_eq!(
            next(&facts, &settings(), Some(seconds(10)), 0.5),
            Next::Read(seconds(9)),
            "the more eager of writer and reader"
        );
    }
}

#[test]
fn a_renewable_lease_is_renewed_and_another_read_again_before_its_end() {
    let renewable = facts(true, true, 300, "{}");
    assert_eq!(
        next(&renewable, &settings(), None, 0.0),
        Next::Renew(seconds(200))
    );
    assert_eq!(
        next(&renewable, &settings(), None, 1.0),
        Next::Renew(seconds(180)),
        "jitter makes it earlier, never later"
    );
    assert_eq!(middle(&facts(true, false, 100, "{}")), Next::Read(seconds(90)));
}

#[test]
fn jitter_never_takes_a_high_threshold_past_the_end() {
    let settings = Settings {
        threshold: 0.98,
        ..settings()
    };
    let facts = facts(true, false, 100, "{}");
    assert_eq!(
        next(&facts, &settings, None, 1.0),
        Next::Read(seconds(98)),
        "the plain threshold, as consul-template does"
    );
}

#[test]
fn a_lease_at_its_maximum_is_replaced_while_a_third_is_left() {
    let settings = settings();
    let after = |granted| lease(seconds(60), seconds(granted), true, &settings, 0.0);
    assert!(
        matches!(after(59), Next::Renew(_)),
        "a second less is the server's rounding"
    );
    assert_eq!(
        after(50),
        Next::Read(seconds(30)),
        "20 of 60 seconds are left then"
    );
    assert_eq!(after(20), Next::Read(Duration::ZERO), "at once");
    assert_eq!(after(1), Next::Read(Duration::ZERO), "at once");
}

#[test]
fn a_lease_of_a_few_seconds_is_replaced_before_it_ends() {
    let settings = settings();
    let Next::Read(after) = lease(seconds(3), seconds(1), true, &settings, 0.0) else {
        panic!("1 of 3 seconds is no rounding")
    };
    assert!(after < seconds(1), "the secret must be replaced before its end");
}

#[test]
fn a_lease_may_stop_being_renewable() {
    assert_eq!(
        lease(seconds(60), seconds(60), false, &settings(), 0.5),
        Next::Read(seconds(54))
    );
}

#[test]
fn a_certificate_is_issued_again_only_near_its_end() {
    let facts = facts(false, false, 0, "{\"certificate\":\"x\",\"expiration\":2000}");
    assert_eq!(middle(&facts), Next::Read(seconds(900)));
}

#[test]
fn a_certificate_that_has_ended_by_our_clock_makes_no_storm() {
    let facts = facts(false, false, 0, "{\"certificate\":\"x\",\"expiration\":1}");
    assert_eq!(middle(&facts), Next::Read(seconds(270)), "the interval");
}

#[test]
fn a_secret_id_is_made_again_before_it_ends() {
    let lasting = facts(false, false, 0, "{\"secret_id\":\"x\",\"secret_id_ttl\":100}");
    assert_eq!(middle(&lasting), Next::Read(seconds(90)));
    let endless = facts(false, false, 0, "{\"secret_id\":\"x\",\"secret_id_ttl\":0}");
    assert_eq!(
        middle(&endless),
        Next::Read(seconds(270)),
        "one without an end follows the interval"
    );
}

#[test]
fn a_rotated_password_is_read_just_after_its_rotation() {
    let facts = facts(
        false,
        false,
        0,
        "{\"rotation_period\":60,\"ttl\":25,\"password\":\"x\"}",
    );
    for chance in [0.0, 1.0] {
        assert_eq!(
            next(&facts, &settings(), Some(seconds(5)), chance),
            Next::Read(seconds(26)),
            "without jitter, whatever interval is asked for"
        );
    }
}

#[test]
fn a_token_that_says_how_long_it_lives_is_read_before_that() {
    let short = facts(false, false, 0, "{\"token\":\"x\",\"ttl\":60}");
    assert_eq!(middle(&short), Next::Read(seconds(54)));
    let long = facts(false, false, 0, "{\"token\":\"x\",\"ttl\":86400}");
    assert_eq!(middle(&long), Next::Read(seconds(270)), "the interval is sooner");
}

#[test]
fn a_lease_counts_before_what_the_data_says() {
    let facts = facts(
        true,
        false,
        100,
        "{\"certificate\":\"x\",\"expiration\":9999,\"ttl\":7}",
    );
    assert_eq!(middle(&facts), Next::Read(seconds(90)));
}

mod any_answer {
    use super::*;
    use proptest::prelude::*;
    use tokio::time::Instant;

    fn after(next: Next) -> Duration {
        match next {
            Next::Read(after) | Next::Renew(after) => after,
        }
    }

    /// Numbers of seconds as a server may say them, odd ones included.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..10_u64, 0..100_000_u64, any::<u64>(), Just(u64::MAX)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn a_lease_is_acted_on_before_its_end_and_never_beyond_any_clock(
            lease in number(), granted in number(), renewable: bool, threshold in 0.01..0.99_f64, chance in 0.0..1.0_f64,
        ) {
            let settings = Settings { threshold, ..settings() };
            let facts = Facts::of(true, renewable, seconds(lease), &Value::Null, NOW);
            let first = after(next(&facts, &settings, None, chance));
            prop_assert!(lease == 0 || first < seconds(lease), "{first:?} of {lease} s");
            let later = after(super::super::lease(facts.duration, seconds(granted), renewable, &settings, chance));
            prop_assert!(granted == 0 || later < seconds(granted), "{later:?} of {granted} s");
            prop_assert!(Instant::now().checked_add(first.max(later)).is_some(), "no clock can add it");
        }

        #[test]
        fn no_data_without_a_lease_asks_again_at_once(
            keys in prop::collection::vec((prop::sample::select(vec![
                "ttl", "lease", "rotation_period", "certificate", "expiration", "secret_id", "secret_id_ttl", "other",
            ]), number()), 0..8),
            duration in number(), threshold in 0.01..0.99_f64, chance in 0.0..1.0_f64,
        ) {
            let settings = Settings { threshold, ..settings() };
            let data = keys.iter().map(|(key, number)| {
                ((*key).into(), Value::Number(number.to_string().into()))
            });
            let facts = Facts::of(false, false, seconds(duration), &Value::map(data), NOW);
            let after = after(next(&facts, &settings, None, chance));
            prop_assert!(after >= Duration::from_millis(800), "after {after:?}: {facts:?}");
            prop_assert!(Instant::now().checked_add(after).is_some(), "no clock can add it");
        }
    }
}
