//! People who hold shares.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A person who holds one share.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a custodian's name must be of lower-case letters, digits and -: it is the key of the share in the Secret"),
    validation = Rule::new("!self.pgpKey.contains('PRIVATE KEY')")
        .message("a custodian's pgpKey must be the public key: this is a private one, which by now is known to everybody who reads this object or the log of the API server. Revoke it and make another"),
)]
pub struct Custodian {
    /// Name of the person. The encrypted share lies under it in the Secret `<cluster>-custodians`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// The person's public PGP key, which must be able to encrypt: what `gpg --armor --export --export-options
    /// export-minimal <who>` prints, or the base64 of the binary key.
    #[schemars(length(min = 1, max = 16384))]
    pub pgp_key: String,
}
