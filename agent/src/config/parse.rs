//! From JSON to a checked configuration. Pure: the environment is handed in.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use vaultkeeper_template::Delims;

use super::load::ConfigError;
use super::reader::Object;
use super::{Config, Login, Method, Sink, Source, Template, Vault};

/// Where Kubernetes mounts a ServiceAccount's token.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const LATER: &str = "this version of the agent has no such feature";

/// Reads a configuration. Returns it with warnings about keys that have no effect.
///
/// # Errors
/// The text is not JSON, or a key is wrong; the error names the key's path.
pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(Config, Vec<String>), ConfigError> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| ConfigError::Json {
        reason: if error.is_eof() {
            "it ends too early"
        } else {
            "a mistake in its syntax"
        },
        line: error.line(),
        column: error.column(),
    })?;
    let warnings = RefCell::new(Vec::new());
    let config = root(Object::root(&json, &warnings)?, env)?;
    Ok((config, warnings.into_inner()))
}

fn root(mut root: Object<'_>, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let set = |name: &str| env(name).filter(|text| !text.is_empty());
    let vault = root.object("vault")?;
    let mut auto_auth = root.object("auto_auth")?.ok_or_else(|| ConfigError::Missing {
        path: "auto_auth".to_owned(),
    })?;
    let mut method = auto_auth.object("method")?.ok_or_else(|| ConfigError::Missing {
        path: "auto_auth.method".to_owned(),
    })?;
    let namespace = method.text("namespace")?;
    let login = login(method)?;
    let mut sinks = Vec::new();
    for key in ["sink", "sinks"] {
        for sink in auto_auth.objects(key)? {
            sinks.push(self::sink(sink)?);
        }
    }
    auto_auth.ignored("enable_reauth_on_new_credentials", LATER);
    auto_auth.finish();
    let templates = root
        .objects("template")?
        .into_iter()
        .map(template)
        .collect::<Result<Vec<_>, _>>()?;
    let mut settings = root.object("template_config")?;
    let (mut static_interval, mut renewal_threshold) = (None, None);
    if let Some(mut settings) = settings.take() {
        static_interval = settings.duration("static_secret_render_interval")?;
        renewal_threshold = settings.number("lease_renewal_threshold")?;
        // vault-k8s always sets it. Exiting would only make the kubelet do what the agent does better itself.
        settings.flag("exit_on_retry_failure")?;
        settings.number("max_connections_per_host")?;
        settings.finish();
    }
    if static_interval.is_some_and(|interval| interval.is_zero()) {
        static_interval = None;
    }
    if let Some(threshold) = renewal_threshold
        && !(threshold > 0.0 && threshold < 1.0)
    {
        let path = "template_config.lease_renewal_threshold".to_owned();
        return Err(ConfigError::Wrong {
            path,
            reason: "must lie between 0 and 1".to_owned(),
        });
    }
    let exit_after_auth = root.flag("exit_after_auth")?.unwrap_or(false);
    // In a container the kubelet knows the process: nobody reads a pid file.
    root.text("pid_file")?;
    for key in [
        "cache",
        "listener",
        "api_proxy",
        "telemetry",
        "exec",
        "env_template",
        "disable_idle_connections",
        "disable_keep_alives",
    ] {
        root.ignored(key, LATER);
    }
    root.ignored("log_level", "set the variable VAULT_LOG_LEVEL");
    root.ignored("log_format", "set the variable VAULT_LOG_FORMAT");
    root.finish();
    Ok(Config {
        vault: self::vault(vault, namespace, &set)?,
        login,
        sinks,
        templates,
        static_interval: static_interval.unwrap_or(Duration::from_secs(300)),
        renewal_threshold: renewal_threshold.unwrap_or(0.9),
        exit_after_auth,
    })
}

fn vault(
    object: Option<Object<'_>>,
    namespace: Option<String>,
    set: &dyn Fn(&str) -> Option<String>,
) -> Result<Vault, ConfigError> {
    let mut vault = Vault {
        address: String::new(),
        ca_cert: None,
        ca_path: None,
        ca_pem: set("VAULT_CACERT_BYTES"),
        client_cert: None,
        client_key: None,
        tls_server_name: None,
        namespace,
    };
    if let Some(mut object) = object {
        vault.address = object.text("address")?.unwrap_or_default();
        vault.ca_cert = object.text("ca_cert")?.map(PathBuf::from);
        vault.ca_path = object.text("ca_path")?.map(PathBuf::from);
        vault.client_cert = object.text("client_cert")?.map(PathBuf::from);
        vault.client_key = object.text("client_key")?.map(PathBuf::from);
        vault.tls_server_name = object.text("tls_server_name")?;
        let own = object.text("namespace")?;
        vault.namespace = vault.namespace.or(own);
        if object.flag("tls_skip_verify")? == Some(true) {
            let reason = "is not offered: give the server's CA in vault.ca_cert".to_owned();
            return Err(ConfigError::Wrong {
                path: object.at("tls_skip_verify"),
                reason,
            });
        }
        object.ignored("retry", "the agent retries for as long as it runs");
        object.finish();
    }
    if vault.address.is_empty() {
        vault.address = set("VAULT_ADDR").ok_or_else(|| ConfigError::Missing {
            path: "vault.address".to_owned(),
        })?;
    }
    vault.ca_cert = vault.ca_cert.or_else(|| set("VAULT_CACERT").map(PathBuf::from));
    vault.ca_path = vault.ca_path.or_else(|| set("VAULT_CAPATH").map(PathBuf::from));
    vault.client_cert = vault
        .client_cert
        .or_else(|| set("VAULT_CLIENT_CERT").map(PathBuf::from));
    vault.client_key = vault
        .client_key
        .or_else(|| set("VAULT_CLIENT_KEY").map(PathBuf::from));
    vault.tls_server_name = vault.tls_server_name.or_else(|| set("VAULT_TLS_SERVER_NAME"));
    vault.namespace = vault.namespace.or_else(|| set("VAULT_NAMESPACE"));
    if vault.client_cert.is_some() != vault.client_key.is_some() {
        let reason = "needs both client_cert and client_key".to_owned();
        return Err(ConfigError::Wrong {
            path: "vault".to_owned(),
            reason,
        });
    }
    Ok(vault)
}

