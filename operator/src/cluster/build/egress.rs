//! The ports at which the spec itself makes the members connect to somebody. Pure.
//!
//! Every type of the spec that holds, or could hold, an address is taken apart field by field: an address that is added
//! later and forgotten here does not compile.

use std::collections::BTreeSet;

use vaultkeeper_crds::cluster::configuration::{
    AuditDevice, AuthMethod, CertAuth, Configuration, FileAudit, JwtAuth, KubernetesAuth, SecretsEngine,
    SocketAudit, SocketType, StdoutAudit, SyslogAudit, UserpassAuth,
};
use vaultkeeper_crds::cluster::{
    AwsKmsSeal, AzureKeyVaultSeal, ConsulStorage, GcpCkmsSeal, OciKmsSeal, Pkcs11Seal, RaftStorage,
    StaticSeal, TransitSeal,
};

use crate::cluster::validate::{AutoSeal, Storage, Validated};

const HTTPS: u16 = 443;

/// A port, as a NetworkPolicy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
}

impl Port {
    /// A port of TCP.
    pub(crate) fn tcp(number: u16) -> Self {
        Self {
            number,
            protocol: "TCP",
        }
    }
}

/// The ports of all addresses in the spec, sorted. What is in `serverConfig` is not understood here.
pub(super) fn ports(cluster: &Validated) -> BTreeSet<Port> {
    let Validated {
        namespace: _,
        name: _,
        uid: _,
        generation: _,
        distribution: _,
        version: _,
        restart: _,
        image: _,
        replicas: _,
        profile: _,
        deletion_policy: _,
        storage,
        audit_volume: _,
        rotated: _,
        seal: _,
        former: _,
        seal_mark: _,
        tls: _,
        configuration: _,
        pod: _,
        network_policy: _,
        monitoring: _,
        client_namespaces: _,
        standby_reads: _,
        server_config: _,
        refused: _,
        declared_ports,
    } = cluster;
    let urls = of_storage(storage)
        .into_iter()
        .chain(cluster.auto_seal().map(of_seal).unwrap_or_default());
    let mut ports: BTreeSet<Port> = urls.filter_map(port_of).map(Port::tcp).collect();
    ports.extend(declared_ports);
    ports
}

/// The ports of all addresses in a configuration. Also in one that is refused: what of it was applied before goes on,
/// and an audit device that cannot be reached stops every request.
pub(crate) fn of_configuration(configuration: &Configuration) -> BTreeSet<Port> {
    let urls = of_methods(configuration).into_iter();
    let mut ports: BTreeSet<Port> = urls.filter_map(port_of).map(Port::tcp).collect();
    ports.extend(of_devices(configuration));
    ports
}

fn of_storage(storage: &Storage) -> Option<&str> {
    match storage {
        Storage::Consul(ConsulStorage {
            address,
            path: _,
            token_secret: _,
            tls: _,
            session_ttl: _,
            service_registration: _,
        }) => Some(address),
        Storage::Raft(RaftStorage {
            size: _,
            storage_class_name: _,
        })
        | Storage::Ephemeral => None,
    }
}

fn of_seal(by: &AutoSeal) -> Vec<&str> {
    match by {
        AutoSeal::Transit(TransitSeal {
            address,
            mount_path: _,
            key_name: _,
            namespace: _,
            token_secret: _,
            ca_secret: _,
            tls_server_name: _,
            client_certificate_secret: _,
            disable_renewal: _,
        }) => vec![address],
        AutoSeal::AwsKms(AwsKmsSeal {
            region: _,
            kms_key_id: _,
            endpoint,
            credentials_secret: _,
        }) => vec![endpoint.as_deref().unwrap_or("https://kms")],
        AutoSeal::GcpCkms(GcpCkmsSeal {
            project: _,
            region: _,
            key_ring: _,
            crypto_key: _,
            credentials_secret: _,
        }) => vec!["https://cloudkms.googleapis.com"],
        AutoSeal::AzureKeyVault(AzureKeyVaultSeal {
            vault_name: _,
            key_name: _,
            tenant_id: _,
            client_id: _,
            client_secret: _,
            environment: _,
        }) => vec!["https://vault.azure.net"],
        AutoSeal::OciKms(OciKmsSeal {
            key_id: _,
            crypto_endpoint,
            management_endpoint,
            credentials_secret: _,
        }) => vec![crypto_endpoint, management_endpoint],
        // A module on the network has its address in a file of its own.
        AutoSeal::Static(StaticSeal {
            current: _,
            previous: _,
        })
        | AutoSeal::Pkcs11(Pkcs11Seal {
            lib: _,
            slot: _,
            token_label: _,
            pin_secret: _,
            key_label: _,
            mechanism: _,
            hmac_key_label: _,
        }) => Vec::new(),
    }
}

