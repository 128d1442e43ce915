//! The NetworkPolicy of the members: what it does not name is denied, where the network plugin enforces it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use vaultkeeper_crds::cluster::{
    EgressRule, NetworkPeer, NetworkPolicySettings, NetworkPort, NetworkProtocol, Profile,
};
use vaultkeeper_crds::names::{API_PORT, CLUSTER_PORT, METRICS_PORT};

use super::egress::{self, Port};
use super::{metadata, selector};
use crate::cluster::validate::{AutoSeal, Validated};

/// The API server of Kubernetes, and every cloud's key management service.
const HTTPS_PORTS: [u16; 2] = [443, 6443];
/// As a Service has it, and as the pods behind it listen on some distributions: policies see the pod's port.
const DNS_PORTS: [i32; 2] = [53, 5353];
/// Where clouds offer credentials to workloads: link-local addresses, at these ports.
const METADATA: (&str, [u16; 2]) = ("169.254.0.0/16", [80, 988]);

/// The policy, unless there is to be none.
pub(crate) fn network_policy(cluster: &Validated, operator_namespace: &str) -> Option<NetworkPolicy> {
    let NetworkPolicySettings {
        enabled,
        clients,
        prometheus,
        egress,
    } = &cluster.network_policy;
    if !enabled.unwrap_or(cluster.profile == Profile::Hardened) {
        return None;
    }
    let members = || pods(None, &selector(&cluster.name));
    let mut users = vec![operator(operator_namespace)];
    let namespaces = cluster.client_namespaces.iter().filter(|n| is_namespace(n));
    users.extend(namespaces.map(|n| namespace(n)));
    users.extend(clients.iter().map(peer));
    let watchers: Vec<NetworkPolicyPeer> = prometheus.iter().map(peer).collect();
    let mut ingress = vec![
        NetworkPolicyIngressRule {
            from: Some(vec![members()]),
            ports: Some(tcp(&[API_PORT, CLUSTER_PORT])),
        },
        NetworkPolicyIngressRule {
            from: Some(users),
            ports: Some(tcp(&[API_PORT])),
        },
    ];
    // An empty list of peers would let everybody in.
    if !watchers.is_empty() {
        let port = cluster.monitoring.as_ref().map_or(API_PORT, |_| METRICS_PORT);
        ingress.push(NetworkPolicyIngressRule {
            from: Some(watchers),
            ports: Some(tcp(&[port])),
        });
    }
    let mut leaving = vec![
        NetworkPolicyEgressRule {
            to: Some(vec![members()]),
            ports: Some(tcp(&[API_PORT, CLUSTER_PORT])),
        },
        NetworkPolicyEgressRule {
            to: None,
            ports: Some(
                DNS_PORTS
                    .iter()
                    .flat_map(|dns| [port(*dns, "UDP"), port(*dns, "TCP")])
                    .collect(),
            ),
        },
        NetworkPolicyEgressRule {
            to: None,
            ports: Some(anywhere(cluster)),
        },
    ];
    if is_cloud(cluster) {
        let (block, ports) = METADATA;
        leaving.push(NetworkPolicyEgressRule {
            to: Some(vec![addresses(block)]),
            ports: Some(tcp(&ports)),
        });
    }
    leaving.extend(egress.iter().map(rule));
    Some(NetworkPolicy {
        metadata: metadata(cluster, cluster.name.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selector(&cluster.name)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: Some(leaving),
        }),
    })
}

/// The operator's pods, by the labels of the chart.
fn operator(namespace: &str) -> NetworkPolicyPeer {
    let labels = [
        ("app.kubernetes.io/name", "vaultkeeper"),
        ("app.kubernetes.io/component", "operator"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    pods(Some(by_name(namespace)), &BTreeMap::from(labels))
}

/// Ports at which the members may reach any address: policies know no names.
fn anywhere(cluster: &Validated) -> Vec<NetworkPolicyPort> {
    let mut ports = egress::ports(cluster);
    ports.extend(HTTPS_PORTS.map(Port::tcp));
    ports
        .into_iter()
        .map(|Port { number, protocol }| port(i32::from(number), protocol))
        .collect()
}

fn is_cloud(cluster: &Validated) -> bool {
    match cluster.auto_seal() {
        Some(
            AutoSeal::AwsKms(_) | AutoSeal::GcpCkms(_) | AutoSeal::AzureKeyVault(_) | AutoSeal::OciKms(_),
        ) => true,
        Some(AutoSeal::Transit(_) | AutoSeal::Static(_) | AutoSeal::Pkcs11(_)) | None => false,
    }
}

fn rule(rule: &EgressRule) -> NetworkPolicyEgressRule {
    let EgressRule { to, ports } = rule;
    let ports: Vec<NetworkPolicyPort> = ports
        .iter()
        .map(
            |NetworkPort {
                 port: number,
                 protocol,
             }| {
                let protocol = match protocol {
                    NetworkProtocol::Tcp => "TCP",
                    NetworkProtocol::Udp => "UDP",
                };
                port(*number, protocol)
            },
        )
        .collect();
    NetworkPolicyEgressRule {
        to: Some(to.iter().map(peer).collect()),
        ports: Some(ports).filter(|p| !p.is_empty()),
    }
}

fn peer(peer: &NetworkPeer) -> NetworkPolicyPeer {
    let NetworkPeer {
        namespace,
        namespace_labels,
        pod_labels,
        cidr,
    } = peer;
    if let Some(cidr) = cidr {
        return addresses(cidr);
    }
    let namespaces = match namespace {
        Some(name) => Some(by_name(name)),
        None => Some(namespace_labels.clone()).filter(|l| !l.is_empty()),
    };
    pods(namespaces, pod_labels)
}

/// Whether there can be a namespace of this name. The API server would refuse the whole policy for another one.
fn is_namespace(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63 && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    pods(Some(by_name(name)), &BTreeMap::new())
}

/// The label that Kubernetes itself puts on every namespace.
fn by_name(namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())])
}

/// Pods of namespaces; without namespaces, those of the policy's own.
fn pods(
    namespaces: Option<BTreeMap<String, String>>,
    labels: &BTreeMap<String, String>,
) -> NetworkPolicyPeer {
    let select = |labels| LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    };
    NetworkPolicyPeer {
        namespace_selector: namespaces.map(select),
        pod_selector: (!labels.is_empty()).then(|| select(labels.clone())),
        ip_block: None,
    }
}

fn addresses(cidr: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn tcp(ports: &[u16]) -> Vec<NetworkPolicyPort> {
    ports
        .iter()
        .map(|number| port(i32::from(*number), "TCP"))
        .collect()
}

fn port(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}

#[cfg(test)]
#[path = "network_policy_tests.rs"]
mod tests;
