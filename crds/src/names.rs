//! Every name that is derived from a VaultCluster or a VaultRole, in one place.
//!
//! Namespaces and VaultCluster names hold no dot, so that joining with a dot cannot collide.

/// Port of Vault's API.
pub const API_PORT: u16 = 8200;
/// Port on which members talk to each other.
pub const CLUSTER_PORT: u16 = 8201;
/// Port on which members tell Prometheus their metrics, where spec.monitoring is on.
pub const METRICS_PORT: u16 = 8202;
/// Path of the Kubernetes auth method that VaultRoles and the operator use.
pub const KUBERNETES_AUTH_PATH: &str = "kubernetes";
/// Path of the AppRole auth method that VaultRoles use.
pub const APPROLE_AUTH_PATH: &str = "approle";
/// Path of the auth method for client certificates that VaultRoles use.
pub const CERT_AUTH_PATH: &str = "cert";
/// Key of the CA bundle in ConfigMaps and Secrets.
pub const CA_KEY: &str = "ca.crt";
/// Key of the address in the ConfigMap of a namespace.
pub const ADDRESS_KEY: &str = "address";

/// Address of a cluster's API for clients, `https://<name>.<namespace>.svc:8200`.
pub fn address(namespace: &str, name: &str) -> String {
    format!("https://{}:{API_PORT}", service_host(namespace, name))
}

/// Host name of the Service for clients; also the TLS server name that every member's certificate holds.
pub fn service_host(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.svc")
}

/// Name of the headless Service of a cluster's members.
pub fn headless_service(name: &str) -> String {
    format!("{name}-internal")
}

/// Name of the Service that leads to the active member.
pub fn active_service(name: &str) -> String {
    format!("{name}-active")
}

/// Name of the Service that leads to the standbys.
pub fn standby_service(name: &str) -> String {
    format!("{name}-standby")
}

/// Name of a member's pod.
pub fn member(name: &str, ordinal: u32) -> String {
    format!("{name}-{ordinal}")
}

/// Host name of a member behind the headless Service.
pub fn member_host(namespace: &str, name: &str, ordinal: u32) -> String {
    format!(
        "{}.{}.{namespace}.svc",
        member(name, ordinal),
        headless_service(name)
    )
}

/// Secret with the unseal shares, in the operator's namespace.
pub fn key_secret(namespace: &str, name: &str) -> String {
    format!("vault-keys.{namespace}.{name}")
}

/// Secret with the operator's own key for backups, in the operator's namespace. No cluster's name holds a dot, so that it is
/// no cluster's key Secret; what protects those by their prefix protects it as well.
pub fn backup_secret(namespace: &str, name: &str) -> String {
    format!("{}.backup", key_secret(namespace, name))
}

/// Secret with the key of the cluster's CA, in the operator's namespace.
pub fn ca_secret(namespace: &str, name: &str) -> String {
    format!("vault-ca.{namespace}.{name}")
}

/// Secret with the CA for client certificates and the list of those that are revoked, in the operator's namespace. No
/// cluster's name holds a dot, so that it is no cluster's CA; what protects those by their prefix protects it as well.
pub fn client_ca_secret(namespace: &str, name: &str) -> String {
    format!("{}.clients", ca_secret(namespace, name))
}

/// Whether Secrets of this name are the operator's own: unseal shares and CAs, also those that do not exist yet.
pub fn is_reserved_secret(name: &str) -> bool {
    name.starts_with("vault-keys.") || name.starts_with("vault-ca.")
}

/// The URI in a VaultRole's client certificate, in the form of a SPIFFE ID. With the UID: a VaultRole that is made anew
/// has another. The parts hold neither slashes nor `*`.
pub fn certificate_uri(cluster: (&str, &str), namespace: &str, name: &str, uid: &str) -> String {
    let (cluster_namespace, cluster_name) = cluster;
    format!("spiffe://{cluster_name}.{cluster_namespace}.vaultkeeper/ns/{namespace}/vaultrole/{name}/{uid}")
}

/// Secret with the members' certificate, in the cluster's namespace.
pub fn tls_secret(name: &str) -> String {
    format!("{name}-tls")
}

