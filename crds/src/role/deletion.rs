//! What happens in Vault when a VaultRole is deleted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to the identity when the object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoleDeletionPolicy {
    /// Policy, roles, credentials and Secret go with it.
    #[default]
    Delete,
    /// Everything stays as it is, in Vault and in the Secret, and nobody keeps it any more.
    Retain,
}
