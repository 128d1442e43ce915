//! A second factor for logins.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A second factor for logins of people. Who has to show one first enrols: an administrator makes their key with
/// `identity/mfa/method/totp/admin-generate`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Mfa {
    /// One-time codes of an authenticator app (`identity/mfa/method/totp`).
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub totp: Vec<TotpMethod>,

    /// Which logins ask for a second factor (`identity/mfa/login-enforcement/<name>`).
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub enforcements: Vec<MfaEnforcement>,
}

/// One-time codes of an authenticator app.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TotpMethod {
    /// Name of the method.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// Name of this Vault in the app.
    #[schemars(length(min = 1, max = 128))]
    pub issuer: String,

    /// How long a code is valid, in seconds.
    #[serde(default = "default_period")]
    #[schemars(range(min = 10, max = 300))]
    pub period_seconds: u32,

    /// Digits of a code: 6 or 8.
    #[serde(default = "default_digits")]
    #[x_kube(validation = Rule::new("self == 6 || self == 8").message("digits must be 6 or 8"))]
    pub digits: u32,

    /// How the code is computed. Some apps know Sha1 only.
    #[serde(default)]
    pub algorithm: TotpAlgorithm,

    /// Wrong codes in a row after which a person has to wait.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 50))]
    pub max_validation_attempts: u32,
}

fn default_period() -> u32 {
    30
}

fn default_digits() -> u32 {
    6
}

fn default_attempts() -> u32 {
    5
}

/// How a code is computed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TotpAlgorithm {
    /// SHA-1, which every app knows.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl TotpAlgorithm {
    /// The word in Vault's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

/// Which logins ask for a second factor.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MfaEnforcement {
    /// Name of the rule.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// Names of methods in totp, one of which is to be shown.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 128)))]
    pub methods: Vec<String>,

    /// Paths of the auth methods whose logins ask for it.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 200)))]
    #[x_kube(
        validation = Rule::new("self.all(p, !p.startsWith('/') && !p.endsWith('/'))").message("authMethods must be paths such as userpass, without a slash at their ends"),
        validation = Rule::new("!('kubernetes' in self) && !('approle' in self)").message("authMethods must hold neither kubernetes nor approle: the operator and applications log in there, and they have no second factor"),
    )]
    pub auth_methods: Vec<String>,
}
