//! Kubeconfig files: self-contained, one cluster, one user, one context.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::certs::{self, Ca, Pair};

/// Writes `<name>.kubeconfig` for a user with a new client certificate.
pub(super) fn write(
    folder: &Path,
    name: &str,
    url: &str,
    ca: &Ca,
    user: &str,
    groups: &[&str],
) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{name}.kubeconfig"));
    certs::write_private(&path, &text(url, ca, user, &ca.client(user, groups)?)?)?;
    Ok(path)
}

/// The kubeconfig of a user with this client certificate.
pub(super) fn text(url: &str, ca: &Ca, user: &str, pair: &Pair) -> anyhow::Result<String> {
    let Pair { cert_pem, key_pem } = pair;
    let credentials = json!({
        "client-certificate-data": STANDARD.encode(cert_pem),
        "client-key-data": STANDARD.encode(key_pem),
    });
    render(url, ca, user, credentials)
}

/// A kubeconfig without credentials.
pub(super) fn anonymous(url: &str, ca: &Ca) -> anyhow::Result<String> {
    render(url, ca, "anonymous", json!({}))
}

fn render(url: &str, ca: &Ca, user: &str, credentials: Value) -> anyhow::Result<String> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [{
            "name": "testbed",
            "cluster": {"server": url, "certificate-authority-data": STANDARD.encode(ca.cert_pem())},
        }],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
    });
    serde_yaml::to_string(&kubeconfig).context("cannot write a kubeconfig")
}