/// Whom the auth methods ask. What a discovery document names in turn is not known here.
fn of_methods(configuration: &Configuration) -> Vec<&str> {
    let Configuration {
        drift: _,
        secrets_engines,
        auth_methods,
        policies: _,
        password_policies: _,
        audit: _,
        mfa: _,
        namespaces: _,
    } = configuration;
    for engine in secrets_engines {
        // Where a database is, for example, is written into Vault and not into the spec.
        let SecretsEngine {
            path: _,
            type_: _,
            description: _,
            options: _,
            tune: _,
        } = engine;
    }
    let mut urls = Vec::new();
    for method in auth_methods {
        let AuthMethod {
            path: _,
            type_: _,
            description: _,
            tune: _,
            kubernetes,
            jwt,
            cert,
            userpass,
        } = method;
        if let Some(KubernetesAuth {
            host,
            ca_cert: _,
            token_reviewer: _,
        }) = kubernetes
        {
            urls.push(host.as_str());
        }
        if let Some(JwtAuth {
            discovery_url,
            discovery_ca: _,
            client_id: _,
            client_secret: _,
            jwks_url,
            jwks_ca: _,
            public_keys: _,
            bound_issuer: _,
            default_role: _,
            roles: _,
        }) = jwt
        {
            urls.extend(
                [discovery_url, jwks_url]
                    .into_iter()
                    .flatten()
                    .map(String::as_str),
            );
        }
        if let Some(CertAuth {
            disable_binding: _,
            enable_identity_alias_metadata: _,
            roles: _,
        }) = cert
        {}
        if let Some(UserpassAuth { users: _ }) = userpass {}
    }
    urls
}

fn of_devices(configuration: &Configuration) -> Vec<Port> {
    let mut ports = Vec::new();
    for device in configuration.audit.iter().flatten() {
        let AuditDevice {
            path: _,
            description: _,
            format: _,
            stdout,
            file,
            socket,
            syslog,
        } = device;
        if let Some(StdoutAudit {}) = stdout {}
        if let Some(FileAudit { path: _, rotate: _ }) = file {}
        if let Some(SyslogAudit { facility: _, tag: _ }) = syslog {}
        let Some(SocketAudit { address, type_ }) = socket else {
            continue;
        };
        let protocol = match type_ {
            SocketType::Tcp => "TCP",
            SocketType::Udp => "UDP",
            SocketType::Unix => continue,
        };
        let number = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        ports.extend(number.map(|number| Port { number, protocol }));
    }
    ports
}

