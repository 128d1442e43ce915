//! From a pod, its annotations and its identity to what is to be injected. Pure.

mod collisions;
mod quantity;
mod resources;
mod size;
mod templates;
mod trust;

use std::collections::{BTreeMap, BTreeSet};

use vaultkeeper_crds::names;
use vaultkeeper_template::defaults;

use crate::agent_config::{
    AgentConfig, AutoAuth, Method, MethodConfig, Sink, SinkConfig, TemplateConfig, Vault,
};
use crate::annotations::Annotations;
use crate::denial::Denial;
use crate::pod::Pod;
use crate::roles::Identity;
use crate::settings::Injection;

/// Name of the sidecar; that of the existing injector's, so that `kubectl logs -c vault-agent` goes on working.
pub const CONTAINER: &str = "vault-agent";
/// Volume in memory with the rendered files.
pub const SECRETS_VOLUME: &str = "vault-secrets";
/// Volume with the agent's own ServiceAccount token.
pub const TOKEN_VOLUME: &str = "vault-agent-token";
/// Where that token appears, in the sidecar only.
pub const TOKEN_FOLDER: &str = "/var/run/secrets/vaultkeeper.dev/serviceaccount";
const TOKEN_PATH: &str = "/var/run/secrets/vaultkeeper.dev/serviceaccount/token";
/// Volume with the CA of Vault's certificate.
pub const CA_VOLUME: &str = "vault-agent-ca";
/// Where that CA appears, in the sidecar only.
pub const CA_FOLDER: &str = "/vaultkeeper/ca";
/// Volume of the annotated TLS Secret.
pub const TLS_VOLUME: &str = "vault-tls-secrets";
/// Where that Secret appears, in the sidecar only.
pub const TLS_FOLDER: &str = "/vault/tls";
/// Volume of the annotated Secret with files for the agent.
pub const CUSTOM_VOLUME: &str = "extra-secrets";
/// Where that Secret appears, in the sidecar only.
pub const CUSTOM_FOLDER: &str = "/vault/custom";
/// Where the agent's image holds its one program.
pub const PROGRAM_FOLDER: &str = "/bin";

const DEFAULT_VOLUME_PATH: &str = "/vault/secrets";

/// What is to be injected.
#[derive(Debug)]
pub struct Plan {
    /// The agent's configuration.
    pub config: AgentConfig,
    /// Whether the sidecar comes before the pod's own init containers.
    pub first: bool,
    /// The volumes with the rendered files; the common one first.
    pub secrets_volumes: Vec<SecretsVolume>,
    /// The application's containers that get the files, by index.
    pub containers: Vec<usize>,
    /// The ConfigMap with the CA.
    pub ca_config_map: Option<String>,
    /// Audience of the agent's ServiceAccount token; `None` for that of the API server.
    pub audience: Option<String>,
    /// The annotated Secret with TLS files.
    pub tls_secret: Option<String>,
    /// The annotated Secret with files for the agent.
    pub extra_secret: Option<String>,
    /// The agent's level of logging.
    pub log_level: Option<String>,
    /// The agent's format of logging.
    pub log_format: Option<String>,
    /// The agent's user.
    pub run_as_user: i64,
    /// The agent's group.
    pub run_as_group: i64,
    /// The agent's requests.
    pub requests: BTreeMap<&'static str, String>,
    /// The agent's limits.
    pub limits: BTreeMap<&'static str, String>,
}

/// A volume in memory with rendered files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsVolume {
    /// Its name.
    pub name: String,
    /// Where it appears.
    pub path: String,
}

