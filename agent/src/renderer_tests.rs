//! Rendering over paused time, against a fake that injects the fault: a Vault that hangs, is sealed, or has had enough.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use vaultkeeper_template::Value;
use vaultkeeper_vault::transport::{Answer, Exchange, Request, Transport};
use vaultkeeper_vault::{Client, Token};

use super::*;
use crate::config;
use crate::fetch::{Fetched, Metadata};
use crate::refresh::Facts;
use crate::templates;

/// What the fake does with a request.
enum Reaction {
    Json(u16, String),
    /// As 429 with `Retry-After` in seconds.
    Wait(u32),
    Hang,
}

type React = Box<dyn Fn(&str) -> Reaction + Send + Sync>;

/// Reacts to a path, and keeps what was asked when.
struct Fake {
    react: Mutex<React>,
    asked: Mutex<Vec<(Instant, String)>>,
}

impl Fake {
    fn new(react: impl Fn(&str) -> Reaction + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            react: Mutex::new(Box::new(react)),
            asked: Mutex::default(),
        })
    }

    fn now(&self, react: impl Fn(&str) -> Reaction + Send + Sync + 'static) {
        *self.react.lock().unwrap() = Box::new(react);
    }

    /// How often something was asked whose path begins like this.
    fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(_, asked)| asked.starts_with(path)).count()
    }
}

struct To(Arc<Fake>);

impl Transport for To {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        let path = request.url().path().trim_start_matches("/v1/").to_owned();
        self.0.asked.lock().unwrap().push((Instant::now(), path.clone()));
        let reaction = (self.0.react.lock().unwrap())(&path);
        Box::pin(async move {
            let (status, body, retry_after) = match reaction {
                Reaction::Json(status, body) => (status, body, None),
                Reaction::Wait(seconds) => (429, String::new(), Some(seconds.to_string())),
                Reaction::Hang => std::future::pending().await,
            };
            Ok(Answer {
                status,
                body: body.into_bytes().into(),
                location: None,
                retry_after,
            })
        })
    }
}

/// A secret of an engine that is not KV version 2.
fn secret(value: &str) -> Reaction {
    Reaction::Json(200, serde_json::json!({"data": {"value": value}}).to_string())
}

/// What `sys/internal/ui/mounts` says of every path.
fn mount() -> Reaction {
    let data = serde_json::json!({"path": "kv/", "type": "kv", "options": {"version": "1"}});
    Reaction::Json(200, serde_json::json!({ "data": data }).to_string())
}

fn serving(value: &'static str) -> impl Fn(&str) -> Reaction + Send + Sync {
    move |path| {
        if path.starts_with("sys/internal") {
            mount()
        } else {
            secret(value)
        }
    }
}

fn sealed(_: &str) -> Reaction {
    Reaction::Json(503, r#"{"errors":["Vault is sealed"]}"#.to_owned())
}

/// One file per template, in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    config: Config,
    templates: Vec<Loaded>,
    fake: Arc<Fake>,
}

impl Bench {
    fn new(templates: &[String], fake: Arc<Fake>) -> Self {
        // Another test of this process may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: String| folder.path().join(name);
        let files = templates.iter().enumerate().map(|(number, template)| {
            serde_json::json!({"contents": template, "destination": path(number.to_string())})
        });
        let config = serde_json::json!({
            "vault": {"address": "http://vault.test:8200"},
            "auto_auth": {"method": {"type": "approle", "config": {"role_id_file_path": path("role".to_owned())}}},
            "template": files.collect::<Vec<_>>(),
            "template_config": {"static_secret_render_interval": "10s"},
        });
        let (config, _) = config::parse(&config.to_string(), &|_| None).unwrap();
        Self {
            templates: templates::load(&config).unwrap(),
            folder,
            config,
            fake,
        }
    }

