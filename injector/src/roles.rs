//! Which VaultRole a pod logs in with: the roles of its namespace by ServiceAccount, and the choice among them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use vaultkeeper_crds::annotations::COMPATIBLE_PREFIX;
use vaultkeeper_crds::role::ExternalLoginStatus;
use vaultkeeper_crds::{VaultRole, names};

use crate::annotations::{Annotations, table};
use crate::denial::Denial;

/// What is kept of a VaultRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The VaultRole's name.
    pub name: String,
    /// The namespace of its VaultCluster.
    pub cluster_namespace: String,
    /// The name of its VaultCluster.
    pub cluster_name: String,
    /// The ServiceAccounts whose pods may log in with it.
    pub service_accounts: Vec<String>,
    /// Audience that its spec asks for.
    pub audience: Option<String>,
    /// How to log in, where its Vault runs elsewhere.
    pub external: Option<ExternalLoginStatus>,
    /// Why the operator does not accept it as it is now, and what to do; `None` also while it has not looked yet.
    pub refusal: Option<String>,
}

impl Binding {
    /// What a VaultRole binds; `None` when no pod can log in with it.
    pub fn of(role: &VaultRole) -> Option<Self> {
        let login = role.spec.kubernetes.as_ref()?;
        if role.metadata.deletion_timestamp.is_some() {
            return None;
        }
        Some(Self {
            name: role.metadata.name.clone()?,
            cluster_namespace: role.spec.cluster.namespace.clone(),
            cluster_name: role.spec.cluster.name.clone(),
            service_accounts: login.service_accounts.clone(),
            audience: login.audience.clone(),
            external: role.status.as_ref().and_then(|status| status.external.clone()),
            refusal: refusal(role),
        })
    }

    /// Address of its Vault.
    fn address(&self) -> String {
        match &self.external {
            Some(external) => external.address.clone(),
            None => names::address(&self.cluster_namespace, &self.cluster_name),
        }
    }

    fn binds(&self, service_account: &str) -> bool {
        self.service_accounts.iter().any(|bound| bound == service_account)
    }
}

/// The message of the condition Accepted when it is False and speaks of the spec as it is now.
fn refusal(role: &VaultRole) -> Option<String> {
    let condition = role
        .status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Accepted" && condition.status == "False")?;
    let is_of_old_spec = matches!(
        (condition.observed_generation, role.metadata.generation),
        (Some(observed), Some(now)) if observed < now
    );
    (!is_of_old_spec).then(|| condition.message.clone())
}

/// All bindings of the cluster by namespace and name. Cheap to read, as every review does.
#[derive(Debug, Default)]
pub struct Index {
    namespaces: RwLock<HashMap<String, BTreeMap<String, Binding>>>,
}

