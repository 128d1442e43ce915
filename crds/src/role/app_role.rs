//! Log in by AppRole.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rotation::Rotation;
use super::wrap::Wrap;
use crate::cluster::kubernetes_schema;

/// Log in by AppRole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.bindSecretId || size(self.secretIdBoundCidrs) > 0")
        .message("spec.appRole.bindSecretId may be false only with secretIdBoundCidrs: the role-id alone would let anybody in"),
    validation = Rule::new("self.bindSecretId || !(has(self.secretIdTtl) || has(self.secretIdNumUses) || has(self.rotation) || has(self.wrap))")
        .message("spec.appRole without a secret-id (bindSecretId: false) cannot have secretIdTtl, secretIdNumUses, rotation or wrap"),
    validation = Rule::new("self.localSecretIds == oldSelf.localSecretIds")
        .message("spec.appRole.localSecretIds cannot be changed: Vault decides it when the role is created; make another VaultRole"),
    validation = Rule::new("self.secretName != oldSelf.secretName || self.secret.type == oldSelf.secret.type")
        .message("spec.appRole.secret.type cannot be changed, since Kubernetes keeps the type of a Secret: change secretName with it"),
    validation = Rule::new("!has(self.rotation) || !has(self.rotation.afterPercentOfTtl) || has(self.secretIdTtl)")
        .message("spec.appRole.rotation.afterPercentOfTtl needs secretIdTtl; without it use every"),
    validation = Rule::new(concat!("!has(self.secretIdTtl) || ", span!("self.secretIdTtl"), " >= 30"))
        .message("spec.appRole.secretIdTtl must be at least 30s: replacing it would never end"),
    validation = Rule::new(concat!("!has(self.secretIdTtl) || !has(self.rotation) || !has(self.rotation.every) || ", span!("self.rotation.every"), " < ", span!("self.secretIdTtl")))
        .message("spec.appRole.rotation.every must be shorter than secretIdTtl: a secret-id would end before it is replaced"),
    validation = Rule::new(concat!("!has(self.secretIdTtl) || !has(self.wrap) || ", span!("self.wrap.ttl"), " < ", span!("self.secretIdTtl")))
        .message("spec.appRole.wrap.ttl must be shorter than secretIdTtl: it would outlive what is in it"),
)]
pub struct AppRole {
    /// Secret that receives the credentials, by default under the keys `role-id` and `secret-id`. An existing Secret of another owner is not overwritten.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')").message("spec.appRole.secretName must be a valid name of a Secret"))]
    pub secret_name: String,

    /// What the Secret looks like.
    #[serde(default)]
    pub secret: CredentialsSecret,

    /// The role-id. Vault makes one unless it is given; one that another role has is refused. A change of it ends the old
    /// one at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[-_.a-zA-Z0-9]+$')").message("spec.appRole.roleId may hold only letters, digits and - _ ."))]
    pub role_id: Option<String>,

    /// Whether a login needs a secret-id. Without one the Secret holds the role-id alone.
    #[serde(default = "yes")]
    pub bind_secret_id: bool,

    /// How long a secret-id can be used to log in, for example 24h, from 30s on. Without it, until it is rotated. It is
    /// rotated well before that time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$')").message("spec.appRole.secretIdTtl must be a duration such as 24h, its units in this order: d, h, m, s, and at most 9999d"))]
    pub secret_id_ttl: Option<String>,

    /// How many logins a secret-id is good for. Without it, any number. One that is used up is replaced when the operator
    /// looks again, at most ten minutes later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub secret_id_num_uses: Option<i32>,

    /// From where a login may come, for example 10.0.0.0/8. Without it, from anywhere.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))").message("each of spec.appRole.secretIdBoundCidrs must be a block of addresses such as 10.0.0.0/8"))]
    pub secret_id_bound_cidrs: Vec<String>,

    /// Whether secret-ids stay in the cluster that made them, where Vault replicates to others (Enterprise). It cannot be
    /// changed later.
    #[serde(default)]
    pub local_secret_ids: bool,

    /// When the secret-id is replaced, and what happens then. Unless it says otherwise, a secret-id with secretIdTtl is
    /// replaced after two thirds of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,

    /// Deliver the secret-id wrapped, to a single consumer: the Secret then holds the keys `wrapping-token`,
    /// `wrapping-token-ttl` (in seconds) and `wrapping-token-creation-path` instead of `secret-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap: Option<Wrap>,
}

