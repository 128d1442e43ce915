//! Keys of annotations and labels that people set or that we set on their objects.

/// Prefix of the annotations that the existing injector reads; ours reads them too.
pub const COMPATIBLE_PREFIX: &str = "vault.hashicorp.com/";
/// Prefix of our own annotations and labels.
pub const PREFIX: &str = "vaultkeeper.dev/";

/// On a VaultCluster: releases a latched seal. The value is the reason, shown in an event.
pub const RELEASE_SEAL: &str = "vaultkeeper.dev/release-seal";
/// On a VaultCluster: another value restarts its members, one after the other. Put on their pods as well.
pub const RESTART: &str = "vaultkeeper.dev/restart";
/// On members' pods: identifies the server's configuration that the pod was made for.
pub const CONFIG: &str = "vaultkeeper.dev/config";
/// On members' pods once the seal was changed to another kind: which state of that the pod was made for.
pub const SEAL: &str = "vaultkeeper.dev/seal";
/// On a VaultCluster with a managed CA: replaces the CA. The value is the reason, shown in an event.
pub const ROTATE_CA: &str = "vaultkeeper.dev/rotate-ca";
/// On a CA Secret while two CAs are trusted: since when all members and clients have been able to take the next step.
pub const CA_STEP_SINCE: &str = "vaultkeeper.dev/ca-step-since";
/// On a VaultCluster: the namespace of the operator that it belongs to.
pub const OPERATOR: &str = "vaultkeeper.dev/operator";
/// On generated objects: `<namespace>.<name>` of the VaultCluster.
pub const CLUSTER: &str = "vaultkeeper.dev/cluster";
/// On generated objects: the name of the VaultRole in the same namespace.
pub const ROLE: &str = "vaultkeeper.dev/role";
/// On a VaultRole's Secret: the accessor of the secret-id in it.
pub const SECRET_ID_ACCESSOR: &str = "vaultkeeper.dev/secret-id-accessor";
/// On the Secret with a VaultRole's token: its accessor.
pub const TOKEN_ACCESSOR: &str = "vaultkeeper.dev/token-accessor";
/// On the Secret with a VaultRole's batch token, which has no accessor: when it ends.
pub const TOKEN_UNTIL: &str = "vaultkeeper.dev/token-until";
/// On the Secret with a VaultRole's token: the accessor of the one before, while that is still valid.
pub const PREVIOUS_TOKEN: &str = "vaultkeeper.dev/previous-token-accessor";
/// On the Secret with a VaultRole's token: until when the one before is valid.
pub const PREVIOUS_TOKEN_UNTIL: &str = "vaultkeeper.dev/previous-token-until";
/// On a VaultRole: another value replaces the secret-id.
pub const ROTATE: &str = "vaultkeeper.dev/rotate";
/// On a VaultRole's Secret: what the operator knows of the credentials in it, as JSON without secrets.
pub const CREDENTIALS: &str = "vaultkeeper.dev/credentials";
/// On the pod template of a workload that is restarted after a rotation: which credentials it was restarted for. Not under
/// [`PREFIX`], which the injector's webhook looks for: it has no business with those pods.
pub const RESTARTED_FOR: &str = "rotation.vaultkeeper.dev/credentials";
/// On a member's pod: `active` or `standby`, as the member itself last said. The Services of both names select by it.
pub const STATE: &str = "vaultkeeper.dev/state";
/// Value of [`STATE`] on the member that is active.
pub const ACTIVE: &str = "active";
/// Value of [`STATE`] on members that wait to become active.
pub const STANDBY: &str = "standby";
/// On the volume claim of a member that was taken out of Raft: `<identity of the Vault>/<UID of the claim>`. It is deleted
/// before a member of that name comes again.
pub const REMOVED_FROM: &str = "vaultkeeper.dev/removed-from";
/// Finalizer of both kinds.
pub const FINALIZER: &str = "vaultkeeper.dev/cleanup";
/// Name under which the operator applies and owns fields.
pub const FIELD_MANAGER: &str = "vaultkeeper";
