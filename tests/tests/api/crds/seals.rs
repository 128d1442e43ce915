//! What a VaultCluster may say of its storage and its seal: each rule with a spec that it refuses and the neighbour
//! that it takes.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultCluster;

use super::{Expect, Refused, Taken, check, check_updates, cluster, merge};

/// A spec with this seal only.
fn seal(seal: Value) -> Value {
    json!({"spec": {"seal": seal}})
}

fn secret() -> Value {
    json!({"name": "unseal", "key": "token"})
}

fn transit(change: Value) -> Value {
    let mut transit = json!({"address": "https://kms.test:8200", "keyName": "auto", "tokenSecret": secret()});
    merge(&mut transit, &change);
    seal(json!({"transit": transit}))
}

fn aws(change: Value) -> Value {
    let mut aws = json!({"region": "eu-central-1", "kmsKeyId": "alias/vault"});
    merge(&mut aws, &change);
    seal(json!({"awskms": aws}))
}

fn gcp(change: Value) -> Value {
    let mut gcp = json!({"project": "p", "region": "global", "keyRing": "r", "cryptoKey": "k"});
    merge(&mut gcp, &change);
    seal(json!({"gcpckms": gcp}))
}

fn azure(change: Value) -> Value {
    let mut azure = json!({"vaultName": "v", "keyName": "k"});
    merge(&mut azure, &change);
    seal(json!({"azurekeyvault": azure}))
}

fn oci(change: Value) -> Value {
    let mut oci = json!({"keyId": "ocid1.key.oc1.x.y", "cryptoEndpoint": "https://c", "managementEndpoint": "https://m"});
    merge(&mut oci, &change);
    seal(json!({"ocikms": oci}))
}

fn bao(mut change: Value) -> Value {
    change["spec"]["distribution"] = json!("OpenBao");
    change
}

fn static_key(change: Value) -> Value {
    let mut key = json!({"current": {"id": "b", "secret": secret()}});
    merge(&mut key, &change);
    seal(json!({"static": key}))
}

fn hsm(change: Value) -> Value {
    let mut hsm = json!({"lib": "/usr/lib/hsm.so", "slot": "0", "pinSecret": secret(), "keyLabel": "root"});
    merge(&mut hsm, &change);
    seal(json!({"pkcs11": hsm}))
}

async fn taken_and_refused(cases: Vec<(Value, Expect)>) {
    check(&ApiResource::erase::<VaultCluster>(&()), &cluster(), cases).await;
}

#[tokio::test]
async fn a_seal_is_of_exactly_one_kind_with_its_own_keys() {
    let both =
        seal(json!({"shamir": {"shares": 3, "threshold": 2}, "awskms": {"region": "r", "kmsKeyId": "k"}}));
    let recovery = |shares: i32, threshold: i32| {
        let mut spec = aws(json!({}));
        spec["spec"]["seal"]["recovery"] = json!({"shares": shares, "threshold": threshold});
        spec
    };
    let mut of_shamir = seal(json!({"shamir": {"shares": 3, "threshold": 2}}));
    let one_kind = Refused("spec.seal must name exactly one known kind: shamir, transit");
    let cases = vec![
        (seal(json!({"wax": {}})), one_kind),
        (both, Refused("spec.seal must name exactly one known kind")),
        (of_shamir.clone(), Taken),
        (
            {
                of_shamir["spec"]["seal"]["recovery"] = json!({});
                of_shamir
            },
            Refused("spec.seal.recovery does not go with shamir"),
        ),
        (recovery(3, 3), Taken),
        (
            recovery(3, 4),
            Refused("spec.seal.recovery.threshold must not be larger than spec.seal.recovery.shares"),
        ),
        (recovery(2, 2), Taken),
        (
            recovery(2, 1),
            Refused("spec.seal.recovery.threshold must be at least 2 when there are several shares"),
        ),
        (recovery(1, 1), Taken),
        (aws(json!({})), Taken),
        (
            static_key(json!({})),
            Refused("spec.seal.static needs distribution OpenBao"),
        ),
        (bao(static_key(json!({}))), Taken),
        (
            hsm(json!({})),
            Refused("spec.seal.pkcs11 needs distribution OpenBao or an HSM build"),
        ),
        (bao(hsm(json!({}))), Taken),
        (
            {
                let mut enterprise = hsm(json!({}));
                enterprise["spec"]["version"] = json!("1.21.1+ent.hsm");
                enterprise["spec"]["image"] = json!("mirror/vault:1.21.1-ent.hsm");
                enterprise
            },
            Taken,
        ),
    ];
    taken_and_refused(cases).await;
}

