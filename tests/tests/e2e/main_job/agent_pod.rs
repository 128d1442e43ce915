//! The agent's containers in one pod, as examples/agent-job.yaml has them: `install`, `render -once`, a native sidecar that
//! signals, serves and quits, and `exec` in the app's container.

use anyhow::{Context as _, ensure};
use serde::Deserialize as _;
use serde_json::Value;
use vaultkeeper_tests::helm;
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, SHOP, installation, step};

/// What the test does in the place of the example's work. Greetings tell it what to do.
const SCRIPT: &str = r#"
trap 'echo "heard of $(cat /secrets/report.conf)"' HUP
echo "at first $(cat /secrets/once), started with $GREETING"
if [ "$GREETING" = leave ]; then
  if [ ! -e /work/failed ]; then touch /work/failed; exit 7; fi
  wget -q -O - --post-data= http://127.0.0.1:8200/agent/v1/quit
  echo "asked the agent to quit"
  until [ -e /work/end ]; do sleep 1; done
  exit 0
fi
while :; do sleep 1; done
"#;

/// Removes what the test has made, however it ends.
struct Made<'a>(&'a Installation);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _ = self.0.kubectl(&[
            "delete",
            "-n",
            SHOP,
            "job/report",
            "configmap/report",
            "--wait=false",
        ]);
    }
}

/// The example with our script.
fn manifests() -> anyhow::Result<String> {
    let text = std::fs::read_to_string(helm::repository().join("examples/agent-job.yaml"))?;
    let mut list = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let mut object = Value::deserialize(document)?;
        if object["kind"] == "ConfigMap" {
            ensure!(
                object["data"]["report.sh"].is_string(),
                "the example has no script"
            );
            object["data"]["report.sh"] = SCRIPT.into();
        }
        list.push(object);
    }
    Ok(serde_json::json!({"apiVersion": "v1", "kind": "List", "items": list}).to_string())
}

/// The Job's pod.
struct Pod<'a> {
    installed: &'a Installation,
    name: String,
}

impl Pod<'_> {
    fn log(&self, container: &str) -> anyhow::Result<String> {
        self.installed
            .kubectl(&["logs", "-n", SHOP, &self.name, "-c", container])
    }

    /// Waits until a container has said something.
    fn until_said(&self, container: &str, text: &str) -> anyhow::Result<()> {
        wait::until(&format!("{container} to say {text:?}"), DEADLINE, || {
            let log = self.log(container)?;
            ensure!(log.contains(text), "it said:\n{log}");
            Ok(())
        })
    }

    /// What the kubelet says of a container.
    fn status(&self, container: &str) -> anyhow::Result<Value> {
        let pod = self.installed.get(SHOP, &format!("pod/{}", self.name))?;
        let lists = ["containerStatuses", "initContainerStatuses"].map(|list| pod["status"][list].clone());
        let mut all = lists.iter().filter_map(Value::as_array).flatten();
        all.find(|status| status["name"] == container)
            .cloned()
            .with_context(|| format!("no status of {container}"))
    }

    /// A number of the agent's metrics.
    fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let path = format!("/api/v1/namespaces/{SHOP}/pods/{}:8200/proxy/metrics", self.name);
        let page = self.installed.kubectl(&["get", "--raw", &path])?;
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        let value = line.with_context(|| format!("no {name} in\n{page}"))?;
        Ok(value.trim().parse()?)
    }
}

#[test]
fn the_agents_containers_install_render_restart_signal_and_quit_in_one_pod() {
    let Some(installed) = installation() else { return };
    let _made = Made(&installed);
    lives(&installed).unwrap();
}

fn lives(installed: &Installation) -> anyhow::Result<()> {
    installed.write("one")?;
    installed.apply(&manifests()?)?;
    let name = wait::until("the Job's pod", DEADLINE, || {
        let pods = ["get", "pods", "-n", SHOP, "-l", "app=report", "-o", "name"];
        let pods = installed.kubectl(&pods)?;
        let name = pods.trim().strip_prefix("pod/").context("there is none")?;
        Ok(name.to_owned())
    })?;
    let pod = Pod { installed, name };
    pod.until_said("app", "at first one, started with one")?;
    let rendered = pod.status("render")?;
    ensure!(
        rendered["state"]["terminated"]["exitCode"] == 0,
        "rendering once should have ended well: {rendered}"
    );

    step("the same variables, another configuration: a signal");
    installed.write("one")?;
    pod.until_said("app", "heard of version")?;
    let starts = pod.log("app")?.matches("started with").count();
    ensure!(
        starts == 1,
        "nothing was to be restarted: it started {starts} times"
    );

    step("other variables: the app is started again in its container");
    installed.write("two")?;
    pod.until_said("app", "started with two")?;
    let app = pod.status("app")?;
    ensure!(
        app["restartCount"] == 0,
        "its container should be the same one: {app}"
    );

    step("metrics");
    let renders = pod.metric("vaultkeeper_agent_renders_total{file=\"/secrets/report.conf\"}")?;
    ensure!(renders >= 3.0, "three versions were written, {renders} rendered");
    ensure!(
        pod.metric("vaultkeeper_agent_logged_in")? > 0.0,
        "it is logged in"
    );
    ensure!(
        pod.metric("process_resident_memory_bytes")? > 0.0,
        "it takes memory"
    );

    step("the app fails, and its exit code is the container's");
    installed.write("leave")?;
    let failed = wait::until("the container to be started again", DEADLINE, || {
        let app = pod.status("app")?;
        ensure!(app["restartCount"] == 1, "it was not: {app}");
        Ok(app)
    })?;
    ensure!(
        failed["lastState"]["terminated"]["exitCode"] == 7,
        "the code of the app: {failed}"
    );

    step("quit in a native sidecar");
    pod.until_said("app", "asked the agent to quit")?;
    pod.until_said("agent", "idle until the pod ends")?;
    let agent = pod.status("agent")?;
    ensure!(
        agent["restartCount"] == 0 && agent["state"]["running"].is_object(),
        "it idles and is not started again: {agent}"
    );
    installed.kubectl(&[
        "exec",
        "-n",
        SHOP,
        &pod.name,
        "-c",
        "app",
        "--",
        "touch",
        "/work/end",
    ])?;
    installed.wait_for(SHOP, &["job/report"], "Complete")?;
    let agent = pod.status("agent")?;
    ensure!(
        agent["restartCount"] == 0,
        "it was not started again until the end: {agent}"
    );
    for container in ["agent", "render", "app"] {
        let log = pod.log(container)?;
        ensure!(!log.contains("hvs."), "a token is in the log of {container}");
    }
    Ok(())
}
