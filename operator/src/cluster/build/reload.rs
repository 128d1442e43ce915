//! The helper beside the server: it sends SIGHUP when the certificate on disk is another than the one the server shows,
//! and rotates the logs on the audit volume, where there is one.
//! An ordinary container, not a native sidecar: Vault must start also where the helper's image cannot be pulled.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use vaultkeeper_crds::names;

use super::statefulset::{TLS_VOLUME, command, mount, restricted};
use super::{audit, config};
use crate::cluster::validate::Validated;
use crate::context::HelperImage;

/// Name of the container.
pub(super) const CONTAINER: &str = "reload";
/// Where the agent's image holds its one program.
const PROGRAM: &str = "/bin/vaultkeeper-agent";

/// The container. It runs as the server's user, which is what lets it signal it, and mounts what the server mounts.
pub(super) fn container(cluster: &Validated, helper: &HelperImage) -> Container {
    let HelperImage { image, pull_policy } = helper;
    let mut arguments = vec![
        "reload".to_owned(),
        format!("-certificate={}/tls.crt", config::TLS),
        format!("-address=localhost:{}", names::API_PORT),
    ];
    arguments.extend(audit::arguments_of_helper(cluster));
    arguments.push("--".to_owned());
    arguments.extend(command(cluster));
    let mut mounts = vec![mount(TLS_VOLUME, config::TLS, true)];
    mounts.extend(audit::mounts_of_helper(cluster));
    let quantities = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        Some(
            pairs
                .map(|(k, v)| ((*k).to_owned(), Quantity((*v).to_owned())))
                .collect::<BTreeMap<_, _>>(),
        )
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(image.clone()),
        image_pull_policy: pull_policy.clone(),
        command: Some(vec![PROGRAM.to_owned()]),
        args: Some(arguments),
        resources: Some(ResourceRequirements {
            requests: quantities(&[("cpu", "1m"), ("memory", "8Mi")]),
            limits: quantities(&[("memory", "32Mi")]),
            claims: None,
        }),
        security_context: Some(restricted()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::statefulset::stateful_set;
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    #[test]
    fn the_helper_looks_for_the_command_line_that_the_server_has_and_sees_its_processes() {
        for (spec, program) in [("", "vault"), ("  distribution: OpenBao", "bao")] {
            let set = stateful_set(&validate(&cluster(spec)).unwrap(), &HelperImage::default());
            let pod = set.spec.unwrap().template.spec.unwrap();
            assert_eq!(pod.share_process_namespace, Some(true));
            let [server, helper] = pod.containers.as_slice() else {
                panic!("two containers are expected: {:?}", pod.containers)
            };
            let command = server.command.clone().unwrap();
            assert_eq!(command[0], program);
            let arguments = helper.args.clone().unwrap();
            let wanted = arguments.split(|a| a == "--").nth(1).unwrap();
            assert_eq!(wanted, command.as_slice());
            let tls = |c: &Container| {
                c.volume_mounts
                    .iter()
                    .flatten()
                    .find(|m| m.name == TLS_VOLUME)
                    .cloned()
            };
            assert_eq!(tls(server), tls(helper), "both must see the same files");
        }
    }
}