#[tokio::test]
async fn a_transit_seal_that_cannot_work_is_refused_in_words() {
    let secret = |change: Value| transit(json!({"tokenSecret": change}));
    let cases = vec![
        (transit(json!({})), Taken),
        (transit(json!({"address": "https://[::1]:8200"})), Taken),
        (
            transit(json!({"address": "http://kms.test:8200"})),
            Refused("spec.seal.transit.address must be a URL such as https://vault.example.com:8200: https"),
        ),
        (
            transit(json!({"address": "https://kms.test:8200/v1"})),
            Refused("spec.seal.transit.address must be a URL"),
        ),
        (transit(json!({"mountPath": "team/transit"})), Taken),
        (
            transit(json!({"mountPath": "/transit"})),
            Refused("spec.seal.transit.mountPath must be a mount path such as transit/"),
        ),
        (
            transit(json!({"keyName": "a/b"})),
            Refused("spec.seal.transit.keyName must be the name of a key"),
        ),
        (transit(json!({"keyName": "a-b"})), Taken),
        (transit(json!({"namespace": "team/unseal"})), Taken),
        (
            transit(json!({"namespace": "team\"unseal"})),
            Refused("spec.seal.transit.namespace must be a path of namespaces"),
        ),
        (transit(json!({"tlsServerName": "kms.test"})), Taken),
        (
            transit(json!({"tlsServerName": "kms test"})),
            Refused("spec.seal.transit.tlsServerName must be a DNS name"),
        ),
        (transit(json!({"clientCertificateSecret": "pair"})), Taken),
        (
            transit(json!({"clientCertificateSecret": "Pair"})),
            Refused("spec.seal.transit.clientCertificateSecret must be the name of a Secret"),
        ),
        (
            transit(json!({"clientCertificateSecret": "vault-keys.a.b"})),
            Refused(
                "spec.seal.transit.clientCertificateSecret must not be that of a Secret in which the operator keeps keys",
            ),
        ),
        (
            transit(json!({"tokenSecret": null})),
            Refused("tokenSecret: Required value"),
        ),
        (
            secret(json!({"name": "Unseal"})),
            Refused("name must be the name of a Secret in the namespace of the VaultCluster"),
        ),
        (
            secret(json!({"name": "vault-keys.prod.main"})),
            Refused("name must not be that of a Secret in which the operator keeps keys"),
        ),
        (
            secret(json!({"name": "vault-ca.prod.main"})),
            Refused("name must not be that of a Secret in which the operator keeps keys"),
        ),
        (secret(json!({"name": "vault-keys"})), Taken),
        (
            secret(json!({"key": "a/b"})),
            Refused("key must be a key of that Secret"),
        ),
    ];
    taken_and_refused(cases).await;
}

