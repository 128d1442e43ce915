//! The demo on a cluster that is not ours.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};
use vaultkeeper_tests::control_plane::{ControlPlane, Options};
use vaultkeeper_tests::helm;
use vaultkeeper_tests::reaper::Reaper;
use vaultkeeper_tests::run_dir::RunDir;
use vaultkeeper_tests::wait;

use crate::shared::TESTBED;

const SYSTEM: &str = "vaultkeeper-system";
const VERBS: [&str; 2] = ["demo", "demo-down"];
const MARK: &str = "operator.podAnnotations.testbed/image=sha256:a";

/// On a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// Somebody's cluster.
struct Theirs {
    control_plane: ControlPlane,
    _reaper: Reaper,
}

impl Theirs {
    async fn start() -> Self {
        let run = RunDir::create("api-demo").unwrap();
        let reaper = Reaper::start(TESTBED.as_ref(), &run).unwrap();
        let mut options = Options::loopback().unwrap();
        options.controller_manager = false;
        let control_plane = ControlPlane::start(options, &run).await.unwrap();
        Self {
            control_plane,
            _reaper: reaper,
        }
    }

    async fn client(&self) -> kube::Client {
        self.control_plane.client().await.unwrap()
    }

    async fn create_namespace(&self, namespace: Value) {
        let namespace = serde_json::from_value(namespace).unwrap();
        let namespaces = Api::<Namespace>::all(self.client().await);
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }

    /// [`Self::state`], once the API server has made all that it makes by itself after a start or an installation.
    async fn settled(&self) -> Vec<String> {
        let client = self.client().await;
        let (namespaces, crds) = (
            Api::<Namespace>::all(client.clone()),
            Api::<CustomResourceDefinition>::all(client),
        );
        wait::until_async("the API server to have settled", DEADLINE, async || {
            for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
                namespaces.get(name).await?;
            }
            for crd in crds.list(&ListParams::default()).await? {
                let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
                let mut conditions = conditions.into_iter().flatten();
                let is_established = conditions.any(|c| c.type_ == "Established" && c.status == "True");
                ensure!(is_established, "{} is not established", crd.name_any());
            }
            Ok(())
        })
        .await
        .unwrap();
        self.state().await
    }

    /// Everything that the demo or its end could change, with the version of each object.
    async fn state(&self) -> Vec<String> {
        async fn all<K>(client: &kube::Client) -> Vec<String>
        where
            K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
        {
            let list = Api::<K>::all(client.clone())
                .list(&ListParams::default())
                .await
                .unwrap();
            let name = |object: &K| {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                let version = object.resource_version().unwrap_or_default();
                format!("{} {namespace}/{name} {version}", K::kind(&()))
            };
            list.iter().map(name).collect()
        }
        let client = self.client().await;
        [
            all::<Namespace>(&client).await,
            // Helm keeps its releases in Secrets.
            all::<Secret>(&client).await,
            all::<CustomResourceDefinition>(&client).await,
        ]
        .concat()
    }

    /// A verb of the testbed with this cluster as the current one.
    fn testbed(&self, verb: &str) -> Command {
        let mut command = Command::new(TESTBED);
        command
            .args([verb, "--cluster=current"])
            .env("KUBECONFIG", &self.control_plane.files().admin_kubeconfig)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn without_a_terminal(&self, verb: &str) -> Output {
        self.testbed(verb).stdin(Stdio::null()).output().unwrap()
    }

    /// A person types this line.
    fn at_a_terminal(&self, verb: &str, answer: &str) -> Output {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = ioctl_tiocgptpeer(&master, flags).unwrap();
        // A terminal keeps what is typed until somebody reads it.
        let mut keyboard = File::from(master);
        writeln!(keyboard, "{answer}").unwrap();
        self.testbed(verb).stdin(terminal).output().unwrap()
    }

    /// Installs our chart as README says, with one value.
    fn install(&self, value: &str) {
        let home = tempfile::tempdir().unwrap();
        let mut command = helm::command(home.path()).unwrap();
        command
            .args(["install", "vaultkeeper"])
            .arg(helm::chart())
            .args(["--namespace", SYSTEM, "--create-namespace", "--set-string", value])
            .arg("--kubeconfig")
            .arg(&self.control_plane.files().admin_kubeconfig);
        helm::run(&mut command).unwrap();
    }

    /// What the question and the refusal call it.
    fn server(&self) -> String {
        self.control_plane.url().to_owned()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn neither_the_demo_nor_its_end_touches_somebody_elses_namespace() {
    let theirs = Theirs::start().await;
    theirs
        .create_namespace(json!({"metadata": {"name": "shop"}}))
        .await;
    let before = theirs.settled().await;
    for verb in VERBS {
        let output = theirs.at_a_terminal(verb, "yes");
        assert!(
            !output.status.success()
                && said(&output).contains("namespace shop that is not the quickstart's")
                && !said(&output).contains("Type yes"),
            "{verb} should refuse before it asks anything, it says: {}",
            said(&output)
        );
    }
    assert_eq!(theirs.state().await, before, "nothing should be touched");
}

#[tokio::test]
async fn neither_the_demo_nor_its_end_touches_a_vaultkeeper_that_the_demo_did_not_install() {
    let theirs = Theirs::start().await;
    theirs.install("operator.podAnnotations.team=a");
    let before = theirs.settled().await;
    for verb in VERBS {
        let output = theirs.at_a_terminal(verb, "yes");
        assert!(
            !output.status.success()
                && said(&output).contains(&format!("a Helm release vaultkeeper in namespace {SYSTEM}"))
                && !said(&output).contains("Type yes"),
            "{verb} should refuse before it asks anything, it says: {}",
            said(&output)
        );
    }
    assert_eq!(theirs.state().await, before, "nothing should be touched");
}

#[tokio::test]
async fn a_cluster_of_yours_is_named_and_changed_only_after_a_yes() {
    let theirs = Theirs::start().await;
    // Installed by an earlier demo: a new one may use it again, and the end removes it. Both still ask.
    theirs.install(MARK);
    let before = theirs.settled().await;
    for verb in VERBS {
        let output = theirs.without_a_terminal(verb);
        let expected = format!(
            "asks before it changes the cluster testbed ({}), and nobody is there to answer",
            theirs.server()
        );
        assert!(
            !output.status.success() && said(&output).contains(&expected),
            "without a terminal {verb} should say {expected:?}, it says: {}",
            said(&output)
        );
        for answer in ["no", "", "y", "yes please"] {
            let output = theirs.at_a_terminal(verb, answer);
            let question = format!(
                "This changes the cluster of context testbed at {}.",
                theirs.server()
            );
            let text = said(&output);
            assert!(
                text.contains(&question) && text.contains("Type yes to go on:"),
                "{verb} should name the cluster and ask, it says: {text}"
            );
            assert!(
                !output.status.success() && text.contains("nothing was changed"),
                "{verb} should end at the answer {answer:?}, it says: {text}"
            );
        }
    }
    assert_eq!(theirs.state().await, before, "nothing should be touched");

    let output = theirs.at_a_terminal("demo-down", "yes");
    let left = theirs.state().await;
    assert!(
        output.status.success() && !left.iter().any(|object| object.contains("sh.helm.release")),
        "after a yes the release should be gone, there is {left:?}; the testbed says: {}",
        said(&output)
    );
}
