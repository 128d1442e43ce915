//! The login by client certificate against a real Vault: who gets in, who does not, and what is left of a certificate that
//! was lost, renewed or taken away.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use vaultkeeper_crds::role::CertificateStatus;
use vaultkeeper_crds::{VaultRole, names};
use vaultkeeper_tests::points::{Point, Points, Side};
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::cert;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::{Auth, Client, Error, SecretString};

use super::stage::{Stage, write_secret};
use crate::client_support::PATIENCE;

pub(super) const DEADLINE: Duration = Duration::from_secs(240);
pub(super) const SECRET: &str = "app-tls";
/// A role of a person's that takes every certificate of the CA: what it refuses is revoked.
const WIDE: &str = "wide";

pub(super) fn roles(stage: &Stage) -> Api<VaultRole> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

fn secrets(stage: &Stage) -> Api<Secret> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

pub(super) async fn create_role(stage: &Stage, name: &str, certificate: &Value) -> anyhow::Result<()> {
    let role: VaultRole = serde_json::from_value(json!({
        "apiVersion": "vaultkeeper.dev/v1alpha1", "kind": "VaultRole",
        "metadata": { "name": name },
        "spec": {
            "cluster": { "name": "main", "namespace": stage.namespace },
            "policy": { "rules": [
                { "path": format!("secret/data/{}/{name}", stage.namespace), "capabilities": ["read"] },
            ] },
            "certificate": certificate,
        },
    }))?;
    roles(stage).create(&PostParams::default(), &role).await?;
    Ok(())
}

pub(super) async fn until_ready(stage: &Stage, name: &str) -> anyhow::Result<VaultRole> {
    wait::until_async("the role to be ready", DEADLINE, async || {
        let role = roles(stage).get(name).await?;
        let status = role.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
        let ready = ready.context("no condition")?;
        ensure!(
            ready.status == "True" && ready.observed_generation == role.metadata.generation,
            "it is {}: {}",
            ready.reason,
            ready.message
        );
        Ok(role)
    })
    .await
}

async fn until_gone(stage: &Stage, name: &str) -> anyhow::Result<()> {
    wait::until_async("the role to be gone", DEADLINE, async || {
        match roles(stage).get_opt(name).await? {
            None => Ok(()),
            Some(role) => bail!("it is there: {:?}", role.status),
        }
    })
    .await
}

pub(super) async fn delete_role(stage: &Stage, name: &str) -> anyhow::Result<()> {
    roles(stage).delete(name, &DeleteParams::default()).await?;
    until_gone(stage, name).await
}

