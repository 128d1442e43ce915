//! Unsealed by a key that lies in a Secret, or in a hardware security module.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::secret::SecretKey;

/// Unsealed by a key in a Secret. OpenBao only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.previous) || self.previous.id != self.current.id")
        .message("spec.seal.static.previous must have another id than current: an id stands for one key for ever"),
    validation = Rule::new("self.current.id == oldSelf.current.id || (has(self.previous) && self.previous.id == oldSelf.current.id)")
        .message("a new spec.seal.static.current needs the old one as previous, or nothing that was sealed could be opened"),
    validation = Rule::new("self.current.id != oldSelf.current.id || self.current.secret == oldSelf.current.secret")
        .message("spec.seal.static.current.secret cannot be changed under the same id, which stands for one key for ever: give the new key a new id, and keep the old one as previous"),
    validation = Rule::new("self.current.id == oldSelf.current.id || !has(self.previous) || self.previous.id != oldSelf.current.id || self.previous.secret.name == oldSelf.current.secret.name && self.previous.secret.key == oldSelf.current.secret.key")
        .message("spec.seal.static.previous must be the old current as it was: the same id with the same secret"),
    validation = Rule::new("self.current.id == oldSelf.current.id || !has(oldSelf.previous)")
        .message("spec.seal.static.current cannot be changed while previous is there: one rotation at a time. Remove previous first, once every member has run with both keys"),
    validation = Rule::new("self.current.id != oldSelf.current.id || !has(self.previous) || !has(oldSelf.previous) || self.previous == oldSelf.previous")
        .message("spec.seal.static.previous can be removed once every member has run with both keys, but not be changed: data may still be sealed with it"),
)]
pub struct StaticSeal {
    /// The key that seals.
    pub current: StaticKey,

    /// The key before it, while a rotation is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<StaticKey>,
}

/// A key of 32 bytes and its name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StaticKey {
    /// Name of this key for ever, for example 2026-01: it is written into the data.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[-_.a-zA-Z0-9]+$')").message("id may hold letters, digits, - _ and . only"))]
    pub id: String,

    /// The key: 32 raw bytes, or those in base64 or hexadecimal.
    pub secret: SecretKey,
}

/// Unsealed by a hardware security module through PKCS#11. Its library must be in the image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.slot) != has(self.tokenLabel)")
        .message("spec.seal.pkcs11 must hold either slot or tokenLabel"),
)]
pub struct Pkcs11Seal {
    /// Path of the module's library in the image.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^/[-_./a-zA-Z0-9]+$')").message("spec.seal.pkcs11.lib must be an absolute path such as /usr/lib/softhsm/libsofthsm2.so"))]
    pub lib: String,

    /// Number of the slot, in decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+$')").message("spec.seal.pkcs11.slot must be a decimal number in quotes"))]
    pub slot: Option<String>,

    /// Label of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[-_. a-zA-Z0-9]+$')").message("spec.seal.pkcs11.tokenLabel may hold letters, digits, spaces, - _ and . only"))]
    pub token_label: Option<String>,

    /// The PIN of the token.
    pub pin_secret: SecretKey,

    /// Label of the key.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[-_. a-zA-Z0-9]+$')").message("spec.seal.pkcs11.keyLabel may hold letters, digits, spaces, - _ and . only"))]
    pub key_label: String,

    /// Mechanism as a hexadecimal number, for example 0x1087 (AES-GCM). Default: the best that the key can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^(0x)?[0-9a-fA-F]+$')").message("spec.seal.pkcs11.mechanism must be a number such as 0x1087"))]
    pub mechanism: Option<String>,

    /// Label of the key for the HMAC. Vault Enterprise needs it with AES-CBC; OpenBao has no such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[-_. a-zA-Z0-9]+$')").message("spec.seal.pkcs11.hmacKeyLabel may hold letters, digits, spaces, - _ and . only"))]
    pub hmac_key_label: Option<String>,
}