/// Port of a URL.
fn port_of(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = if scheme == "http" { 80 } else { HTTPS };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    // What follows an address in brackets, or a name.
    let host = host.rsplit(']').next().unwrap_or(host);
    match host.rsplit_once(':') {
        Some((_, port)) => port.parse().ok(),
        None => Some(usual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    /// Ports of this spec, as `8200/TCP`.
    fn of(extra: &str) -> Vec<String> {
        let validated = validate(&cluster(extra)).unwrap();
        let ports = ports(&validated);
        ports
            .iter()
            .map(|Port { number, protocol }| format!("{number}/{protocol}"))
            .collect()
    }

    /// Ports of this configuration.
    fn declared(text: &str) -> Vec<String> {
        let configuration: Configuration = serde_yaml::from_str(text).unwrap();
        let ports = of_configuration(&configuration);
        ports
            .iter()
            .map(|Port { number, protocol }| format!("{number}/{protocol}"))
            .collect()
    }

    fn method(settings: &str) -> Vec<String> {
        declared(&format!("{{authMethods: [{{path: idp, {settings}}}]}}"))
    }

    fn device(settings: &str) -> Vec<String> {
        declared(&format!("{{audit: [{{path: out, {settings}}}]}}"))
    }

    #[test]
    fn a_configuration_that_is_refused_keeps_its_ports() {
        let refused = "  configuration: {audit: [{path: a, socket: {address: 'logs.example.com:9090'}}], policies: [{name: root, hcl: x}]}";
        let validated = crate::cluster::validate::examine(&cluster(refused)).unwrap();
        assert!(validated.configuration.is_err(), "root is no policy of anybody");
        assert!(ports(&validated).contains(&Port::tcp(9090)), "its device goes on");
    }

    #[test]
    fn a_spec_without_addresses_opens_nothing() {
        assert_eq!(of(""), [""; 0]);
        let others = "{secretsEngines: [{path: db, type: database}], authMethods: [{path: people, type: userpass, userpass: {users: []}}, {path: c, type: cert, cert: {}}]}";
        assert_eq!(declared(others), [""; 0]);
    }

    #[test]
    fn the_address_of_consul_is_reached() {
        let mut object = cluster("");
        object.spec.storage =
            serde_yaml::from_str("{consul: {address: 'https://consul.example.com:8501'}}").unwrap();
        let validated = validate(&object).unwrap();
        assert_eq!(
            ports(&validated),
            BTreeSet::from([Port::tcp(8501)]),
            "storage.consul.address"
        );
    }

    #[test]
    fn every_seal_reaches_its_key() {
        let key = "tokenSecret: {name: unseal, key: token}";
        for (seal, wanted) in [
            (
                format!("{{transit: {{address: 'https://kms.example.com:8200', keyName: auto, {key}}}}}"),
                "8200/TCP",
            ),
            ("{awskms: {region: r, kmsKeyId: k}}".to_owned(), "443/TCP"),
            (
                "{awskms: {region: r, kmsKeyId: k, endpoint: 'https://kms.example.com:8443'}}".to_owned(),
                "8443/TCP",
            ),
            (
                "{gcpckms: {project: p, region: r, keyRing: k, cryptoKey: c}}".to_owned(),
                "443/TCP",
            ),
            ("{azurekeyvault: {vaultName: v, keyName: k}}".to_owned(), "443/TCP"),
            (
                "{ocikms: {keyId: ocid1.key.a, cryptoEndpoint: 'https://a.example.com', managementEndpoint: 'https://b.example.com/'}}".to_owned(),
                "443/TCP",
            ),
        ] {
            assert_eq!(of(&format!("  seal: {seal}")), [wanted], "{seal}");
        }
    }

    #[test]
    fn every_address_of_an_auth_method_is_reached() {
        for (settings, wanted) in [
            (
                "type: kubernetes, kubernetes: {host: 'https://other.example.com:16443'}",
                "16443/TCP",
            ),
            (
                "type: jwt, jwt: {discoveryUrl: 'https://idp.example.com:8443/realms/a'}",
                "8443/TCP",
            ),
            (
                "type: jwt, jwt: {jwksUrl: 'http://idp.example.com:8080/keys'}",
                "8080/TCP",
            ),
            (
                "type: jwt, jwt: {jwksUrl: 'http://idp.example.com/keys'}",
                "80/TCP",
            ),
        ] {
            assert_eq!(method(settings), [wanted], "{settings}");
        }
    }

    #[test]
    fn an_audit_socket_is_reached_by_its_own_protocol() {
        assert_eq!(device("socket: {address: 'logs.example.com:9090'}"), ["9090/TCP"]);
        assert_eq!(
            device("socket: {address: '[fd00::1]:9090', type: Udp}"),
            ["9090/UDP"]
        );
        assert_eq!(
            device("socket: {address: /run/audit.sock, type: Unix}"),
            [""; 0],
            "it is in the pod"
        );
        assert_eq!(device("file: {path: /audit/log}"), [""; 0]);
    }

    #[test]
    fn the_port_of_an_address_is_found() {
        for (address, port) in [
            ("https://consul.example.com:8501", Some(8501)),
            ("https://consul.example.com", Some(443)),
            ("http://consul", Some(80)),
            ("https://[fd00::1]:8501", Some(8501)),
            ("https://[fd00::1]", Some(443)),
            ("https://idp.example.com:8443/a:1/b?c=d:2", Some(8443)),
            ("consul:8500", None),
        ] {
            assert_eq!(port_of(address), port, "{address}");
        }
    }
}