/// What a Secret with credentials looks like.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecret {
    /// Its type: Opaque, or one of your own with a domain, such as example.com/vault.
    #[serde(default = "opaque", rename = "type")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self == 'Opaque' || (self.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-_.a-zA-Z0-9]+$') && !self.matches('^([^/]*[.])?(kubernetes[.]io|k8s[.]io|helm[.]sh)/'))").message("spec.appRole.secret.type must be Opaque or a type with a domain of your own, such as example.com/vault"))]
    pub type_: String,

    /// Further labels of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::texts")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('vaultkeeper.dev/') && k != 'app.kubernetes.io/managed-by')").message("spec.appRole.secret.labels must not hold labels that the operator sets: vaultkeeper.dev/* and app.kubernetes.io/managed-by"))]
    pub labels: BTreeMap<String, String>,

    /// Further annotations of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "kubernetes_schema::texts")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('vaultkeeper.dev/') && !k.startsWith('kubernetes.io/') && !k.startsWith('kubectl.kubernetes.io/'))").message("spec.appRole.secret.annotations must not start with vaultkeeper.dev/, kubernetes.io/ or kubectl.kubernetes.io/"))]
    pub annotations: BTreeMap<String, String>,

    /// Names of its keys.
    #[serde(default)]
    pub keys: SecretKeys,
}

impl Default for CredentialsSecret {
    fn default() -> Self {
        Self {
            type_: opaque(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            keys: SecretKeys::default(),
        }
    }
}

/// Names of the keys of a Secret with credentials. Those without a default are there only when they are named.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("([self.roleId, self.secretId, self.wrappingToken, self.wrappingTtl, self.wrappingPath] + (has(self.accessor) ? [self.accessor] : []) + (has(self.address) ? [self.address] : []) + (has(self.ca) ? [self.ca] : [])).all(k, ([self.roleId, self.secretId, self.wrappingToken, self.wrappingTtl, self.wrappingPath] + (has(self.accessor) ? [self.accessor] : []) + (has(self.address) ? [self.address] : []) + (has(self.ca) ? [self.ca] : [])).exists_one(other, other == k))")
        .message("spec.appRole.secret.keys must all be different"),
)]
pub struct SecretKeys {
    /// Key of the role-id.
    #[serde(default = "role_id_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.roleId may hold only letters, digits and - _ ."))]
    pub role_id: String,

    /// Key of the secret-id.
    #[serde(default = "secret_id_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.secretId may hold only letters, digits and - _ ."))]
    pub secret_id: String,

    /// Key of the wrapping token, with `wrap`.
    #[serde(default = "wrapping_token_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.wrappingToken may hold only letters, digits and - _ ."))]
    pub wrapping_token: String,

    /// Key of the time for which a wrapping token can be unwrapped, in seconds, with `wrap`.
    #[serde(default = "wrapping_ttl_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.wrappingTtl may hold only letters, digits and - _ ."))]
    pub wrapping_ttl: String,

    /// Key of the path that a wrapping token must have been made at, with `wrap`: another one means that it was forged.
    #[serde(default = "wrapping_path_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.wrappingPath may hold only letters, digits and - _ ."))]
    pub wrapping_path: String,

    /// Key of the secret-id's accessor, which is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.accessor may hold only letters, digits and - _ ."))]
    pub accessor: Option<String>,

    /// Key of Vault's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.address may hold only letters, digits and - _ ."))]
    pub address: Option<String>,

    /// Key of the CA bundle that Vault's certificate is signed by; current through a change of the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.appRole.secret.keys.ca may hold only letters, digits and - _ ."))]
    pub ca: Option<String>,
}

impl SecretKeys {
    /// All of them.
    pub fn names(&self) -> Vec<&str> {
        let Self {
            role_id,
            secret_id,
            wrapping_token,
            wrapping_ttl,
            wrapping_path,
            accessor,
            address,
            ca,
        } = self;
        let always = [role_id, secret_id, wrapping_token, wrapping_ttl, wrapping_path].into_iter();
        let named = [accessor, address, ca].into_iter().flatten();
        always.chain(named).map(String::as_str).collect()
    }
}

impl Default for SecretKeys {
    fn default() -> Self {
        Self {
            role_id: role_id_key(),
            secret_id: secret_id_key(),
            wrapping_token: wrapping_token_key(),
            wrapping_ttl: wrapping_ttl_key(),
            wrapping_path: wrapping_path_key(),
            accessor: None,
            address: None,
            ca: None,
        }
    }
}

fn yes() -> bool {
    true
}

fn opaque() -> String {
    "Opaque".to_owned()
}

fn role_id_key() -> String {
    "role-id".to_owned()
}

fn secret_id_key() -> String {
    "secret-id".to_owned()
}

fn wrapping_token_key() -> String {
    "wrapping-token".to_owned()
}

fn wrapping_ttl_key() -> String {
    "wrapping-token-ttl".to_owned()
}

fn wrapping_path_key() -> String {
    "wrapping-token-creation-path".to_owned()
}