    fn file(&self, number: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(number.to_string())).unwrap_or_default()
    }

    /// Renders while `script` runs.
    async fn during(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
        script: impl Future<Output = ()>,
    ) -> Result<(), GaveUp> {
        let client = Client::builder("http://vault.test:8200").build().unwrap();
        let connection = Connection::over(client.with_transport(|_| Arc::new(To(Arc::clone(&self.fake)))));
        let (_identity, identities) = watch::channel(Some(Identity {
            token: Token::new("hvs.test").unwrap(),
            generation: 1,
            uses: None,
            replace_leases_at: None,
            in_sinks: watch::channel(true).1,
        }));
        let (doubt, _doubts) = mpsc::channel(1);
        let outputs = outputs(&self.templates);
        tokio::select! {
            ended = render(&connection, &self.config, &self.templates, env, identities, doubt, outputs) => {
                ended?;
                panic!("rendering ended without a reason")
            }
            () = script => Ok(()),
        }
    }
}

/// Outputs whose orders nobody takes.
fn outputs(templates: &[Loaded]) -> Outputs {
    Outputs::new(templates, mpsc::unbounded_channel().0, watch::channel(None).0)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn reading(path: &str) -> String {
    format!("{{{{ with secret \"kv/{path}\" }}}}{{{{ .Data.value }}}}{{{{ end }}}}")
}

#[tokio::test(start_paused = true)]
async fn a_template_that_asks_for_something_new_each_time_does_not_keep_vault_busy() {
    let bench = Bench::new(
        &["{{ with secret (printf \"kv/%s\" (env \"N\")) }}{{ .Data.value }}{{ end }}".to_owned()],
        Fake::new(serving("x")),
    );
    let count = Cell::new(0);
    let env = |_: &str| {
        count.set(count.get() + 1);
        Some(count.get().to_string())
    };
    bench.during(&env, pass(3600)).await.unwrap();
    let asked = bench.fake.asked("kv/");
    assert!(
        (50..150).contains(&asked),
        "one question a minute in the end, not {asked} in an hour"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_holds_up_no_other() {
    let fake = Fake::new(|path| match path {
        "kv/slow" => Reaction::Hang,
        path => serving("first")(path),
    });
    let bench = Bench::new(&[reading("slow"), reading("quick")], fake);
    let script = async {
        pass(1).await;
        assert_eq!(bench.file(1), "first", "the other is rendered");
        bench.fake.now(|path| match path {
            "kv/slow" => Reaction::Hang,
            path => serving("second")(path),
        });
        pass(10).await;
        assert_eq!(bench.file(1), "second", "and follows its changes");
        assert_eq!(bench.file(0), "", "nothing is written without an answer");
    };
    bench.during(&|_| None, script).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_vault_is_sealed_one_question_at_a_time_finds_out_when_it_is_open() {
    let templates: Vec<String> = (0..20).map(|number| reading(&number.to_string())).collect();
    let bench = Bench::new(&templates, Fake::new(serving("first")));
    let script = async {
        pass(5).await;
        bench.fake.now(sealed);
        let before = bench.fake.asked("");
        pass(3600).await;
        let asked = bench.fake.asked("") - before;
        assert!(asked < 1000, "{asked} questions in an hour for 20 secrets");
        for number in 0..20 {
            assert_eq!(bench.file(number), "first", "file {number} stays");
        }
        bench.fake.now(serving("second"));
        pass(10).await;
        for number in 0..20 {
            assert_eq!(bench.file(number), "second", "file {number} follows within 10 s");
        }
    };
    bench.during(&|_| None, script).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_does_not_hide_that_vault_is_back() {
    let fake = Fake::new(serving("first"));
    let bench = Bench::new(&[reading("slow"), reading("quick")], fake);
    let hang_or = |or: fn(&str) -> Reaction| {
        move |path: &str| match path {
            "kv/slow" => Reaction::Hang,
            path => or(path),
        }
    };
    let script = async {
        pass(1).await;
        bench.fake.now(hang_or(|path| serving("first")(path)));
        pass(20).await;
        bench.fake.now(hang_or(sealed));
        pass(60).await;
        bench.fake.now(hang_or(|path| serving("second")(path)));
        pass(20).await;
        assert_eq!(bench.file(1), "second", "the other is read again");
        assert_eq!(bench.file(0), "first", "the one that hangs keeps its file");
    };
    bench.during(&|_| None, script).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_is() {
    let bench = Bench::new(&[reading("a"), reading("b")], Fake::new(serving("first")));
    let script = async {
        pass(1).await;
        bench.fake.now(|_| Reaction::Wait(120));
        pass(14).await;
        let asked = bench.fake.asked("");
        pass(100).await;
        assert_eq!(bench.fake.asked(""), asked, "nothing is asked for two minutes");
        bench.fake.now(serving("second"));
        pass(60).await;
        assert_eq!(bench.file(0), "second", "then all goes on");
    };
    bench.during(&|_| None, script).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_path_that_fails_for_good_costs_the_others_nothing() {
    let fake = Fake::new(|path| match path {
        "kv/broken" => Reaction::Json(500, r#"{"errors":["the database is down"]}"#.to_owned()),
        path => serving("first")(path),
    });
    let bench = Bench::new(&[reading("broken"), reading("fine")], fake);
    let script = async {
        pass(300).await;
        bench.fake.now(|path| match path {
            "kv/broken" => Reaction::Json(500, r#"{"errors":["the database is down"]}"#.to_owned()),
            path => serving("second")(path),
        });
        pass(10).await;
        assert_eq!(bench.file(1), "second", "it is read at its interval");
    };
    bench.during(&|_| None, script).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_only_when_the_configuration_says_so() {
    for (react, what) in [
        (Box::new(sealed) as React, "Vault is sealed"),
        (
            Box::new(|path: &str| match path {
                "kv/a" => Reaction::Json(500, r#"{"errors":["broken"]}"#.to_owned()),
                path => serving("x")(path),
            }),
            "one path fails",
        ),
    ] {
        let mut bench = Bench::new(&[reading("a")], Fake::new(react));
        bench.config.retries = Some(12);
        let gave_up = bench.during(&|_| None, pass(3600)).await;
        let error = gave_up.expect_err(what).to_string();
        assert!(error.contains("13 attempts"), "{what}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn questions_that_no_template_asks_any_more_take_no_memory() {
    let bench = Bench::new(
        &[
            "{{ with secret (printf \"kv/%s\" (env \"N\")) }}{{ .Data.value }}{{ end }}".to_owned(),
            // Fails once its answer is there: what it asked before stays.
            "{{ with secret \"kv/fixed\" }}{{ .Data.value | parseInt }}{{ end }}".to_owned(),
        ],
        Fake::new(serving("x")),
    );
    let count = Cell::new(0);
    let env = |_: &str| {
        count.set(count.get() + 1);
        Some(count.get().to_string())
    };
    let mut renderer = Renderer {
        templates: &bench.templates,
        standings: bench.templates.iter().map(|_| Standing::new()).collect(),
        store: Store::new(Settings {
            interval: Duration::from_secs(10),
            threshold: 0.9,
        }),
        env: &env,
        outputs: outputs(&bench.templates),
        rounds: 0,
        writes: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        write_again: None,
        look_at: None,
    };
    renderer.pass();
    let fixed = Query::Read {
        path: "kv/fixed".to_owned(),
        parameters: Vec::new(),
    };
    renderer.store.fetched(&fixed, no_number(), Instant::now(), 0.5);
    for _ in 0..100 {
        renderer.pass();
    }
    assert_eq!(
        renderer.standings[1].state,
        State::Broken,
        "its answer is no number"
    );
    let held = renderer
        .store
        .take_due(Instant::now() + Duration::from_secs(3600), usize::MAX);
    assert_eq!(
        held.len(),
        2,
        "the last of the one and the only one of the other: {held:?}"
    );
}

/// An answer whose `value` is no number.
fn no_number() -> Fetched {
    let secret = vaultkeeper_template::Secret::of(Value::map([("value".into(), Value::str("x"))]));
    Fetched {
        answer: vaultkeeper_template::Answer::Secret(Arc::new(secret)),
        facts: Facts::none(),
        lease_id: String::new(),
        metadata: Metadata::Absent,
    }
}
