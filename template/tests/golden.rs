//! Every recorded case of the real consul-template engine: its output byte for byte, its errors by their gist.

#![allow(clippy::expect_used, reason = "a test helper may fail the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::ExposeSecret as _;
use serde_json::Value as Json;
use vaultkeeper_template::json::{self, Numbers};
use vaultkeeper_template::{Answer, Delims, Host, Options, Query, Secret, Secrets, Template, Value};

/// Cases that need functions this crate does not have yet. A case that starts to pass must leave this list.
const LATER: &[(u64, &str)] = &[];

/// Cases whose recorded error was mangled by the engine's own redaction, with the gist before it.
const GIST: &[(u64, &str)] = &[
    (43, "can't evaluate field Nope in type *dependency.Secret"),
    (
        59,
        "<add 1 .Data.p>: error calling add: add: unknown type for a value (json.Number)",
    ),
];

#[derive(Default)]
struct Recorded(BTreeMap<Query, Answer>);

struct Environment<'a>(&'a Json);

impl Host for Environment<'_> {
    fn env(&self, name: &str) -> Option<String> {
        self.0[name].as_str().map(str::to_owned)
    }

    fn file(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

impl Secrets for Recorded {
    fn answer(&self, query: &Query) -> Option<Answer> {
        self.0.get(query).cloned()
    }
}

fn read(path: &str) -> Query {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pair = |item: &str| {
        item.split_once('=')
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .expect("k=v")
    };
    let parameters = query
        .split('&')
        .filter(|item| !item.is_empty())
        .map(pair)
        .collect();
    Query::Read {
        path: path.to_owned(),
        parameters,
    }
}

fn recorded(case: &Json) -> Recorded {
    let mut answers = BTreeMap::new();
    for (path, data) in case["secrets"].as_object().into_iter().flatten() {
        let data = json::parse(&data.to_string(), Numbers::AsSent).expect("the data of the case is JSON");
        let secret = Secret {
            lease_duration: 2_764_800,
            ..Secret::of(data)
        };
        answers.insert(read(path), Answer::Secret(Arc::new(secret)));
    }
    for (path, names) in case["lists"].as_object().into_iter().flatten() {
        let names = names
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect();
        answers.insert(Query::List { path: path.clone() }, Answer::List(names));
    }
    Recorded(answers)
}

/// What the crate makes of a case: the text and the number of missing answers, or the error.
fn run(case: &Json) -> Result<(String, usize), String> {
    let text = case["template"].as_str().expect("a case has a template");
    let template = Template::parse(text, &Delims::default()).map_err(|error| error.to_string())?;
    let options = Options {
        error_on_missing_key: case["error_on_missing_key"].as_bool().unwrap_or(false),
        denied: &[],
        destination: "",
        host: &Environment(&case["env"]),
        now: SystemTime::UNIX_EPOCH,
    };
    let outcome = template
        .render(&recorded(case), &options)
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8(outcome.text.expose_secret().to_vec()).map_err(|error| error.to_string())?;
    Ok((text, outcome.missing.len()))
}

fn judge(id: u64, case: &Json) -> Result<(), String> {
    let result = run(case);
    if let Some(expected) = case["expect"].as_str() {
        let missing = usize::try_from(case["missing_deps"].as_u64().unwrap_or(0)).expect("a small number");
        return match result {
            Ok((text, count)) if text == expected && count == missing => Ok(()),
            other => Err(format!(
                "expected {expected:?} with {missing} missing, got {other:?}"
            )),
        };
    }
    let recorded = case["error_contains"]
        .as_str()
        .expect("a case expects a text or an error");
    let gist = GIST
        .iter()
        .find(|(known, _)| *known == id)
        .map_or(recorded, |(_, gist)| gist);
    match result {
        Err(error) if error.contains(gist) => Ok(()),
        other => Err(format!("expected an error with {gist:?}, got {other:?}")),
    }
}

#[test]
fn every_recorded_case_gives_what_the_real_engine_gave() {
    let cases: Vec<Json> =
        serde_json::from_str(include_str!("golden/templates.json")).expect("the cases are JSON");
    assert!(cases.len() >= 41, "cases were lost: {}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let id = case["id"].as_u64().expect("a case has an id");
        let name = case["name"].as_str().unwrap_or("?");
        let later = LATER.iter().find(|(known, _)| *known == id);
        match (judge(id, case), later) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some((_, needs))) => {
                wrong.push(format!("{id} {name}: passes now ({needs}): take it off the list"));
            }
            (Err(problem), None) => wrong.push(format!("{id} {name}: {problem}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn an_error_never_shows_a_value_of_the_secret() {
    let marked = "hunter2";
    let data = Value::map([
        ("k".into(), Value::str(marked)),
        ("n".into(), Value::Number("4711471147".into())),
    ]);
    let secret = Secret::of(data);
    let answers = Recorded([(read("s/a"), Answer::Secret(Arc::new(secret)))].into());
    let options = Options {
        error_on_missing_key: true,
        denied: &[],
        destination: "",
        host: &Environment(&Json::Null),
        now: SystemTime::UNIX_EPOCH,
    };
    for action in [
        "base64Decode .Data.k",
        "parseInt .Data.k",
        "parseJSON .Data.k",
        "parseBool .Data.k",
        "parseFloat .Data.k",
        "printf .Data.n 1",
        ".Data.k.x",
        "add .Data.n 1",
        "toUpper .Data.n",
        "join .Data.k .Data.k",
        "index .Data.k .Data.k",
        "eq .Data.k 1",
        "lt .Data.n 1",
        "len .Data",
        "slice .Data.k 99",
        "template \"x\"",
        "executeTemplate .Data.k",
        "indent -1 .Data.k",
        ".Data.k 1",
        "range .Data.k}}{{end",
        "contains 1 .Data.k",
        "printf 1 .Data.k",
        ".Data | .Data.k",
        "loop .Data.k",
        "mustEnv .Data.nope",
        "secret \"a\" .Data.k",
    ] {
        let text = format!("{{{{ with secret \"s/a\" }}}}{{{{ {action} }}}}{{{{ end }}}}");
        let message = match Template::parse(&text, &Delims::default()) {
            Ok(template) => template.render(&answers, &options).map_or_else(
                |error| format!("{error} {error:?}"),
                |outcome| format!("{outcome:?}"),
            ),
            Err(error) => error.to_string(),
        };
        assert!(
            !message.contains(marked) && !message.contains("4711471147"),
            "{action} showed a secret: {message}"
        );
    }
}

#[test]
fn a_template_that_calls_itself_ends_in_an_error() {
    let template = Template::parse(
        "{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}",
        &Delims::default(),
    )
    .unwrap();
    let options = Options {
        error_on_missing_key: false,
        denied: &[],
        destination: "",
        host: &Environment(&Json::Null),
        now: SystemTime::UNIX_EPOCH,
    };
    let error = template
        .render(&Recorded::default(), &options)
        .expect_err("it never ends");
    assert!(
        error.message.contains("nested too deeply"),
        "the reason is missing: {error}"
    );
}
