//! A whole life with `distribution: OpenBao`. There is no OpenBao here: between the operator and real Vault servers stands
//! a translator that answers as OpenBao 2.6.2 was recorded to answer where the two differ. What the operator must not call
//! there is refused with OpenBao's own words.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use reqwest::{Method, Request};
use serde_json::{Map, Value, json};
use vaultkeeper_crds::cluster::{ReadinessRule, ReadinessState};
use vaultkeeper_operator::connect::{Connect, Elsewhere, HttpsConnect, Node};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::transport::{Answer, Exchange, Fault, Transport};
use vaultkeeper_vault::{BuildError, Client};

use super::configuration::until_configured;
use super::custody::{seal, shares_of, until_delivered};
use super::gpg::Keyring;
use super::roles;
use super::stage::{DEADLINE, Stage, reason};

const VERSION: &str = "2.6.2";
/// The fields of a health answer of OpenBao.
const HEALTH: [&str; 10] = [
    "initialized",
    "sealed",
    "standby",
    "performance_standby",
    "replication_performance_mode",
    "replication_dr_mode",
    "server_time_utc",
    "version",
    "cluster_name",
    "cluster_id",
];

/// Every call as it came, with whether it held a token.
#[derive(Default)]
struct Calls(Mutex<Vec<(String, bool)>>);

impl Calls {
    fn note(&self, call: String, has_token: bool) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push((call, has_token));
    }

    fn all(&self) -> Vec<(String, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Connects through the translator; points lie above it, where the operator's calls are still its own.
struct ToOpenBao {
    points: Arc<Points>,
    calls: Arc<Calls>,
}

impl ToOpenBao {
    fn through(&self, client: Client) -> Client {
        client.with_transport(|inner| {
            self.points.vault(Arc::new(OpenBao {
                inner,
                calls: Arc::clone(&self.calls),
            }))
        })
    }
}

impl Connect for ToOpenBao {
    fn connect(&self, node: &Node, timeout: Duration) -> Result<Client, BuildError> {
        Ok(self.through(HttpsConnect.connect(node, timeout)?))
    }

    fn connect_elsewhere(&self, at: &Elsewhere, timeout: Duration) -> Result<Client, BuildError> {
        Ok(self.through(HttpsConnect.connect_elsewhere(at, timeout)?))
    }
}

struct OpenBao {
    inner: Arc<dyn Transport>,
    calls: Arc<Calls>,
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        body: body.to_string().into_bytes().into(),
        location: None,
        retry_after: None,
    }
}

fn refused(status: u16, words: &str) -> Answer {
    answer(status, &json!({ "errors": [words] }))
}

/// Changes the JSON object of an answer, if it is one.
fn changed(mut found: Answer, change: impl FnOnce(&mut Map<String, Value>)) -> Answer {
    if let Ok(Value::Object(mut map)) = serde_json::from_slice(&found.body) {
        change(&mut map);
        found.body = Value::Object(map).to_string().into_bytes().into();
    }
    found
}

fn with_version(map: &mut Map<String, Value>) {
    if map.contains_key("version") {
        map.insert("version".to_owned(), json!(VERSION));
    }
}

impl OpenBao {
    async fn translate(&self, mut request: Request) -> Result<Answer, Fault> {
        let path = request.url().path().trim_start_matches("/v1/").to_owned();
        let call = format!("{} {path}", request.method());
        let has_token = request.headers().contains_key("x-vault-token");
        self.calls.note(call, has_token);
        if path.starts_with("sys/audit/") {
            let words = "cannot enable audit device via API; use declarative, config-based audit device management instead";
            return Ok(refused(400, words));
        }
        if path.starts_with("sys/rekey/") || path.starts_with("sys/generate-root/") {
            return Ok(refused(405, "unsupported operation"));
        }
        if let Some(step) = path.strip_prefix("sys/rotate/root/") {
            return self.rotate_root(request, step).await;
        }
        let is_read = request.method() == Method::GET;
        match path.as_str() {
            "sys/audit" if is_read => Ok(self.audit(request).await?),
            "sys/health" => {
                // Never 474.
                let mut found = self.inner.exchange(request).await?;
                if found.status == 474 {
                    found.status = 429;
                }
                Ok(changed(found, |map| {
                    map.retain(|key, _| HEALTH.contains(&key.as_str()));
                    with_version(map);
                }))
            }
            "sys/seal-status" | "sys/unseal" => {
                let found = self.inner.exchange(request).await?;
                Ok(changed(found, |map| {
                    map.remove("removed_from_cluster");
                    if let Some(date) = map.remove("build_date") {
                        map.insert("commit_date".to_owned(), date);
                    }
                    with_version(map);
                }))
            }
            "sys/leader" => {
                let found = self.inner.exchange(request).await?;
                // A standby says neither of these, and without a leader there is no address.
                Ok(changed(found, |map| {
                    if map.get("is_self") == Some(&json!(false)) {
                        map.remove("is_self");
                        map.remove("active_time");
                    }
                    map.retain(|key, value| key != "leader_address" || *value != json!(""));
                }))
            }
            _ => {
                request.headers_mut().remove("x-vault-forward");
                self.inner.exchange(request).await
            }
        }
    }

