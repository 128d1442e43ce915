use super::table::{ROWS, Shape};
use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn full(short: &str) -> String {
    format!("{COMPATIBLE_PREFIX}{short}")
}

/// For every annotation that is read: a value that is taken, and its neighbour that is denied (if any value is).
const VALUES: &[(&str, &str, Option<&str>)] = &[
    ("agent-inject", "true", Some("yes")),
    ("agent-inject-status", "update", None),
    ("agent-inject-containers", "app,web", Some(" , ")),
    ("agent-init-first", "1", Some("first")),
    ("agent-inject-secret-x", "secret/data/x", None),
    ("agent-inject-template-x", "text", None),
    ("agent-inject-file-x", "a/b.txt", Some("../b.txt")),
    ("agent-inject-perms-x", "0400", Some("rw")),
    ("agent-template-left-delim-x", "<<", Some(" ")),
    ("agent-template-right-delim-x", ">>", Some("")),
    ("error-on-missing-key-x", "true", Some("always")),
    ("agent-inject-default-template", "JSON", Some("yaml")),
    ("secret-volume-path", "/run/app", Some("run/app")),
    ("preserve-secret-case", "t", Some("keep")),
    ("preserve-secret-case-x", "t", Some("keep")),
    ("agent-inject-token", "false", Some("write")),
    ("agent-inject-template-file-x", "/vault/custom/x", Some("x")),
    ("secret-volume-path-x", "/run/x", Some("")),
    ("agent-extra-secret", "templates", Some("")),
    ("auth-min-backoff", "2s", Some("soon")),
    ("auth-max-backoff", "1m", Some("0s")),
    ("ca-key", "/vault/tls", Some("")),
    ("client-cert", "/vault/tls/client.crt", Some("")),
    ("client-key", "/vault/tls/client.key", Some("/vault/tls/../x")),
    ("tls-skip-verify", "false", Some("true")),
    ("template-lease-renewal-threshold", "0.5", Some("1")),
    ("role", "app", Some("")),
    ("service", "https://vault:8200", Some("https://vault:8200/v1")),
    ("namespace", "team-a", Some("team\na")),
    ("auth-path", "auth/other", Some(" ")),
    ("auth-type", "kubernetes", Some("aws")),
    ("ca-cert", "/vault/tls/ca.crt", Some("ca.crt")),
    ("tls-secret", "vault-tls", Some("")),
    ("tls-server-name", "vault", Some("10.0.0.1")),
    ("template-static-secret-render-interval", "30s", Some("999ms")),
    ("log-level", "debug", Some("loud")),
    ("log-format", "json", Some("xml")),
    ("agent-requests-cpu", "10m", Some("10 m")),
    ("agent-requests-mem", "", Some("much")),
    ("agent-requests-ephemeral", "1Mi", Some("1MB")),
    ("agent-limits-cpu", "1", Some("one")),
    ("agent-limits-mem", "64Mi", Some("64mb")),
    ("agent-limits-ephemeral", "1Gi", Some(" ")),
    ("agent-run-as-user", "1000", Some("app")),
    ("agent-run-as-group", "1000", Some("-1")),
    ("agent-run-as-same-user", "true", Some("same")),
];

#[test]
fn every_annotation_takes_good_values_and_denies_bad_ones_by_its_full_key() {
    for (short, good, bad) in VALUES {
        for prefix in [COMPATIBLE_PREFIX, PREFIX] {
            let key = format!("{prefix}{short}");
            let taken = parse(&map(&[(&key, good)]));
            assert!(taken.is_ok(), "{key}: {good:?} must be taken: {taken:?}");
            if let Some(bad) = bad {
                let denial = parse(&map(&[(&key, bad)]))
                    .expect_err("a bad value must be denied")
                    .to_string();
                assert!(
                    denial.starts_with(&format!("{key}: ")),
                    "{bad:?} must be denied by its key: {denial}"
                );
            }
        }
    }
}

#[test]
fn every_annotation_that_is_read_has_values_in_these_tests() {
    for row in ROWS.iter().filter(|row| matches!(row.effect, Effect::Read(_))) {
        let sample = if row.shape == Shape::Named {
            format!("{}x", row.key)
        } else {
            row.key.to_owned()
        };
        assert!(
            VALUES.iter().any(|(short, ..)| *short == sample),
            "{sample} has no good and bad value here"
        );
    }
}

#[test]
fn no_two_rows_have_the_same_key() {
    for (index, row) in ROWS.iter().enumerate() {
        let twin = ROWS[..index]
            .iter()
            .find(|other| (other.key, other.shape) == (row.key, row.shape));
        assert!(twin.is_none(), "{} is in the table twice", row.key);
    }
}

#[test]
fn what_the_app_needs_and_is_not_there_yet_is_denied_and_the_rest_warned_about() {
    for row in ROWS {
        let short = if row.shape == Shape::Named {
            format!("{}x", row.key)
        } else {
            row.key.to_owned()
        };
        let key = full(&short);
        let result = parse(&map(&[(&key, "true")]));
        match row.effect {
            Effect::Refused(why) => {
                let denial = result.expect_err("it must be denied").to_string();
                assert_eq!(denial, format!("{key}: {why}"), "the reason is given");
            }
            Effect::NotYet | Effect::Pointless(_) => {
                let (_, warnings) = result.expect("it must be taken");
                assert!(
                    warnings.iter().any(|w| w.starts_with(&key)),
                    "{key} must be warned about: {warnings:?}"
                );
            }
            Effect::Read(_) | Effect::Elsewhere => {}
        }
    }
}