impl Index {
    /// The bindings of one namespace.
    pub fn namespace(&self, namespace: &str) -> Vec<Binding> {
        let all = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        all.get(namespace)
            .map(|roles| roles.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Takes a new or changed VaultRole in.
    pub fn apply(&self, role: &VaultRole) {
        let (Some(namespace), Some(name)) = (&role.metadata.namespace, &role.metadata.name) else {
            return;
        };
        let mut all = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        match Binding::of(role) {
            Some(binding) => {
                all.entry(namespace.clone())
                    .or_default()
                    .insert(name.clone(), binding);
            }
            None => remove(&mut all, namespace, name),
        }
    }

    /// Forgets a VaultRole.
    pub fn delete(&self, role: &VaultRole) {
        let (Some(namespace), Some(name)) = (&role.metadata.namespace, &role.metadata.name) else {
            return;
        };
        remove(
            &mut self.namespaces.write().unwrap_or_else(PoisonError::into_inner),
            namespace,
            name,
        );
    }

    /// Replaces everything by what a new list holds.
    pub fn reset(&self, roles: &[VaultRole]) {
        let mut fresh: HashMap<String, BTreeMap<String, Binding>> = HashMap::new();
        for role in roles {
            if let (Some(namespace), Some(binding)) = (&role.metadata.namespace, Binding::of(role)) {
                fresh
                    .entry(namespace.clone())
                    .or_default()
                    .insert(binding.name.clone(), binding);
            }
        }
        *self.namespaces.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}

fn remove(all: &mut HashMap<String, BTreeMap<String, Binding>>, namespace: &str, name: &str) {
    if let Some(roles) = all.get_mut(namespace) {
        roles.remove(name);
        if roles.is_empty() {
            all.remove(namespace);
        }
    }
}

/// Where and as whom the agent logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The role on Vault's Kubernetes auth method.
    pub role: String,
    /// The address of Vault.
    pub address: String,
    /// The ConfigMap of the pod's namespace with the CA bundle under [`names::CA_KEY`].
    pub ca_config_map: Option<String>,
    /// Where the auth method is mounted, as in `auth/kubernetes`; `None` for the usual place.
    pub auth_path: Option<String>,
    /// The namespace in Vault.
    pub namespace: Option<String>,
    /// Audience of the token that is shown there; `None` for that of the API server.
    pub audience: Option<String>,
}

/// Chooses the identity of a pod from its annotations and the VaultRoles of its namespace.
///
/// `default_address` is the address for pods whose role is annotated and bound by no VaultRole.
///
/// # Errors
/// None or several VaultRoles bind the ServiceAccount and the annotations do not settle it, or the operator refused the
/// one that does: its role and CA are not there, and the pod would wait for them for ever.
pub fn identify(
    namespace: &str,
    service_account: &str,
    annotations: &Annotations,
    bindings: &[Binding],
    default_address: Option<&str>,
) -> Result<Identity, Denial> {
    let bound: Vec<&Binding> = bindings
        .iter()
        .filter(|binding| binding.binds(service_account))
        .collect();
    let address = annotations.service.as_ref().map(|given| given.value.as_str());
    let chosen = match (&annotations.role, bound.as_slice()) {
        (Some(role), bound) => {
            let named = bound
                .iter()
                .find(|binding| is_named(binding, namespace, &role.value));
            let is_of_others = || means_another(namespace, &role.value, address, bindings);
            match (named, address.or(default_address)) {
                (Some(binding), _) => binding,
                // A role that somebody else made in Vault, which decides itself whom it lets in.
                (None, Some(address)) if !is_of_others() => {
                    return Ok(Identity {
                        role: role.value.clone(),
                        address: address.to_owned(),
                        ca_config_map: ca_of_address(address, bindings),
                        auth_path: None,
                        namespace: None,
                        audience: None,
                    });
                }
                (None, _) => {
                    return Err(Denial::annotation(
                        &role.key,
                        unbound(namespace, service_account, &role.value, bindings, bound),
                    ));
                }
            }
        }
        (None, [only]) => only,
        (None, []) => {
            return Err(Denial::Invalid(format!(
                "no VaultRole in namespace {namespace} binds ServiceAccount {service_account}: create one whose \
                 spec.kubernetes.serviceAccounts holds it, or set {COMPATIBLE_PREFIX}{} and {COMPATIBLE_PREFIX}{}",
                table::ROLE,
                table::SERVICE
            )));
        }
        (None, several) => {
            return Err(Denial::Invalid(format!(
                "several VaultRoles in namespace {namespace} bind ServiceAccount {service_account}: name one of {} in \
                 {COMPATIBLE_PREFIX}{}",
                list(several.iter().copied()),
                table::ROLE
            )));
        }
    };
    if let Some(refusal) = &chosen.refusal {
        return Err(Denial::Invalid(format!(
            "VaultRole {} in namespace {namespace}, which binds ServiceAccount {service_account}, is not accepted: {refusal}",
            chosen.name
        )));
    }
    // Of another Vault that a pod names, nothing is known.
    let is_meant = address.is_none_or(|address| address == chosen.address());
    let external = chosen.external.as_ref().filter(|_| is_meant);
    Ok(Identity {
        role: names::vault_name(namespace, &chosen.name),
        address: address.map_or_else(|| chosen.address(), str::to_owned),
        auth_path: external.map(|external| format!("auth/{}", external.auth_path)),
        namespace: external.and_then(|external| external.namespace.clone()),
        audience: match external {
            Some(external) => Some(external.audience.clone()),
            None => chosen.audience.clone().filter(|_| is_meant),
        },
        ca_config_map: Some(names::ca_config_map(
            &chosen.cluster_namespace,
            &chosen.cluster_name,
        )),
    })
}

fn is_named(binding: &Binding, namespace: &str, role: &str) -> bool {
    role == binding.name || role == names::vault_name(namespace, &binding.name)
}

/// Whether a role and its annotated address mean a VaultRole that does not bind the pod's ServiceAccount. Its cluster
/// would not let the pod in; elsewhere a role may have the same name, but then the pod has to say where.
fn means_another(namespace: &str, role: &str, address: Option<&str>, bindings: &[Binding]) -> bool {
    bindings
        .iter()
        .filter(|binding| is_named(binding, namespace, role))
        .any(|binding| address.is_none_or(|address| binding.address() == address))
}

/// The CA of a cluster that a VaultRole of the namespace belongs to, when the address is that cluster's.
fn ca_of_address(address: &str, bindings: &[Binding]) -> Option<String> {
    bindings
        .iter()
        .find(|binding| binding.address() == address)
        .map(|binding| names::ca_config_map(&binding.cluster_namespace, &binding.cluster_name))
}

fn unbound(
    namespace: &str,
    service_account: &str,
    role: &str,
    bindings: &[Binding],
    bound: &[&Binding],
) -> String {
    if let Some(other) = bindings.iter().find(|binding| is_named(binding, namespace, role)) {
        return format!(
            "VaultRole {} does not bind ServiceAccount {service_account}: add it to its spec.kubernetes.serviceAccounts, \
             or set {COMPATIBLE_PREFIX}{} to the address of another Vault that has a role of this name",
            other.name,
            table::SERVICE
        );
    }
    let remedy = match bound {
        [] => "create it".to_owned(),
        several => format!("name one of {}", list(several.iter().copied())),
    };
    format!(
        "no VaultRole {role:?} in namespace {namespace} binds ServiceAccount {service_account}: {remedy}, or set \
         {COMPATIBLE_PREFIX}{} to the address of a Vault that has this role",
        table::SERVICE
    )
}

fn list<'a>(bindings: impl Iterator<Item = &'a Binding>) -> String {
    bindings
        .map(|binding| binding.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;