fn login(mut method: Object<'_>) -> Result<Login, ConfigError> {
    let kind = method.required("type")?;
    let mount = method
        .text("mount_path")?
        .unwrap_or_else(|| format!("auth/{kind}"));
    let min_backoff = method.duration("min_backoff")?.unwrap_or(Duration::from_secs(1));
    let max_backoff = method.duration("max_backoff")?.unwrap_or(Duration::from_secs(60));
    let config_path = method.at("config");
    let mut config = method
        .object("config")?
        .ok_or(ConfigError::Missing { path: config_path })?;
    let read = match kind.as_str() {
        "kubernetes" => Method::Kubernetes {
            role: config.required("role")?,
            token_path: config
                .text("token_path")?
                .map_or_else(|| SERVICE_ACCOUNT_TOKEN.into(), PathBuf::from),
        },
        "approle" => {
            if config.text("secret_id_response_wrapping_path")?.is_some() {
                let reason = "is not offered by this version of the agent: give a plain secret-id".to_owned();
                return Err(ConfigError::Wrong {
                    path: config.at("secret_id_response_wrapping_path"),
                    reason,
                });
            }
            Method::AppRole {
                role_id_path: config.required("role_id_file_path")?.into(),
                secret_id_path: config.text("secret_id_file_path")?.map(PathBuf::from),
                remove_secret_id: config
                    .flag("remove_secret_id_file_after_reading")?
                    .unwrap_or(true),
            }
        }
        other => {
            let reason =
                format!("is {other:?}; this version of the agent logs in with kubernetes or approle");
            return Err(ConfigError::Wrong {
                path: method.at("type"),
                reason,
            });
        }
    };
    config.finish();
    method.ignored("exit_on_err", "the agent retries for as long as it runs");
    method.ignored("wrap_ttl", LATER);
    method.finish();
    let mount = mount.trim_matches('/');
    Ok(Login {
        method: read,
        mount: mount.strip_prefix("auth/").unwrap_or(mount).to_owned(),
        min_backoff,
        max_backoff,
    })
}

fn sink(mut sink: Object<'_>) -> Result<Sink, ConfigError> {
    let kind = sink.required("type")?;
    if kind != "file" {
        let reason = format!("is {kind:?}; only file sinks exist");
        return Err(ConfigError::Wrong {
            path: sink.at("type"),
            reason,
        });
    }
    if sink.text("wrap_ttl")?.is_some() || sink.text("dh_type")?.is_some() {
        let reason = "wraps or encrypts the token, which this version of the agent does not".to_owned();
        return Err(ConfigError::Wrong {
            path: sink.at("wrap_ttl"),
            reason,
        });
    }
    let config_path = sink.at("config");
    let mut config = sink
        .object("config")?
        .ok_or(ConfigError::Missing { path: config_path })?;
    let path = config.required("path")?.into();
    let mode = config.mode("mode")?.unwrap_or(0o640);
    config.finish();
    sink.finish();
    Ok(Sink { path, mode })
}

fn template(mut template: Object<'_>) -> Result<Template, ConfigError> {
    let contents = template.text("contents")?;
    let source = template.text("source")?;
    let source = match (contents, source) {
        (Some(text), None) => Source::Text(text),
        (None, Some(file)) => Source::File(file.into()),
        (None, None) => {
            return Err(ConfigError::Missing {
                path: template.at("contents"),
            });
        }
        (Some(_), Some(_)) => {
            let reason = "and source exclude each other".to_owned();
            return Err(ConfigError::Wrong {
                path: template.at("contents"),
                reason,
            });
        }
    };
    let default = Delims::default();
    let read = Template {
        source,
        destination: template.required("destination")?.into(),
        delims: Delims {
            left: template.text("left_delimiter")?.unwrap_or(default.left),
            right: template.text("right_delimiter")?.unwrap_or(default.right),
        },
        mode: template.mode("perms")?,
        error_on_missing_key: template.flag("error_on_missing_key")?.unwrap_or(false),
        create_folders: template.flag("create_dest_dirs")?.unwrap_or(true),
    };
    for key in [
        "command",
        "command_timeout",
        "exec",
        "wait",
        "backup",
        "user",
        "group",
        "sandbox_path",
    ] {
        template.ignored(key, LATER);
    }
    template.finish();
    Ok(read)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