#[test]
fn a_misspelt_key_is_warned_about_with_the_right_one() {
    for (wrong, right) in [
        ("agent-injct-secret-db", "agent-inject-secret-db"),
        ("agent-inject-secrets-db", "agent-inject-secret-db"),
        ("agent-inject-tmplate-db", "agent-inject-template-db"),
        ("rolle", "role"),
        ("agent-inject-container", "agent-inject-containers"),
    ] {
        let (_, warnings) = parse(&map(&[(&full(wrong), "x")])).expect("unknown keys are allowed");
        let expected = format!("did you mean {}?", full(right));
        assert!(
            warnings.len() == 1 && warnings[0].contains(&expected),
            "{wrong}: {warnings:?}"
        );
    }
}

#[test]
fn a_key_that_is_near_no_other_is_warned_about_without_a_guess() {
    let (_, warnings) =
        parse(&map(&[(&full("something-else-altogether"), "x")])).expect("unknown keys are allowed");
    assert_eq!(
        warnings,
        [format!(
            "{} is not known and has no effect",
            full("something-else-altogether")
        )]
    );
}

#[test]
fn keys_of_others_are_left_alone() {
    let (_, warnings) = parse(&map(&[
        ("example.com/agent-injct", "x"),
        ("vaultkeeper.dev/cluster", "a.b"),
    ]))
    .expect("these are not ours to read");
    assert!(warnings.is_empty(), "nothing to say: {warnings:?}");
}

#[test]
fn both_prefixes_mean_the_same_and_may_not_disagree() {
    let same = map(&[("vault.hashicorp.com/role", "a"), ("vaultkeeper.dev/role", "a")]);
    assert!(parse(&same).is_ok(), "the same value twice is no problem");
    let other = map(&[("vault.hashicorp.com/role", "a"), ("vaultkeeper.dev/role", "b")]);
    let denial = parse(&other).expect_err("which one is meant?").to_string();
    assert!(
        denial.contains("vault.hashicorp.com/role") && denial.contains("only one"),
        "both are named: {denial}"
    );
}

#[test]
fn the_switch_works_under_both_prefixes() {
    for (entries, wanted) in [
        (&[("vault.hashicorp.com/agent-inject", "true")][..], true),
        (&[("vaultkeeper.dev/agent-inject", "T")], true),
        (&[("vaultkeeper.dev/agent-inject", "false")], false),
        (&[("vault.hashicorp.com/role", "app")], false),
        (&[], false),
    ] {
        assert_eq!(wants_injection(&map(entries)), Ok(wanted), "{entries:?}");
    }
    let denial = wants_injection(&map(&[("vaultkeeper.dev/agent-inject", "on")])).expect_err("on is no bool");
    assert!(
        denial.to_string().contains("vaultkeeper.dev/agent-inject"),
        "the key is named: {denial}"
    );
}

#[test]
fn only_the_status_injected_marks_a_pod_as_done() {
    assert!(
        injected_by(&map(&[("vault.hashicorp.com/agent-inject-status", "injected")])).is_some(),
        "injected is done"
    );
    assert!(
        injected_by(&map(&[("vault.hashicorp.com/agent-inject-status", "update")])).is_none(),
        "update asks again"
    );
    assert!(injected_by(&map(&[])).is_none(), "nothing is not done");
}

#[test]
fn keys_without_the_switch_are_warned_about_once() {
    let warnings = without_injection(&map(&[
        (&full("role"), "a"),
        (&full("agent-inject-secret-x"), "b"),
    ]));
    assert_eq!(warnings.len(), 1, "one warning for all: {warnings:?}");
    assert!(
        warnings[0].contains("agent-inject: \"true\""),
        "the switch is named: {warnings:?}"
    );
    let off = without_injection(&map(&[(&full("role"), "a"), (&full("agent-inject"), "false")]));
    assert!(off.is_empty(), "who switched it off knows: {off:?}");
    let misspelt = without_injection(&map(&[(&full("agent-injct"), "true")]));
    assert!(
        misspelt[0].contains(&full("agent-inject?")),
        "the switch may be misspelt: {misspelt:?}"
    );
    let ours = without_injection(&map(&[("vaultkeeper.dev/cluster", "vault.main")]));
    assert!(
        ours.is_empty(),
        "generated objects are not warned about: {ours:?}"
    );
}

#[test]
fn settings_of_a_secret_that_is_not_asked_for_are_warned_about() {
    let entries = map(&[
        (&full("agent-inject-secret-config"), "p"),
        (&full("agent-inject-perms-confg"), "0400"),
    ]);
    let (_, warnings) = parse(&entries).expect("it is allowed");
    assert!(
        warnings.len() == 1 && warnings[0].contains("did you mean \"config\"?"),
        "{warnings:?}"
    );
}

#[test]
fn a_blank_path_asks_for_no_secret_and_a_template_does() {
    let (parsed, _) = parse(&map(&[(&full("agent-inject-secret-a"), " ")])).expect("as before");
    assert!(!parsed.secrets["a"].is_requested(), "a blank path is no secret");
    let (parsed, _) = parse(&map(&[(&full("agent-inject-template-a"), "x")])).expect("it is taken");
    assert!(parsed.secrets["a"].is_requested(), "a template needs no path");
}

#[test]
fn the_longest_key_wins() {
    let (parsed, _) = parse(&map(&[(&full("agent-inject-template-file-x"), "/a")])).expect("it is taken");
    assert!(
        parsed.secrets["x"].template_file.is_some(),
        "it is not the template of file-x: {parsed:?}"
    );
}
