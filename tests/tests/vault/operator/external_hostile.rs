//! Addresses that want the operator's tokens, its time or its memory.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_crds::{VaultCluster, names};
use vaultkeeper_operator::cluster::external::AllowedAddresses;
use vaultkeeper_operator::context::Rules;
use vaultkeeper_operator::sessions::OPERATOR_ROLE;
use vaultkeeper_tests::certs::Ca;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::{ExposeSecret as _, SecretString};

use super::external::{allow, create, create_role, external, until, until_role};
use super::hostile::{GENEROUS_TOKEN, Hostile, Trick, audiences};
use super::stage::{DEADLINE, Stage, condition};

/// Some addresses may be called.
fn allow_all(urls: &[&str]) -> Rules {
    Rules {
        external_addresses: AllowedAddresses(urls.iter().map(|url| url.parse().unwrap()).collect()),
        ..Rules::default()
    }
}

async fn change(stage: &Stage, name: &str, spec: Value) {
    let body = json!({ "spec": spec });
    let patched = stage
        .clusters()
        .patch(name, &PatchParams::default(), &Patch::Merge(&body))
        .await;
    patched.unwrap();
}

/// Of what it was shown nothing may stand where others read it.
async fn assert_repeats_no_token(stage: &Stage, hostile: &Hostile, cluster: &VaultCluster) {
    let status = serde_json::to_string(&cluster.status).unwrap();
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = events.list(&ListParams::default()).await.unwrap();
    for token in hostile.tokens() {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!status.contains(signature), "a token is repeated in the status");
        let leaks = |e: &Event| e.note.as_ref().is_some_and(|n| n.contains(signature));
        assert!(!events.iter().any(leaks), "a token is repeated in an event");
    }
}

