//! Log in by name and password.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Log in by name and password, for people. The name is `<namespace>.<name>` of the VaultRole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UserpassLogin {
    /// Path of the auth method: one of type userpass that the VaultCluster declares in spec.configuration.authMethods and
    /// its spec.access gives to this namespace in authMethods.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][-_.a-zA-Z0-9]*(/[a-z0-9][-_.a-zA-Z0-9]*)*$')").message("spec.userpass.path must be the path of an auth method such as userpass, without a slash at its ends"))]
    pub path: String,

    /// The password: one value of a Secret of this namespace. It is written when the user is new and whenever that Secret
    /// changes, which is noticed within ten minutes; a password that the user changed in Vault stays until then. At most
    /// 72 bytes, of which Vault makes no more.
    pub password_secret: PasswordSecret,
}

/// One value of a Secret of the VaultRole's own namespace, and of no other.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')").message("spec.userpass.passwordSecret.name must be the name of a Secret"),
        validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.userpass.passwordSecret.name must not be that of a Secret in which the operator keeps keys"),
    )]
    pub name: String,

    /// Key in that Secret.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')").message("spec.userpass.passwordSecret.key must be a key of that Secret: letters, digits, - _ and ."))]
    pub key: String,
}

fn default_path() -> String {
    "userpass".to_owned()
}

fn default_key() -> String {
    "password".to_owned()
}
