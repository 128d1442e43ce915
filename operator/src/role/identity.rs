//! Which VaultRole it is, and of which VaultCluster.

use std::collections::BTreeMap;
use std::fmt;

use vaultkeeper_crds::{VaultRole, names};

use super::error::Error;

/// Namespace and name of a VaultCluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// Which VaultRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: another object of the same name has another.
    pub uid: String,
    /// Generation of its spec.
    pub generation: i64,
    /// Its VaultCluster.
    pub cluster: ClusterName,
}

impl Identity {
    /// Reads it off an object from the API server.
    pub fn of(role: &VaultRole) -> Result<Self, Error> {
        let meta = &role.metadata;
        let get = |value: &Option<String>, what| value.clone().ok_or(Error::Incomplete(what));
        Ok(Self {
            namespace: get(&meta.namespace, "metadata.namespace")?,
            name: get(&meta.name, "metadata.name")?,
            uid: get(&meta.uid, "metadata.uid")?,
            generation: meta.generation.unwrap_or_default(),
            cluster: ClusterName {
                namespace: role.spec.cluster.namespace.clone(),
                name: role.spec.cluster.name.clone(),
            },
        })
    }

    /// Name of the policy and roles in Vault.
    pub fn vault_name(&self) -> String {
        names::vault_name(&self.namespace, &self.name)
    }

    /// What secret-ids and tokens in Vault say of whose they are. No secrets.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let Self {
            namespace,
            name,
            uid,
            generation,
            cluster: _,
        } = self;
        [
            ("namespace", namespace.clone()),
            ("name", name.clone()),
            ("uid", uid.clone()),
            ("generation", generation.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}