#[tokio::test]
async fn a_hostile_address_gets_no_connection_unless_it_is_allowed_and_no_token_unless_it_is_verified() {
    let stage = Stage::new().await.unwrap();
    let hostile = Hostile::start(Trick::Echo).await;
    let ca = |ca: &Ca| json!({"bundle": ca.cert_pem()});
    create(&stage, external("evil", &hostile.url, &ca(&hostile.ca))).await;
    create_role(&stage, "evil").await;
    let access = json!({"access": [{"namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]}]});
    change(&stage, "evil", access).await;

    // Not on the list: nothing at all.
    let operator = stage.start_operator(&Points::record());
    let told = until(&stage, "evil", "Accepted", "AddressNotAllowed")
        .await
        .unwrap();
    let said = condition(&told, "Accepted").unwrap().message;
    for part in [hostile.url.as_str(), "operator.externalAddresses"] {
        assert!(said.contains(part), "{part} should be named: {said}");
    }
    until_role(&stage, "AddressNotAllowed").await;
    operator.stop().await;
    assert_eq!(
        hostile.connections(),
        0,
        "an address that is not allowed should not even see a connection"
    );

    // Allowed, but it is not who the spec says: no request.
    let another = Ca::new("another-ca").unwrap();
    let trust = json!({"external": {"ca": {"bundle": another.cert_pem()}}});
    change(&stage, "evil", trust).await;
    let operator = stage.start_operator_with(&Points::record(), allow(&hostile.url));
    wait::until_async("the handshake to fail", DEADLINE, async || {
        let cluster = stage.clusters().get("evil").await?;
        let said = condition(&cluster, "Available").context("no condition")?;
        ensure!(said.reason == "VaultTLSFailed", "{said:?}");
        ensure!(
            said.observed_generation == cluster.metadata.generation,
            "{said:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    assert!(hostile.connections() > 0, "it was called");
    assert_eq!(
        hostile.received().len(),
        0,
        "a server that is not verified should receive nothing: {:?}",
        hostile.received()
    );
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_token_that_a_hostile_vault_was_shown_opens_nothing_else_and_follows_no_redirect() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let accomplice = Hostile::start(Trick::Echo).await;
    let hostile = Hostile::start(Trick::Redirect(accomplice.url.clone())).await;
    let ca = json!({"bundle": format!("{}{}", hostile.ca.cert_pem(), accomplice.ca.cert_pem())});
    create(&stage, external("evil", &hostile.url, &ca)).await;
    let rules = allow_all(&[&hostile.url, &accomplice.url]);
    let operator = stage.start_operator_with(&Points::record(), rules);
    stage.until_available().await.unwrap();

    wait::until_async("a login to be redirected", DEADLINE, async || {
        ensure!(!hostile.tokens().is_empty(), "no token yet");
        Ok(())
    })
    .await
    .unwrap();
    until(&stage, "evil", "Configured", "LoginRefused").await.unwrap();
    hostile.play(Trick::RedirectAll(accomplice.url.clone()));
    until(&stage, "evil", "Available", "VaultStandby").await.unwrap();
    assert_eq!(accomplice.connections(), 0, "nobody should follow a redirect");

    hostile.play(Trick::Echo);
    let before = hostile.tokens().len();
    wait::until_async("a login whose token is repeated", DEADLINE, async || {
        ensure!(
            hostile.tokens().len() > before + 1,
            "{} tokens",
            hostile.tokens().len()
        );
        Ok(())
    })
    .await
    .unwrap();
    let evil = until(&stage, "evil", "Configured", "LoginRefused").await.unwrap();
    assert_repeats_no_token(&stage, &hostile, &evil).await;
    hostile.play(Trick::EchoLater);
    let evil = until(&stage, "evil", "Available", "VaultRefused").await.unwrap();
    assert_repeats_no_token(&stage, &hostile, &evil).await;
    let tokens = hostile.tokens();
    let token = tokens.last().unwrap();
    let uid = evil.uid().unwrap();
    assert_eq!(
        audiences(token),
        [names::external_audience(&uid, &hostile.url)],
        "for this VaultCluster and this address, and nobody else"
    );

    for request in hostile.received() {
        assert!(
            request.line.contains("/sys/health") || request.line.contains("/login"),
            "without a login nothing else should be sent: {}",
            request.line
        );
        assert!(
            !request.text.to_lowercase().contains("x-vault-token"),
            "the operator's token of another Vault was sent: {}",
            request.line
        );
    }

    // The very token is good for nothing else: neither the operator's own cluster nor the API server takes it.
    let jwt = SecretString::from(token.as_str());
    let member = stage.member(0).await.unwrap();
    let refused = member
        .kubernetes(names::KUBERNETES_AUTH_PATH)
        .login(OPERATOR_ROLE, &jwt)
        .await
        .expect_err("a token for one Vault must not open another");
    assert!(refused.is_denied(), "expected a denial, got {refused}");
    let environment = stage.environment();
    let ca = reqwest::Certificate::from_pem(environment.ca_cert.as_ref().unwrap().as_bytes()).unwrap();
    let api = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .build()
        .unwrap();
    let answer = api
        .get(format!("{}/api/v1/namespaces", environment.host))
        .bearer_auth(jwt.expose_secret())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401, "nor the API server");
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_server_that_never_comes_to_an_end_is_told_and_holds_nobody_up() {
    let stage = Stage::new().await.unwrap();
    let tricks = [
        ("endless", Trick::Endless, "VaultAnswerNotUnderstood"),
        ("silent", Trick::Silent, "VaultTimedOut"),
        ("noise", Trick::Noise, "VaultInterrupted"),
    ];
    let mut servers = Vec::new();
    for (name, trick, reason) in tricks {
        let server = Hostile::start(trick).await;
        let ca = json!({"bundle": server.ca.cert_pem()});
        create(&stage, external(name, &server.url, &ca)).await;
        servers.push((name, server, reason));
    }
    // By a name that is on the list and leads to this host.
    let port = servers[0].1.url.rsplit(':').next().unwrap();
    let by_name = format!("https://localhost:{port}");
    let ca = json!({"bundle": servers[0].1.ca.cert_pem()});
    create(&stage, external("by-name", &by_name, &ca)).await;
    // The API server itself, as a target of somebody who may create VaultClusters.
    let api_server = stage.environment().host.clone();
    let ca = json!({"bundle": stage.environment().ca_cert});
    create(&stage, external("api-server", &api_server, &ca)).await;
    stage.create_cluster(1).await.unwrap();
    let mut urls: Vec<&str> = servers.iter().map(|(_, server, _)| server.url.as_str()).collect();
    urls.extend([by_name.as_str(), &api_server]);
    let operator = stage.start_operator_with(&Points::record(), allow_all(&urls));

    stage.until_available().await.unwrap();
    for (name, server, reason) in &servers {
        until(&stage, name, "Available", reason).await.unwrap();
        assert!(server.tokens().is_empty(), "{name} gets no token");
    }
    let taken = servers[0].1.taken();
    assert!(
        taken > 0 && taken < 16 << 20,
        "of an endless answer a bounded part should be taken, were {taken} bytes"
    );
    let named = until(&stage, "by-name", "Available", "VaultUnreachable")
        .await
        .unwrap();
    let said = condition(&named, "Available").unwrap().message;
    assert!(said.contains("leads to no address"), "{said}");
    wait::until_async("the API server to be told from a Vault", DEADLINE, async || {
        let cluster = stage.clusters().get("api-server").await?;
        let said = condition(&cluster, "Available").context("no condition")?;
        ensure!(
            said.message.contains("does not answer as a Vault does"),
            "{said:?}"
        );
        ensure!(
            !said.message.contains("forbidden"),
            "its words are repeated: {said:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_login_that_a_server_grants_for_ever_leads_to_it_alone() {
    let stage = Stage::new().await.unwrap();
    let first = Hostile::start(Trick::Generous).await;
    let (second, third) = tokio::join!(Hostile::start(Trick::Generous), Hostile::start(Trick::Generous));
    let ca = format!(
        "{}{}{}",
        first.ca.cert_pem(),
        second.ca.cert_pem(),
        third.ca.cert_pem()
    );
    let mut cluster = external("evil", &first.url, &json!({ "bundle": ca }));
    cluster["spec"]["configuration"] =
        json!({"policies": [{"name": "app", "hcl": "path \"a\" { capabilities = [\"read\"] }"}]});
    create(&stage, cluster).await;
    let rules = allow_all(&[&first.url, &second.url]);
    let operator = stage.start_operator_with(&Points::record(), rules);
    let with_token = |server: &Hostile| {
        let received = server.received();
        received
            .iter()
            .filter(|request| request.text.contains(GENEROUS_TOKEN))
            .count()
    };
    wait::until_async("a call with the token that it gave", DEADLINE, async || {
        ensure!(with_token(&first) > 0, "{:?}", first.received());
        Ok(())
    })
    .await
    .unwrap();

    let evil = until(&stage, "evil", "Configured", "VaultRefused").await.unwrap();
    assert_repeats_no_token(&stage, &first, &evil).await;
    let said = condition(&evil, "Configured").unwrap().message;
    assert!(!said.contains(GENEROUS_TOKEN), "{said}");

    // The spec leads elsewhere: to an address that may be called, and then to one that may not.
    change(&stage, "evil", json!({"external": {"address": second.url}})).await;
    wait::until_async("a login at the second address", DEADLINE, async || {
        ensure!(!second.tokens().is_empty(), "no token yet");
        Ok(())
    })
    .await
    .unwrap();
    let (before, after) = (first.tokens(), second.tokens());
    let of = |tokens: &[String]| audiences(tokens.last().unwrap());
    assert_ne!(
        of(&before),
        of(&after),
        "each address is shown a token of its own"
    );
    let first_to_second = second.received();
    let first_to_second = first_to_second.first().expect("its first request");
    assert!(
        !first_to_second.text.contains(GENEROUS_TOKEN),
        "what the first one gave is not for the second: {}",
        first_to_second.text
    );
    change(&stage, "evil", json!({"external": {"address": third.url}})).await;
    until(&stage, "evil", "Accepted", "AddressNotAllowed")
        .await
        .unwrap();
    assert_eq!(
        third.connections(),
        0,
        "the list counts for a changed address too"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}