pub(super) async fn patch_role(stage: &Stage, name: &str, change: &Value) {
    roles(stage)
        .patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

/// Puts something else in the place of the key.
pub(super) async fn edit_secret(stage: &Stage, name: &str) {
    let edit = json!({ "stringData": { "tls.key": "edited" } });
    secrets(stage)
        .patch(name, &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
}

/// Wakes the controller for the role.
pub(super) async fn touch(stage: &Stage, name: &str) {
    let now = format!("{:?}", std::time::SystemTime::now());
    patch_role(
        stage,
        name,
        &json!({ "metadata": { "annotations": { "touched": now } } }),
    )
    .await;
}

pub(super) async fn noted(stage: &Stage, name: &str) -> anyhow::Result<CertificateStatus> {
    let status = roles(stage).get(name).await?.status.unwrap_or_default();
    status.certificate.context("the status holds no certificate")
}

/// What a client holds.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) certificate: String,
    pub(super) key: SecretString,
    /// By which it verifies the server.
    pub(super) cas: String,
}

/// What is in a Secret of type kubernetes.io/tls.
pub(super) async fn held(stage: &Stage, secret: &str) -> anyhow::Result<Held> {
    let secret = secrets(stage).get(secret).await?;
    ensure!(
        secret.type_.as_deref() == Some("kubernetes.io/tls"),
        "its type is {:?}",
        secret.type_
    );
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| -> anyhow::Result<String> {
        let bytes = data.get(key).with_context(|| format!("there is no {key}"))?;
        Ok(String::from_utf8(bytes.0.clone())?)
    };
    Ok(Held {
        certificate: text("tls.crt")?,
        key: SecretString::from(text("tls.key")?),
        cas: text("ca.crt")?,
    })
}

/// A client with a certificate, to the member `main-0`.
async fn client(stage: &Stage, held: &Held) -> anyhow::Result<Client> {
    let address = stage.kubelet.address(&names::member("main", 0)).await;
    let address = std::net::SocketAddr::new(address.context("no address")?, names::API_PORT);
    let host = names::member_host(&stage.namespace, "main", 0);
    Ok(Client::builder(format!("https://{host}:{}", names::API_PORT))
        .ca_pem(&held.cas)
        .client_certificate(&held.certificate, held.key.clone())
        .connect_to(address)
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .build()?)
}

async fn login(stage: &Stage, held: &Held, role: &str) -> anyhow::Result<Result<Auth, Error>> {
    Ok(client(stage, held).await?.cert("cert").login(Some(role)).await)
}

/// Refused by Vault, as opposed to not reached.
pub(super) async fn assert_refused(stage: &Stage, held: &Held, role: &str, whose: &str) {
    match login(stage, held, role).await.unwrap() {
        Err(Error::BadRequest { .. } | Error::Denied { .. }) => {}
        Err(other) => panic!("{whose} should be refused at {role}, and the answer is {other}"),
        Ok(auth) => panic!("{whose} should be refused at {role}, and got {:?}", auth.policies),
    }
}

pub(super) async fn assert_takes(stage: &Stage, held: &Held, role: &str, whose: &str) -> Auth {
    let answer = login(stage, held, role).await.unwrap();
    answer.unwrap_or_else(|error| panic!("{whose} should be let in at {role}: {error}"))
}

/// Waits until another certificate than this is stored and lets its client in.
pub(super) async fn until_another(stage: &Stage, name: &str, than: &Held) -> Held {
    let vault_name = names::vault_name(&stage.namespace, name);
    wait::until_async("another certificate to log in", DEADLINE, async || {
        let held = held(stage, SECRET).await?;
        ensure!(held.certificate != than.certificate, "it is the same");
        login(stage, &held, &vault_name).await??;
        Ok(held)
    })
    .await
    .unwrap()
}

/// Writes a role that trusts the CA for clients and asks for nothing else.
pub(super) async fn write_wide(stage: &Stage, root: &Client) {
    let own: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.operator_namespace);
    let ca = own
        .get(&names::client_ca_secret(&stage.namespace, "main"))
        .await
        .unwrap();
    let role = cert::Role {
        certificate: String::from_utf8(ca.data.unwrap()["ca.crt"].0.clone()).unwrap(),
        token: TokenParams {
            policies: vec!["default".to_owned()],
            ..TokenParams::default()
        },
        ..cert::Role::default()
    };
    root.cert("cert").write_role(WIDE, &role).await.unwrap();
}

/// A certificate of a CA of somebody else's with the same URI.
fn forged(uri: &str, cas: &str) -> Held {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Vaultkeeper client CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    Held {
        certificate: format!("{}{}", certificate.pem(), ca.pem()),
        key: SecretString::from(key.serialize_pem()),
        cas: cas.to_owned(),
    }
}

async fn serial(stage: &Stage, name: &str) -> String {
    let noted = noted(stage, name).await.unwrap();
    noted.issued.last().expect("one was issued").serial.clone()
}

