//! Auth methods whose settings are of use only beside something else: certificates of clients at a listener that names no CA
//! for them, and a provider that Vault calls when it is declared.

use std::net::SocketAddr;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;
use vaultkeeper_crds::names;
use vaultkeeper_tests::certs::{Ca, Pair};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{Auth, Client, Error, SecretString};

use super::configuration::{password, read, until_configured};
use super::oidc_provider::OidcProvider;
use super::stage::{DEADLINE, Stage};
use crate::client_support::PATIENCE;

const CLIENT_SECRET: &str = "the-secret-of-this-vault";

/// A client of the member that shows this certificate.
async fn showing(stage: &Stage, pair: &Pair) -> Client {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let tls = secrets.get(&names::tls_secret("main")).await.unwrap();
    let address = stage.kubelet.address("main-0").await.unwrap();
    let host = names::member_host(&stage.namespace, "main", 0);
    Client::builder(format!("https://{host}:{}", names::API_PORT))
        .ca_pem(&tls.data.unwrap()[names::CA_KEY].0)
        .connect_to(SocketAddr::new(address, names::API_PORT))
        .client_certificate(&pair.cert_pem, SecretString::from(pair.key_pem.clone()))
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .build()
        .unwrap()
}

async fn log_in(client: &Client) -> Result<Option<Auth>, Error> {
    let answer = client
        .write("auth/devices/login", &json!({"name": "web"}))
        .await?;
    Ok(answer.and_then(|answer| answer.auth))
}

#[tokio::test]
async fn clients_log_in_by_certificate_and_people_by_a_provider_as_declared() {
    let stage = Stage::new().await.unwrap();
    let (devices, strangers) = (Ca::new("devices").unwrap(), Ca::new("devices").unwrap());
    let provider = OidcProvider::start().await;
    password(&stage, "provider", CLIENT_SECRET).await;
    let configuration = json!({
        "policies": [{"name": "app", "hcl": "path \"secret/data/app\" { capabilities = [\"read\"] }"}],
        "authMethods": [
            {"path": "devices", "type": "cert", "cert": {"roles": [
                {"name": "web", "certificate": devices.cert_pem(), "allowedCommonNames": ["web.*"], "token": {"policies": ["app"]}},
            ]}},
            {"path": "staff", "type": "oidc", "jwt": {
                "discoveryUrl": provider.url, "discoveryCa": provider.ca.cert_pem(),
                "clientId": "this-vault", "clientSecret": {"name": "provider", "key": "password"}, "defaultRole": "people",
                "roles": [{
                    "name": "people", "roleType": "Oidc", "userClaim": "email",
                    "allowedRedirectUris": ["https://vault.example.com/callback"], "token": {"policies": ["app"]},
                }],
            }},
        ],
    });
    stage
        .create_cluster_with(1, json!({ "configuration": configuration }))
        .await
        .unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    until_configured(&stage).await;
    operator.stop().await;

    who_shows_a_certificate_of_the_declared_ca_gets_in(&stage, &devices, &strangers).await;
    the_provider_is_asked_with_the_clients_secret(&stage, &provider).await;
    stage.end().await.unwrap();
}

/// The listener has no `tls_client_ca_file`: it asks for a certificate, and the method verifies it.
async fn who_shows_a_certificate_of_the_declared_ca_gets_in(stage: &Stage, devices: &Ca, strangers: &Ca) {
    let good = showing(stage, &devices.client("web.shop", &[]).unwrap()).await;
    let auth = log_in(&good).await.unwrap().expect("the login gives a token");
    assert!(
        auth.policies.contains(&"app".to_owned()),
        "with the declared policy: {:?}",
        auth.policies
    );
    for (who, pair) in [
        (
            "another CA of the same name",
            strangers.client("web.shop", &[]).unwrap(),
        ),
        ("another common name", devices.client("db.shop", &[]).unwrap()),
    ] {
        let answer = log_in(&showing(stage, &pair).await).await;
        assert!(
            matches!(answer, Err(Error::BadRequest { .. } | Error::Denied { .. })),
            "{who} must be refused: {answer:?}"
        );
    }
    let nothing_shown = log_in(&stage.member(0).await.unwrap()).await;
    assert!(
        matches!(
            nothing_shown,
            Err(Error::BadRequest { .. } | Error::Denied { .. })
        ),
        "without a certificate: {nothing_shown:?}"
    );
}

/// Vault has called the address when it was written; a login sends the browser there and comes back with the secret.
async fn the_provider_is_asked_with_the_clients_secret(stage: &Stage, provider: &OidcProvider) {
    let root = stage.root(0).await.unwrap();
    let config = read(&root, "auth/staff/config").await.unwrap();
    assert_eq!(config["oidc_discovery_url"], json!(provider.url));
    assert_eq!(config["oidc_client_id"], json!("this-vault"));
    assert_eq!(config["default_role"], json!("people"));
    root.revoke_self().await.unwrap();

    let member = stage.member(0).await.unwrap();
    let redirect = "https://vault.example.com/callback";
    let asked = member
        .write(
            "auth/staff/oidc/auth_url",
            &json!({"role": "people", "redirect_uri": redirect}),
        )
        .await
        .unwrap()
        .expect("an answer");
    let data: serde_json::Map<String, serde_json::Value> = asked.data.decode().unwrap();
    let url = reqwest::Url::parse(data["auth_url"].as_str().unwrap()).unwrap();
    assert!(
        url.as_str().starts_with(&format!("{}/authorize?", provider.url)),
        "the browser is sent to the provider: {url}"
    );
    let parameter = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    assert_eq!(parameter("client_id").as_deref(), Some("this-vault"));

    let address = stage.kubelet.address("main-0").await.unwrap();
    let back = reqwest::Url::parse_with_params(
        &format!(
            "https://{address}:{}/v1/auth/staff/oidc/callback",
            names::API_PORT
        ),
        [
            ("state", parameter("state").unwrap().as_str()),
            ("code", "a-code"),
        ],
    )
    .unwrap();
    // As a browser on its way back; whose certificate that is was looked at above.
    let browser = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    drop(browser.get(back).send().await.unwrap());
    wait::until_async("Vault to show its secret to the provider", DEADLINE, async || {
        let basic = STANDARD.encode(format!("this-vault:{CLIENT_SECRET}"));
        let requests = provider.requests();
        let shown = requests
            .iter()
            .any(|r| r.starts_with("POST /token ") && (r.contains(&basic) || r.contains(CLIENT_SECRET)));
        ensure!(shown, "the provider got {requests:?}");
        Ok(())
    })
    .await
    .unwrap();
}
