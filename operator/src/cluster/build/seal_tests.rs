//! Each kind of seal: every field of the spec in the stanza, every secret beside it.

use super::*;
use crate::cluster::build::credentials;
use crate::cluster::validate::{tests::cluster, validate};

fn sealed(seal: &str, distribution: &str) -> (String, Vec<Credential>, Validated) {
    let extra = format!("  distribution: {distribution}\n  seal: {seal}");
    let validated = validate(&cluster(&extra)).unwrap();
    (
        stanza(&validated).unwrap_or_default(),
        credentials(&validated),
        validated,
    )
}

fn secret(name: &str, key: &str) -> String {
    format!("{{name: {name}, key: {key}}}")
}

#[test]
fn shamir_has_no_stanza_and_needs_nothing() {
    let (text, needed, _) = sealed("{shamir: {shares: 5, threshold: 3}}", "Vault");
    assert_eq!((text.as_str(), needed), ("", Vec::new()));
}

#[test]
fn transit_is_rendered_whole_and_its_token_is_only_named_in_the_environment() {
    let seal = format!(
        "{{transit: {{address: 'https://kms:8200', mountPath: t/, keyName: auto, namespace: team, tokenSecret: {}, caSecret: {}, tlsServerName: kms.test, clientCertificateSecret: pair, disableRenewal: true}}}}",
        secret("unseal", "token"),
        secret("kms-ca", "ca.crt")
    );
    let (text, needed, _) = sealed(&seal, "Vault");
    assert_eq!(
        text,
        r#"seal "transit" {
  address         = "https://kms:8200"
  mount_path      = "t/"
  key_name        = "auto"
  namespace       = "team"
  tls_ca_cert     = "/vault/credentials/transit-ca.crt"
  tls_client_cert = "/vault/credentials/transit-client.crt"
  tls_client_key  = "/vault/credentials/transit-client.key"
  tls_server_name = "kms.test"
  disable_renewal = "true"
}
"#
    );
    let variables = credentials::environment(&needed);
    assert_eq!(variables.len(), 1, "{variables:?}");
    let from = variables[0].value_from.clone().unwrap().secret_key_ref.unwrap();
    assert_eq!(
        (
            variables[0].name.as_str(),
            variables[0].value.as_ref(),
            from.name.as_str(),
            from.key.as_str()
        ),
        ("VAULT_TOKEN", None, "unseal", "token")
    );
    let files = credentials::volume(&needed)
        .unwrap()
        .projected
        .unwrap()
        .sources
        .unwrap();
    let found: Vec<String> = files
        .iter()
        .filter_map(|f| f.secret.as_ref())
        .flat_map(|s| {
            let items = s.items.clone().unwrap_or_default();
            items
                .into_iter()
                .map(|i| format!("{}/{} as {}", s.name, i.key, i.path))
        })
        .collect();
    assert_eq!(
        found,
        [
            "kms-ca/ca.crt as transit-ca.crt",
            "pair/tls.crt as transit-client.crt",
            "pair/tls.key as transit-client.key"
        ]
    );
    assert_eq!(
        credentials::environment(&sealed(&seal, "OpenBao").1)[0].name,
        "BAO_TOKEN"
    );
}

