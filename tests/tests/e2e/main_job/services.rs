//! The Services of the members, as applications use them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::Value;
use vaultkeeper_crds::names;
use vaultkeeper_vault::Client;

use super::installation::{Installation, VAULT, trusted_ca};

/// How long an application waits for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Names of the ready pods behind a Service.
pub(crate) fn behind(installed: &Installation, service: &str) -> anyhow::Result<Vec<String>> {
    let selector = format!("kubernetes.io/service-name={service}");
    let slices = installed.kubectl(&[
        "get",
        "endpointslices",
        "-n",
        VAULT,
        "-l",
        &selector,
        "-o",
        "json",
    ])?;
    let slices: Value = serde_json::from_str(&slices)?;
    let endpoints = slices["items"].as_array().into_iter().flatten();
    let mut names: Vec<String> = endpoints
        .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .filter_map(|endpoint| Some(endpoint["targetRef"]["name"].as_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Address of a Service. It stays the same as long as the Service is there.
pub(crate) async fn address_of(kube: &kube::Client, service: &str) -> anyhow::Result<IpAddr> {
    let services: Api<Service> = Api::namespaced(kube.clone(), VAULT);
    let address = services.get(service).await?.spec.and_then(|s| s.cluster_ip);
    Ok(address.context("the Service has no address")?.parse()?)
}

/// A client of a Service: by its address, as kube-proxy leads there, and under its name, which the certificate must hold.
pub(crate) async fn client_of(kube: &kube::Client, service: &str) -> anyhow::Result<Client> {
    let address = address_of(kube, service).await?;
    let host = names::service_host(VAULT, service);
    Ok(Client::builder(format!("https://{host}:{}", names::API_PORT))
        .ca_pem(trusted_ca(kube).await?)
        .connect_to(SocketAddr::new(address, names::API_PORT))
        .timeout(PATIENCE)
        .build()?)
}
