//! The one table of annotations: key, form, effect, and what a reader of the documentation needs to know.

use vaultkeeper_template::defaults;

use super::{Annotations, Entry, Given, Secret, nearest, values};
use crate::origin;

/// The switch.
pub const INJECT: &str = "agent-inject";
/// The mark of a pod that went through.
pub const STATUS: &str = "agent-inject-status";
/// Names a path in Vault.
pub const SECRET: &str = "agent-inject-secret-";
/// The role to log in with.
pub const ROLE: &str = "role";
/// The address of Vault.
pub const SERVICE: &str = "service";

/// One annotation, without the prefix.
#[derive(Debug)]
pub struct Row {
    /// The key; for [`Shape::Named`] the part before NAME.
    pub key: &'static str,
    /// Whether a NAME follows.
    pub shape: Shape,
    /// What values look like, for the documentation.
    pub value: &'static str,
    /// What it does.
    pub effect: Effect,
    /// One line for the documentation.
    pub doc: &'static str,
}

/// The form of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The key as it stands.
    Exact,
    /// The key, then a NAME.
    Named,
}

/// What an annotation does.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// It is read; the function answers with the problem of the value and its remedy.
    Read(fn(&mut Annotations, &Entry<'_>) -> Result<(), String>),
    /// Known from the existing injector; ignoring it does not change what the app gets. Warned about.
    NotYet,
    /// There is nothing left for it to do here, for this reason. Warned about.
    Pointless(&'static str),
    /// Ignoring it would break the app, so the pod is denied with this reason.
    Refused(&'static str),
    /// Read by another part of Vaultkeeper.
    Elsewhere,
}

/// The row of a key without its prefix, and the NAME in it. The longest fitting row wins.
pub fn find(short: &str) -> Option<(&'static Row, &str)> {
    let exact = ROWS
        .iter()
        .find(|row| row.shape == Shape::Exact && row.key == short)
        .map(|row| (row, ""));
    exact.or_else(|| {
        ROWS.iter()
            .filter(|row| row.shape == Shape::Named)
            .filter_map(|row| Some((row, short.strip_prefix(row.key).filter(|name| !name.is_empty())?)))
            .max_by_key(|(row, _)| row.key.len())
    })
}

/// The known key that an unknown one most likely meant, with the NAME that was written.
pub fn nearest(short: &str) -> Option<String> {
    let exact = ROWS
        .iter()
        .filter(|row| row.shape == Shape::Exact)
        .map(|row| row.key.to_owned());
    // Of a key with a NAME only the part before the NAME can be compared: as many words as the row has.
    let named = ROWS
        .iter()
        .filter(|row| row.shape == Shape::Named)
        .filter_map(|row| {
            let words = row.key.matches('-').count();
            let (at, _) = short.match_indices('-').nth(words.checked_sub(1)?)?;
            Some(format!(
                "{}{}",
                row.key,
                short.get(at + 1..).filter(|name| !name.is_empty())?
            ))
        });
    let candidates: Vec<String> = exact.chain(named).collect();
    nearest::nearest(short, candidates.iter().map(String::as_str)).map(str::to_owned)
}

const fn row(key: &'static str, value: &'static str, effect: Effect, doc: &'static str) -> Row {
    Row {
        key,
        shape: Shape::Exact,
        value,
        effect,
        doc,
    }
}

const fn named(key: &'static str, value: &'static str, effect: Effect, doc: &'static str) -> Row {
    Row {
        key,
        shape: Shape::Named,
        value,
        effect,
        doc,
    }
}

fn secret<'a>(all: &'a mut Annotations, entry: &Entry<'_>) -> &'a mut Secret {
    let secret = all.secrets.entry(entry.name.to_owned()).or_default();
    if secret.mentioned_by.is_empty() {
        entry.key.clone_into(&mut secret.mentioned_by);
    }
    secret
}

const NO_SHELL: &str =
    "commands are not supported yet, and the app would not notice changes without it: remove it";
const NOT_KUBERNETES: &str =
    "only the login by Kubernetes ServiceAccount is supported: write \"kubernetes\" or remove it";
const NO_SKIP: &str =
    "a server that is not verified could be anybody: name its CA in ca-cert, or leave it out";
/// What the agent knows; the existing injector's `err` among them.
const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "warning", "error", "err", "off"];
const FORMATS: &[&str] = &["standard", "json"];
const OWN_TOKEN: &str = "the agent logs in with a token of its own";
const ONE_PROCESS: &str = "one native sidecar does the work of both containers, and Jobs complete with it";

/// Every known annotation, in the order of the documentation.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    // Switches and selection.
    row(INJECT, "bool", Effect::Read(|a, e| values::boolean(e.value).map(|v| a.inject = v)),
        "Turns the injection on."),
    row(STATUS, "text", Effect::Read(|a, e| { a.status = Some(e.value.to_owned()); Ok(()) }),
        "Set to `injected` on pods that went through; such a pod is left alone."),
    row("agent-inject-containers", "list", Effect::Read(|a, e| {
            a.containers = Some(Given { key: e.key.to_owned(), value: values::list(e.value)? });
            Ok(())
        }),
        "The containers that get the secrets, by default all. Init containers always do."),
    row("agent-init-first", "bool", Effect::Read(|a, e| values::boolean(e.value).map(|v| a.init_first = v)),
        "Starts the agent before the pod's own init containers."),
    row("agent-pre-populate", "bool", Effect::Pointless(ONE_PROCESS), "Secrets are always there before the app starts."),
    row("agent-pre-populate-only", "bool", Effect::Pointless(ONE_PROCESS), "A native sidecar ends with the app."),
    row("agent-request-namespace", "text", Effect::Pointless("the namespace comes from the request"), "Internal."),
    // What to render.
    named(SECRET, "path in Vault", Effect::Read(|a, e| {
            // As before: a blank value does not ask for a secret, a template may.
            let path = (!e.value.trim().is_empty()).then(|| e.value.trim().to_owned());
            secret(a, e).path = path;
            Ok(())
        }),
        "Renders the secret at this path into the file NAME."),
    named("agent-inject-template-", "template", Effect::Read(|a, e| {
            let template = (!e.value.trim().is_empty())
                .then(|| Given { key: e.key.to_owned(), value: e.value.to_owned() });
            secret(a, e).template = template;
            Ok(())
        }),
        "The template of NAME."),
    named("agent-inject-file-", "relative path", Effect::Read(|a, e| {
            let file = values::file_name(e.value)?;
            secret(a, e).file = Some(file);
            Ok(())
        }),
        "The file of NAME, by default NAME in lower case."),
    named("agent-inject-perms-", "octal mode", Effect::Read(|a, e| {
            let perms = values::permissions(e.value)?;
            secret(a, e).perms = Some(perms);
            Ok(())
        }),
        "The mode of the file, by default 0644."),
    named("agent-template-left-delim-", "text", Effect::Read(|a, e| {
            let text = values::text(e.value)?;
            secret(a, e).left_delimiter = Some(text);
            Ok(())
        }),
        "Opens an action in the template of NAME, by default `{{`."),
    named("agent-template-right-delim-", "text", Effect::Read(|a, e| {
            let text = values::text(e.value)?;
            secret(a, e).right_delimiter = Some(text);
            Ok(())
        }),
        "Closes an action in the template of NAME, by default `}}`."),
    named("error-on-missing-key-", "bool", Effect::Read(|a, e| {
            let strict = values::boolean(e.value)?;
            secret(a, e).error_on_missing_key = strict;
            Ok(())
        }),
        "Makes a missing key an error instead of `<no value>`."),
    row("agent-inject-default-template", "map|json", Effect::Read(|a, e| {
            let default = defaults::Default::from_name(e.value).ok_or_else(|| {
                format!("{} is not a default template: write \"map\" or \"json\"", values::shown(e.value))
            })?;
            a.default_template = Some(default);
            Ok(())
        }),
        "The template of secrets without one, by default `map`."),
    row("secret-volume-path", "absolute path", Effect::Read(|a, e| {
            a.volume_path = Some(values::absolute_path(e.value)?);
            Ok(())
        }),
        "Where the secrets appear, by default `/vault/secrets`."),
    named("secret-volume-path-", "absolute path", Effect::Read(|a, e| {
            let path = values::absolute_path(e.value)?;
            secret(a, e).volume_path = Some(path);
            Ok(())
        }),
        "The folder of the file of NAME, in a volume of its own."),
    row("preserve-secret-case", "bool", Effect::Read(|a, e| values::boolean(e.value).map(|v| a.preserve_case = v)),
        "Keeps the case of NAME in file names."),
    named("preserve-secret-case-", "bool", Effect::Read(|a, e| {
            let preserve = values::boolean(e.value)?;
            secret(a, e).preserve_case = Some(preserve);
            Ok(())
        }),
        "Keeps the case of this NAME in its file name."),
    named("agent-inject-template-file-", "path", Effect::Read(|a, e| {
            let file = path(e)?;
            secret(a, e).template_file = Some(file);
            Ok(())
        }),
        "The template of NAME from a file below `/vault/custom`, where `agent-extra-secret` appears."),
    named("agent-inject-command-", "command", Effect::Refused(NO_SHELL), "Runs after each change of the file."),
    row("agent-inject-token", "bool", Effect::Read(|a, e| values::boolean(e.value).map(|v| a.inject_token = v)),
        "Writes the token to the file `token` in the volume, with mode 0640."),
    row("agent-configmap", "name",
        Effect::Refused("a configuration of one's own is not supported yet: use the other annotations"),
        "A ConfigMap with the agent's configuration."),
    row("agent-extra-secret", "name", Effect::Read(|a, e| { a.extra_secret = Some(values::text(e.value)?); Ok(()) }),
        "A Secret that is mounted into the agent's container at `/vault/custom`."),
    row("agent-copy-volume-mounts", "container",
        Effect::Refused("a container's mounts are not copied yet: put the files into a Secret and name it in \
                         agent-extra-secret"),
        "Copies a container's mounts to the agent's."),
    row("agent-json-patch", "JSON patch",
        Effect::Refused("patches of the agent's container are not supported yet: remove it"),
        "A patch for the agent's container."),
    row("agent-init-json-patch", "JSON patch", Effect::Pointless("there is no init container of the agent's"),
        "A patch for the agent's init container."),
    // The login.
    row(ROLE, "text", Effect::Read(|a, e| { a.role = Some(e.given()?); Ok(()) }),
        "The role to log in with: a VaultRole of the namespace, or a role in Vault."),
    row(SERVICE, "address", Effect::Read(|a, e| {
            a.service = Some(Given { key: e.key.to_owned(), value: origin::address(e.value)? });
            Ok(())
        }),
        "The address of Vault, by default that of the VaultRole's cluster."),
    row("namespace", "text", Effect::Read(|a, e| { a.namespace = Some(origin::namespace(&values::text(e.value)?)?); Ok(()) }),
        "The namespace in Vault."),
    row("auth-path", "path", Effect::Read(|a, e| { a.auth_path = Some(values::text(e.value)?); Ok(()) }),
        "The path of the auth method, by default `auth/kubernetes`."),
    row("auth-type", "text", Effect::Read(|_, e| {
            if e.value == "kubernetes" { Ok(()) } else { Err(NOT_KUBERNETES.to_owned()) }
        }),
        "How to log in. Only `kubernetes`."),
    named("auth-config-", "text",
        Effect::Refused("settings of the auth method are not supported yet: use role and auth-path"),
        "A setting of the auth method."),
    row("auth-min-backoff", "duration", Effect::Read(|a, e| {
            a.min_backoff = Some(values::duration(e.value)?);
            Ok(())
        }),
        "The shortest wait between two logins, by default 1s."),
    row("auth-max-backoff", "duration", Effect::Read(|a, e| {
            a.max_backoff = Some(values::duration(e.value)?);
            Ok(())
        }),
        "The longest wait between two logins, by default 60s."),
    row("agent-auto-auth-exit-on-err", "bool", Effect::Pointless("the agent retries for as long as it runs"),
        "Ends the agent when a login fails."),
    row("agent-service-account-token-volume-name", "name", Effect::Pointless(OWN_TOKEN),
        "The volume with the token to log in with."),
    row("ca-cert", "path", Effect::Read(|a, e| { a.ca_cert = Some(path(e)?); Ok(()) }),
        "The CA, in the agent's container, that signed Vault's certificate: below `/vault/tls`, where `tls-secret` appears, \
         below `/vault/custom`, where `agent-extra-secret` does, or that of the pod's ServiceAccount token."),
    row("ca-key", "path", Effect::Read(|a, e| { a.ca_path = Some(path(e)?); Ok(()) }),
        "A folder of CAs in the agent's container, one of those of `ca-cert`. The key is called so for compatibility."),
    row("client-cert", "path", Effect::Read(|a, e| { a.client_cert = Some(path(e)?); Ok(()) }),
        "The agent's own certificate, below `/vault/tls` or `/vault/custom` in its container."),
    row("client-key", "path", Effect::Read(|a, e| { a.client_key = Some(path(e)?); Ok(()) }),
        "The key of the agent's own certificate, below `/vault/tls` or `/vault/custom` in its container."),
    row("tls-secret", "name", Effect::Read(|a, e| { a.tls_secret = Some(values::text(e.value)?); Ok(()) }),
        "A Secret that is mounted into the agent's container at `/vault/tls`."),
    row("tls-server-name", "text", Effect::Read(|a, e| { a.tls_server_name = Some(origin::server_name(e.value)?); Ok(()) }),
        "The name that Vault's certificate must hold."),
    row("tls-skip-verify", "bool", Effect::Read(|_, e| {
            if values::boolean(e.value)? { Err(NO_SKIP.to_owned()) } else { Ok(()) }
        }),
        "Accepts any certificate. Only `false`."),
    row("proxy-address", "address", Effect::NotYet, "A proxy on the way to Vault."),
    row("client-max-retries", "number", Effect::NotYet, "How often a request is tried again."),
    row("client-timeout", "duration", Effect::NotYet, "How long a request may take."),
    // The agent.
    row("template-static-secret-render-interval", "duration", Effect::Read(|a, e| {
            a.render_interval = Some(values::interval(e.value)?);
            Ok(())
        }),
        "How often secrets without a lease are read again, by default 5m."),
    row("template-config-exit-on-retry-failure", "bool", Effect::Pointless("the agent retries for as long as it runs"),
        "Ends the agent when a secret cannot be read."),
    row("template-max-connections-per-host", "number", Effect::NotYet, "How many connections to Vault."),
    row("template-lease-renewal-threshold", "0 to 1", Effect::Read(|a, e| {
            a.renewal_threshold = Some(values::fraction(e.value)?);
            Ok(())
        }),
        "The part of a lease after which a secret that cannot be renewed is read again, by default 0.9."),
    row("log-level", "trace|debug|info|warn|error|off", Effect::Read(|a, e| { a.log_level = Some(values::one_of(e.value, LEVELS)?); Ok(()) }),
        "How much the agent logs, by default `info`."),
    row("log-format", "standard|json", Effect::Read(|a, e| { a.log_format = Some(values::one_of(e.value, FORMATS)?); Ok(()) }),
        "How the agent logs."),
    row("go-max-procs", "number", Effect::Pointless("the agent is not written in Go"), "Threads of the agent."),
    row("agent-cache-enable", "bool", Effect::NotYet, "A cache of Vault in the pod."),
    row("agent-cache-listener-port", "number", Effect::NotYet, "The cache's port."),
    row("agent-cache-use-auto-auth-token", "bool|force", Effect::NotYet, "The cache adds the token."),
    row("agent-cache-exit-on-err", "bool", Effect::NotYet, "Ends the agent when the cache fails."),
    row("agent-enable-quit", "bool", Effect::NotYet, "An endpoint that ends the agent."),
    row("agent-disable-idle-connections", "list", Effect::NotYet, "Closes connections at once."),
    row("agent-disable-keep-alives", "list", Effect::NotYet, "Uses connections once."),
    named("agent-telemetry-", "JSON", Effect::NotYet, "A setting of the agent's telemetry."),
    row("agent-revoke-on-shutdown", "bool", Effect::NotYet, "Revokes the token when the pod ends."),
    row("agent-revoke-grace", "seconds", Effect::NotYet, "How long to wait before that."),
    // The container.
    row("agent-image", "image", Effect::Pointless("the agent's image comes with the injector"), "The agent's image."),
    row("agent-requests-cpu", "quantity", Effect::Read(|a, e| request(a, "cpu", e)), "CPU that is reserved."),
    row("agent-requests-mem", "quantity", Effect::Read(|a, e| request(a, "memory", e)), "Memory that is reserved."),
    row("agent-requests-ephemeral", "quantity", Effect::Read(|a, e| request(a, "ephemeral-storage", e)),
        "Storage that is reserved."),
    row("agent-limits-cpu", "quantity", Effect::Read(|a, e| limit(a, "cpu", e)), "The most CPU."),
    row("agent-limits-mem", "quantity", Effect::Read(|a, e| limit(a, "memory", e)), "The most memory."),
    row("agent-limits-ephemeral", "quantity", Effect::Read(|a, e| limit(a, "ephemeral-storage", e)),
        "The most storage."),
    row("agent-run-as-user", "number", Effect::Read(|a, e| values::id(e.value).map(|v| a.run_as_user = Some(v))),
        "The user of the agent's container, by default 100."),
    row("agent-run-as-group", "number", Effect::Read(|a, e| values::id(e.value).map(|v| a.run_as_group = Some(v))),
        "The group of the agent's container, by default 1000."),
    row("agent-run-as-same-user", "bool", Effect::Read(|a, e| {
            a.run_as_same_user = Some(Given { key: e.key.to_owned(), value: values::boolean(e.value)? });
            Ok(())
        }),
        "Runs the agent as the first container's user."),
    row("agent-set-security-context", "bool", Effect::Pointless("the agent's security context is always set"),
        "Sets the agent's security context."),
    row("agent-share-process-namespace", "bool", Effect::NotYet, "Lets the agent signal the app."),
    // Set by, or for, the operator.
    row("cluster", "text", Effect::Elsewhere, "On generated objects."),
    row("credentials", "text", Effect::Elsewhere, "On generated objects."),
    row("release-seal", "text", Effect::Elsewhere, "On a VaultCluster."),
    row("rotate", "text", Effect::Elsewhere, "On a VaultRole."),
    row("secret-id-accessor", "text", Effect::Elsewhere, "On generated objects."),
];

fn path(entry: &Entry<'_>) -> Result<Given, String> {
    Ok(Given {
        key: entry.key.to_owned(),
        value: values::absolute_path(entry.value)?,
    })
}

fn quantity(entry: &Entry<'_>) -> Result<Given<Option<String>>, String> {
    Ok(Given {
        key: entry.key.to_owned(),
        value: values::quantity(entry.value)?,
    })
}

fn request(all: &mut Annotations, resource: &'static str, entry: &Entry<'_>) -> Result<(), String> {
    all.resources.requests.insert(resource, quantity(entry)?);
    Ok(())
}

fn limit(all: &mut Annotations, resource: &'static str, entry: &Entry<'_>) -> Result<(), String> {
    all.resources.limits.insert(resource, quantity(entry)?);
    Ok(())
}
