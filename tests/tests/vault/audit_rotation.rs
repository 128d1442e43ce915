//! Audit logs of a real server that answers all the time are rotated by the real helper: no line is lost, none comes twice.

mod full;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vaultkeeper_tests::agent_program;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::process::{Process, ProcessSpec};
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::vault_server::{Config, VaultServer};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::sys::audit::AuditDevice;
use vaultkeeper_vault::{Client, Token};

use crate::TESTBED;
use crate::client_support::{split, unseal};

const DEADLINE: Duration = Duration::from_secs(120);
const LOG: &str = "audit.log";
/// Some dozens of requests.
const MAX_SIZE: u64 = 100_000;
/// Who asks at the same time.
const CALLERS: usize = 4;

/// An open server with an audit device on a file, and the helper's files beside it.
struct Audited {
    server: VaultServer,
    token: Token,
    folder: PathBuf,
    rules: PathBuf,
    run: OwnedRun,
}

impl Audited {
    async fn start(node_id: &str) -> Self {
        let run = OwnedRun::create("audit-rotation", TESTBED).unwrap();
        let folder = run.folder("audit").unwrap();
        Self::start_in(node_id, run, folder).await
    }

    /// With its logs in this folder.
    async fn start_in(node_id: &str, run: OwnedRun, folder: PathBuf) -> Self {
        let ca = Ca::new("vault-ca").unwrap();
        let server = VaultServer::start(Config::single(node_id).unwrap(), &ca, &run)
            .await
            .unwrap();
        let client = Client::builder(server.url())
            .ca_pem(server.ca_pem())
            .build()
            .unwrap();
        let keys = client.init(&split(1, 1)).await.unwrap();
        unseal(&client, &keys.keys).await;
        let rules = run.folder("config").unwrap().join("rotation.json");
        let device = AuditDevice {
            kind: "file".to_owned(),
            options: BTreeMap::from([("file_path".to_owned(), folder.join(LOG).display().to_string())]),
            ..AuditDevice::default()
        };
        let root = client.with_token(&keys.root_token);
        root.enable_audit_device("log", &device).await.unwrap();
        let audited = Self {
            server,
            token: keys.root_token,
            folder,
            rules,
            run,
        };
        // So many that none goes.
        audited.rule(10_000);
        audited
    }

    /// Declares how many are kept, as the operator does in the ConfigMap.
    fn rule(&self, keep: u32) {
        let rules = json!({ "files": { LOG: { "maxSize": MAX_SIZE, "keep": keep } } });
        // As a whole, as the kubelet changes a ConfigMap in a pod.
        let new = self.rules.with_extension("new");
        fs::write(&new, rules.to_string()).unwrap();
        fs::rename(&new, &self.rules).unwrap();
    }

    /// The helper, as it is started in a member's pod.
    fn helper(&self) -> Process {
        let spec = ProcessSpec::new("helper", agent_program::path().unwrap(), &self.run).args([
            "reload".to_owned(),
            format!("-certificate={}", self.server.certificate().cert.display()),
            format!("-address={}", self.server.addresses().api),
            format!("-audit={}", self.folder.display()),
            format!("-rotation={}", self.rules.display()),
            "--".to_owned(),
            "vault".to_owned(),
            "server".to_owned(),
            format!("-config={}", self.server.config_file().display()),
        ]);
        Process::start(spec, &self.run).unwrap()
    }

