//! A volume that grows on a real node: by the operator, as confined as it is installed, and by a driver.

use anyhow::ensure;
use serde_json::{Value, json};
use vaultkeeper_tests::wait;

use super::installation::{DEADLINE, Installation, installation, step};

const SPACE: &str = "growing";
const NAME: &str = "elastic";

/// Removes what the test has made, however it ends.
struct Made<'a>(&'a Installation);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _ = self.0.kubectl(&["delete", "namespace", SPACE, "--wait=false"]);
    }
}

/// A cluster of its own: what has grown once stays so.
fn manifests() -> String {
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}});
    let cluster = json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultCluster",
        "metadata": {"name": NAME, "namespace": SPACE},
        "spec": {
            "version": "1.21.1", "replicas": 1, "profile": "Development", "deletionPolicy": "Delete",
            "storage": {"raft": {"size": "1Gi"}},
        },
    });
    format!("{space}\n---\n{cluster}\n")
}

#[test]
fn the_volume_of_a_member_grows_while_it_runs() {
    let Some(installed) = installation() else { return };
    let _made = Made(&installed);
    step("a cluster whose volume is to grow");
    installed.apply(&manifests()).unwrap();
    let cluster = format!("vaultcluster/{NAME}");
    for condition in ["Available", "Configured"] {
        installed.wait_for(SPACE, &[&cluster], condition).unwrap();
    }
    let life = || -> anyhow::Result<(Value, Value)> {
        let pod = installed.get(SPACE, &format!("pod/{NAME}-0"))?;
        let ids = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten();
        let ids = ids.map(|status| status["containerID"].clone()).collect();
        Ok((pod["metadata"]["uid"].clone(), ids))
    };
    let before = life().unwrap();
    let claim = || installed.get(SPACE, &format!("pvc/data-{NAME}-0"));
    assert_eq!(claim().unwrap()["status"]["capacity"]["storage"], "1Gi");

    step("twice the size");
    let patch = json!({"spec": {"storage": {"raft": {"size": "2Gi"}}}}).to_string();
    let args = ["patch", "-n", SPACE, &cluster, "--type=merge", "-p", &patch];
    installed.kubectl(&args).unwrap();
    wait::until(
        "the larger volume, and nothing more to say of it",
        DEADLINE,
        || {
            let capacity = claim()?["status"]["capacity"]["storage"].clone();
            ensure!(capacity == "2Gi", "it has {capacity}");
            let seen = installed.get(SPACE, &cluster)?;
            let conditions = seen["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let growing = conditions.iter().find(|c| c["type"] == "VolumesGrowing");
            ensure!(growing.is_none(), "{growing:?}");
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(life().unwrap(), before, "the member was not restarted");
    let set = installed.get(SPACE, &format!("statefulset/{NAME}")).unwrap();
    let template = &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    assert_eq!(template, "1Gi", "the StatefulSet is the one that was created");
    let less = installed.kubectl(&[
        "patch",
        "-n",
        SPACE,
        &cluster,
        "--type=merge",
        "-p",
        &patch.replace("2Gi", "1Gi"),
    ]);
    let words = format!("{:#}", less.expect_err("a smaller volume should be refused"));
    assert!(words.contains("no volume becomes smaller"), "{words}");
}
