//! What errors of a fetch hold, against a fake that injects the fault: a server that repeats what it was sent.

use vaultkeeper_vault::Token;
use vaultkeeper_vault::transport::{self, Exchange, Request, Transport};

use super::*;
use crate::logging::Chain;

/// Answers every write with the request's own body in its error, and every read with this JSON.
struct Echo(&'static str);

impl Transport for Echo {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        let sent = request
            .body()
            .and_then(reqwest::Body::as_bytes)
            .unwrap_or_default();
        let sent = String::from_utf8_lossy(sent).into_owned();
        let (status, body) = if request.url().path().contains("sys/internal") {
            (403, r#"{"errors":["preflight"]}"#.to_owned())
        } else if sent.is_empty() {
            (200, self.0.to_owned())
        } else {
            (400, json!({"errors": [format!("cannot do {sent}")]}).to_string())
        };
        Box::pin(async move {
            Ok(transport::Answer {
                status,
                body: body.into_bytes().into(),
                location: None,
                retry_after: None,
            })
        })
    }
}

async fn fetch(query: &Query, read: &'static str) -> Result<Outcome, FetchError> {
    // Another test of this process may have done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder("http://vault.test:8200").build().unwrap();
    let client = client
        .with_transport(|_| Arc::new(Echo(read)))
        .with_token(&Token::new("hvs.test").unwrap());
    Fetcher::new(None).fetch(&client, query, None).await
}

fn write(fields: &[(&str, &str)]) -> Query {
    Query::Write {
        path: "engine/do".to_owned(),
        data: fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn read() -> Query {
    Query::Read {
        path: "engine/creds".to_owned(),
        parameters: Vec::new(),
    }
}

#[tokio::test]
async fn a_server_that_repeats_a_write_betrays_no_secret_field() {
    let query = write(&[
        ("ciphertext", "vault:v1:hunter"),
        ("password", "s3cret"),
        ("common_name", "app.example"),
    ]);
    let Err(error) = fetch(&query, "{}").await else {
        panic!("the write is refused")
    };
    let text = format!("{} {error:?}", Chain(&error));
    for hidden in ["hunter", "s3cret"] {
        assert!(!text.contains(hidden), "{hidden:?} is in {text}");
    }
    assert!(
        text.contains("app.example"),
        "a name is no secret, and says what is wrong: {text}"
    );
}

#[tokio::test]
async fn a_password_that_is_being_rotated_is_no_answer() {
    let answer = r#"{"data":{"username":"u","password":"old","rotation_period":60,"ttl":0}}"#;
    let Err(error) = fetch(&read(), answer).await else {
        panic!("the old password must not be rendered")
    };
    assert!(error.to_string().contains("rotated"), "{error}");
}

#[tokio::test]
async fn a_token_made_by_a_write_ends_as_its_login_says() {
    let answer =
        r#"{"auth":{"client_token":"hvs.other","accessor":"a","lease_duration":60,"renewable":true}}"#;
    let Ok(Outcome::New(fetched)) = fetch(&read(), answer).await else {
        panic!("it is an answer")
    };
    assert_eq!(fetched.facts.ends, Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_certificate_that_is_refused_names_its_question() {
    let query = Query::Certificate {
        path: "pki/issue/app".to_owned(),
        data: BTreeMap::new(),
        destination: "/nonexistent".to_owned(),
    };
    // A body without fields is sent as `{}`: the fake answers with an error.
    let Err(error) = fetch(&query, "{}").await else {
        panic!("it is refused")
    };
    assert!(
        error.to_string().contains("issue pki/issue/app"),
        "the question is named: {error}"
    );
}