#[tokio::test]
async fn a_seal_of_a_cloud_that_cannot_work_is_refused_in_words() {
    let both = json!({"tenantId": "t", "clientId": "c", "clientSecret": secret()});
    let cases = vec![
        (
            aws(json!({"region": null})),
            Refused("spec.seal.awskms.region: Required value"),
        ),
        (
            aws(json!({"region": "EU"})),
            Refused("spec.seal.awskms.region must be a region such as"),
        ),
        (
            aws(json!({"kmsKeyId": "arn:aws:kms:eu-central-1:1:key/1-2"})),
            Taken,
        ),
        (
            aws(json!({"kmsKeyId": "a\"b"})),
            Refused("spec.seal.awskms.kmsKeyId must be the id, the ARN or the alias"),
        ),
        (aws(json!({"endpoint": "https://kms.test"})), Taken),
        (
            aws(json!({"endpoint": "http://kms.test"})),
            Refused("spec.seal.awskms.endpoint must be a URL"),
        ),
        (aws(json!({"credentialsSecret": "aws"})), Taken),
        (
            aws(json!({"credentialsSecret": "A"})),
            Refused("spec.seal.awskms.credentialsSecret must be the name of a Secret"),
        ),
        (
            aws(json!({"credentialsSecret": "vault-keys.a.b"})),
            Refused(
                "spec.seal.awskms.credentialsSecret must not be that of a Secret in which the operator keeps keys",
            ),
        ),
        (aws(json!({"credentialsSecret": "vault-keys"})), Taken),
        (
            oci(json!({"credentialsSecret": "vault-ca.a.b"})),
            Refused(
                "spec.seal.ocikms.credentialsSecret must not be that of a Secret in which the operator keeps keys",
            ),
        ),
        (
            gcp(json!({"credentialsSecret": {"name": "vault-keys.a.b", "key": "k"}})),
            Refused("name must not be that of a Secret in which the operator keeps keys"),
        ),
        (gcp(json!({"credentialsSecret": secret()})), Taken),
        (
            gcp(json!({"project": "P"})),
            Refused("spec.seal.gcpckms.project must be the id of a project"),
        ),
        (
            gcp(json!({"region": "a/b"})),
            Refused("spec.seal.gcpckms.region must be a location"),
        ),
        (
            gcp(json!({"keyRing": "a/b"})),
            Refused("spec.seal.gcpckms.keyRing must be the name of a key ring"),
        ),
        (
            gcp(json!({"cryptoKey": "a/b"})),
            Refused("spec.seal.gcpckms.cryptoKey must be the name of a key"),
        ),
        (azure(json!({})), Taken),
        (azure(both), Taken),
        (
            azure(json!({"tenantId": "t", "clientSecret": secret()})),
            Refused("spec.seal.azurekeyvault.clientSecret needs tenantId and clientId beside it"),
        ),
        (
            azure(json!({"vaultName": "https://v"})),
            Refused("spec.seal.azurekeyvault.vaultName must be the name of a key vault, not its URL"),
        ),
        (
            azure(json!({"keyName": "a b"})),
            Refused("spec.seal.azurekeyvault.keyName must be the name of a key"),
        ),
        (
            azure(json!({"tenantId": "a b"})),
            Refused("spec.seal.azurekeyvault.tenantId must be the id of a tenant"),
        ),
        (
            azure(json!({"clientId": "a b"})),
            Refused("spec.seal.azurekeyvault.clientId must be the id of an application"),
        ),
        (azure(json!({"environment": "AZUREUSGOVERNMENTCLOUD"})), Taken),
        (
            azure(json!({"environment": "a b"})),
            Refused("spec.seal.azurekeyvault.environment must be the name of a cloud"),
        ),
        (oci(json!({"credentialsSecret": "oci"})), Taken),
        (
            oci(json!({"credentialsSecret": "O"})),
            Refused("spec.seal.ocikms.credentialsSecret must be the name of a Secret"),
        ),
        (
            oci(json!({"keyId": "key"})),
            Refused("spec.seal.ocikms.keyId must be the OCID of a key"),
        ),
        (
            oci(json!({"cryptoEndpoint": "c"})),
            Refused("spec.seal.ocikms.cryptoEndpoint must be a URL"),
        ),
        (
            oci(json!({"managementEndpoint": "m"})),
            Refused("spec.seal.ocikms.managementEndpoint must be a URL"),
        ),
    ];
    taken_and_refused(cases).await;
}

#[tokio::test]
async fn a_seal_with_a_key_of_ones_own_that_cannot_work_is_refused_in_words() {
    let previous = |id: &str| json!({"previous": {"id": id, "secret": secret()}});
    let cases = vec![
        (bao(static_key(previous("a"))), Taken),
        (
            bao(static_key(previous("b"))),
            Refused("spec.seal.static.previous must have another id than current"),
        ),
        (
            bao(static_key(json!({"current": {"id": "a b"}}))),
            Refused("id may hold letters, digits, - _ and . only"),
        ),
        (bao(hsm(json!({"slot": null, "tokenLabel": "Open Bao"}))), Taken),
        (
            bao(hsm(json!({"slot": null, "tokenLabel": "\"", }))),
            Refused("spec.seal.pkcs11.tokenLabel may hold letters"),
        ),
        (
            bao(hsm(json!({"tokenLabel": "Bao"}))),
            Refused("spec.seal.pkcs11 must hold either slot or tokenLabel"),
        ),
        (
            bao(hsm(json!({"slot": null}))),
            Refused("spec.seal.pkcs11 must hold either slot or tokenLabel"),
        ),
        (
            bao(hsm(json!({"slot": "0x1"}))),
            Refused("spec.seal.pkcs11.slot must be a decimal number"),
        ),
        (
            bao(hsm(json!({"lib": "hsm.so"}))),
            Refused("spec.seal.pkcs11.lib must be an absolute path"),
        ),
        (
            bao(hsm(json!({"keyLabel": "\""}))),
            Refused("spec.seal.pkcs11.keyLabel may hold letters"),
        ),
        (bao(hsm(json!({"mechanism": "0x1087"}))), Taken),
        (
            bao(hsm(json!({"mechanism": "AES"}))),
            Refused("spec.seal.pkcs11.mechanism must be a number such as 0x1087"),
        ),
        (bao(hsm(json!({"hmacKeyLabel": "mac"}))), Taken),
        (
            bao(hsm(json!({"hmacKeyLabel": "\""}))),
            Refused("spec.seal.pkcs11.hmacKeyLabel may hold letters"),
        ),
    ];
    taken_and_refused(cases).await;
}

