//! What a VaultRole may say of its client certificate: each rule with a spec that it refuses and the neighbour that it takes.

use kube::core::ApiResource;
use serde_json::{Value, json};
use vaultkeeper_crds::VaultRole;

use super::{Refused, Taken, check, role};

fn certificate(fields: &Value) -> Value {
    let mut certificate = json!({ "secretName": "app-tls" });
    super::merge(&mut certificate, fields);
    json!({ "spec": { "certificate": certificate } })
}

fn lives(ttl: &str, renew_before: &str) -> Value {
    certificate(&json!({ "ttl": ttl, "renewBefore": renew_before }))
}

#[tokio::test]
pub(super) async fn a_client_certificate_has_a_secret_of_its_own_and_a_life_in_which_it_can_be_renewed() {
    let name = |name: &str| certificate(&json!({ "secretName": name }));
    let beside = |token: &str| {
        let token = json!({ "deliver": { "secretName": token } });
        json!({ "spec": { "certificate": { "secretName": "app-tls" }, "token": token } })
    };
    let ttl = |ttl: &str| certificate(&json!({ "ttl": ttl }));
    let bounds = || Refused("spec.certificate.ttl must be a duration from 1m to 8760h");
    let before = || Refused("spec.certificate.renewBefore must be from 10s to half of ttl");
    let kept = || {
        Refused("spec.certificate.secretName must not be that of a Secret in which the operator keeps keys")
    };
    let pki = |mount: &str, role: &str| certificate(&json!({ "pki": { "mount": mount, "role": role } }));
    let mount = || Refused("spec.certificate.pki.mount must be a mount path such as pki");
    let pki_role = || Refused("spec.certificate.pki.role must be the name of a role of the PKI engine");
    let cases = vec![
        (name("app.tls-1"), Taken),
        (
            name("App"),
            Refused("spec.certificate.secretName must be a valid name of a Secret"),
        ),
        (name("vault-ca"), Taken),
        (name("vault-ca.vault.main.clients"), kept()),
        (name("vault-keys.vault.main"), kept()),
        (
            name("app-vault"),
            Refused("spec.certificate.secretName must differ from spec.appRole.secretName"),
        ),
        (beside("app-token"), Taken),
        (
            beside("app-tls"),
            Refused("spec.certificate.secretName must differ from spec.token.deliver.secretName"),
        ),
        (ttl("1m"), Taken),
        (ttl("59s"), bounds()),
        (ttl("8760h"), Taken),
        (ttl("8761h"), bounds()),
        (ttl("30d"), bounds()),
        (ttl(""), bounds()),
        (lives("1h", "30m"), Taken),
        (lives("1h", "31m"), before()),
        (lives("1h", "10s"), Taken),
        (lives("1h", "9s"), before()),
        (
            lives("1h", "1d"),
            Refused("spec.certificate.renewBefore must be a duration such as 240h"),
        ),
        (pki("team/pki", "shop.app-1"), Taken),
        (pki("team/pki/", "app"), mount()),
        (pki("/pki", "app"), mount()),
        (pki("pki/..", "app"), mount()),
        (pki("a..b", "app"), mount()),
        (pki("+", "app"), mount()),
        (pki("pki", "app/../x"), pki_role()),
        (pki("pki", "a..b"), pki_role()),
        (pki("pki", "*"), pki_role()),
    ];
    check(&ApiResource::erase::<VaultRole>(&()), &role(), cases).await;
}
