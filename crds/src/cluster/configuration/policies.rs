//! Policies.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy (`sys/policies/acl/<name>`): either a text or a ready one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.hcl) != has(self.persona)").message("a policy must hold either hcl or persona"))]
pub struct AclPolicy {
    /// Name: lower-case letters, digits, - and _. Names with a dot belong to VaultRoles.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_a-z0-9]*$') && self != 'root' && !self.startsWith('vaultkeeper')").message("name must consist of lower-case letters, digits, - and _ (a name with a dot is that of a VaultRole), and must be neither root nor a policy of the operator"))]
    pub name: String,

    /// Text of the policy. `<accessor:userpass>` stands for the accessor of the auth method at that path, as in
    /// `{{identity.entity.aliases.<accessor:userpass>.name}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub hcl: Option<String>,

    /// A ready policy for people who work with this Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona: Option<Persona>,
}

/// Ready policies. None of them can write policies or auth methods: that is what this spec is for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    /// Runs the server: health, members, snapshots, step-down, key rotation. No secrets.
    Operator,
    /// Acts in an incident: seals, revokes tokens and leases, locks a namespace. No secrets.
    Responder,
    /// Sees how Vault is set up: policies, mounts, audit devices, tokens by accessor. Changes nothing, reads no secrets.
    Auditor,
    /// A pod: its own part of the KV engine (version 2) at `secret`, below `<namespace>/<ServiceAccount>`.
    Application,
}

/// Rules for generated passwords.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PasswordPolicy {
    /// Name.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// Text of the policy: a length and rules for characters.
    #[schemars(length(min = 1, max = 65536))]
    pub hcl: String,
}
