//! Audit logs on a volume of their own, rotated by the helper in the pod, and in a syslog of the host.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use serde_json::{Value, json};
use vaultkeeper_crds::names;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::installation::{DEADLINE, Installation, installation, step};

const SPACE: &str = "audited";
const NAME: &str = "logged";
/// As declared below. So many are written within a second, between two looks of the helper, that less would be exceeded.
const MAX_SIZE: u64 = 4 << 20;

/// Removes what a test has made, however it ends.
struct Made<'a>(&'a Installation);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _ = self.0.kubectl(&["delete", "namespace", SPACE, "--wait=false"]);
    }
}

/// A syslog of the host, in a folder of ours. It reads all the time, as a daemon does: a socket holds ten lines that
/// nobody reads, and then keeps the writer waiting.
struct Syslog {
    lines: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Syslog {
    fn listen() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("syslog-").tempdir()?;
        // For everybody, as that of a syslog daemon.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let path = folder.path().join("log");
        let socket = UnixDatagram::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (read, until) = (lines.clone(), ends.clone());
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !until.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    read.lock().unwrap().push(line);
                }
            }
        });
        Ok(Self {
            lines,
            ends,
            reader: Some(reader),
            path,
            _folder: folder,
        })
    }

    /// Waits for a line that holds this text.
    fn until_line(&self, text: &str) -> anyhow::Result<String> {
        wait::until("a line in the host's syslog", DEADLINE, || {
            let lines = self.lines.lock().unwrap();
            let found = lines.iter().find(|line| line.contains(text)).cloned();
            found.with_context(|| format!("{} other lines, the last: {:?}", lines.len(), lines.last()))
        })
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn manifests(syslog: &Path) -> String {
    let space = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": SPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
    });
    let cluster = json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {"name": NAME, "namespace": SPACE},
        "spec": {
            "version": "1.21.1", "replicas": 1, "profile": "Development", "deletionPolicy": "Delete",
            "storage": {"raft": {"size": "1Gi"}},
            "auditVolume": {"size": "1Gi"},
            "pod": {"syslogSocket": syslog},
            "configuration": {"audit": [
                {"path": "stdout", "stdout": {}},
                {"path": "file", "file": {"path": "/vault/audit/audit.log", "rotate": {"maxSize": "4Mi", "keep": 2}}},
                {"path": "syslog", "syslog": {"facility": "AUTH", "tag": "vault-of-this-test"}},
            ]},
        },
    });
    format!("{space}\n---\n{cluster}\n")
}

/// The folder of the host that is the member's audit volume.
fn folder(installed: &Installation) -> anyhow::Result<PathBuf> {
    let claim = installed.get(SPACE, &format!("pvc/audit-{NAME}-0"))?;
    let volume = claim["spec"]["volumeName"].as_str().context("it is not bound")?;
    let volume: Value = serde_json::from_str(&installed.kubectl(&["get", "pv", volume, "-o", "json"])?)?;
    let path = volume["spec"]["local"]["path"].as_str();
    Ok(PathBuf::from(path.context("the volume has no path")?))
}

/// Makes requests that are logged: logins that are refused.
fn knock(installed: &Installation, times: usize) -> anyhow::Result<()> {
    installed.cluster.run_inside(|kube| async move {
        let secrets: Api<Secret> = Api::namespaced(kube.clone(), SPACE);
        let tls = secrets.get(&names::tls_secret(NAME)).await?;
        let ca = tls
            .data
            .and_then(|mut d| d.remove(names::CA_KEY))
            .context("no CA")?;
        let pods: Api<Pod> = Api::namespaced(kube, SPACE);
        let pod = pods.get(&names::member(NAME, 0)).await?;
        let ip = pod.status.and_then(|s| s.pod_ip).context("no address")?;
        let host = names::member_host(SPACE, NAME, 0);
        let client = Client::builder(format!("https://{host}:{}", names::API_PORT))
            .ca_pem(String::from_utf8(ca.0)?)
            .connect_to(SocketAddr::new(ip.parse()?, names::API_PORT))
            .timeout(Duration::from_secs(30))
            .build()?;
        let body = json!({"role_id": "nobody", "secret_id": "nothing"});
        for _ in 0..times {
            let answer = client.write("auth/approle/login", &body).await;
            ensure!(
                matches!(answer, Err(vaultkeeper_vault::Error::BadRequest { .. })),
                "the login should be refused, and not for want of an audit log: {answer:?}"
            );
        }
        Ok(())
    })
}

#[test]
#[ignore = "long: another cluster, and some megabytes of logs"]
fn logs_are_written_to_a_volume_and_rotated_there_and_reach_the_syslog_of_the_host() {
    let Some(installed) = installation() else { return };
    let syslog = Syslog::listen().unwrap();
    let _made = Made(&installed);
    step("a cluster with a volume for audit logs and the socket of a syslog");
    installed.apply(&manifests(&syslog.path)).unwrap();
    let cluster = format!("vaultcluster/{NAME}");
    for condition in ["Available", "Configured"] {
        installed.wait_for(SPACE, &[&cluster], condition).unwrap();
    }
    knock(&installed, 1).unwrap();
    let line = syslog.until_line("auth/approle/login").unwrap();
    assert!(line.contains("vault-of-this-test"), "{line}");

    step("filling the log until it is rotated more often than files are kept");
    let folder = folder(&installed).unwrap();
    let size = |name: &str| -> anyhow::Result<u64> {
        let path = folder.join(name);
        Ok(fs::metadata(&path)
            .with_context(|| path.display().to_string())?
            .len())
    };
    wait::until("the second file that is put aside", DEADLINE, || {
        knock(&installed, 200)?;
        size("audit.log.2")
    })
    .unwrap();
    let before = fs::read_to_string(folder.join("audit.log.1")).unwrap();
    wait::until("the first of them to go", DEADLINE, || {
        knock(&installed, 200)?;
        let now = fs::read_to_string(folder.join("audit.log.2"))?;
        ensure!(now == before, "the same as before");
        Ok(())
    })
    .unwrap();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["audit.log", "audit.log.1", "audit.log.2"],
        "two are kept beside the one that is written"
    );
    assert!(size("audit.log.1").unwrap() >= MAX_SIZE);

    step("the helper's settings reach it without a restart");
    let pod = || installed.get(SPACE, &format!("pod/{NAME}-0"));
    let started = pod().unwrap()["metadata"]["uid"].clone();
    let patch = json!({"spec": {"configuration": {"audit": [
        {"path": "stdout", "stdout": {}},
        {"path": "file", "file": {"path": "/vault/audit/audit.log", "rotate": {"maxSize": "4Mi", "keep": 1}}},
    ]}}});
    installed
        .kubectl(&[
            "patch",
            "-n",
            SPACE,
            &cluster,
            "--type=merge",
            "-p",
            &patch.to_string(),
        ])
        .unwrap();
    wait::until("only one file to be kept", DEADLINE, || {
        knock(&installed, 200)?;
        ensure!(size("audit.log.2").is_err(), "two are kept");
        Ok(())
    })
    .unwrap();
    assert_eq!(pod().unwrap()["metadata"]["uid"], started, "no pod is made anew");
    let statuses = pod().unwrap()["status"]["containerStatuses"].clone();
    let restarts = statuses
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["restartCount"].as_u64());
    assert!(restarts.clone().all(|count| count == Some(0)), "{statuses}");
}
