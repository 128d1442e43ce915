//! `vault {}`: where Vault is and how it is trusted.

use std::path::PathBuf;

use super::reader::Object;
use super::report::Place;

/// Where Vault is and how it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// `https://host:port`
    pub address: String,
    /// A PEM file; read again when it changes.
    pub ca_cert: Option<PathBuf>,
    /// A folder of PEM files.
    pub ca_path: Option<PathBuf>,
    /// PEM text given in the environment (`VAULT_CACERT_BYTES`).
    pub ca_pem: Option<String>,
    /// A client certificate, PEM file.
    pub client_cert: Option<PathBuf>,
    /// Its key, PEM file.
    pub client_key: Option<PathBuf>,
    /// The name that the server's certificate must carry, when it is not the address's.
    pub tls_server_name: Option<String>,
    /// The namespace of all calls.
    pub namespace: Option<String>,
}

/// What `vault {}` says, with the rest of it that belongs elsewhere.
pub(super) struct Read {
    pub(super) vault: Vault,
    /// `retry.num_retries`: how often a failed read is repeated where that has an end.
    pub(super) retries: Option<i64>,
}

/// Reads the block. The environment wins over it, as with Vault Agent; `set` gives variables that are not empty. The
/// namespace of the login method, where it has one, is that of all calls.
pub(super) fn read(
    root: &mut Object<'_>,
    method_namespace: Option<String>,
    set: &dyn Fn(&str) -> Option<String>,
) -> Read {
    let mut vault = Vault {
        address: String::new(),
        ca_cert: None,
        ca_path: None,
        ca_pem: set("VAULT_CACERT_BYTES"),
        client_cert: None,
        client_key: None,
        tls_server_name: None,
        namespace: None,
    };
    let mut retries = None;
    let place = root.at("vault");
    if let Some(mut object) = root.object("vault") {
        vault.address = object.text("address").unwrap_or_default();
        vault.ca_cert = object.file("ca_cert");
        vault.ca_path = object.file("ca_path");
        vault.client_cert = object.file("client_cert");
        vault.client_key = object.file("client_key");
        vault.tls_server_name = object.text("tls_server_name");
        vault.namespace = object.text("namespace");
        if object.flag("tls_skip_verify") == Some(true) {
            object.wrong(
                "tls_skip_verify",
                "is not offered: give the server's CA in vault.ca_cert",
            );
        }
        if let Some(mut retry) = object.object("retry") {
            retries = retry.integer("num_retries");
            retry.finish();
        }
        object.finish();
    }
    if set("VAULT_SKIP_VERIFY")
        .is_some_and(|text| !matches!(text.as_str(), "0" | "f" | "F" | "false" | "FALSE" | "False"))
    {
        let why = "give the server's CA in VAULT_CACERT";
        root.report().warn(format!("VAULT_SKIP_VERIFY is ignored: {why}"));
    }
    let path = |name: &str| set(name).map(PathBuf::from);
    vault.address = set("VAULT_ADDR").unwrap_or(vault.address);
    vault.ca_cert = path("VAULT_CACERT").or(vault.ca_cert);
    vault.ca_path = path("VAULT_CAPATH").or(vault.ca_path);
    vault.client_cert = path("VAULT_CLIENT_CERT").or(vault.client_cert);
    vault.client_key = path("VAULT_CLIENT_KEY").or(vault.client_key);
    vault.tls_server_name = set("VAULT_TLS_SERVER_NAME").or(vault.tls_server_name);
    vault.namespace = method_namespace
        .or_else(|| set("VAULT_NAMESPACE"))
        .or(vault.namespace)
        .map(|namespace| namespace.trim_matches('/').to_owned())
        .filter(|namespace| !namespace.is_empty());
    if vault.address.is_empty() {
        let path = "vault.address".to_owned();
        root.report().missing(Place {
            path,
            line: place.line,
        });
    }
    if vault.client_cert.is_some() != vault.client_key.is_some() {
        root.report()
            .wrong(place, "needs both client_cert and client_key");
    }
    Read { vault, retries }
}