#[tokio::test]
async fn a_storage_that_cannot_work_is_refused_in_words() {
    let stored = |storage: Value| json!({"spec": {"storage": storage}});
    let consul = |change: Value| {
        let mut consul = json!({"address": "https://consul.test:8501"});
        merge(&mut consul, &change);
        json!({"spec": {"storage": {"raft": null, "consul": consul}}})
    };
    let with = |mut spec: Value, change: Value| {
        merge(&mut spec["spec"], &change);
        spec
    };
    let memory = stored(json!({"raft": null, "ephemeral": {}}));
    let development = json!({"profile": "Development", "replicas": 1});
    let plain = consul(json!({"address": "http://consul.test:8500"}));
    let registered = |change: Value| consul(json!({"serviceRegistration": change}));
    let cases = vec![
        (
            stored(json!({"raft": null, "floppy": {}})),
            Refused("spec.storage must name exactly one known backend: raft, consul or ephemeral"),
        ),
        (
            stored(json!({"consul": {"address": "https://c:8501"}})),
            Refused("spec.storage must name exactly one known backend"),
        ),
        (with(memory.clone(), development.clone()), Taken),
        (
            memory.clone(),
            Refused("spec.storage.ephemeral is allowed only in profile Development"),
        ),
        (
            with(memory, json!({"profile": "Development", "replicas": 3})),
            Refused("spec.replicas must be 1 with spec.storage.ephemeral"),
        ),
        (consul(json!({})), Taken),
        (with(consul(json!({})), json!({"replicas": 4})), Taken),
        (
            bao(consul(json!({}))),
            Refused("spec.storage.consul needs distribution Vault"),
        ),
        (
            plain.clone(),
            Refused("spec.storage.consul.address must start with https:// in profile Hardened"),
        ),
        (with(plain.clone(), development.clone()), Taken),
        (
            with(
                plain,
                json!({"profile": "Development", "storage": {"consul": {"tls": {}}}}),
            ),
            Refused("spec.storage.consul.tls needs an address that starts with https://"),
        ),
        (
            consul(json!({"tls": {"caSecret": secret(), "clientCertificateSecret": "pair"}})),
            Taken,
        ),
        (
            consul(json!({"tls": {"clientCertificateSecret": "vault-ca.a.b"}})),
            Refused(
                "spec.storage.consul.tls.clientCertificateSecret must not be that of a Secret in which the operator keeps keys",
            ),
        ),
        (
            consul(json!({"tls": {"clientCertificateSecret": "Pair"}})),
            Refused("spec.storage.consul.tls.clientCertificateSecret must be the name of a Secret"),
        ),
        (
            consul(json!({"address": "consul.test:8501"})),
            Refused("spec.storage.consul.address must be a URL such as"),
        ),
        (consul(json!({"path": "team/vault/"})), Taken),
        (
            consul(json!({"path": "team/vault"})),
            Refused("spec.storage.consul.path must be a path such as vault/"),
        ),
        (
            consul(json!({"path": "/vault/"})),
            Refused("spec.storage.consul.path must be a path such as vault/"),
        ),
        (consul(json!({"sessionTtl": "10s"})), Taken),
        (
            consul(json!({"sessionTtl": "9s"})),
            Refused("spec.storage.consul.sessionTtl must be a duration from 10s to 24h"),
        ),
        (
            consul(json!({"sessionTtl": "soon"})),
            Refused("spec.storage.consul.sessionTtl must be a duration"),
        ),
        (
            registered(json!({"service": "vault-main", "tags": ["a=b"]})),
            Taken,
        ),
        (
            registered(json!({"service": "vault.main"})),
            Refused(
                "spec.storage.consul.serviceRegistration.service may hold letters, digits and dashes only",
            ),
        ),
        (
            registered(json!({"tags": ["a,b"]})),
            Refused("spec.storage.consul.serviceRegistration.tags may hold"),
        ),
        (registered(json!({"enabled": false})), Taken),
    ];
    taken_and_refused(cases).await;
}

