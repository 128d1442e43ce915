//! One namespace tries to read, take over or collide with what another has: all of it is refused, and Vault has no more
//! in it than before.

use std::collections::BTreeSet;

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vaultkeeper_crds::names;
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::Client;

use super::role_support::{Tenant, everything, writes};
use super::stage::{DEADLINE, Operator, Stage};

/// Two namespaces that may use one Vault, each with an operator that sees it.
struct Two {
    stage: Stage,
    root: Client,
    /// Who attacks: its namespace is the beginning of the other's name.
    mallory: Tenant,
    /// Who is to notice nothing, with the role `app` in place.
    victim: Tenant,
    operators: [Operator; 2],
}

async fn make_namespace(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// The points are those of the attacker's operator.
async fn two(stage: Stage, points: &std::sync::Arc<Points>) -> Two {
    let other = format!("{}-victim", stage.namespace);
    make_namespace(&stage, &other).await.unwrap();
    let access = json!([{
        "namespaces": [stage.namespace, other],
        "pathPrefixes": ["secret/data/{{namespace}}/"], "policies": ["shared"],
    }]);
    let configuration = json!({
        "secretsEngines": [{"path": "secret", "type": "kv", "options": {"version": "2"}}],
        "policies": [{"name": "shared", "hcl": "path \"secret/data/shared\" { capabilities = [\"read\"] }"}],
    });
    stage
        .create_cluster_with(1, json!({"access": access, "configuration": configuration}))
        .await
        .unwrap();
    let operators = [
        stage.start_operator(points),
        stage.start_operator_over(&Points::record(), &other),
    ];
    stage.until_available().await.unwrap();
    stage.create_account(&other, "app").await.unwrap();
    stage.create_account(&stage.namespace, "app").await.unwrap();
    let victim = Tenant::in_namespace(&stage, &other);
    victim
        .create("app", json!({"kubernetes": {"serviceAccounts": ["app"]}}))
        .await
        .unwrap();
    victim.until_ready("app").await.unwrap();
    let root = stage.root(0).await.unwrap();
    for path in [
        format!("secret/data/{other}/app"),
        format!("secret/data/{}/app", stage.namespace),
    ] {
        root.write(&path, &json!({"data": {"word": "hidden"}}))
            .await
            .unwrap();
    }
    Two {
        root,
        mallory: Tenant::of(&stage),
        victim,
        operators,
        stage,
    }
}

impl Two {
    async fn end(self) {
        let Self {
            stage,
            root,
            mallory: _,
            victim,
            operators,
        } = self;
        root.revoke_self().await.unwrap();
        for operator in operators {
            operator.stop().await;
        }
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        namespaces
            .delete(&victim.namespace, &kube::api::DeleteParams::default())
            .await
            .unwrap();
        stage.end().await.unwrap();
    }

    /// The victim logs in and reads its own, as ever.
    async fn assert_unharmed(&self) {
        let app = self.victim.log_in(&self.root, "app").await.unwrap();
        app.read(&format!("secret/data/{}/app", self.victim.namespace))
            .await
            .expect("the victim should read its own");
        app.lookup_self().await.expect("and look itself up");
    }
}

fn rules(rules: Value) -> Value {
    json!({ "policy": { "rules": rules } })
}

/// Paths with which a namespace might get at what is not its own.
fn paths(own: &str, other: &str) -> Vec<String> {
    vec![
        format!("secret/data/{other}/app"),
        format!("secret/data/{own}/../{other}/app"),
        format!("secret/data/{own}/./../{other}/app"),
        format!("secret/data/{own}/%2e%2e/{other}/app"),
        format!("secret/data/{own}//../{other}/app"),
        format!("/secret/data/{own}/app"),
        format!("secret/data/{}/app", own.to_uppercase()),
        format!("SECRET/data/{own}/app"),
        "secret/data/+/app".to_owned(),
        "secret/+/+/app".to_owned(),
        "+/data/*".to_owned(),
        "secret/data/*".to_owned(),
        format!("secret/data/{own}*"),
        format!("secret/data/{own}"),
        format!("secret/data/{own}-victim/*"),
        format!("secret/metadata/{own}/app"),
        // A letter of another alphabet that looks the same.
        format!("secret/d\u{430}ta/{own}/app"),
        format!("secret/data/{own}/{{{{identity.entity.aliases.x.name}}}}"),
        "secret/data/{{identity.entity.metadata.namespace}}/app".to_owned(),
        format!("secret/data/{own}/\" {{ capabilities = [\"sudo\"] }} path \"sys/*"),
        format!("sys/policies/acl/{other}.app"),
        "sys/policies/acl/vaultkeeper-operator".to_owned(),
        format!("auth/approle/role/{other}.app/secret-id"),
        format!("auth/kubernetes/role/{other}.app"),
        "*".to_owned(),
        "+".to_owned(),
        String::new(),
    ]
}

#[tokio::test]
async fn no_path_and_no_name_of_a_policy_leads_to_another_namespace() {
    // What our CRD refuses already must be refused by the operator, too.
    let stage = Stage::with_an_older_crd().await.unwrap();
    let points = Points::record();
    let two = two(stage, &points).await;
    let (own, other) = (&two.mallory.namespace, &two.victim.namespace);
    let before = everything(&two.root).await.unwrap();
    let seen = writes(&points);

    let mut attempts: Vec<(String, Value)> = paths(own, other)
        .into_iter()
        .filter(|path| !path.is_empty())
        .map(|path| {
            let fields = rules(json!([{"path": path, "capabilities": ["read"]}]));
            (path, fields)
        })
        .collect();
    for name in [
        format!("{other}.app"),
        format!("{other}.APP"),
        "root".to_owned(),
        "ROOT".to_owned(),
        "vaultkeeper-operator".to_owned(),
        "VaultKeeper-Operator".to_owned(),
        "shared,root".to_owned(),
        "shared root".to_owned(),
        " root".to_owned(),
        "sh\u{430}red".to_owned(),
        "share\u{212a}".to_owned(),
    ] {
        let policy = json!({"rules": [], "names": [name]});
        attempts.push((format!("policy {name}"), json!({ "policy": policy })));
    }
    for account in [
        "*",
        "a*",
        "app,other",
        &format!("{other}/app"),
        &format!("{other}:app"),
    ] {
        let login = json!({"kubernetes": {"serviceAccounts": [account]}, "appRole": null});
        attempts.push((format!("ServiceAccount {account}"), login));
    }
    for secret in [
        names::key_secret(own, "main"),
        names::ca_secret(own, "main"),
        format!("../{other}/app-credentials"),
        format!("{other}/app-credentials"),
    ] {
        let app_role = json!({"appRole": {"secretName": secret}});
        attempts.push((format!("Secret {secret}"), app_role));
    }
    let mut taken = Vec::new();
    for (number, (what, fields)) in attempts.iter().enumerate() {
        let name = format!("attempt-{number}");
        match two.mallory.create(&name, fields.clone()).await {
            Ok(_) => taken.push((name, what)),
            Err(kube::Error::Api(status)) if status.code == 422 => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }
    assert!(
        taken.len() > 30,
        "an API server with fewer rules takes {taken:?} only"
    );
    for (name, what) in taken {
        let (reason, message) = two.mallory.until_refused(&name).await.unwrap();
        assert!(
            ["NotAllowed", "InvalidSpec"].contains(&reason.as_str()) && message.contains("spec."),
            "{what}: {reason}: {message}"
        );
    }
    assert_eq!(writes(&points), seen, "nothing may be written to Vault");
    assert_eq!(
        everything(&two.root).await.unwrap(),
        before,
        "and nothing is there"
    );
    two.assert_unharmed().await;
    two.end().await;
}

#[tokio::test]
async fn a_tenant_with_a_role_of_its_own_gets_403_at_everything_of_another() {
    let stage = Stage::new().await.unwrap();
    let two = two(stage, &Points::record()).await;
    let (own, other) = (two.mallory.namespace.clone(), two.victim.namespace.clone());
    // All that it may ask for, and denials wherever it likes.
    let fields = json!({
        "policy": {"names": ["shared"], "rules": [
            {"path": format!("secret/data/{own}/*"), "capabilities": ["create", "read", "update", "patch", "delete", "list"]},
            {"path": format!("secret/data/{own}/+/x"), "capabilities": ["read"]},
            {"path": format!("secret/data/{other}/app"), "capabilities": ["deny"]},
            {"path": "sys/*", "capabilities": ["deny"]},
        ]},
        "kubernetes": {"serviceAccounts": ["app"]},
    });
    two.mallory.create("app", fields).await.unwrap();
    two.mallory.until_ready("app").await.unwrap();
    let app = two.mallory.log_in(&two.root, "app").await.unwrap();
    app.read(&format!("secret/data/{own}/app"))
        .await
        .expect("its own");

    let theirs = two.victim.vault_name("app");
    let mine = two.mallory.vault_name("app");
    for path in [
        format!("secret/data/{other}/app"),
        format!("secret/metadata/{other}/app"),
        format!("secret/data/{own}-victim/app"),
        format!("sys/policies/acl/{theirs}"),
        format!("auth/approle/role/{theirs}"),
        format!("auth/approle/role/{theirs}/role-id"),
        format!("auth/kubernetes/role/{theirs}"),
        // Nor may it look at, or change, what was made for itself.
        format!("sys/policies/acl/{mine}"),
        format!("auth/approle/role/{mine}"),
    ] {
        let error = app.read(&path).await.expect_err("must be denied");
        assert!(error.is_denied(), "read {path}: {error}");
        let error = app
            .write(
                &path,
                &json!({"data": {}, "policy": "path \"*\" { capabilities = [\"read\"] }"}),
            )
            .await
            .expect_err("must be denied");
        assert!(error.is_denied(), "write {path}: {error}");
    }
    let error = app
        .approle("approle")
        .list_secret_id_accessors(&theirs)
        .await
        .expect_err("must be denied");
    assert!(error.is_denied(), "{error}");

    // The ServiceAccounts have the same name: the namespace tells them apart.
    let auth = two.root.kubernetes("kubernetes");
    for (namespace, role, wanted) in [
        (&own, &mine, true),
        (&own, &theirs, false),
        (&other, &theirs, true),
        (&other, &mine, false),
    ] {
        let jwt = two.stage.token(namespace, "app", &[]).await.unwrap();
        let login = auth.login(role, &jwt).await;
        assert_eq!(
            login.is_ok(),
            wanted,
            "app of {namespace} as {role}: {:?}",
            login.err()
        );
    }
    two.assert_unharmed().await;
    two.end().await;
}

#[tokio::test]
async fn names_that_join_to_the_same_text_do_not_exist() {
    let stage = Stage::new().await.unwrap();
    let two = two(stage, &Points::record()).await;
    let (own, other) = (two.mallory.namespace.clone(), two.victim.namespace.clone());

    // `<namespace>.<name>`: the first dot ends the namespace, since no namespace holds one.
    let dotted = make_namespace(&two.stage, &format!("{own}.a")).await;
    assert!(dotted.is_err(), "no namespace holds a dot");
    let upper = two.mallory.create("App", json!({})).await;
    assert!(
        upper.is_err(),
        "no VaultRole has an upper-case name, which Vault would fold"
    );

    // The names that come nearest to the victim's: each is a policy and a role of its own.
    let near = ["victim.app", "app", "a.p-p", "a-p.p", "a.p.p"];
    for name in near {
        let path = format!("secret/data/{own}/{name}");
        let fields = rules(json!([{"path": path, "capabilities": ["read"]}]));
        two.mallory.create(name, fields).await.unwrap();
    }
    for name in near {
        two.mallory.until_ready(name).await.unwrap();
    }
    let policies: BTreeSet<String> = two.root.list_policies().await.unwrap().into_iter().collect();
    for name in near {
        let text = two.root.read_policy(&two.mallory.vault_name(name)).await.unwrap();
        assert!(
            text.contains(&format!("VaultRole {own}/{name}:")) && text.contains(&format!("/{own}/{name}\"")),
            "{name} has its own policy: {text}"
        );
    }
    let text = two.root.read_policy(&two.victim.vault_name("app")).await.unwrap();
    assert!(
        text.contains(&format!("VaultRole {other}/app:")),
        "the victim's is its own: {text}"
    );
    let of_roles = policies.iter().filter(|name| name.contains('.')).count();
    assert_eq!(
        of_roles,
        near.len() + 1,
        "one for each role, the victim's included: {policies:?}"
    );
    two.assert_unharmed().await;
    two.end().await;
}

async fn secret_of_somebody(tenant: &Tenant, name: &str) -> Secret {
    let secret =
        json!({"metadata": {"name": name}, "stringData": {"secret-id": "theirs", "role-id": "theirs"}});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    tenant
        .secrets()
        .create(&PostParams::default(), &secret)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_neither_read_nor_written_nor_removed() {
    let stage = Stage::new().await.unwrap();
    let two = two(stage, &Points::record()).await;
    let mallory = &two.mallory;
    let plain = secret_of_somebody(mallory, "plain").await;
    mallory.create("first", json!({})).await.unwrap();
    mallory.until_ready("first").await.unwrap();
    let first = mallory.secrets().get("first-credentials").await.unwrap();

    for (name, secret) in [("of-a-person", &plain), ("of-a-role", &first)] {
        let secret_name = secret.name_any();
        let fields = json!({"appRole": {"secretName": secret_name}});
        mallory.create(name, fields).await.unwrap();
        let message = mallory.until_unready(name, "NameTaken").await.unwrap();
        assert!(message.contains(&secret_name), "{name}: {message}");
        let ids = two
            .root
            .approle("approle")
            .list_secret_id_accessors(&mallory.vault_name(name))
            .await;
        assert!(
            ids.as_ref().map_or(true, Vec::is_empty),
            "{name}: a secret-id that nobody can get was made: {ids:?}"
        );
        mallory.delete(name).await.unwrap();
        let after = mallory.secrets().get(&secret_name).await.unwrap();
        assert_eq!(
            &after, secret,
            "{name}: the Secret stays as it was, also when the role goes"
        );
    }
    mallory
        .log_in(&two.root, "first")
        .await
        .expect("the first role's Secret still logs in");
    two.end().await;
}

#[tokio::test]
async fn a_role_that_is_made_anew_by_somebody_else_inherits_nothing_and_nobody_logs_in_with_the_old() {
    let stage = Stage::new().await.unwrap();
    let two = two(stage, &Points::record()).await;
    let mallory = &two.mallory;
    mallory.create("app", json!({})).await.unwrap();
    mallory.until_ready("app").await.unwrap();
    let (role_id, secret_id) = mallory.credentials("app-credentials").await.unwrap();
    mallory.delete("app").await.unwrap();

    // The Secret was removed with the role, or else it is not the new one's.
    mallory
        .create("app", json!({"appRole": {"secretName": "second"}}))
        .await
        .unwrap();
    mallory.until_ready("app").await.unwrap();
    let method = two.root.approle("approle");
    let old = method.login(&role_id, &secret_id).await;
    assert!(
        old.is_err(),
        "the credentials of the first role log in at the second"
    );
    let (role_id, secret_id) = mallory.credentials("second").await.unwrap();
    method.login(&role_id, &secret_id).await.expect("the new ones do");
    two.end().await;
}

#[tokio::test]
async fn a_namespace_that_loses_its_grant_keeps_nothing_and_one_that_never_had_it_gets_nothing() {
    let stage = Stage::new().await.unwrap();
    let two = two(stage, &Points::record()).await;
    let stranger = format!("{}-stranger", two.stage.namespace);
    make_namespace(&two.stage, &stranger).await.unwrap();
    let points = Points::record();
    let operator = two.stage.start_operator_over(&points, &stranger);
    let stranger = Tenant::in_namespace(&two.stage, &stranger);
    stranger.create("app", json!({})).await.unwrap();
    let (reason, message) = stranger.until_refused("app").await.unwrap();
    assert_eq!(reason, "NotAllowed", "{message}");
    assert_eq!(
        writes(&points),
        [""; 0],
        "nothing was written for a namespace that is not named"
    );
    operator.stop().await;

    let access =
        json!([{"namespaces": [two.mallory.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]}]);
    let change = json!({"spec": {"access": access}});
    two.stage
        .clusters()
        .patch("main", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
    // The victim's operator sees no VaultCluster of that namespace: an edit of the role wakes it.
    two.victim
        .patch(
            "app",
            json!({"metadata": {"annotations": {"test.invalid/touched": "1"}}}),
        )
        .await
        .unwrap();
    two.victim.until_refused("app").await.unwrap();
    let name = two.victim.vault_name("app");
    wait::until_async("what it had to be gone", DEADLINE, async || {
        let found = everything(&two.root).await?;
        ensure!(!found.iter().any(|thing| thing.contains(&name)), "{found:#?}");
        Ok(())
    })
    .await
    .unwrap();
    let namespaces: Api<Namespace> = Api::all(two.stage.client.clone());
    namespaces
        .delete(&stranger.namespace, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    two.end().await;
}
