//! What the tokens of VaultRoles are like, and who may log in as one.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use vaultkeeper_tests::points::Points;
use vaultkeeper_tests::wait;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::{Auth, Client, Error, ExposeSecret as _};

use super::stage::Stage;
use super::vault_role::{DEADLINE, Role, app_role_token, label, value};

const SECRET: &str = "app-credentials";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What Vault keeps of the tokens of both logins, which must be the same.
async fn kept(root: &Client, role: &Role<'_>) -> anyhow::Result<TokenParams> {
    let name = role.vault_name();
    let app_role = root.approle("approle").read_role(&name).await?.token;
    let kubernetes = root.kubernetes("kubernetes").read_role(&name).await?.token;
    ensure!(
        app_role == kubernetes,
        "AppRole has {app_role:?}, Kubernetes {kubernetes:?}"
    );
    Ok(app_role)
}

#[tokio::test]
async fn tokens_of_every_login_are_what_the_spec_says() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    stage.create_account(&stage.namespace, "app").await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    let token = json!({
        "ttl": "10m", "maxTtl": "1h", "explicitMaxTtl": "2h", "numUses": 7, "noDefaultPolicy": true,
        "boundCidrs": ["2001:DB8::/32", "127.0.0.0/8", "192.0.2.7/32"],
    });
    let logins = json!({
        "appRole": {"secretName": SECRET}, "kubernetes": {"serviceAccounts": ["app"]}, "token": token,
    });
    let role = Role::create(&stage, "app", logins).await.unwrap();
    role.until_ready().await.unwrap();
    let root = stage.root(0).await.unwrap();

    let found = app_role_token(&stage, &root, SECRET).await.unwrap();
    assert_eq!(found.kind, "service");
    assert_eq!(
        (found.creation_ttl, found.explicit_max_ttl, found.num_uses),
        (seconds(600), seconds(7200), 7),
        "{found:?}"
    );
    assert_eq!(found.policies, [role.vault_name()], "not the policy default");
    assert!(found.orphan, "a login's token has no parent");
    let name = role.vault_name();
    let jwt = stage.token(&stage.namespace, "app", &[]).await.unwrap();
    let login = root.kubernetes("kubernetes").login(&name, &jwt).await.unwrap();
    let of_pod = root.lookup_accessor(&login.accessor).await.unwrap();
    assert_eq!(
        (of_pod.creation_ttl, of_pod.explicit_max_ttl, of_pod.num_uses),
        (seconds(600), seconds(7200), 7),
        "{of_pod:?}"
    );
    let cidrs = kept(&root, &role).await.unwrap().bound_cidrs;
    assert_eq!(cidrs, ["127.0.0.0/8", "192.0.2.7", "2001:db8::/32"]);

    // What Vault reads back is what was written: the next look changes nothing.
    let before = points.seen().len();
    role.touch("once").await.unwrap();
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    let written: Vec<_> = points.seen().split_off(before);
    assert!(
        written.iter().all(|point| !point.call.contains(&name)),
        "nothing differs: {written:?}"
    );

    // A client elsewhere can do nothing with a token, and with its ServiceAccount gets none.
    // With the policy `default`, so that nothing else keeps it from looking itself up.
    role.change(json!({"token": {"boundCidrs": ["192.0.2.7"], "noDefaultPolicy": false}}))
        .await
        .unwrap();
    role.until_ready().await.unwrap();
    let role_id = value(&stage, SECRET, "role-id").await.unwrap();
    let secret_id = value(&stage, SECRET, "secret-id").await.unwrap();
    let login = root
        .approle("approle")
        .login(role_id.expose_secret(), &secret_id)
        .await
        .unwrap();
    let refused = root.with_token(&login.client_token).lookup_self().await;
    assert!(
        refused.as_ref().is_err_and(Error::is_denied),
        "this test is not at 192.0.2.7: {refused:?}"
    );
    let jwt = stage.token(&stage.namespace, "app", &[]).await.unwrap();
    let refused = root.kubernetes("kubernetes").login(&name, &jwt).await;
    assert!(
        refused.as_ref().is_err_and(Error::is_denied),
        "nor does it log in: {refused:?}"
    );

    // Every setting goes back to its default, and a batch token cannot be looked at by others.
    let batch = json!({"type": "Batch", "ttl": "5m", "maxTtl": null, "explicitMaxTtl": null, "numUses": null,
        "noDefaultPolicy": null, "boundCidrs": null});
    role.change(json!({"token": batch})).await.unwrap();
    role.until_ready().await.unwrap();
    let found = app_role_token(&stage, &root, SECRET).await.unwrap();
    assert_eq!(
        (found.kind.as_str(), found.creation_ttl, found.num_uses),
        ("batch", seconds(300), 0)
    );
    assert!(found.policies.contains(&"default".to_owned()), "{found:?}");
    assert_eq!(
        kept(&root, &role).await.unwrap().max_ttl,
        seconds(4 * 3600),
        "the default"
    );

    let periodic = json!({"type": "Service", "ttl": null, "period": "20m", "explicitMaxTtl": "1d"});
    role.change(json!({"token": periodic})).await.unwrap();
    role.until_ready().await.unwrap();
    let found = app_role_token(&stage, &root, SECRET).await.unwrap();
    assert_eq!(
        (found.kind.as_str(), found.period, found.creation_ttl),
        ("service", seconds(1200), seconds(1200)),
        "{found:?}"
    );
    operator.stop().await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_token_that_a_mount_would_bend_is_told_before_anything_is_written() {
    let stage = Stage::new().await.unwrap();
    stage.create_cluster(1).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();
    let nothing_is_there = async |role: &Role<'_>| {
        let name = role.vault_name();
        assert!(!root.list_policies().await.unwrap().contains(&name), "a policy");
        assert!(
            !root
                .approle("approle")
                .list_roles()
                .await
                .unwrap()
                .contains(&name),
            "a role"
        );
    };

    let day = json!({"appRole": {"secretName": SECRET}, "token": {"ttl": "1h", "maxTtl": "769h"}});
    let role = Role::create(&stage, "long", day).await.unwrap();
    let said = role.until("Ready", "MountDiffers").await.unwrap();
    for part in [
        "spec.token.maxTtl: 2768400 s",
        "auth/approle",
        "2764800 s",
        "maxLeaseTtl",
    ] {
        assert!(said.message.contains(part), "{part}: {}", said.message);
    }
    nothing_is_there(&role).await;
    role.change(json!({"token": {"maxTtl": "768h"}})).await.unwrap();
    role.until_ready().await.unwrap();

    // Of a mount that gives one kind alone.
    root.write("sys/auth/approle/tune", &json!({"token_type": "batch"}))
        .await
        .unwrap();
    let service = Role::create(&stage, "service", json!({"appRole": {"secretName": "service"}}))
        .await
        .unwrap();
    let said = service.until("Ready", "MountDiffers").await.unwrap();
    assert!(
        said.message.contains("spec.token.type") && said.message.contains("batch only"),
        "{}",
        said.message
    );
    nothing_is_there(&service).await;
    service.change(json!({"token": {"type": "Batch"}})).await.unwrap();
    service.until_ready().await.unwrap();
    let found = app_role_token(&stage, &root, "service").await.unwrap();
    assert_eq!(found.kind, "batch");
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Whether the account `app` of a namespace can log in, with a token for these audiences.
async fn logs_in(
    root: &Client,
    role: &Role<'_>,
    namespace: &str,
    audiences: &[&str],
) -> anyhow::Result<bool> {
    let jwt = role.stage.token(namespace, "app", audiences).await?;
    match root
        .kubernetes("kubernetes")
        .login(&role.vault_name(), &jwt)
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if error.is_denied() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn until_it_logs_in(
    root: &Client,
    role: &Role<'_>,
    namespace: &str,
    wanted: bool,
) -> anyhow::Result<()> {
    let what = format!("a login of {namespace} to be {wanted}");
    wait::until_async(&what, DEADLINE, async || {
        ensure!(logs_in(root, role, namespace, &[]).await? == wanted, "not yet");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn accounts_of_other_namespaces_log_in_where_the_cluster_names_these_and_nowhere_else() {
    let stage = Stage::new().await.unwrap();
    let friend = stage.another_namespace("friend").await.unwrap();
    let stranger = stage.another_namespace("stranger").await.unwrap();
    for namespace in [&stage.namespace, &friend, &stranger] {
        stage.create_account(namespace, "app").await.unwrap();
    }
    let access = |namespaces: &[&String]| -> Value {
        json!({"access": [
            {"namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"]},
            {"namespaces": namespaces},
        ]})
    };
    stage.create_cluster_with(1, access(&[&friend])).await.unwrap();
    let operator = stage.start_operator(&Points::record());
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();

    // A namespace that the cluster gives nothing: refused, and nothing is written.
    let named = |namespaces: &[&String]| json!({"serviceAccounts": ["app"], "namespaces": namespaces});
    let role = Role::create(&stage, "app", json!({"kubernetes": named(&[&friend, &stranger])}))
        .await
        .unwrap();
    let said = role.until("Ready", "NotAllowed").await.unwrap();
    assert!(
        said.message.contains("spec.kubernetes.namespaces[1]") && said.message.contains(&stranger),
        "{}",
        said.message
    );
    let name = role.vault_name();
    let names = root.kubernetes("kubernetes").list_roles().await.unwrap();
    assert!(!names.contains(&name), "nothing is to be in Vault: {names:?}");
    assert!(!root.list_policies().await.unwrap().contains(&name));

    role.change(json!({"kubernetes": named(&[&friend])}))
        .await
        .unwrap();
    role.until_ready().await.unwrap();
    for (namespace, wanted) in [(&stage.namespace, true), (&friend, true), (&stranger, false)] {
        assert_eq!(
            logs_in(&root, &role, namespace, &[]).await.unwrap(),
            wanted,
            "{namespace}"
        );
    }

    // By labels: of those that are granted, as they are at any time.
    let selector = json!({"namespaces": null, "namespaceSelector": {"matchLabels": {"team": "a"}}});
    role.change(json!({"kubernetes": selector})).await.unwrap();
    role.until_ready().await.unwrap();
    assert!(
        !logs_in(&root, &role, &friend, &[]).await.unwrap(),
        "it has no label"
    );
    for namespace in [&friend, &stranger] {
        label(&stage, namespace, json!({"team": "a"})).await.unwrap();
    }
    until_it_logs_in(&root, &role, &friend, true).await.unwrap();
    assert!(
        !logs_in(&root, &role, &stranger, &[]).await.unwrap(),
        "a label gives nothing that the cluster does not"
    );
    // The status follows the write.
    role.until_ready().await.unwrap();
    wait::until_async("the namespaces to be told", DEADLINE, async || {
        let told = role.api().get("app").await?.status.unwrap_or_default().namespaces;
        ensure!(
            told.contains(&friend) && !told.contains(&stranger),
            "told are {told:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    // The cluster's owner grants the stranger something: now its label counts; and takes it away again.
    let grant = async |namespaces: &[&String]| {
        let change = json!({"spec": access(namespaces)});
        let params = PatchParams::default();
        stage
            .clusters()
            .patch("main", &params, &Patch::Merge(&change))
            .await
            .unwrap();
    };
    grant(&[&friend, &stranger]).await;
    until_it_logs_in(&root, &role, &stranger, true).await.unwrap();
    grant(&[&friend]).await;
    until_it_logs_in(&root, &role, &stranger, false).await.unwrap();
    label(&stage, &friend, json!({"team": null})).await.unwrap();
    until_it_logs_in(&root, &role, &friend, false).await.unwrap();
    assert!(
        logs_in(&root, &role, &stage.namespace, &[]).await.unwrap(),
        "always"
    );

    // An audience of one's own.
    let change =
        json!({"namespaceSelector": null, "audience": "vault", "aliasNameSource": "ServiceAccountName"});
    role.change(json!({"kubernetes": change})).await.unwrap();
    role.until_ready().await.unwrap();
    assert!(!logs_in(&root, &role, &stage.namespace, &[]).await.unwrap());
    assert!(logs_in(&root, &role, &stage.namespace, &["vault"]).await.unwrap());
    let kept = root.kubernetes("kubernetes").read_role(&name).await.unwrap();
    assert_eq!(
        kept.alias_name_source,
        vaultkeeper_vault::auth::kubernetes::AliasNameSource::ServiceaccountName
    );
    assert_eq!(
        kept.bound_service_account_namespaces,
        [stage.namespace.as_str()],
        "what is not in the spec any more is not in Vault"
    );
    role.delete().await.unwrap();
    let left = root.kubernetes("kubernetes").list_roles().await.unwrap();
    assert!(!left.contains(&name), "it goes with its VaultRole");
    operator.stop().await;
    stage.end().await.unwrap();
}

/// Logs in by name and password, or with a token of a provider.
async fn login_at(root: &Client, path: &str, body: &Value) -> anyhow::Result<Option<Auth>> {
    match root.without_token().write(path, body).await {
        Ok(answer) => Ok(answer.and_then(|answer| answer.auth)),
        Err(error) if error.is_denied() || matches!(error, Error::BadRequest { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn people_and_ci_log_in_at_the_methods_that_the_cluster_declares_and_grants() {
    let stage = Stage::new().await.unwrap();
    let keys = stage.service_account_key().await.unwrap();
    for account in ["app", "other"] {
        stage.create_account(&stage.namespace, account).await.unwrap();
    }
    let fields = json!({
        "configuration": {"authMethods": [
            {"path": "people", "type": "userpass"},
            {"path": "ci", "type": "jwt", "jwt": {"publicKeys": [keys]}},
            {"path": "secretive", "type": "jwt", "jwt": {"publicKeys": [keys]}},
        ]},
        "access": [{
            "namespaces": [stage.namespace], "pathPrefixes": ["secret/data/{{namespace}}/"],
            "authMethods": ["people", "ci", "absent"],
        }],
    });
    stage.create_cluster_with(1, fields).await.unwrap();
    let points = Points::record();
    let operator = stage.start_operator(&points);
    stage.until_available().await.unwrap();
    let root = stage.root(0).await.unwrap();

    // A person, whose password is not there at first.
    let person =
        json!({"userpass": {"path": "people", "passwordSecret": {"name": "ana"}}, "token": {"ttl": "10m"}});
    let ana = Role::create(&stage, "ana", person).await.unwrap();
    ana.until("Ready", "PasswordMissing").await.unwrap();
    let user = ana.vault_name();
    assert!(
        root.read(&format!("auth/people/users/{user}")).await.is_err(),
        "nothing is written"
    );
    assert!(!root.list_policies().await.unwrap().contains(&user));
    let set = async |password: &str| {
        let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ana"}, "stringData": {"password": password}});
        let params = PatchParams::apply("test").force();
        api.patch("ana", &params, &Patch::Apply(&secret)).await.unwrap();
    };
    let path = format!("auth/people/login/{user}");
    let tries = async |password: &str| {
        login_at(&root, &path, &json!({"password": password}))
            .await
            .unwrap()
    };
    set("correct horse\n").await;
    ana.touch("password").await.unwrap();
    ana.until_ready().await.unwrap();
    let login = tries("correct horse").await.expect("the password is right");
    assert!(login.policies.contains(&user), "{login:?}");
    assert_eq!(login.lease_duration, seconds(600));
    assert!(tries("wrong").await.is_none());
    let shown = serde_json::to_string(&ana.api().get("ana").await.unwrap()).unwrap();
    assert!(!shown.contains("horse"), "{shown}");

    // At rest nothing is written; a changed Secret is.
    let before = points.seen().len();
    ana.touch("again").await.unwrap();
    operator.until_passes_of("VaultRole", 1).await.unwrap();
    let written = points.seen().split_off(before);
    assert!(
        written.iter().all(|point| !point.call.contains("auth/people")),
        "{written:?}"
    );
    let version = async || {
        ana.api()
            .get("ana")
            .await
            .map(|role| role.status?.password_version)
    };
    let former = version().await.unwrap();
    set("battery staple").await;
    ana.touch("changed").await.unwrap();
    // No login until then: Vault locks out who tries wrong passwords.
    wait::until_async("the new password to be written", DEADLINE, async || {
        let now = version().await?;
        ensure!(now.is_some() && now != former, "it is of {now:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert!(tries("battery staple").await.is_some(), "the new one counts");
    assert!(tries("correct horse").await.is_none(), "the old one is gone");

    // A CI job: the API server is the provider, a ServiceAccount its subject.
    let subject = format!("system:serviceaccount:{}:app", stage.namespace);
    let bound = json!({"path": "ci", "boundAudiences": ["ci"], "boundSubject": subject});
    let job = Role::create(&stage, "job", json!({"jwt": bound, "token": {"type": "Batch"}}))
        .await
        .unwrap();
    job.until_ready().await.unwrap();
    let name = job.vault_name();
    let runs = async |account: &str, audience: &str| {
        let jwt = stage.token(&stage.namespace, account, &[audience]).await.unwrap();
        let body = json!({"role": name, "jwt": jwt.expose_secret()});
        login_at(&root, "auth/ci/login", &body).await.unwrap()
    };
    let login = runs("app", "ci").await.expect("its own token");
    assert_eq!(login.token_type, "batch");
    assert!(runs("other", "ci").await.is_none(), "another subject");
    assert!(runs("app", "elsewhere").await.is_none(), "another audience");

    // A bound that somebody took away comes back.
    let role_path = format!("auth/ci/role/{name}");
    let wider =
        json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["ci"], "bound_subject": ""});
    root.write(&role_path, &wider).await.unwrap();
    assert!(runs("other", "ci").await.is_some(), "the change has its effect");
    job.touch("drift").await.unwrap();
    wait::until_async("the bound to be back", DEADLINE, async || {
        ensure!(runs("other", "ci").await.is_none(), "not yet");
        Ok(())
    })
    .await
    .unwrap();
    let claims =
        json!({"boundSubject": null, "boundClaims": {"/kubernetes.io/namespace": [stage.namespace]}});
    job.change(json!({ "jwt": claims })).await.unwrap();
    job.until_ready().await.unwrap();
    assert!(runs("other", "ci").await.is_some(), "of that namespace");

    // What is not granted, not declared, or of another kind.
    for (path, reason, part) in [
        ("secretive", "NotAllowed", "spec.access[].authMethods"),
        ("absent", "InvalidSpec", "spec.configuration.authMethods"),
        ("people", "InvalidSpec", "is of type userpass"),
    ] {
        let name = ["secretive", "absent", "people"]
            .into_iter()
            .find(|name| *name == path)
            .unwrap();
        let login = json!({"jwt": {"path": path, "boundAudiences": ["ci"], "boundSubject": "x"}});
        let role = Role::create(&stage, name, login).await.unwrap();
        let said = role.until("Ready", reason).await.unwrap();
        assert!(said.message.contains(part), "{path}: {}", said.message);
        let name = role.vault_name();
        assert!(
            !root.list_policies().await.unwrap().contains(&name),
            "nothing is written"
        );
    }

    // Out of the spec, out of Vault; and with the VaultRole.
    let change = json!({"jwt": null, "appRole": {"secretName": "job"}});
    job.change(change).await.unwrap();
    job.until_ready().await.unwrap();
    let gone = root.read(&role_path).await;
    assert!(gone.as_ref().is_err_and(Error::is_not_found), "{gone:?}");
    ana.delete().await.unwrap();
    let gone = root.read(&format!("auth/people/users/{user}")).await;
    assert!(gone.as_ref().is_err_and(Error::is_not_found), "{gone:?}");
    operator.stop().await;
    stage.end().await.unwrap();
}