/// Creates the cluster, changed like `with`, and asks for each change of it.
async fn changed(with: Value, cases: Vec<(Value, Expect)>) {
    let mut object = cluster();
    merge(&mut object, &with);
    // The operator of this tier's other tests must not work on it.
    merge(&mut object, &json!({"spec": {"paused": true}}));
    check_updates(&ApiResource::erase::<VaultCluster>(&()), &object, cases).await;
}

#[tokio::test]
async fn a_change_that_would_lose_the_data_is_refused_with_the_reason() {
    let other_kind = Refused("spec.seal cannot be changed from one kind to another at once");
    changed(
        transit(json!({})),
        vec![
            (transit(json!({"address": "https://other.test:8200"})), Taken),
            (
                transit(json!({"keyName": "other"})),
                Refused("spec.seal.transit.mountPath and keyName cannot be changed"),
            ),
            (
                transit(json!({"mountPath": "other/"})),
                Refused("spec.seal.transit.mountPath and keyName cannot be changed"),
            ),
            (
                json!({"spec": {"seal": {"transit": null, "awskms": {"region": "r", "kmsKeyId": "k"}}}}),
                other_kind,
            ),
            (
                json!({"spec": {"seal": {"recovery": {"shares": 3, "threshold": 2}}}}),
                Refused("spec.seal.recovery cannot be changed after creation"),
            ),
        ],
    )
    .await;
    let mut with_recovery = gcp(json!({}));
    with_recovery["spec"]["seal"]["recovery"] = json!({"shares": 3, "threshold": 2});
    changed(
        with_recovery,
        vec![
            (gcp(json!({"credentialsSecret": secret()})), Taken),
            (
                gcp(json!({"cryptoKey": "other"})),
                Refused("the key in spec.seal.gcpckms cannot be changed"),
            ),
            (
                json!({"spec": {"seal": {"recovery": {"shares": 5}}}}),
                Refused("spec.seal.recovery cannot be changed after creation"),
            ),
        ],
    )
    .await;
    changed(
        azure(json!({})),
        vec![
            (azure(json!({"clientId": "c"})), Taken),
            (
                azure(json!({"keyName": "other"})),
                Refused("spec.seal.azurekeyvault.vaultName and keyName cannot be changed"),
            ),
        ],
    )
    .await;
    changed(
        oci(json!({})),
        vec![
            (oci(json!({"cryptoEndpoint": "https://d"})), Taken),
            (
                oci(json!({"keyId": "ocid1.key.oc1.x.z"})),
                Refused("spec.seal.ocikms.keyId cannot be changed"),
            ),
        ],
    )
    .await;
    let key = |id: &str, secret: &str| json!({"id": id, "secret": {"name": secret, "key": "k"}});
    let keys =
        |current: Value, previous: Value| seal(json!({"static": {"current": current, "previous": previous}}));
    changed(
        bao(keys(key("b", "of-b"), Value::Null)),
        vec![
            (
                keys(key("c", "of-c"), Value::Null),
                Refused("a new spec.seal.static.current needs the old one as previous"),
            ),
            (keys(key("c", "of-c"), key("b", "of-b")), Taken),
            (
                keys(key("c", "of-c"), key("b", "of-c")),
                Refused("spec.seal.static.previous must be the old current as it was"),
            ),
            (
                keys(key("b", "of-c"), Value::Null),
                Refused("spec.seal.static.current.secret cannot be changed under the same id"),
            ),
            (keys(key("b", "of-b"), key("a", "of-a")), Taken),
        ],
    )
    .await;
    changed(
        bao(keys(key("c", "of-c"), key("b", "of-b"))),
        vec![
            (keys(key("c", "of-c"), Value::Null), Taken),
            (
                keys(key("d", "of-d"), key("c", "of-c")),
                Refused("spec.seal.static.current cannot be changed while previous is there"),
            ),
            (
                keys(key("c", "of-c"), key("a", "of-a")),
                Refused("spec.seal.static.previous can be removed once every member has run with both keys"),
            ),
            (
                keys(key("c", "of-c"), key("b", "of-a")),
                Refused("spec.seal.static.previous can be removed once every member has run with both keys"),
            ),
        ],
    )
    .await;
    let consul = |consul: Value| json!({"spec": {"storage": {"raft": null, "consul": consul}}});
    changed(
        consul(json!({"address": "https://c:8501"})),
        vec![
            (consul(json!({"address": "https://d:8501"})), Taken),
            (
                consul(json!({"path": "other/"})),
                Refused("spec.storage.consul.path cannot be changed"),
            ),
            (
                json!({"spec": {"storage": {"consul": null, "raft": {}}}}),
                Refused("spec.storage cannot be changed to another backend"),
            ),
        ],
    )
    .await;
}

