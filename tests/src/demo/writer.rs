//! The writer of the demo: an AppRole login with the Secret that the operator made, and a write to KV.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vaultkeeper_crds::names;
use vaultkeeper_vault::{Client, SecretString};

use super::place::Place;
use super::{SHOP_NAMESPACE, VAULT_CLUSTER, VAULT_NAMESPACE};
use crate::helm;
use crate::wait;

/// Names in examples/quickstart.yaml.
const SECRET: &str = "vault-approle";
const PATH: &str = "secret/data/shop/config";

/// How long until kubectl has opened its port, and until Vault has taken a write.
const FORWARD_DEADLINE: Duration = Duration::from_secs(30);
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// Writes the greeting to KV with the rights of VaultRole writer, and no others.
pub(super) fn write(place: &Place, greeting: &str) -> anyhow::Result<()> {
    wait::until("Vault to take the write", WRITE_DEADLINE, || {
        let credentials = Credentials::read(place)?;
        let forward = Forward::start(place)?;
        let address = forward.address;
        place.block_on(move || async move { credentials.write(address, greeting).await })
    })
}

/// What an app outside of the injection would be given.
struct Credentials {
    role_id: String,
    secret_id: SecretString,
    ca: String,
}

impl Credentials {
    fn read(place: &Place) -> anyhow::Result<Self> {
        let secret = get(place, "secret", SECRET)?;
        let config_map = names::ca_config_map(VAULT_NAMESPACE, VAULT_CLUSTER);
        let ca = get(place, "configmap", &config_map)?["data"][names::CA_KEY]
            .as_str()
            .with_context(|| format!("ConfigMap {config_map} has no {}", names::CA_KEY))?
            .to_owned();
        Ok(Self {
            role_id: decode(&secret, "role-id")?,
            secret_id: decode(&secret, "secret-id")?.into(),
            ca,
        })
    }

    async fn write(self, address: SocketAddr, greeting: &str) -> anyhow::Result<()> {
        let Self {
            role_id,
            secret_id,
            ca,
        } = self;
        // The connection goes to the forwarded port; the certificate is checked against the Service's name.
        let host = names::service_host(VAULT_NAMESPACE, VAULT_CLUSTER);
        let vault = Client::builder(format!("https://{host}:{}", address.port()))
            .ca_pem(ca)
            .connect_to(address)
            .build()?;
        let login = vault
            .approle(names::APPROLE_AUTH_PATH)
            .login(&role_id, &secret_id)
            .await?;
        vault
            .with_token(&login.client_token)
            .write(PATH, &json!({"data": {"greeting": greeting}}))
            .await?;
        Ok(())
    }
}

fn get(place: &Place, kind: &str, name: &str) -> anyhow::Result<Value> {
    let text = helm::run(place.kubectl()?.args([
        "get",
        kind,
        name,
        "--namespace",
        SHOP_NAMESPACE,
        "--output=json",
    ]))?;
    serde_json::from_str(&text).with_context(|| format!("kubectl get {kind} {name} printed no JSON"))
}

/// A value of a Secret. Errors do not repeat it.
fn decode(secret: &Value, key: &str) -> anyhow::Result<String> {
    secret["data"][key]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .with_context(|| format!("Secret {SECRET} has no usable {key}"))
}

/// `kubectl port-forward` to the Service of the Vault. Ends when dropped.
struct Forward {
    child: Child,
    address: SocketAddr,
}

impl Forward {
    fn start(place: &Place) -> anyhow::Result<Self> {
        let child = place
            .kubectl()?
            .args([
                "port-forward",
                "--address=127.0.0.1",
                "--namespace",
                VAULT_NAMESPACE,
            ])
            .arg(format!("service/{VAULT_CLUSTER}"))
            .arg(format!(":{}", names::API_PORT))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start kubectl port-forward")?;
        let mut forward = Self {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let output = forward
            .child
            .stdout
            .take()
            .context("kubectl port-forward has no output")?;
        let (sender, port) = mpsc::channel();
        // Reads to the end: kubectl dies of a pipe that nobody reads.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(port) = forwarded_port(&line) {
                    let _ = sender.send(port);
                }
            }
        });
        match port.recv_timeout(FORWARD_DEADLINE) {
            Ok(port) => forward.address.set_port(port),
            Err(_) => bail!("kubectl port-forward service/{VAULT_CLUSTER} opened no port"),
        }
        Ok(forward)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port in `Forwarding from 127.0.0.1:40123 -> 8200`.
fn forwarded_port(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_out_of_what_kubectl_says() {
        assert_eq!(
            forwarded_port("Forwarding from 127.0.0.1:40123 -> 8200"),
            Some(40123)
        );
        for other in [
            "Handling connection for 40123",
            "Forwarding from [::1]:1 -> 8200",
            "",
        ] {
            assert_eq!(forwarded_port(other), None, "{other:?} names no port of ours");
        }
    }

    #[test]
    fn a_secret_without_the_key_is_told_by_the_keys_name() {
        let secret = json!({"data": {"role-id": "YWJj", "secret-id": "not base64!"}});
        assert_eq!(decode(&secret, "role-id").unwrap(), "abc");
        let error = decode(&secret, "secret-id").unwrap_err().to_string();
        assert!(
            error.contains("secret-id") && !error.contains("not base64"),
            "the error should name the key and not its value, got: {error}"
        );
    }
}