/// Secret with the encrypted shares of the custodians, in the cluster's namespace.
pub fn custodian_secret(name: &str) -> String {
    format!("{name}-custodians")
}

/// ConfigMap with the cluster's address and CA bundle, in each namespace that has a VaultRole for it.
pub fn ca_config_map(cluster_namespace: &str, cluster_name: &str) -> String {
    format!("vaultkeeper.{cluster_namespace}.{cluster_name}")
}

/// Name in Vault of the policy, AppRole role and Kubernetes auth role of a VaultRole.
pub fn vault_name(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

/// Audience of the operator's own login at one cluster, so that its token is worth nothing elsewhere.
pub fn operator_audience(cluster_uid: &str) -> String {
    format!("vaultkeeper.dev/cluster/{cluster_uid}")
}

/// Audience of the operator's own login at a Vault that runs elsewhere, at `https://<host>:<port>`. With the address:
/// whoever runs one Vault can do nothing with that token at another, also if the same VaultCluster names both in turn.
pub fn external_audience(cluster_uid: &str, address: &str) -> String {
    format!("{}/{}", operator_audience(cluster_uid), place(address))
}

/// Audience of the tokens with which pods log in at a Vault that runs elsewhere. The API server takes no such token, so
/// that whoever runs that Vault cannot act as one of these pods.
pub fn client_audience(cluster_uid: &str, address: &str) -> String {
    format!("vaultkeeper.dev/clients/{cluster_uid}/{}", place(address))
}

/// `<host>:<port>` without what a shell would read as a pattern.
fn place(address: &str) -> String {
    address.trim_start_matches("https://").replace(['[', ']'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_names_of_different_objects_never_collide() {
        assert_ne!(vault_name("a", "b.c"), vault_name("a.b", "d"));
        assert_ne!(ca_config_map("a-b", "c"), ca_config_map("a", "b-c"));
        assert_ne!(key_secret("a-b", "c"), key_secret("a", "b-c"));
    }

    #[test]
    fn an_audience_is_worth_nothing_at_another_address_or_for_another_cluster_or_purpose() {
        let (one, other) = ("https://a.example.com:8200", "https://b.example.com:8200");
        assert_ne!(external_audience("u-1", one), external_audience("u-1", other));
        assert_ne!(external_audience("u-1", one), external_audience("u-2", one));
        assert_ne!(external_audience("u-1", one), operator_audience("u-1"));
        assert_ne!(external_audience("u-1", one), client_audience("u-1", one));
        assert_eq!(
            external_audience("u-1", "https://[fd00::1]:8200"),
            "vaultkeeper.dev/cluster/u-1/fd00::1:8200"
        );
    }

    #[test]
    fn uris_of_different_roles_never_collide_and_match_nothing_but_themselves() {
        let uri = |namespace, name| certificate_uri(("vault", "main"), namespace, name, "u-1");
        assert_eq!(
            uri("shop", "a-b"),
            "spiffe://main.vault.vaultkeeper/ns/shop/vaultrole/a-b/u-1"
        );
        assert_ne!(uri("shop", "a-b"), uri("shop-a", "b"));
        assert_ne!(uri("shop", "a.b"), uri("shop.a", "b"));
        assert_ne!(
            uri("shop", "app"),
            certificate_uri(("vault", "main"), "shop", "app", "u-2"),
            "made anew"
        );
        assert!(
            !uri("shop", "app").contains('*'),
            "Vault would read it as any text"
        );
    }

    #[test]
    fn the_ca_for_clients_is_reserved_like_that_for_servers_and_no_clusters() {
        let of_clients = client_ca_secret("vault", "main");
        assert!(is_reserved_secret(&of_clients));
        assert_ne!(of_clients, ca_secret("vault", "main"));
        assert!(is_reserved_secret(&key_secret("vault", "main")) && !is_reserved_secret("app"));
        assert!(is_reserved_secret(&backup_secret("vault", "main")));
    }

    #[test]
    fn addresses_are_cluster_dns_names() {
        assert_eq!(address("vault", "main"), "https://main.vault.svc:8200");
        assert_eq!(member_host("vault", "main", 2), "main-2.main-internal.vault.svc");
    }
}
