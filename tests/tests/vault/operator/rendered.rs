//! The configuration of each kind of seal and storage, given to the real server: how far it comes without a cloud.
//!
//! Each example of the guide is rendered by the operator, and its Secrets are given values and files that are read
//! but lead nowhere: to closed ports on loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vaultkeeper_crds::VaultCluster;
use vaultkeeper_operator::cluster::build;
use vaultkeeper_operator::cluster::validate::validate;
use vaultkeeper_operator::context::HelperImage;
use vaultkeeper_tests::process::{Process, ProcessSpec};
use vaultkeeper_tests::reaper::OwnedRun;
use vaultkeeper_tests::servers::{self, Server};
use vaultkeeper_tests::{helm, ports, wait};

/// A server of 361 MB starts slowly where the processors are busy.
const DEADLINE: Duration = Duration::from_secs(150);

/// A server with the configuration of an example.
struct Rendered {
    process: Process,
    _run: OwnedRun,
}

/// RFC 7386.
fn merge(target: &mut Value, change: &Value) {
    match (change, target.is_object()) {
        (Value::Object(change), true) => {
            for (key, value) in change {
                merge(&mut target[key], value);
            }
        }
        _ => *target = change.clone(),
    }
}

/// Starts the server with the example, changed like this, and with these contents of its Secrets (`name/key`).
fn start(example: &str, change: &Value, secrets: &[(&str, &str)]) -> Rendered {
    let path = helm::repository().join("examples").join(example);
    let mut object: Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    merge(&mut object["spec"], change);
    merge(&mut object["metadata"], &json!({"uid": "u-1"}));
    let cluster: VaultCluster = serde_json::from_value(object).unwrap();
    let validated = validate(&cluster).unwrap();
    let around = build::Around {
        operator_namespace: "vaultkeeper-system",
        helper: &HelperImage::default(),
        sealed_on_purpose: false,
    };
    let objects = build::build(&validated, None, around).unwrap();
    let text = objects.config.data.unwrap()["vault.hcl"].clone();
    let pod = objects.stateful_set.spec.unwrap().template.spec.unwrap();
    let secrets: BTreeMap<&str, &str> = secrets.iter().copied().collect();
    for value in secrets.values() {
        assert!(
            !text.contains(value),
            "a secret value is in the configuration:\n{text}"
        );
    }

    let run = OwnedRun::create("rendered", crate::TESTBED).unwrap();
    let folder = run.folder("pod").unwrap();
    let own = ports::loopback().unwrap();
    let here = |text: &str| {
        text.replace("/vault/", &format!("{}/", folder.display()))
            .replace("[::]:", &format!("{own}:"))
    };
    write_files(&pod, &folder, &secrets);
    let config = folder.join("vault.hcl");
    std::fs::write(&config, here(&text)).unwrap();
    let mut spec = ProcessSpec::new("server", servers::path(Server::Vault).unwrap(), &run)
        .args(["server".to_owned(), format!("-config={}", config.display())])
        .env("VAULT_API_ADDR", format!("https://{own}:8200"))
        .env("VAULT_CLUSTER_ADDR", format!("https://{own}:8201"))
        // What asks a cloud's public address finds a closed port, not the network.
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("NO_PROXY", "127.0.0.0/8");
    for variable in pod.containers[0].env.clone().unwrap_or_default() {
        let source = variable.value_from.and_then(|v| v.secret_key_ref);
        let found =
            source.and_then(|s| Some((*secrets.get(format!("{}/{}", s.name, s.key).as_str())?).to_owned()));
        let plain = variable.value.filter(|_| !variable.name.ends_with("_ADDR"));
        if let Some(value) = found.or(plain.map(|v| here(&v))) {
            spec.env.push((variable.name, value));
        }
    }
    Rendered {
        process: Process::start(spec, &run).unwrap(),
        _run: run,
    }
}

/// The certificate, and the files that the pod would have from its Secrets.
fn write_files(pod: &PodSpec, folder: &Path, secrets: &BTreeMap<&str, &str>) {
    let make = |path: PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let ca = vaultkeeper_tests::certs::Ca::new("members").unwrap();
    let leaf = ca.server("member", &["localhost"]).unwrap();
    make(folder.join("tls/tls.crt"), &leaf.cert_pem);
    make(folder.join("tls/tls.key"), &leaf.key_pem);
    make(folder.join("tls/ca.crt"), &ca.cert_pem());
    std::fs::create_dir_all(folder.join("data")).unwrap();
    for volume in pod.volumes.iter().flatten() {
        let sources = volume
            .projected
            .iter()
            .filter_map(|p| p.sources.as_ref())
            .flatten();
        for secret in sources.filter_map(|s| s.secret.as_ref()) {
            for item in secret.items.iter().flatten() {
                let name = format!("{}/{}", secret.name.clone(), item.key);
                let text = secrets
                    .get(name.as_str())
                    .unwrap_or_else(|| panic!("no value for {name}"));
                make(
                    folder.join("credentials").join(&item.path),
                    &text.replace("/vault/", &format!("{}/", folder.display())),
                );
            }
        }
    }
}

impl Rendered {
    /// Waits until the server has said all of this.
    fn must_say(&self, words: &[&str]) {
        wait::until("what the server says of its configuration", DEADLINE, || {
            let log = self.process.log_tail(100);
            let missing: Vec<_> = words.iter().filter(|w| !log.contains(**w)).collect();
            anyhow::ensure!(missing.is_empty(), "{missing:?} is missing in:\n{log}");
            Ok(())
        })
        .unwrap();
    }
}

/// Nobody listens here.
fn closed() -> String {
    let address = ports::loopback().unwrap();
    format!("{address}:{}", ports::free_port(address).unwrap())
}

