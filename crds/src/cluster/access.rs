//! Which namespaces may create VaultRoles, and what those may ask for.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What some namespaces may ask for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessGrant {
    /// Names of Kubernetes namespaces whose VaultRoles this grant covers.
    #[schemars(length(min = 1, max = 200), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))").message("each of namespaces must be the name of a namespace; there are no wildcards"))]
    pub namespaces: Vec<String>,

    /// Prefixes of the Vault paths that their policies may name, each ending in a slash.
    /// `{{namespace}}` stands for the namespace of the VaultRole.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    #[x_kube(
        validation = Rule::new("self.all(p, p.endsWith('/') && !p.startsWith('/') && !p.contains('*') && !p.contains('+') && !p.contains('..'))").message("each of pathPrefixes must end in a slash, must not start with one, and must not hold *, + or .."),
        validation = Rule::new("self.all(p, p.replace('{{namespace}}', 'n').matches('^([-_.@ a-zA-Z0-9]+/)+$') && !p.startsWith('./') && !p.contains('/./'))").message("each of pathPrefixes must hold only letters, digits and - _ . @ space / with one slash between steps, and of placeholders only {{namespace}}, written without spaces"),
    )]
    pub path_prefixes: Vec<String>,

    /// Paths of auth methods of type userpass, jwt or oidc at which their VaultRoles may let people and CI jobs log in.
    /// `spec.configuration.authMethods` must declare them. AppRole and Kubernetes need no grant.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 200)))]
    pub auth_methods: Vec<String>,

    /// Names of existing Vault policies that their VaultRoles may use.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("!self.exists(p, p.trim().lowerAscii() == 'root' || p.trim().lowerAscii().startsWith('vaultkeeper'))").message("policies must not hold root or a policy of the operator"))]
    pub policies: Vec<String>,
}
