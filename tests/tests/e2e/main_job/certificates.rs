//! A renewed certificate on a real node: the kubelet brings it, the helper in the pod has the server take it up.

use std::collections::BTreeSet;

use vaultkeeper_crds::VaultCluster;
use vaultkeeper_crds::cluster::MemberStatus;

use super::installation::{Installation, MAIN, VAULT, installation, reason};

/// Every container of every member: which process it is, and how often it was started.
fn containers(installed: &Installation) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for ordinal in 0..3 {
        let pod = installed.get(VAULT, &format!("pod/main-{ordinal}")).unwrap();
        for status in pod["status"]["containerStatuses"].as_array().expect("containers") {
            all.insert(format!(
                "{} {} {}",
                status["name"], status["containerID"], status["restartCount"]
            ));
        }
    }
    all
}

fn serial(cluster: &VaultCluster) -> String {
    let tls = cluster.status.as_ref().and_then(|status| status.tls.as_ref());
    tls.and_then(|tls| tls.serial.clone())
        .expect("the status tells the serial")
}

fn until_current(installed: &Installation, before: Option<&str>) -> VaultCluster {
    let is_new = |c: &VaultCluster| {
        let tls = c.status.as_ref().and_then(|status| status.tls.as_ref());
        tls.is_some_and(|tls| tls.serial.is_some() && tls.serial.as_deref() != before)
    };
    installed
        .until("all members to show the certificate", |c| {
            reason(c, "CertificateCurrent") == "AllShowIt" && is_new(c)
        })
        .unwrap()
}

#[test]
#[ignore = "long: a kubelet takes up to 90 s to bring a changed Secret"]
fn members_show_a_renewed_certificate_and_run_on() {
    let Some(installed) = installation() else { return };
    installed.until_available().unwrap();
    let first = serial(&until_current(&installed, None));
    let before = containers(&installed);
    assert_eq!(before.len(), 6, "each member has its helper: {before:?}");
    let change = |names: &str| {
        let body = format!(r#"{{"spec":{{"tls":{{"managed":{{"extraDnsNames":{names}}}}}}}}}"#);
        installed
            .kubectl(&["patch", "vc", MAIN, "-n", VAULT, "--type=merge", "-p", &body])
            .unwrap();
    };
    change(r#"["vault.example.com"]"#);
    let renewed = until_current(&installed, Some(&first));
    let wanted = serial(&renewed);
    let members: Vec<MemberStatus> = renewed.status.unwrap().members;
    for MemberStatus {
        name, certificate, ..
    } in &members
    {
        assert_eq!(certificate.as_ref(), Some(&wanted), "{name} shows the new one");
    }
    assert_eq!(members.len(), 3, "all of them were asked");
    assert_eq!(containers(&installed), before, "nothing was restarted");
    change("[]");
}
