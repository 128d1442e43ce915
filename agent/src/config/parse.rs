//! From text to a checked configuration. Pure: the environment is handed in.

use std::time::Duration;

use super::document::Node;
use super::load::ConfigError;
use super::reader::Object;
use super::report::Report;
use super::{Config, LATER, LogSettings, hcl, login, process, proxy, sink, template, vault};

/// How often a read that fails is repeated before the agent ends, where it is to end.
const RETRIES: u32 = 12;

/// Reads a configuration, in JSON or HCL. Returns it with warnings about keys that have no effect.
///
/// # Errors
/// The text is neither, or keys are wrong; the error names the path of each.
pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(Config, Vec<String>), ConfigError> {
    check(&document(text)?, env)
}

/// Reads a text: JSON where it begins with a brace, as with Vault Agent, else HCL.
pub(super) fn document(text: &str) -> Result<Node, ConfigError> {
    if !text.trim_start().starts_with('{') {
        return hcl::parse(text).map_err(ConfigError::Hcl);
    }
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| ConfigError::Json {
        reason: if error.is_eof() {
            "it ends too early"
        } else {
            "a mistake in its syntax"
        },
        line: error.line(),
        column: error.column(),
    })?;
    Ok(Node::from(json))
}

/// Checks a configuration that was read.
pub(super) fn check(
    document: &Node,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Vec<String>), ConfigError> {
    let report = Report::default();
    let config = Object::root(document, &report).and_then(|object| root(object, env));
    match (config, report.finish()) {
        (Some(config), (problems, warnings)) if problems.is_empty() => Ok((config, warnings)),
        (_, (problems, _)) => Err(ConfigError::Problems(problems)),
    }
}

/// `None` only after something was reported.
fn root(mut root: Object<'_>, env: &dyn Fn(&str) -> Option<String>) -> Option<Config> {
    let set = |name: &str| env(name).filter(|text| !text.is_empty());
    let auth = auto_auth(&mut root);
    let namespace = auth.as_ref().and_then(|auth| auth.namespace.clone());
    let vault::Read { vault, retries } = vault::read(&mut root, namespace, &set);
    let mut login = None;
    let mut sinks = Vec::new();
    if let Some(AutoAuth {
        method,
        namespace: _,
        sinks: read,
        follow_credentials,
        revoke_on_shutdown,
    }) = auth
    {
        let around = login::Around {
            follow_credentials,
            revoke_on_shutdown,
            has_client_cert: vault.client_cert.is_some(),
        };
        login = method.and_then(|method| login::read(method, around));
        sinks = read;
    }
    let templates = root.objects("template");
    let templates: Vec<_> = templates.into_iter().filter_map(template::read).collect();
    let env_templates = root.named_objects("env_template");
    let env_templates: Vec<_> = env_templates.into_iter().filter_map(template::read_env).collect();
    let exec = root.object("exec").and_then(process::read);
    exec_makes_sense(&root, !templates.is_empty());
    let Settings {
        static_interval,
        renewal_threshold,
        exits,
    } = settings(&mut root);
    let cache = root.object("cache").map(proxy::cache);
    let api_proxy = root.object("api_proxy").map(proxy::api_proxy);
    let listeners = root.typed_objects("listener");
    let listeners: Vec<_> = listeners.into_iter().filter_map(proxy::listener).collect();
    // Each goes from here with the change that acts on it.
    for key in ["cache", "api_proxy"] {
        root.ignored(key, LATER);
    }
    root.ignored("telemetry", "metrics are served for Prometheus, and sent nowhere");
    let log = LogSettings {
        level: root.text("log_level"),
        format: root.text("log_format"),
    };
    for key in [
        "log_file",
        "log_rotate_bytes",
        "log_rotate_duration",
        "log_rotate_max_files",
    ] {
        root.ignored(key, "the agent logs to its standard error");
    }
    for key in ["disable_idle_connections", "disable_keep_alives"] {
        root.ignored(key, "the agent keeps one connection");
    }
    root.ignored("disable_mlock", "the agent locks no memory");
    let exit_after_auth = root.flag("exit_after_auth").unwrap_or(false);
    // In a container the kubelet knows the process: nobody reads a pid file.
    root.text("pid_file");
    root.finish();
    Some(Config {
        vault,
        login: login?,
        sinks,
        templates,
        env_templates,
        exec,
        static_interval,
        renewal_threshold,
        retries: exits.then(|| attempts(retries)),
        cache,
        api_proxy,
        listeners,
        log,
        exit_after_auth,
    })
}

/// `retry.num_retries` as Vault Agent has it: 0 for its default, a negative number for none.
fn attempts(retries: Option<i64>) -> u32 {
    match retries.unwrap_or(0) {
        0 => RETRIES,
        ..0 => 0,
        retries => u32::try_from(retries).unwrap_or(u32::MAX),
    }
}

/// `auto_auth {}`
struct AutoAuth<'a> {
    method: Option<Object<'a>>,
    namespace: Option<String>,
    sinks: Vec<super::Sink>,
    follow_credentials: bool,
    revoke_on_shutdown: Option<Duration>,
}

fn auto_auth<'a>(root: &mut Object<'a>) -> Option<AutoAuth<'a>> {
    let Some(mut auto_auth) = root.object("auto_auth") else {
        if !root.has("auto_auth") {
            root.missing("auto_auth");
        }
        return None;
    };
    let mut method = auto_auth.typed_object("method");
    if !auto_auth.has("method") {
        auto_auth.missing("method");
    }
    let namespace = method.as_mut().and_then(|method| method.text("namespace"));
    let mut sinks = auto_auth.typed_objects("sink");
    sinks.extend(auto_auth.typed_objects("sinks"));
    let follow_credentials = auto_auth.flag("enable_reauth_on_new_credentials");
    let revokes = auto_auth.flag("revoke_on_shutdown").unwrap_or(false);
    let grace = auto_auth.duration("revoke_grace").unwrap_or_default();
    auto_auth.finish();
    Some(AutoAuth {
        method,
        namespace,
        sinks: sinks.into_iter().filter_map(sink::read).collect(),
        follow_credentials: follow_credentials.unwrap_or(false),
        revoke_on_shutdown: revokes.then_some(grace),
    })
}

/// `template_config {}`
struct Settings {
    static_interval: Duration,
    renewal_threshold: f64,
    exits: bool,
}

fn settings(root: &mut Object<'_>) -> Settings {
    let mut read = Settings {
        static_interval: Duration::from_secs(300),
        renewal_threshold: 0.9,
        exits: false,
    };
    let Some(mut settings) = root.object("template_config") else {
        return read;
    };
    let interval = settings.duration("static_secret_render_interval");
    read.static_interval = interval
        .filter(|interval| !interval.is_zero())
        .unwrap_or(read.static_interval);
    if let Some(threshold) = settings.number("lease_renewal_threshold") {
        read.renewal_threshold = threshold;
        if !(threshold > 0.0 && threshold < 1.0) {
            settings.wrong("lease_renewal_threshold", "must lie between 0 and 1");
        }
    }
    read.exits = settings.flag("exit_on_retry_failure").unwrap_or(false);
    // One request at a time is what the agent makes.
    settings.number("max_connections_per_host");
    settings.finish();
    read
}

/// A program without variables, variables without a program, and files beside them are mistakes, as with Vault Agent.
fn exec_makes_sense(root: &Object<'_>, has_templates: bool) {
    match (root.has("exec"), root.has("env_template")) {
        (true, false) => root.missing("env_template"),
        (false, true) => root.missing("exec"),
        (true, true) if has_templates => {
            root.wrong("env_template", "and template exclude each other");
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
