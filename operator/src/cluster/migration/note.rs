//! What the key Secret says of the seal. Pure.

use serde::{Deserialize, Serialize};

use crate::cluster::validate::AutoSeal;

/// One of the two ways of being sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// With unseal shares.
    Shamir,
    /// The members unseal themselves.
    Auto,
}

impl Side {
    /// The word in marks.
    pub fn word(self) -> &'static str {
        match self {
            Self::Shamir => "shamir",
            Self::Auto => "auto",
        }
    }
}

/// Under which seal the data is, and which one it is brought to. It holds names of Secrets and no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealNote {
    /// What the data is under, and thereby what the stored keys are: unseal shares or recovery keys. The keys themselves
    /// stay the same ones.
    pub in_force: Side,
    /// Where it is brought, from before the first member is restarted for it until every member has started with it
    /// alone. Meanwhile the keys are stored under both names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Side>,
    /// The seal that opens by itself, on whichever side it is. The members need it as long as data is under it, also
    /// when the spec does not name it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<AutoSeal>,
    /// How many migrations were carried out.
    #[serde(default)]
    pub migrations: u32,
}