#[tokio::test]
async fn a_certificate_logs_in_with_the_roles_rights_and_no_other_certificate_does() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    create_role(&stage, "app", &json!({ "secretName": SECRET }))
        .await
        .unwrap();
    create_role(&stage, "other", &json!({ "secretName": "other-tls" }))
        .await
        .unwrap();
    until_ready(&stage, "app").await.unwrap();
    until_ready(&stage, "other").await.unwrap();
    let root = stage.root(0).await.unwrap();
    let (app, other) = (
        names::vault_name(&stage.namespace, "app"),
        names::vault_name(&stage.namespace, "other"),
    );

    // The Secret alone is enough: certificate, key, and by what the server is known.
    let mine = held(&stage, SECRET).await.unwrap();
    let auth = assert_takes(&stage, &mine, &app, "its own certificate").await;
    assert!(
        auth.policies.contains(&app),
        "its policies are {:?}",
        auth.policies
    );
    let path = |name: &str| format!("secret/data/{}/{name}", stage.namespace);
    for name in ["app", "other"] {
        write_secret(&root, &path(name), &json!({ "data": { "password": "hunter2" } })).await;
    }
    let reader = client(&stage, &mine)
        .await
        .unwrap()
        .with_token(&auth.client_token);
    let read = reader.read(&path("app")).await.unwrap();
    assert!(read.data.json().contains("hunter2"), "its own secret is readable");
    let denied = reader.read(&path("other")).await.expect_err("not its own");
    assert!(denied.is_denied(), "expected a denial, got {denied}");
    reader
        .renew_self(None)
        .await
        .expect("who shows the same certificate renews its token");

    // Each role takes its own, and without a name the server finds the right one.
    let theirs = held(&stage, "other-tls").await.unwrap();
    assert_takes(&stage, &theirs, &other, "its own certificate").await;
    assert_refused(&stage, &theirs, &app, "another role's certificate").await;
    assert_refused(&stage, &mine, &other, "another role's certificate").await;
    let nameless = client(&stage, &theirs)
        .await
        .unwrap()
        .cert("cert")
        .login(None)
        .await;
    assert!(nameless.unwrap().policies.contains(&other), "it is who it is");

    // The servers' certificate is of another CA, and so is one that somebody made for this URI.
    let server = Held {
        cas: mine.cas.clone(),
        ..held(&stage, &names::tls_secret("main")).await.unwrap()
    };
    assert_refused(&stage, &server, &app, "a server's certificate").await;
    let uri = noted(&stage, "app").await.unwrap().uri;
    let forged = forged(&uri, &mine.cas);
    assert_refused(&stage, &forged, &app, "a certificate of another CA").await;

    // Another operator changes nothing.
    operator.stop().await;
    let points = Points::record();
    let operator = stage.start_operator(&points);
    operator.until_passes_of("VaultRole", 2).await.unwrap();
    let touched: Vec<Point> = points
        .seen()
        .into_iter()
        .filter(|p| {
            ["cert", "vaultroles", "secrets"]
                .iter()
                .any(|part| p.call.contains(part))
        })
        .filter(|p| !p.call.contains("<ca>") && !p.call.contains("<keys>") && !p.call.contains("main-tls"))
        .collect();
    assert!(
        touched.is_empty(),
        "a restart must change nothing, it did {touched:?}"
    );
    assert_eq!(held(&stage, SECRET).await.unwrap().certificate, mine.certificate);

    // A role that was made wider in Vault is put right.
    let mut wider = root.cert("cert").read_role(&app).await.unwrap();
    wider.allowed_uri_sans = vec!["*".to_owned()];
    root.cert("cert").write_role(&app, &wider).await.unwrap();
    assert_takes(&stage, &theirs, &app, "anybody, for now").await;
    touch(&stage, "app").await;
    wait::until_async("the role to be put right", DEADLINE, async || {
        let found = root.cert("cert").read_role(&app).await?;
        ensure!(
            found.allowed_uri_sans == [uri.clone()],
            "{:?}",
            found.allowed_uri_sans
        );
        Ok(())
    })
    .await
    .unwrap();
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_was_lost_or_taken_away_is_revoked_also_for_a_role_made_anew() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    create_role(&stage, "app", &json!({ "secretName": SECRET }))
        .await
        .unwrap();
    until_ready(&stage, "app").await.unwrap();
    let root = stage.root(0).await.unwrap();
    let app = names::vault_name(&stage.namespace, "app");
    write_wide(&stage, &root).await;
    let first = held(&stage, SECRET).await.unwrap();
    assert_takes(&stage, &first, WIDE, "a good certificate").await;

    // Edited by hand: a new one is stored, and who has the lost one does not get in.
    edit_secret(&stage, SECRET).await;
    touch(&stage, "app").await;
    let second = until_another(&stage, "app", &first).await;
    until_refused(&stage, &first, WIDE).await;
    assert_refused(&stage, &first, &app, "a lost certificate").await;
    assert_takes(&stage, &second, WIDE, "the new one").await;

    // Deleted by hand.
    secrets(&stage)
        .delete(SECRET, &DeleteParams::default())
        .await
        .unwrap();
    touch(&stage, "app").await;
    let third = until_another(&stage, "app", &second).await;
    until_refused(&stage, &second, WIDE).await;
    assert_refused(&stage, &first, WIDE, "the one before").await;

    // Somebody else's serial number in the status has nobody revoked.
    create_role(&stage, "other", &json!({ "secretName": "other-tls" }))
        .await
        .unwrap();
    until_ready(&stage, "other").await.unwrap();
    let theirs = held(&stage, "other-tls").await.unwrap();
    let number = serial(&stage, "other").await;
    let mut false_record = noted(&stage, "app").await.unwrap();
    for one in &mut false_record.issued {
        number.clone_into(&mut one.serial);
        one.revoked = true;
    }
    let change = json!({ "status": { "certificate": false_record } });
    roles(&stage)
        .patch_status("app", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    touch(&stage, "app").await;
    let fourth = until_another(&stage, "app", &third).await;
    until_refused(&stage, &third, WIDE).await;
    assert_takes(&stage, &theirs, WIDE, "who has nothing to do with it").await;

    // Another name of the Secret: the old one goes, and what was in it is revoked.
    patch_role(
        &stage,
        "app",
        &json!({ "spec": { "certificate": { "secretName": "renamed" } } }),
    )
    .await;
    until_ready(&stage, "app").await.unwrap();
    let fifth = held(&stage, "renamed").await.unwrap();
    assert_takes(&stage, &fifth, &app, "the one under the new name").await;
    until_refused(&stage, &fourth, WIDE).await;
    assert!(
        secrets(&stage).get_opt(SECRET).await.unwrap().is_none(),
        "the old name"
    );
    patch_role(
        &stage,
        "app",
        &json!({ "spec": { "certificate": { "secretName": SECRET } } }),
    )
    .await;
    until_ready(&stage, "app").await.unwrap();
    let sixth = held(&stage, SECRET).await.unwrap();

    // The auth method is removed with all that is in it: it comes back, and the list before any role.
    root.write("sys/auth/cert", &json!({ "type": "cert" }))
        .await
        .expect_err("it is there");
    root.delete("sys/auth/cert").await.unwrap();
    wait::until_async("the certificate to log in again", DEADLINE, async || {
        touch(&stage, "app").await;
        login(&stage, &sixth, &app).await??;
        Ok(())
    })
    .await
    .unwrap();
    write_wide(&stage, &root).await;
    for (lost, whose) in [(&first, "the first"), (&fifth, "the fifth")] {
        assert_refused(&stage, lost, WIDE, whose).await;
    }

    // The part is taken out of the spec: nothing of it is left.
    let change = json!({ "spec": { "certificate": null, "kubernetes": { "serviceAccounts": ["app"] } } });
    patch_role(&stage, "app", &change).await;
    until_ready(&stage, "app").await.unwrap();
    assert_refused(&stage, &sixth, WIDE, "a certificate that is not wanted any more").await;
    assert_nothing_left(&stage, &root).await.unwrap();
    let status = roles(&stage).get("app").await.unwrap().status.unwrap();
    assert_eq!(status.certificate, None, "nothing is known of it any more");

    // It comes again, goes with its VaultRole, and a role of the same name does not take the kept copy.
    patch_role(
        &stage,
        "app",
        &json!({ "spec": { "certificate": { "secretName": SECRET } } }),
    )
    .await;
    until_ready(&stage, "app").await.unwrap();
    let kept = held(&stage, SECRET).await.unwrap();
    assert_takes(&stage, &kept, &app, "the one that is kept").await;
    delete_role(&stage, "app").await.unwrap();
    assert_refused(&stage, &kept, WIDE, "the certificate of a deleted role").await;
    assert_nothing_left(&stage, &root).await.unwrap();
    create_role(&stage, "app", &json!({ "secretName": SECRET }))
        .await
        .unwrap();
    until_ready(&stage, "app").await.unwrap();
    assert_refused(&stage, &kept, &app, "the certificate of the former role").await;
    let last = held(&stage, SECRET).await.unwrap();
    assert_takes(&stage, &last, &app, "that of the new role").await;

    // Access taken away: everything goes, the object stays.
    let change = json!({ "spec": { "access": [] } });
    stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    until_refused(&stage, &last, WIDE).await;
    wait::until_async("nothing to be left", DEADLINE, async || {
        assert_nothing_left(&stage, &root).await?;
        let status = roles(&stage).get("app").await?.status.unwrap_or_default();
        ensure!(status.certificate.is_none(), "{:?}", status.certificate);
        Ok(())
    })
    .await
    .unwrap();
    delete_role(&stage, "app").await.unwrap();
    delete_role(&stage, "other").await.unwrap();
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

pub(super) async fn until_refused(stage: &Stage, held: &Held, role: &str) {
    wait::until_async("the certificate to be refused", DEADLINE, async || {
        match login(stage, held, role).await? {
            Err(Error::BadRequest { .. } | Error::Denied { .. }) => Ok(()),
            other => bail!("the answer is {:?}", other.map(|auth| auth.policies)),
        }
    })
    .await
    .unwrap();
}

pub(super) async fn assert_nothing_left(stage: &Stage, root: &Client) -> anyhow::Result<()> {
    let name = names::vault_name(&stage.namespace, "app");
    let there = root.cert("cert").list_roles().await?;
    ensure!(!there.contains(&name), "the certificate auth role is there");
    ensure!(
        secrets(stage).get_opt(SECRET).await?.is_none(),
        "the Secret is there"
    );
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends_and_a_client_is_refused_at_no_moment() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let short = json!({ "secretName": SECRET, "ttl": "1m", "renewBefore": "30s" });
    create_role(&stage, "app", &short).await.unwrap();
    until_ready(&stage, "app").await.unwrap();
    let app = names::vault_name(&stage.namespace, "app");
    let first = held(&stage, SECRET).await.unwrap();
    let root = stage.root(0).await.unwrap();
    write_wide(&stage, &root).await;

    // A client that reads the Secret each time, until two renewals have been seen and the first certificate has ended.
    let seen = RefCell::new(vec![first.certificate.clone()]);
    let logins = Cell::new(0);
    let patience = DEADLINE * 2;
    wait::until_async("two renewals and the end of the first", patience, async || {
        let now = held(&stage, SECRET).await?;
        assert_takes(&stage, &now, &app, "the certificate in the Secret").await;
        logins.set(logins.get() + 1);
        let is_new = !seen.borrow().contains(&now.certificate);
        if is_new {
            seen.borrow_mut().push(now.certificate);
        }
        let count = seen.borrow().len();
        if is_new && count == 2 {
            assert_takes(&stage, &first, &app, "who has not read the Secret again yet").await;
        }
        ensure!(count >= 3, "{count} certificates so far");
        match login(&stage, &first, &app).await? {
            // Vault answers 500 to one that has ended.
            Err(error) if error.is_answer() => Ok(()),
            other => bail!("the first is good still: {:?}", other.map(|auth| auth.policies)),
        }
    })
    .await
    .unwrap();
    assert!(logins.get() > 10, "there were only {} logins", logins.get());
    let record = noted(&stage, "app").await.unwrap();
    assert!(
        record.issued.iter().all(|one| !one.revoked),
        "what is renewed ends by itself: {record:?}"
    );
    root.revoke_self().await.unwrap();
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Whether a call changes something of the role.
fn about_the_role(point: &Point) -> bool {
    ["app", "vaultroles", "cert", "secrets"]
        .iter()
        .any(|part| point.call.contains(part))
        && !["<keys>", "main-tls", "auth/kubernetes/login"]
            .iter()
            .any(|part| point.call.contains(part))
}

#[tokio::test]
async fn an_operator_that_dies_at_any_call_leaves_a_certificate_that_works_and_none_that_should_not() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    operator.stop().await;
    let root = stage.root(0).await.unwrap();
    let wish = json!({ "secretName": SECRET });

    let points = Points::record();
    let operator = stage.start_operator(&points);
    create_role(&stage, "app", &wish).await.unwrap();
    until_ready(&stage, "app").await.unwrap();
    let making: Vec<Point> = points.seen().into_iter().filter(about_the_role).collect();
    write_wide(&stage, &root).await;
    let before = points.seen().len();
    delete_role(&stage, "app").await.unwrap();
    let taking: Vec<Point> = points.seen().split_off(before);
    let taking: Vec<Point> = taking.into_iter().filter(about_the_role).collect();
    operator.stop().await;
    println!("{making:#?} {taking:#?}");
    for (needed, table) in [
        ("auth/cert/certs", &making),
        ("secrets", &making),
        ("auth/cert/crls", &taking),
    ] {
        assert!(
            table.iter().any(|point| point.call.contains(needed)),
            "no call with {needed} in {table:?}"
        );
    }

    for point in making {
        for side in [Side::Before, Side::After] {
            die_while_it_is_made(&stage, &point, side, &wish)
                .await
                .with_context(|| format!("{side:?} {point}"))
                .unwrap();
        }
    }
    for point in taking {
        for side in [Side::Before, Side::After] {
            // Counted anew: each operator begins at one.
            let point = Point {
                occurrence: 1,
                ..point.clone()
            };
            die_while_it_goes(&stage, &root, &point, side, &wish)
                .await
                .with_context(|| format!("{side:?} {point}"))
                .unwrap();
        }
    }
    root.revoke_self().await.unwrap();
    stage.end().await.unwrap();
}

async fn die_while_it_is_made(stage: &Stage, point: &Point, side: Side, wish: &Value) -> anyhow::Result<()> {
    let points = Points::dying_at(point.clone(), side);
    let operator = stage.start_operator(&points);
    create_role(stage, "app", wish).await?;
    // A call is repeated, or not, as the operator's watch is behind or not; where it is not, it dies at Ready.
    let died = tokio::select! {
        reached = tokio::time::timeout(DEADLINE, points.reached()) => reached.is_ok(),
        ready = until_ready(stage, "app") => ready.is_ok(),
    };
    operator.kill().await;
    ensure!(died, "the point was never reached");
    let operator = stage.start_operator(&Points::record());
    until_ready(stage, "app").await?;
    let app = names::vault_name(&stage.namespace, "app");
    wait::until_async("a certificate that works and is known", DEADLINE, async || {
        let held = held(stage, SECRET).await?;
        login(stage, &held, &app).await??;
        let noted = noted(stage, "app").await?;
        ensure!(noted.issued.last().is_some_and(|one| !one.revoked), "{noted:?}");
        Ok(())
    })
    .await?;
    let kept = held(stage, SECRET).await?;
    delete_role(stage, "app").await?;
    assert_refused(stage, &kept, WIDE, "the certificate of a deleted role").await;
    operator.stop().await;
    Ok(())
}

async fn die_while_it_goes(
    stage: &Stage,
    root: &Client,
    point: &Point,
    side: Side,
    wish: &Value,
) -> anyhow::Result<()> {
    let operator = stage.start_operator(&Points::record());
    create_role(stage, "app", wish).await?;
    until_ready(stage, "app").await?;
    let kept = held(stage, SECRET).await?;
    operator.stop().await;
    roles(stage).delete("app", &DeleteParams::default()).await?;
    let points = Points::dying_at(point.clone(), side);
    let operator = stage.start_operator(&points);
    let died = tokio::select! {
        reached = tokio::time::timeout(DEADLINE, points.reached()) => reached.is_ok(),
        gone = until_gone(stage, "app") => gone.is_ok(),
    };
    operator.kill().await;
    ensure!(died, "the point was never reached");
    let operator = stage.start_operator(&Points::record());
    until_gone(stage, "app").await?;
    assert_refused(stage, &kept, WIDE, "the certificate of a deleted role").await;
    assert_nothing_left(stage, root).await?;
    operator.stop().await;
    Ok(())
}
