//! The storage in the server's configuration. Pure.

use std::fmt::Write as _;

use vaultkeeper_crds::cluster::ConsulStorage;
use vaultkeeper_crds::names;

use super::config::{DATA, TLS};
use super::credentials::{self, Credential};
use super::hcl;
use crate::cluster::validate::{Storage, Validated};

/// Consul's own variable: storage and service registration both read it.
const CONSUL_TOKEN: &str = "CONSUL_HTTP_TOKEN";
const CONSUL_CA: &str = "consul-ca.crt";
const CONSUL_CERTIFICATE: &str = "consul-client.crt";
const CONSUL_KEY: &str = "consul-client.key";

/// The stanza, and with Consul that of the registration.
pub(crate) fn stanza(cluster: &Validated) -> String {
    match &cluster.storage {
        Storage::Raft(_) => raft(cluster),
        Storage::Consul(consul) => self::consul(cluster, consul),
        Storage::Ephemeral => hcl::block("storage", "inmem", &[]),
    }
}

/// Every member is listed in `retry_join`, itself included: Vault skips itself. All values are DNS labels and paths of
/// ours, so that nothing needs quoting.
fn raft(cluster: &Validated) -> String {
    let Validated {
        namespace,
        name,
        replicas,
        ..
    } = cluster;
    let server_name = names::service_host(namespace, name);
    let mut text =
        format!("storage \"raft\" {{\n  path                   = \"{DATA}\"\n  performance_multiplier = 1\n");
    for ordinal in 0..*replicas {
        let _ = write!(
            text,
            r#"
  retry_join {{
    leader_api_addr         = "https://{host}:{api}"
    leader_ca_cert_file     = "{TLS}/ca.crt"
    leader_tls_servername   = "{server_name}"
  }}
"#,
            host = names::member_host(namespace, name, ordinal),
            api = names::API_PORT,
        );
    }
    text += "}\n";
    text
}

fn consul(cluster: &Validated, consul: &ConsulStorage) -> String {
    let ConsulStorage {
        address,
        path,
        token_secret: _,
        tls,
        session_ttl,
        service_registration,
    } = consul;
    let tls = tls.clone().unwrap_or_default();
    let ca = tls.ca_secret.as_ref().map(|_| credentials::path(CONSUL_CA));
    let pair = tls.client_certificate_secret.as_ref();
    let certificate = pair.map(|_| credentials::path(CONSUL_CERTIFICATE));
    let key = pair.map(|_| credentials::path(CONSUL_KEY));
    let towards = [
        ("address", Some(address.as_str())),
        ("tls_ca_file", ca.as_deref()),
        ("tls_cert_file", certificate.as_deref()),
        ("tls_key_file", key.as_deref()),
    ];
    let mut storage = towards.to_vec();
    storage.extend([
        ("path", Some(path.as_str())),
        ("session_ttl", Some(session_ttl.as_str())),
        // Without a stanza for it Vault registers itself by what is said here.
        (
            "disable_registration",
            (!service_registration.enabled).then_some("true"),
        ),
    ]);
    let mut text = hcl::block("storage", "consul", &storage);
    if service_registration.enabled {
        let own = format!("{}-{}", cluster.namespace, cluster.name);
        let service = service_registration.service.as_deref().unwrap_or(&own);
        let tags = service_registration.tags.join(",");
        let mut registration = towards.to_vec();
        registration.extend([
            ("service", Some(service)),
            ("service_tags", Some(tags.as_str()).filter(|t| !t.is_empty())),
        ]);
        text.push('\n');
        text += &hcl::block("service_registration", "consul", &registration);
    }
    text
}

/// What the storage needs from Secrets.
pub(crate) fn credentials(storage: &Storage) -> Vec<Credential> {
    let Storage::Consul(consul) = storage else {
        return Vec::new();
    };
    let mut needed = Vec::new();
    needed.extend(
        consul
            .token_secret
            .as_ref()
            .map(|s| Credential::variable(CONSUL_TOKEN, s)),
    );
    let tls = consul.tls.clone().unwrap_or_default();
    needed.extend(tls.ca_secret.as_ref().map(|s| Credential::file(CONSUL_CA, s)));
    if let Some(secret) = &tls.client_certificate_secret {
        needed.extend(Credential::pair(CONSUL_CERTIFICATE, CONSUL_KEY, secret));
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    fn stored(storage: &str) -> Validated {
        let mut object = cluster("  replicas: 1\n  profile: Development");
        object.spec.storage = serde_yaml::from_str(storage).unwrap();
        validate(&object).unwrap()
    }

    #[test]
    fn consul_gets_its_token_by_the_environment_and_its_certificates_as_files() {
        let cluster = stored(
            "{consul: {address: 'https://c:8501', path: v/main/, tokenSecret: {name: acl, key: token}, tls: {caSecret: {name: ca, key: ca.crt}, clientCertificateSecret: pair}}}",
        );
        let text = stanza(&cluster);
        for line in [
            "storage \"consul\" {",
            "  address       = \"https://c:8501\"",
            "  path          = \"v/main/\"",
            "  session_ttl   = \"15s\"",
            "  tls_ca_file   = \"/vault/credentials/consul-ca.crt\"",
            "  tls_cert_file = \"/vault/credentials/consul-client.crt\"",
            "  tls_key_file  = \"/vault/credentials/consul-client.key\"",
            "service_registration \"consul\" {",
            "  service       = \"vault-main\"",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(
            !text.contains("token") && !text.contains("acl"),
            "no trace of the token: {text}"
        );
        let needed = credentials(&cluster.storage);
        assert!(
            needed.contains(&Credential::variable(
                "CONSUL_HTTP_TOKEN",
                &credentials::entry_of("acl", "token")
            )),
            "{needed:?}"
        );
        assert_eq!(needed.len(), 4, "{needed:?}");
    }

    #[test]
    fn a_registration_that_is_turned_off_is_not_left_to_vaults_default() {
        let text = stanza(&stored(
            "{consul: {address: 'http://c:8500', serviceRegistration: {enabled: false}}}",
        ));
        assert!(!text.contains("service_registration"), "{text}");
        assert!(
            text.contains("disable_registration = \"true\""),
            "Vault registers itself where nothing is said: {text}"
        );
        let text = stanza(&stored("{consul: {address: 'http://c:8500'}}"));
        assert!(!text.contains("disable_registration"), "{text}");
    }

    #[test]
    fn memory_needs_no_settings() {
        assert_eq!(stanza(&stored("{ephemeral: {}}")), "storage \"inmem\" {}\n");
    }
}