    /// The numbers of the files that were put aside.
    fn aside(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = names(&self.folder)
            .iter()
            .filter_map(|name| name.strip_prefix(LOG)?.strip_prefix('.')?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Which file was put aside last. None: in the moment between two renames there is none of that name.
    fn newest(&self) -> Option<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::metadata(self.folder.join(format!("{LOG}.1"))).ok()?;
        Some(meta.ino())
    }

    async fn until_aside(&self, wanted: usize) {
        wait::until_async("files to be put aside", DEADLINE, async || {
            let there = self.aside();
            ensure!(
                there.len() >= wanted,
                "{wanted} are wanted, and there are {there:?}"
            );
            Ok(())
        })
        .await
        .unwrap();
    }

    /// So many ask the server all the time.
    fn callers(&self, count: usize) -> Callers {
        let stop = Arc::new(AtomicBool::new(false));
        let client = self.server.http_client().unwrap();
        let url = format!("{}/v1/auth/token/lookup-self", self.server.url());
        let one = |_| {
            let (client, url, token, stop) =
                (client.clone(), url.clone(), self.token.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    answered.push(ask(&client, &url, &token).await?);
                }
                anyhow::Ok(answered)
            })
        };
        let tasks = (0..count).map(one).collect();
        Callers { stop, tasks }
    }

    /// How often each request and each response is in these logs, by its id.
    fn logged(&self, is_one: impl Fn(&Path) -> bool) -> BTreeMap<String, (usize, usize)> {
        let mut all: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for name in names(&self.folder) {
            let path = self.folder.join(&name);
            if name.starts_with('.') || !is_one(&path) {
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            assert!(
                text.ends_with('\n') || text.is_empty(),
                "{name} ends in half a line"
            );
            for line in text.lines() {
                let entry: Value = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{name} holds half a line: {error}: {line}"));
                let id = entry["request"]["id"].as_str().unwrap_or_default();
                let count = all.entry(id.to_owned()).or_default();
                match entry["type"].as_str() {
                    Some("request") => count.0 += 1,
                    Some("response") => count.1 += 1,
                    other => panic!("{name} holds an entry of type {other:?}"),
                }
            }
        }
        all
    }
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A request that is logged; gives its id.
async fn ask(client: &reqwest::Client, url: &str, token: &Token) -> anyhow::Result<String> {
    let answer = client
        .get(url)
        .header("X-Vault-Token", token.expose())
        .send()
        .await?;
    let answer = answer.error_for_status()?.bytes().await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let id = answer["request_id"].as_str().context("an answer without an id")?;
    Ok(id.to_owned())
}

struct Callers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<anyhow::Result<Vec<String>>>>,
}

impl Callers {
    /// The ids of all that was answered.
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answered = Vec::new();
        for task in self.tasks {
            answered.extend(task.await.unwrap().expect("every request is answered"));
        }
        answered
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answered_request_is_in_the_logs_once_however_often_they_are_rotated_and_whoever_dies() {
    let audited = Audited::start("rotation").await;
    let callers = audited.callers(CALLERS);
    let helper = audited.helper();
    audited.until_aside(3).await;

    // It dies after it has moved the files, before it has told the server: what it would do is done by hand, when it
    // has nothing under way.
    let current = audited.folder.join(LOG);
    wait::until_async("a log that has just begun", DEADLINE, async || {
        let size = fs::metadata(&current)?.len();
        ensure!(size < MAX_SIZE / 2, "{size} bytes");
        Ok(())
    })
    .await
    .unwrap();
    helper.kill().unwrap();
    let aside = audited.aside();
    let path = |number: u32| audited.folder.join(format!("{LOG}.{number}"));
    for number in aside.iter().rev() {
        fs::rename(path(*number), path(number + 1)).unwrap();
    }
    fs::rename(&current, path(1)).unwrap();
    let before = fs::metadata(path(1)).unwrap().len();
    wait::until_async("the server to go on in the renamed file", DEADLINE, async || {
        ensure!(fs::metadata(path(1))?.len() > before, "nothing came");
        Ok(())
    })
    .await
    .unwrap();
    assert!(!current.exists(), "nobody has told the server");
    let helper = audited.helper();
    wait::until_async("the server to be told after all", DEADLINE, async || {
        ensure!(current.exists(), "it writes into the renamed file");
        Ok(())
    })
    .await
    .unwrap();
    audited.until_aside(aside.len() + 3).await;

    let answered = callers.stop().await;
    helper.kill().unwrap();
    let logged = audited.logged(|_| true);
    let wrong: Vec<_> = answered
        .iter()
        .filter(|id| logged.get(*id) != Some(&(1, 1)))
        .map(|id| (id, logged.get(id)))
        .collect();
    assert!(
        wrong.is_empty(),
        "of {} answered requests these are not in the logs with one request and one response: {wrong:?}",
        answered.len()
    );
    assert!(answered.len() > 100, "only {} requests were made", answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_files_are_kept_than_declared_also_when_that_is_lowered_and_their_sum_is_bounded() {
    let audited = Audited::start("bound").await;
    let callers = audited.callers(CALLERS);
    let helper = audited.helper();
    audited.until_aside(5).await;
    audited.rule(2);
    wait::until_async("the older ones to go", DEADLINE, async || {
        let there = audited.aside();
        ensure!(there.len() <= 2, "there are {there:?}");
        Ok(())
    })
    .await
    .unwrap();
    // From now on it stays so, while files come and go.
    let mut before = None;
    for _ in 0..4 {
        let after = wait::until_async("the next file to be put aside", DEADLINE, async || {
            let there = audited.aside();
            assert!(there.len() <= 2, "{there:?}");
            let newest = audited.newest();
            ensure!(newest.is_some() && newest != before, "{there:?}, {newest:?}");
            Ok(newest)
        })
        .await
        .unwrap();
        before = after;
    }
    callers.stop().await;
    helper.kill().unwrap();
}
