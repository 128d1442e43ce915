//! What an annotated pod gets.

use anyhow::ensure;
use k8s_openapi::jiff::Timestamp;
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, MAIN, SHOP, VAULT, condition, installation, reason, step};

const FILE: &str = "/vault/secrets/config";

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: shop}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations:
        vault.hashicorp.com/agent-inject: "true"
        vault.hashicorp.com/agent-inject-secret-config: secret/data/shop/config
        vault.hashicorp.com/agent-inject-template-config: |
          {{ with secret "secret/data/shop/config" }}job={{ .Data.data.greeting }}{{ end }}
    spec:
      serviceAccountName: app
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: app
          image: vaultkeeper/demo-app:0.1.0
          command: [cat, /vault/secrets/config]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"#;

#[test]
fn the_app_reads_its_secret_from_a_file_that_follows_changes() {
    let Some(installed) = installation() else { return };
    installed.write("before").unwrap();
    installed
        .until_file("deployment/app", FILE, "greeting=before")
        .unwrap();
    step("changing the secret");
    installed.write("after").unwrap();
    installed
        .until_file("deployment/app", FILE, "greeting=after")
        .unwrap();
}

#[test]
fn an_injected_pod_has_one_native_sidecar_and_a_job_completes_with_it() {
    let Some(installed) = installation() else { return };
    installed.write("hello").unwrap();
    installed.apply(JOB).unwrap();
    installed.wait_for(SHOP, &["job/once"], "Complete").unwrap();
    let log = installed
        .kubectl(&["logs", "-n", SHOP, "job/once", "-c", "app"])
        .unwrap();
    assert_eq!(log.trim(), "job=hello", "the job read its secret before it ended");

    let pods = installed
        .kubectl(&["get", "pods", "-n", SHOP, "-l", "job-name=once", "-o", "json"])
        .unwrap();
    let pods: serde_json::Value = serde_json::from_str(&pods).unwrap();
    let spec = &pods["items"][0]["spec"];
    let sidecars: Vec<_> = spec["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["restartPolicy"] == "Always")
        .collect();
    assert_eq!(
        sidecars.len(),
        1,
        "one native sidecar: {}",
        spec["initContainers"]
    );
    assert_eq!(
        spec["initContainers"].as_array().unwrap().len(),
        1,
        "and no other init container"
    );
    assert_eq!(
        spec["containers"].as_array().unwrap().len(),
        1,
        "the app's own container is the only one"
    );
    installed.kubectl(&["delete", "job", "-n", SHOP, "once"]).unwrap();
}

#[test]
fn an_annotation_that_cannot_be_parsed_denies_the_pod_and_names_itself() {
    let Some(installed) = installation() else { return };
    let denied = installed
        .apply(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: broken\n  namespace: shop\n  annotations:\n    \
             vault.hashicorp.com/agent-inject: \"true\"\n    vault.hashicorp.com/agent-inject-template-x: \"{{ with secret\"\n\
             spec:\n  serviceAccountName: app\n  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}\n  \
             containers: [{name: app, image: vaultkeeper/demo-app:0.1.0, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]\n",
        )
        .expect_err("the pod must be denied");
    assert!(
        format!("{denied:#}").contains("vault.hashicorp.com/agent-inject-template-x"),
        "the annotation is named: {denied:#}"
    );
}

#[test]
fn a_running_app_keeps_its_file_while_vault_is_away() {
    let Some(installed) = installation() else { return };
    installed.write("kept").unwrap();
    installed
        .until_file("deployment/app", FILE, "greeting=kept")
        .unwrap();
    let said = failures(&installed).unwrap();
    let before = available_since(&installed.until_available().unwrap());
    // Nobody brings them back at once.
    let kept = installed.without_operator(|| {
        step("taking all members away");
        installed.kubectl(&["scale", "statefulset", "-n", VAULT, MAIN, "--replicas=0"])?;
        wait::until("the members to be gone", DEADLINE, || {
            let left = installed.kubectl(&["get", "pods", "-n", VAULT, "-o", "name"])?;
            ensure!(left.is_empty(), "there are {left}");
            Ok(())
        })?;
        wait::until("the agent to notice", DEADLINE, || {
            let says = failures(&installed)?;
            ensure!(says > said, "it failed {said} times before and {says} times now");
            Ok(())
        })?;
        installed.kubectl(&[
            "exec",
            "-n",
            SHOP,
            "deployment/app",
            "-c",
            "app",
            "--",
            "cat",
            FILE,
        ])
    });
    assert_eq!(
        kept.unwrap().trim(),
        "greeting=kept",
        "the file stays as it was while no member runs"
    );
    // That they were away is known from the time of the change: the moment itself may be over by now.
    installed
        .until("the operator to have brought the members back", |c| {
            reason(c, "Available") == "AllMembersServe" && available_since(c) > before
        })
        .unwrap();
    installed.until_voters(3).unwrap();
    installed.write("back").unwrap();
    installed
        .until_file("deployment/app", FILE, "greeting=back")
        .unwrap();
}

/// Since when the cluster is available.
fn available_since(cluster: &VaultCluster) -> Option<Timestamp> {
    condition(cluster, "Available").map(|c| c.last_transition_time.0)
}

/// How often the app's agent has asked Vault in vain.
fn failures(installed: &Installation) -> anyhow::Result<usize> {
    let log = installed.kubectl(&["logs", "-n", SHOP, "deployment/app", "-c", "vault-agent"])?;
    Ok(log.lines().filter(|line| line.contains("no answer")).count())
}