/// Another kind instead of shamir, or shamir instead of another.
fn instead_of(old: &str, mut new: Value) -> Value {
    new["spec"]["seal"][old] = Value::Null;
    new
}

fn numbers(mut spec: Value, field: &str, shares: i32, threshold: i32) -> Value {
    merge(
        &mut spec["spec"]["seal"],
        &json!({field: {"shares": shares, "threshold": threshold}}),
    );
    spec
}

#[tokio::test]
async fn another_kind_of_seal_is_taken_where_the_operator_can_migrate_to_it() {
    let to_transit = || instead_of("shamir", transit(json!({})));
    let shares = |shares, threshold| numbers(seal(json!({})), "shamir", shares, threshold);
    let to_shares = |n, threshold| instead_of("transit", shares(n, threshold));
    let not_theirs = || Refused("spec.seal.recovery must have the numbers of the former spec.seal.shamir");
    let hsm = {
        let mut hsm = instead_of("shamir", hsm(json!({})));
        hsm["spec"]["version"] = json!("1.21.1+ent.hsm");
        hsm["spec"]["image"] = json!("vault:hsm");
        hsm
    };
    changed(
        shares(5, 3),
        vec![
            (to_transit(), Taken),
            (instead_of("shamir", aws(json!({}))), Taken),
            (numbers(to_transit(), "recovery", 5, 3), Taken),
            (numbers(to_transit(), "recovery", 5, 4), not_theirs()),
            (
                hsm,
                Refused("spec.seal cannot be changed between shamir and pkcs11"),
            ),
        ],
    )
    .await;
    changed(
        shares(3, 2),
        vec![
            (to_transit(), not_theirs()),
            (numbers(to_transit(), "recovery", 3, 3), not_theirs()),
            (numbers(to_transit(), "recovery", 3, 2), Taken),
        ],
    )
    .await;
    let not_theirs = || Refused("spec.seal.shamir must have the numbers of the former spec.seal.recovery");
    changed(
        transit(json!({})),
        vec![
            (to_shares(5, 3), Taken),
            (to_shares(3, 2), not_theirs()),
            (to_shares(5, 4), not_theirs()),
        ],
    )
    .await;
    let mut without = to_shares(3, 2);
    without["spec"]["seal"]["recovery"] = Value::Null;
    let mut others = to_shares(5, 3);
    others["spec"]["seal"]["recovery"] = Value::Null;
    changed(
        numbers(transit(json!({})), "recovery", 3, 2),
        vec![(others, not_theirs()), (without, Taken)],
    )
    .await;
}

#[tokio::test]
async fn another_kind_of_seal_is_refused_where_it_could_not_be_carried_out() {
    let to_transit = || instead_of("shamir", numbers(transit(json!({})), "recovery", 2, 2));
    let held = || Refused("spec.seal cannot be changed between custodians and a kind that unseals by itself");
    changed(people(json!({})), vec![(to_transit(), held())]).await;
    changed(people(json!({"custodians": []})), vec![(to_transit(), Taken)]).await;
    let mut to_people = instead_of("transit", people(json!({})));
    to_people["spec"]["seal"]["recovery"] = Value::Null;
    changed(
        numbers(transit(json!({})), "recovery", 2, 2),
        vec![(to_people, held())],
    )
    .await;
    changed(
        bao(people(json!({"custodians": []}))),
        vec![(
            to_transit(),
            Refused("spec.seal cannot be changed to another kind with distribution OpenBao"),
        )],
    )
    .await;
    let mut alone = people(json!({"custodians": []}));
    merge(
        &mut alone,
        &json!({"spec": {"replicas": 1, "profile": "Development"}}),
    );
    let single = Refused("spec.seal cannot be changed to another kind with a single member");
    changed(alone, vec![(to_transit(), single)]).await;
}