/// Plans the injection, and says what is odd but no reason to refuse.
///
/// # Errors
/// A template that does not parse, a name or path that is taken, a user that cannot be found out, a certificate that will
/// not be there or has no key, an https address without a CA, contradicting resources, a configuration that is too large.
pub fn plan(
    pod: &Pod,
    annotations: Annotations,
    identity: Identity,
    defaults: &Injection,
) -> Result<(Plan, Vec<String>), Denial> {
    let Annotations {
        inject: _,
        status: _,
        role: _,
        service,
        namespace,
        auth_path,
        ca_cert,
        ca_path,
        client_cert,
        client_key,
        tls_server_name,
        tls_secret,
        extra_secret,
        min_backoff,
        max_backoff,
        inject_token,
        containers,
        init_first,
        volume_path,
        default_template,
        render_interval,
        renewal_threshold,
        log_level,
        log_format,
        preserve_case,
        run_as_user,
        run_as_group,
        run_as_same_user,
        resources,
        secrets,
    } = annotations;
    let Identity {
        role,
        address,
        ca_config_map,
        auth_path: auth_path_of_role,
        namespace: namespace_of_role,
        audience,
    } = identity;
    let mut warnings = Vec::new();
    let paths = trust::Paths {
        ca_cert: ca_cert.as_ref(),
        ca_path: ca_path.as_ref(),
        client_cert: client_cert.as_ref(),
        client_key: client_key.as_ref(),
    };
    let mounted = trust::Mounted::of(pod, tls_secret.is_some(), extra_secret.is_some());
    trust::refuse_missing(&paths, &mounted)?;

    let volume_path = volume_path.unwrap_or_else(|| DEFAULT_VOLUME_PATH.to_owned());
    let common = templates::Common {
        volume_path: &volume_path,
        default: default_template.unwrap_or(defaults::Default::Map),
        preserve_case,
        has_extra_secret: extra_secret.is_some(),
    };
    let template = templates::templates(&secrets, &common)?;
    let sinks = if inject_token {
        vec![sink(format!("{volume_path}/token"))]
    } else {
        Vec::new()
    };
    let destinations = template.iter().map(|template| template.destination.as_str());
    warnings.extend(templates::warnings(
        destinations.chain(sinks.iter().map(|sink| sink.config.path.as_str())),
    ));
    let own_folders = secrets.values().filter(|secret| secret.is_requested());
    let own_folders: BTreeSet<String> = own_folders
        .filter_map(|secret| secret.volume_path.clone())
        .filter(|path| *path != volume_path)
        .collect();
    // An annotated CA is meant instead of ours.
    let ca_config_map = ca_config_map.filter(|_| ca_cert.is_none() && ca_path.is_none());
    let ca_path = ca_path.map(|given| given.value);
    let ca_cert = ca_cert.map(|given| given.value).or_else(|| {
        ca_config_map
            .as_ref()
            .map(|_| format!("{CA_FOLDER}/{}", names::CA_KEY))
    });
    trust::refuse_untrusted(&address, service.as_ref(), ca_cert.is_some() || ca_path.is_some())?;

    let containers = match containers {
        None => (0..pod.spec.containers.len()).collect(),
        Some(wanted) => {
            for name in &wanted.value {
                if !pod
                    .spec
                    .containers
                    .iter()
                    .any(|container| container.name == *name)
                {
                    warnings.push(format!("{}: the pod has no container {name:?}", wanted.key));
                }
            }
            let is_wanted = |index: &usize| wanted.value.contains(&pod.spec.containers[*index].name);
            (0..pod.spec.containers.len()).filter(is_wanted).collect()
        }
    };
    let run_as_user = match run_as_same_user {
        Some(same) if same.value => same_user(pod, &same.key)?,
        _ => run_as_user.unwrap_or(defaults.run_as_user),
    };
    let (requests, limits) = resources::merge(&resources, defaults)?;

    let template_config = TemplateConfig {
        static_secret_render_interval: render_interval,
        lease_renewal_threshold: renewal_threshold,
    };
    let template_config = Some(template_config).filter(|config| *config != TemplateConfig::default());

    let plan = Plan {
        config: AgentConfig {
            vault: Vault {
                address,
                ca_cert,
                ca_path,
                client_cert: client_cert.map(|given| given.value),
                client_key: client_key.map(|given| given.value),
                tls_server_name,
            },
            auto_auth: AutoAuth {
                method: Method {
                    kind: "kubernetes",
                    mount_path: auth_path
                        .or(auth_path_of_role)
                        .unwrap_or_else(|| defaults.auth_path.clone()),
                    namespace: namespace.or(namespace_of_role),
                    min_backoff,
                    max_backoff,
                    config: MethodConfig {
                        role,
                        token_path: TOKEN_PATH,
                    },
                },
                sinks,
            },
            template,
            template_config,
        },
        first: init_first,
        secrets_volumes: secrets_volumes(volume_path, own_folders),
        containers,
        ca_config_map,
        audience,
        tls_secret,
        extra_secret,
        log_level,
        log_format,
        run_as_user,
        run_as_group: run_as_group.unwrap_or(defaults.run_as_group),
        requests,
        limits,
    };
    collisions::refuse(pod, &plan)?;
    size::refuse(&plan.config, &secrets)?;
    Ok((plan, warnings))
}

fn sink(path: String) -> Sink {
    Sink {
        kind: "file",
        config: SinkConfig { path },
    }
}

fn secrets_volumes(common: String, own_folders: BTreeSet<String>) -> Vec<SecretsVolume> {
    let mut volumes = vec![SecretsVolume {
        name: SECRETS_VOLUME.to_owned(),
        path: common,
    }];
    let own = own_folders.into_iter().enumerate();
    volumes.extend(own.map(|(index, path)| SecretsVolume {
        name: format!("vault-secrets-custom-{index}"),
        path,
    }));
    volumes
}

fn same_user(pod: &Pod, key: &str) -> Result<i64, Denial> {
    let first = pod.spec.containers.first();
    match first.and_then(|container| container.security_context.as_ref()?.run_as_user) {
        Some(0) => Err(Denial::annotation(
            key,
            "the first container runs as root, which the agent does not",
        )),
        Some(user) => Ok(user),
        None => Err(Denial::annotation(
            key,
            "the first container's user is not known: set its securityContext.runAsUser",
        )),
    }
}

#[cfg(test)]
mod tests;
