//! What the webhook and the chart say of an address is what the agent's client says of it: an address that only one of
//! them takes is a pod that waits for ever, or one that is refused for nothing.

use vaultkeeper_injector::origin;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::helm;
use vaultkeeper_vault::{BuildError, Client};

use crate::chart::template;

const ADDRESSES: &[&str] = &[
    "",
    " ",
    "/",
    "vault",
    "vault:8200",
    "//vault:8200",
    "https:",
    "https:/",
    "https://",
    "https:///",
    "https:///vault",
    "https://vault",
    "https://vault/",
    "https://vault//",
    "https://vault/ /",
    "https://vault:8200",
    "https://vault:8200/",
    "https://vault:8200/v1",
    "https://vault:8200/v1/",
    "https://vault:8200/./",
    "https://vault:8200/../",
    "https://vault:8200?",
    "https://vault:8200?x=1",
    "https://vault:8200#",
    "https://vault:8200/#x",
    "https://vault:",
    "https://vault:0",
    "https://vault:65535",
    "https://vault:65536",
    "https://vault:-1",
    "https://vault:port",
    "https://vault:8200:8200",
    "https://:8200",
    "https://vault.vault.svc:8200",
    "https://vault.vault.svc.:8200",
    "https://vault_1:8200",
    "https://va ult:8200",
    "https://va\tult:8200",
    "https://va%20ult:8200",
    "https://va%75lt:8200",
    "https://tresör.example",
    "https://xn--:8200",
    "https://user@vault",
    "https://user:password@vault",
    "https://vault/@",
    "https://vault\\v1",
    "https:\\\\vault",
    " https://vault:8200 ",
    "HTTPS://VAULT:8200",
    "hTTp://vault",
    "http://127.0.0.1:8200",
    "http://127.1",
    "http://1",
    "http://256.0.0.1",
    "http://[::1]:8200",
    "http://[::1",
    "http://::1",
    "http://[fe80::1%25eth0]",
    "http://<vault>",
    "ftp://vault",
    "unix:///run/vault.sock",
    "file:///vault",
];

/// Whether the agent could use an address, by the client that it uses, called as it calls it.
fn agent_takes(address: &str) -> bool {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder(address.trim_end_matches('/'))
        .ca_pem(Ca::new("vault").unwrap().cert_pem())
        .build();
    match client {
        Ok(_) => true,
        Err(BuildError::Address { .. }) => false,
        Err(other) => panic!("{address:?} should be judged as an address, got {other}"),
    }
}

#[test]
fn an_address_is_admitted_exactly_if_the_agent_can_use_it() {
    let (mut taken, mut refused) = (0, 0);
    for address in ADDRESSES {
        let admitted = origin::address(address);
        assert_eq!(
            admitted.is_ok(),
            agent_takes(address),
            "webhook and agent should agree about {address:?}: {admitted:?}"
        );
        let Ok(written) = admitted else {
            refused += 1;
            continue;
        };
        taken += 1;
        assert!(
            agent_takes(&written) && origin::address(&written).as_ref() == Ok(&written),
            "what {address:?} is written as, {written:?}, should mean the same"
        );
        let is_https = address.trim().to_ascii_lowercase().starts_with("https:");
        assert_eq!(
            origin::is_https(&written),
            is_https,
            "{written:?} should keep the scheme of {address:?}"
        );
    }
    assert!(
        taken > 10 && refused > 10,
        "the table should hold both kinds, it has {taken} and {refused}"
    );
}

#[test]
fn names_and_namespaces_are_admitted_exactly_if_the_agent_can_use_them() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = Ca::new("vault").unwrap().cert_pem();
    let builder = || Client::builder("https://vault:8200").ca_pem(&ca);
    for name in [
        "vault",
        "vault.",
        "Vault.svc",
        "10.0.0.1",
        "::1",
        "a_b",
        "a b",
        "a/b",
        "vault:8200",
        "-a",
        "a..b",
        "tresör",
        "*.a",
        "1.2.3",
    ] {
        assert_eq!(
            origin::server_name(name).is_ok(),
            builder().tls_server_name(name).build().is_ok(),
            "webhook and agent should agree about the server name {name:?}"
        );
    }
    for namespace in ["team", "team/a", "tëam", "a\nb", "a\u{7f}", "a\tb"] {
        assert_eq!(
            origin::namespace(namespace).is_ok(),
            builder().namespace(namespace).build().is_ok(),
            "webhook and agent should agree about the namespace {namespace:?}"
        );
    }
}

/// The schema keeps out what the injector would not start with. One run of Helm for each: a few are enough.
#[test]
fn the_chart_takes_no_default_address_that_the_agent_cannot_use() {
    for (address, is_taken) in [
        ("https://vault", true),
        ("http://127.0.0.1:8200/", true),
        ("https://[::1]:65535", true),
        ("https://vault:65536", false),
        ("https://vault:8200/v1", false),
        ("https://vault:8200?", false),
        ("https://user:password@vault", false),
        ("https://va ult:8200", false),
        ("https://va%20ult:8200", false),
        ("http://256.0.0.1", false),
    ] {
        let value = format!("injector.vaultAddress={}", serde_json::json!(address));
        let rendered = template(&helm::chart(), &[&value]);
        assert_eq!(
            rendered.is_ok(),
            is_taken,
            "the chart's answer to {address:?} is {:?}",
            rendered.err()
        );
        assert!(
            agent_takes(address) || !is_taken,
            "the chart should refuse {address:?}, with which the injector does not start"
        );
    }
}