pub(super) fn custodian(name: &str) -> Value {
    json!({"name": name, "pgpKey": format!("key of {name}")})
}

/// A Shamir seal of two people, changed.
fn people(change: Value) -> Value {
    let mut shamir =
        json!({"shares": 2, "threshold": 2, "custodians": [custodian("alice"), custodian("bob")]});
    merge(&mut shamir, &change);
    seal(json!({"shamir": shamir}))
}

#[tokio::test]
async fn custodians_that_could_not_unseal_are_refused_and_their_neighbours_taken() {
    let named = |name: &str| json!({"custodians": [custodian("alice"), custodian(name)]});
    let keyed = |key: &str| json!({"custodians": [custodian("alice"), {"name": "bob", "pgpKey": key}]});
    let alone = json!({"shares": 1, "threshold": 1, "custodians": [custodian("alice")]});
    let ephemeral = |change: Value| {
        let mut spec = people(change);
        merge(
            &mut spec,
            &json!({"spec": {"replicas": 1, "profile": "Development", "storage": {"raft": null, "ephemeral": {}}}}),
        );
        spec
    };
    taken_and_refused(vec![
        (people(json!({})), Taken),
        (
            people(json!({"shares": 3})),
            Refused("spec.seal.shamir.shares must be the number of custodians"),
        ),
        (people(json!({"shares": 3, "custodians": []})), Taken),
        (people(alone), Refused("must name at least two")),
        (
            people(json!({"shares": 1, "threshold": 1, "custodians": []})),
            Taken,
        ),
        (people(named("carol-2")), Taken),
        (
            people(named("Carol")),
            Refused("a custodian's name must be of lower-case letters"),
        ),
        (people(named("alice")), Refused("Duplicate value")),
        (people(keyed("-----BEGIN PGP PUBLIC KEY BLOCK-----")), Taken),
        (
            people(keyed("-----BEGIN PGP PRIVATE KEY BLOCK-----")),
            Refused("a custodian's pgpKey must be the public key"),
        ),
        (
            ephemeral(json!({})),
            Refused("spec.seal.shamir.custodians needs storage that lasts"),
        ),
        (ephemeral(json!({"custodians": []})), Taken),
    ])
    .await;
}

#[tokio::test]
async fn custodians_can_be_added_and_corrected_but_not_taken_away() {
    let resource = ApiResource::erase::<VaultCluster>(&());
    let paused = |mut object: Value| {
        // The operator of this tier's other tests must not work on it.
        merge(&mut object, &json!({"spec": {"paused": true}}));
        object
    };
    let mut without = cluster();
    merge(&mut without, &people(json!({"custodians": []})));
    let rekey = Refused("spec.seal.shamir cannot be changed after creation: that takes a rekey");
    check_updates(
        &resource,
        &paused(without),
        vec![
            (people(json!({})), Taken),
            (people(json!({"shares": 3, "custodians": []})), rekey),
            (
                people(json!({"shares": 3, "custodians": [custodian("alice"), custodian("bob"), custodian("carol")]})),
                Taken,
            ),
        ],
    )
    .await;
    let mut with = cluster();
    merge(&mut with, &people(json!({})));
    check_updates(
        &resource,
        &paused(with),
        vec![
            (
                people(json!({"custodians": [custodian("alice"), custodian("carol")]})),
                Taken,
            ),
            (
                people(json!({"custodians": []})),
                Refused("spec.seal.shamir cannot be changed after creation: that takes a rekey"),
            ),
        ],
    )
    .await;
}

/// All of them, for who needs what they want refused.
pub(super) fn run_all() {
    a_seal_is_of_exactly_one_kind_with_its_own_keys();
    a_transit_seal_that_cannot_work_is_refused_in_words();
    a_seal_of_a_cloud_that_cannot_work_is_refused_in_words();
    a_seal_with_a_key_of_ones_own_that_cannot_work_is_refused_in_words();
    a_storage_that_cannot_work_is_refused_in_words();
    a_change_that_would_lose_the_data_is_refused_with_the_reason();
    another_kind_of_seal_is_taken_where_the_operator_can_migrate_to_it();
    another_kind_of_seal_is_refused_where_it_could_not_be_carried_out();
    custodians_that_could_not_unseal_are_refused_and_their_neighbours_taken();
    custodians_can_be_added_and_corrected_but_not_taken_away();
}