#[test]
fn the_clouds_are_rendered_with_their_keys_and_without_their_secrets() {
    let (text, needed, _) = sealed(
        "{awskms: {region: eu-central-1, kmsKeyId: alias/vault, endpoint: 'https://kms', credentialsSecret: aws}}",
        "Vault",
    );
    assert_eq!(
        text,
        "seal \"awskms\" {\n  region     = \"eu-central-1\"\n  kms_key_id = \"alias/vault\"\n  endpoint   = \"https://kms\"\n}\n"
    );
    let names: Vec<String> = credentials::environment(&needed)
        .into_iter()
        .map(|v| v.name)
        .collect();
    assert_eq!(
        names,
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    );

    let (text, needed, _) = sealed(
        &format!(
            "{{gcpckms: {{project: p, region: global, keyRing: r, cryptoKey: k, credentialsSecret: {}}}}}",
            secret("gcp", "key.json")
        ),
        "Vault",
    );
    assert!(
        text.contains("credentials = \"/vault/credentials/gcp-credentials.json\"")
            && text.contains("key_ring    = \"r\""),
        "{text}"
    );
    assert_eq!(
        needed,
        [Credential::file(
            "gcp-credentials.json",
            &entry_of("gcp", "key.json")
        )]
    );

    let (text, needed, _) = sealed(
        &format!(
            "{{azurekeyvault: {{vaultName: v, keyName: k, tenantId: t, clientId: c, clientSecret: {}, environment: E}}}}",
            secret("azure", "secret")
        ),
        "Vault",
    );
    assert_eq!(
        text,
        "seal \"azurekeyvault\" {\n  vault_name  = \"v\"\n  key_name    = \"k\"\n  tenant_id   = \"t\"\n  client_id   = \"c\"\n  environment = \"E\"\n}\n"
    );
    assert_eq!(
        needed,
        [Credential::variable(
            "AZURE_CLIENT_SECRET",
            &entry_of("azure", "secret")
        )]
    );

    let oci = "keyId: ocid1.key.oc1.x.y, cryptoEndpoint: 'https://c', managementEndpoint: 'https://m'";
    let (text, needed, _) = sealed(&format!("{{ocikms: {{{oci}, credentialsSecret: oci}}}}"), "Vault");
    assert!(text.contains("auth_type_api_key   = \"true\""), "{text}");
    assert_eq!(needed.len(), 3, "{needed:?}");
    let (text, needed, _) = sealed(&format!("{{ocikms: {{{oci}}}}}"), "Vault");
    assert!(
        !text.contains("auth_type") && needed.is_empty(),
        "the instance's own identity needs nothing: {text}"
    );
}

#[test]
fn a_static_key_is_a_file_and_a_pin_is_a_variable() {
    let (text, needed, _) = sealed(
        &format!(
            "{{static: {{current: {{id: b, secret: {}}}, previous: {{id: a, secret: {}}}}}}}",
            secret("new", "key"),
            secret("old", "key")
        ),
        "OpenBao",
    );
    assert!(
        text.contains("current_key     = \"file:///vault/credentials/static-current.key\"")
            && text.contains("previous_key_id = \"a\""),
        "{text}"
    );
    assert_eq!(needed.len(), 2, "{needed:?}");
    let (text, needed, _) = sealed(
        &format!(
            "{{pkcs11: {{lib: /usr/lib/hsm.so, tokenLabel: Bao, pinSecret: {}, keyLabel: root, mechanism: '0x1087'}}}}",
            secret("hsm", "pin")
        ),
        "OpenBao",
    );
    assert!(
        text.contains("token_label = \"Bao\"")
            && text.contains("mechanism   = \"0x1087\"")
            && !text.contains("pin"),
        "{text}"
    );
    assert_eq!(
        needed,
        [Credential::variable("BAO_HSM_PIN", &entry_of("hsm", "pin"))]
    );
}

#[test]
fn only_the_transit_seal_forbids_the_variables_of_the_command_line() {
    let transit = format!(
        "{{transit: {{address: 'https://kms:8200', keyName: auto, tokenSecret: {}}}}}",
        secret("unseal", "token")
    );
    assert!(forbids_cli_variables(&sealed(&transit, "Vault").2));
    assert!(!forbids_cli_variables(
        &sealed("{awskms: {region: r, kmsKeyId: k}}", "Vault").2
    ));
}

#[test]
fn a_seal_that_the_data_is_brought_away_from_is_disabled_and_keeps_its_credentials() {
    let seal =
        "{transit: {address: 'https://kms:8200', keyName: auto, tokenSecret: {name: unseal, key: token}}}";
    let (usual, needed, transit) = sealed(seal, "Vault");
    let mut shares = sealed("{shamir: {shares: 5, threshold: 3}}", "Vault").2;
    shares.former = transit.seal.auto().cloned().map(Box::new);
    let text = stanza(&shares).unwrap();
    let (first, rest) = usual.split_once('\n').unwrap();
    assert_eq!(text, format!("{first}\n  disabled = \"true\"\n{rest}"));
    assert_eq!(credentials(&shares), needed);
    assert!(
        forbids_cli_variables(&shares),
        "it reads them like an enabled one"
    );
}