    /// The devices of the configuration file, for who may read them.
    async fn audit(&self, request: Request) -> Result<Answer, Fault> {
        let found = self.inner.exchange(request).await?;
        if found.status != 200 {
            return Ok(found);
        }
        let device = |path: &str, file: &str| json!({"type": "file", "description": "", "path": format!("{path}/"), "local": false, "options": {"file_path": file}});
        let devices =
            json!({"stdout/": device("stdout", "stdout"), "stderr/": device("stderr", "/dev/stderr")});
        Ok(answer(200, &json!({ "data": devices })))
    }

    /// Rekeying with a token: Vault's own policies say whether it may (it looks at the path first), and its
    /// `sys/rekey` does the work.
    async fn rotate_root(&self, request: Request, step: &str) -> Result<Answer, Fault> {
        let again = request.try_clone().ok_or(Fault::TimedOut)?;
        let allowed = self.inner.exchange(request).await?;
        if allowed.status == 403 {
            return Ok(allowed);
        }
        let mut rekey = again;
        rekey.url_mut().set_path(&format!("/v1/sys/rekey/{step}"));
        let found = self.inner.exchange(rekey).await?;
        let is_wrapped = step == "backup";
        if found.status != 200 || is_wrapped || found.body.is_empty() {
            return Ok(found);
        }
        Ok(changed(found, |map| {
            let body = std::mem::take(map);
            map.insert("data".to_owned(), Value::Object(body));
        }))
    }
}

impl Transport for OpenBao {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        Box::pin(self.translate(request))
    }
}

#[tokio::test]
async fn a_cluster_of_openbao_comes_up_hands_its_shares_over_and_no_call_is_made_that_it_refuses() {
    let people = ["alice", "bob", "carol"];
    let ring = Keyring::of(&people).unwrap();
    let stage = Stage::new().await.unwrap();
    let fields = json!({
        "distribution": "OpenBao", "version": VERSION,
        "seal": seal(&ring, &people, 2).unwrap(),
        "configuration": {
            "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}],
            "policies": [{"name": "app", "hcl": "path \"secret/data/app\" { capabilities = [\"read\"] }"}],
        },
    });
    stage.create_cluster_with(3, fields).await.unwrap();
    let (points, calls) = (Points::record(), Arc::new(Calls::default()));
    let connect = ToOpenBao {
        points: Arc::clone(&points),
        calls: Arc::clone(&calls),
    };
    let operator = stage.start_operator_through(&points, Arc::new(connect));
    until_delivered(&stage).await.unwrap();
    until_configured(&stage).await;
    stage
        .until("three voters that serve, and the rules to be judged", |c| {
            let status = c.status.clone().unwrap_or_default();
            let all_serve = reason(c, "Available") == "AllMembersServe";
            all_serve && status.voters == Some(3) && !status.readiness_rules.is_empty()
        })
        .await
        .unwrap();
    roles::create_role(&stage).await.unwrap();
    roles::until_ready(&stage).await.unwrap();

    // Its devices stand in the file, and there are as many as the profile asks for.
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let file = configs.get("main-config").await.unwrap().data.unwrap();
    let file = &file["vault.hcl"];
    for stanza in ["audit \"file\" \"stdout\"", "audit \"file\" \"stderr\""] {
        assert!(file.contains(stanza), "{stanza} is not in\n{file}");
    }
    wait::until_async("the audit devices to count as met", DEADLINE, async || {
        let status = stage.clusters().get("main").await?.status.unwrap_or_default();
        let mut rules = status.readiness_rules.iter();
        let audit = rules.find(|row| row.rule == ReadinessRule::Audit);
        ensure!(
            audit.is_some_and(|row| row.state == ReadinessState::Met),
            "it is {audit:?}"
        );
        Ok(())
    })
    .await
    .unwrap();

    what_was_called(&calls.all());

    // What the people hold opens it: the rekey that was asked for there was a real one.
    operator.stop().await;
    let shares = shares_of(&stage, &ring, &people[..2]).await.unwrap();
    stage.kubelet.kill("main-0").await.unwrap();
    let member = stage.member(0).await.unwrap();
    wait::until_async("the shares to open a member", DEADLINE, async || {
        for share in &shares {
            member.unseal(share).await?;
        }
        ensure!(!member.seal_status().await?.sealed, "it is sealed");
        Ok(())
    })
    .await
    .unwrap();
    stage.end().await.unwrap();
}

fn what_was_called(calls: &[(String, bool)]) {
    for closed in ["sys/audit/", "sys/rekey", "sys/generate-root"] {
        let wrong: Vec<_> = calls.iter().filter(|(call, _)| call.contains(closed)).collect();
        assert!(wrong.is_empty(), "OpenBao refuses {closed}: {wrong:?}");
    }
    for step in ["sys/rotate/root/init", "sys/rotate/root/update"] {
        let mut made = calls.iter().filter(|(call, _)| call.contains(step));
        assert!(
            made.clone().count() > 0,
            "the shares are made anew through {step}"
        );
        assert!(
            made.all(|(_, has_token)| *has_token),
            "OpenBao wants a token for {step}"
        );
    }
    // The walk is a whole one: otherwise it would prove nothing about what is not called.
    for call in [
        "PUT sys/init",
        "PUT sys/unseal",
        "GET sys/audit",
        "auth/kubernetes/login",
        "sys/policies/acl/app",
        "sys/mounts/secret",
        "auth/token/revoke-self",
        "auth/approle/role/",
        "GET sys/storage/raft/autopilot/state",
    ] {
        assert!(
            calls.iter().any(|(made, _)| made.contains(call)),
            "{call} should have been called"
        );
    }
}
