//! Templates whose outputs came from the real engine: each must give the same bytes, or fail where it failed.

#![allow(clippy::expect_used, reason = "a test helper may fail the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use vaultkeeper_template::json::{self, Numbers};
use vaultkeeper_template::{Answer, Delims, Host, Options, Query, Secret, Secrets, Template};

/// What was recorded: sets of secrets by name, and templates that use one of them.
#[derive(Deserialize)]
struct Records {
    secrets: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    /// The set of secrets.
    secrets: String,
    #[serde(default)]
    error_on_missing_key: bool,
    /// What came out; none when the engine failed.
    output: Option<String>,
    /// What came out, in base64, where it is not UTF-8.
    bytes: Option<String>,
    /// The engine's words.
    #[serde(default)]
    error: String,
}

struct Recorded(BTreeMap<String, Answer>);

impl Secrets for Recorded {
    fn answer(&self, query: &Query) -> Option<Answer> {
        self.0.get(query.path()).cloned()
    }
}

struct Bare;

impl Host for Bare {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

fn run(records: &Records, case: &Case) -> Result<Vec<u8>, String> {
    let answers = records.secrets[&case.secrets].iter().map(|(path, data)| {
        let secret = Secret {
            lease_duration: 2_764_800,
            ..Secret::of(json::parse(data.get(), Numbers::AsSent).expect("the data of the case is JSON"))
        };
        (path.clone(), Answer::Secret(Arc::new(secret)))
    });
    let template = Template::parse(&case.template, &Delims::default()).map_err(|error| error.to_string())?;
    let options = Options {
        error_on_missing_key: case.error_on_missing_key,
        denied: &[],
        destination: "",
        host: &Bare,
        now: SystemTime::UNIX_EPOCH,
    };
    let outcome = template
        .render(&Recorded(answers.collect()), &options)
        .map_err(|error| error.to_string())?;
    Ok(outcome.text.expose_secret().to_vec())
}

#[test]
fn every_recorded_template_gives_what_the_real_engine_gave() {
    use base64::Engine as _;
    let other = std::env::var("TEMPLATE_CASES")
        .ok()
        .map(|path| std::fs::read_to_string(path).expect("the cases"));
    let text = other.as_deref().unwrap_or(include_str!("golden/recorded.json"));
    let records: Records = serde_json::from_str(text).expect("the cases are JSON");
    let cases = &records.cases;
    let mut wrong = Vec::new();
    for case in cases {
        let from_base64 = |text: &String| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("base64")
        };
        let plain = case.output.as_ref().map(|text| text.clone().into_bytes());
        let expected = plain.or_else(|| case.bytes.as_ref().map(from_base64));
        let result = run(&records, case);
        let same = match (&expected, &result) {
            (Some(expected), Ok(output)) => expected == output,
            (None, Err(_)) => true,
            _ => false,
        };
        if !same {
            let expected = expected.map_or_else(
                || format!("error {}", case.error),
                |bytes| format!("{:?}", String::from_utf8_lossy(&bytes)),
            );
            let got = result.map_or_else(
                |error| format!("error {error}"),
                |bytes| format!("{:?}", String::from_utf8_lossy(&bytes)),
            );
            wrong.push(format!(
                "{}\n  expected {expected}\n  got      {got}",
                case.template
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
