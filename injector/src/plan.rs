//! From a pod, its annotations and its identity to what is to be injected. Pure.

use std::collections::BTreeMap;

use vaultkeeper_crds::names;
use vaultkeeper_template::{Delims, defaults};

use crate::agent_config::{AgentConfig, AutoAuth, Method, MethodConfig, Template, TemplateConfig, Vault};
use crate::annotations::{Annotations, Resources, Secret};
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

const DEFAULT_VOLUME_PATH: &str = "/vault/secrets";

/// What is to be injected.
#[derive(Debug)]
pub struct Plan {
    /// The agent's configuration.
    pub config: AgentConfig,
    /// Whether the sidecar comes before the pod's own init containers.
    pub first: bool,
    /// Where the rendered files appear.
    pub volume_path: String,
    /// The application's containers that get the files, by index.
    pub containers: Vec<usize>,
    /// The ConfigMap with the CA.
    pub ca_config_map: Option<String>,
    /// The annotated Secret with TLS files.
    pub tls_secret: Option<String>,
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

/// Plans the injection, and says what is odd but no reason to refuse.
///
/// # Errors
/// A template that does not parse, a name or path that is taken, a user that cannot be found out.
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
        service: _,
        namespace,
        auth_path,
        ca_cert,
        tls_server_name,
        tls_secret,
        containers,
        init_first,
        volume_path,
        default_template,
        render_interval,
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
    } = identity;
    let mut warnings = Vec::new();

    let volume_path = volume_path.unwrap_or_else(|| DEFAULT_VOLUME_PATH.to_owned());
    let default_template = default_template.unwrap_or(defaults::Default::Map);
    let template = templates(
        &secrets,
        &volume_path,
        default_template,
        preserve_case,
        &mut warnings,
    )?;
    // An annotated CA is meant instead of ours.
    let ca_config_map = ca_config_map.filter(|_| ca_cert.is_none());
    let ca_cert = ca_cert.or_else(|| {
        ca_config_map
            .as_ref()
            .map(|_| format!("{CA_FOLDER}/{}", names::CA_KEY))
    });

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
    let (requests, limits) = merge(resources, defaults);

    let plan = Plan {
        config: AgentConfig {
            vault: Vault {
                address,
                ca_cert,
                tls_server_name,
            },
            auto_auth: AutoAuth {
                method: Method {
                    kind: "kubernetes",
                    mount_path: auth_path.unwrap_or_else(|| defaults.auth_path.clone()),
                    namespace,
                    config: MethodConfig {
                        role,
                        token_path: TOKEN_PATH,
                    },
                },
            },
            template,
            template_config: render_interval.map(|static_secret_render_interval| TemplateConfig {
                static_secret_render_interval,
            }),
        },
        first: init_first,
        volume_path,
        containers,
        ca_config_map,
        tls_secret,
        log_level,
        log_format,
        run_as_user,
        run_as_group: run_as_group.unwrap_or(defaults.run_as_group),
        requests,
        limits,
    };
    refuse_collisions(pod, &plan)?;
    Ok((plan, warnings))
}

/// The files to render, in the order of their paths, so that the same pod always gives the same patch.
fn templates(
    secrets: &BTreeMap<String, Secret>,
    volume_path: &str,
    default: defaults::Default,
    preserve_case: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Template>, Denial> {
    let mut templates = Vec::new();
    for (name, secret) in secrets {
        let (contents, left_delimiter, right_delimiter) = match (&secret.template, &secret.path) {
            (Some(given), _) => {
                let mut delims = Delims::default();
                if let Some(left) = &secret.left_delimiter {
                    delims.left.clone_from(left);
                }
                if let Some(right) = &secret.right_delimiter {
                    delims.right.clone_from(right);
                }
                vaultkeeper_template::Template::parse(&given.value, &delims).map_err(|error| {
                    Denial::annotation(&given.key, format!("the template does not parse: {error}"))
                })?;
                (
                    given.value.clone(),
                    secret.left_delimiter.clone(),
                    secret.right_delimiter.clone(),
                )
            }
            // The default template has its own delimiters, whatever the annotations say.
            (None, Some(path)) => (default.template(path), None, None),
            (None, None) => continue,
        };
        let lower = !secret.preserve_case.unwrap_or(preserve_case);
        let file = match &secret.file {
            Some(file) => file.clone(),
            None if lower => name.to_lowercase(),
            None => name.clone(),
        };
        templates.push(Template {
            destination: format!("{volume_path}/{file}"),
            contents,
            left_delimiter,
            right_delimiter,
            perms: secret.perms.clone(),
            error_on_missing_key: secret.error_on_missing_key,
        });
    }
    templates.sort();
    for pair in templates.windows(2) {
        if pair[0].destination == pair[1].destination {
            warnings.push(format!(
                "two secrets are rendered to {}: one will overwrite the other",
                pair[0].destination
            ));
        }
    }
    if templates.is_empty() {
        warnings.push("no secret is asked for, so that nothing will be rendered".to_owned());
    }
    Ok(templates)
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

type Quantities = BTreeMap<&'static str, String>;

fn merge(annotated: Resources, defaults: &Injection) -> (Quantities, Quantities) {
    let Resources { requests, limits } = annotated;
    let base = |cpu: &str, memory: &str| {
        BTreeMap::from([("cpu", Some(cpu.to_owned())), ("memory", Some(memory.to_owned()))])
    };
    let over = |mut base: BTreeMap<&'static str, Option<String>>, annotated| {
        base.extend(annotated);
        base.into_iter()
            .filter_map(|(key, value)| Some((key, value.filter(|v| !v.is_empty())?)))
            .collect()
    };
    (
        over(base(&defaults.cpu_request, &defaults.memory_request), requests),
        over(base(&defaults.cpu_limit, &defaults.memory_limit), limits),
    )
}

/// A pod may hold no container, volume or mount that ours would clash with.
fn refuse_collisions(pod: &Pod, plan: &Plan) -> Result<(), Denial> {
    let containers = || pod.init_containers().iter().chain(&pod.spec.containers);
    if containers().any(|container| container.name == CONTAINER) {
        return Err(Denial::Invalid(format!(
            "the pod already has a container named {CONTAINER}: rename it, that name is needed for the agent"
        )));
    }
    let volumes = [SECRETS_VOLUME, TOKEN_VOLUME, CA_VOLUME, TLS_VOLUME];
    if let Some(taken) = pod
        .volumes()
        .iter()
        .find(|volume| volumes.contains(&volume.name.as_str()))
    {
        return Err(Denial::Invalid(format!(
            "the pod already has a volume named {}: rename it, that name is needed for the agent",
            taken.name
        )));
    }
    let mounted = pod
        .init_containers()
        .iter()
        .chain(plan.containers.iter().map(|index| &pod.spec.containers[*index]));
    for container in mounted {
        if container
            .mounts()
            .iter()
            .any(|mount| mount.mount_path.trim_end_matches('/') == plan.volume_path)
        {
            return Err(Denial::Invalid(format!(
                "container {} already mounts something at {}, where the secrets appear: mount it elsewhere, or set \
                 vault.hashicorp.com/secret-volume-path",
                container.name, plan.volume_path
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