#[tokio::test]
async fn transit_is_asked_at_the_address_and_with_the_key_of_the_spec() {
    let ca = vaultkeeper_tests::certs::Ca::new("kms").unwrap();
    let address = closed();
    let change =
        json!({"seal": {"transit": {"address": format!("https://{address}"), "mountPath": "team/transit/"}}});
    let secrets = [
        ("unseal-token/token", "hvs.of-nobody"),
        ("unseal-ca/ca.crt", &ca.cert_pem()),
    ];
    start("seal-transit.yaml", &change, &secrets).must_say(&[
        "error parsing Seal configuration",
        &format!("https://{address}/v1/team/transit/encrypt/autounseal"),
        "connection refused",
    ]);
}

#[tokio::test]
async fn aws_is_asked_for_the_key_of_the_spec_with_the_keys_of_the_secret() {
    let address = ports::loopback().unwrap();
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    // The seal takes https only; what it would sign is seen without it.
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let change = json!({"seal": {"awskms": {"endpoint": endpoint, "credentialsSecret": "aws"}}});
    let secrets = [
        ("aws/AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("aws/AWS_SECRET_ACCESS_KEY", "hidden"),
    ];
    let server = start("seal-awskms.yaml", &change, &secrets);
    let wanted = [
        "X-Amz-Target: TrentService.DescribeKey",
        "alias/vault-unseal",
        "Credential=AKIATEST/",
        "/eu-central-1/kms/",
    ];
    wait_for_request(&listener, &wanted).await;
    drop(server);
}

#[tokio::test]
async fn the_other_clouds_come_as_far_as_their_credentials() {
    let gcp = [("gcp-unseal/credentials.json", r#"{"type": "service_account"}"#)];
    start("seal-gcpckms.yaml", &json!({}), &gcp).must_say(&[
        "error initializing GCP CKMS wrapper client",
        "could not parse key",
    ]);
    let config = "[DEFAULT]\nuser=ocid1.user.x\nfingerprint=aa:bb\ntenancy=ocid1.tenancy.x\nregion=eu-frankfurt-1\nkey_file=/vault/credentials/oci-key.pem\n";
    let oci = [("oci-unseal/config", config), ("oci-unseal/key.pem", "no key")];
    start("seal-ocikms.yaml", &json!({}), &oci).must_say(&[
        "error initializing OCI KMS client",
        "did not find a proper configuration for private key",
    ]);
    let azure = [("azure-unseal/client-secret", "hidden")];
    start("seal-azurekeyvault.yaml", &json!({}), &azure).must_say(&[
        "error fetching Azure Key Vault wrapper key information",
        "https://my-key-vault.vault.azure.net/keys/vault-unseal/",
    ]);
}

#[tokio::test]
async fn what_the_spec_refuses_for_this_product_the_server_refuses_too() {
    // The same stanzas, given to the community edition of Vault.
    let key = [("unseal-2026-01/key", "0123456789abcdef0123456789abcdef")];
    start("seal-static.yaml", &json!({}), &key).must_say(&["unknown seal type static"]);
    let pin = [("hsm/pin", "4321-of-nobody")];
    start("seal-pkcs11.yaml", &json!({}), &pin).must_say(&["requires the Vault Enterprise HSM binary"]);
}

#[tokio::test]
async fn consul_is_asked_below_the_path_of_the_spec_with_the_token_of_the_secret() {
    let address = ports::loopback().unwrap();
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let consul = json!({
        "address": format!("http://{}", listener.local_addr().unwrap()),
        "tls": null,
    });
    let change = json!({"profile": "Development", "storage": {"consul": consul}});
    let server = start(
        "storage-consul.yaml",
        &change,
        &[("consul-token/token", "acl-of-nobody")],
    );
    wait_for_request(
        &listener,
        &["/v1/kv/vault/main/core/", "X-Consul-Token: acl-of-nobody"],
    )
    .await;
    drop(server);

    // With TLS it reads the CA, and a session TTL that Consul does not know ends it.
    let ca = vaultkeeper_tests::certs::Ca::new("consul").unwrap();
    let secrets = [
        ("consul-token/token", "acl-of-nobody"),
        ("consul-ca/ca.crt", &ca.cert_pem()),
    ];
    let address = closed();
    let consul = json!({"address": format!("https://{address}")});
    start(
        "storage-consul.yaml",
        &json!({"storage": {"consul": consul}}),
        &secrets,
    )
    .must_say(&[
        &format!("https://{address}/v1/kv/vault/main/core/"),
        "connection refused",
    ]);
}

#[tokio::test]
async fn memory_is_taken_and_says_that_it_is_not_initialised() {
    start("storage-ephemeral.yaml", &json!({}), &[]).must_say(&["Storage: inmem", "Vault server started!"]);
}

/// Whether head and body of a request are there.
fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    body.len() >= length.unwrap_or_default()
}

/// The head and body of one request, however slowly it comes; the connection is then closed.
async fn request(mut stream: TcpStream) -> String {
    let mut read = Vec::new();
    while !is_whole(&read) {
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let _ = stream
        .write_all(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    String::from_utf8_lossy(&read).into_owned()
}

/// Waits for a request that holds all of this; all are answered with an error.
async fn wait_for_request(listener: &TcpListener, words: &[&str]) {
    let mut seen = Vec::new();
    let wanted = async {
        // A client may open a connection that it does not use: that one keeps no other waiting.
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                connection = listener.accept() => open.push(request(connection.unwrap().0)),
                Some(asked) = open.next() => {
                    if words.iter().all(|w| asked.contains(w)) {
                        return;
                    }
                    seen.push(asked);
                }
            }
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, wanted).await.is_ok();
    assert!(in_time, "no request holds {words:?}; there were {seen:#?}");
}
