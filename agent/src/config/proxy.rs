//! `cache {}`, `api_proxy {}` and `listener {}`: what the agent serves.

use std::path::PathBuf;

use super::reader::Object;

/// Whether requests through a listener get the agent's token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AutoAuthToken {
    /// They bring their own.
    #[default]
    No,
    /// Those that bring none.
    WhenNone,
    /// All of them.
    Always,
}

/// `cache {}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Whether requests get the agent's token; of `api_proxy {}` where that says so.
    pub use_auto_auth_token: Option<AutoAuthToken>,
    /// Whether it outlives the agent.
    pub persist: Option<Persist>,
}

/// `cache.persist {}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persist {
    /// The folder.
    pub path: PathBuf,
    /// Whether it stays after it was read.
    pub keep_after_import: bool,
    /// Whether the agent ends when it cannot be used.
    pub exit_on_err: bool,
    /// The ServiceAccount's token that it is bound to.
    pub service_account_token_file: Option<PathBuf>,
}

/// `api_proxy {}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiProxy {
    /// Whether requests get the agent's token.
    pub use_auto_auth_token: Option<AutoAuthToken>,
}

/// `listener {}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub socket: Socket,
    /// Its certificate; plain HTTP without one.
    pub tls: Option<ListenerTls>,
    /// Only metrics, nothing of Vault.
    pub metrics_only: bool,
    /// Refuses requests without the header `X-Vault-Request: true`.
    pub require_request_header: bool,
    /// Offers `POST /agent/v1/quit`.
    pub enable_quit: bool,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// `host:port`
    Tcp(String),
    /// A file.
    Unix {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: Option<u32>,
        /// Its owner, by name or number.
        user: Option<String>,
        /// Its group, by name or number.
        group: Option<String>,
    },
}

/// A listener's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// The certificate, PEM file.
    pub cert: PathBuf,
    /// Its key, PEM file.
    pub key: PathBuf,
    /// The CA of clients, who then must have a certificate.
    pub client_ca: Option<PathBuf>,
}

/// Keys of listeners that Vault's server and its agent share.
const NOT_FOR_A_POD: [&str; 20] = [
    "cluster_address",
    "cors_allowed_headers",
    "cors_allowed_origins",
    "cors_enabled",
    "http_idle_timeout",
    "http_read_header_timeout",
    "http_read_timeout",
    "http_write_timeout",
    "inflight_requests_logging",
    "max_request_duration",
    "max_request_size",
    "profiling",
    "proxy_protocol_authorized_addrs",
    "proxy_protocol_behavior",
    "telemetry",
    "tls_cipher_suites",
    "tls_disable_client_certs",
    "tls_max_version",
    "tls_min_version",
    "x_forwarded_for_authorized_addrs",
];

/// Reads `cache {}`.
pub(super) fn cache(mut object: Object<'_>) -> Cache {
    let use_auto_auth_token = auto_auth_token(&mut object);
    consistency(&mut object);
    let persist = object.typed_object("persist").map(persist);
    object.finish();
    Cache {
        use_auto_auth_token,
        persist,
    }
}

fn persist(mut object: Object<'_>) -> Persist {
    let kind = object.kind();
    if kind != "kubernetes" && !kind.is_empty() {
        object.wrong("type", format!("is {kind:?}; only kubernetes exists"));
    }
    let read = Persist {
        path: object.required("path").into(),
        keep_after_import: object.flag("keep_after_import").unwrap_or(false),
        exit_on_err: object.flag("exit_on_err").unwrap_or(false),
        service_account_token_file: object.file("service_account_token_file"),
    };
    object.finish();
    read
}

/// Reads `api_proxy {}`.
pub(super) fn api_proxy(mut object: Object<'_>) -> ApiProxy {
    let use_auto_auth_token = auto_auth_token(&mut object);
    consistency(&mut object);
    object.finish();
    ApiProxy { use_auto_auth_token }
}

fn auto_auth_token(object: &mut Object<'_>) -> Option<AutoAuthToken> {
    match object.word("use_auto_auth_token", &["true", "false", "force"])? {
        "true" => Some(AutoAuthToken::WhenNone),
        "force" => Some(AutoAuthToken::Always),
        _ => Some(AutoAuthToken::No),
    }
}

/// Only Enterprise's performance standbys lag behind so that these matter.
fn consistency(object: &mut Object<'_>) {
    for key in ["enforce_consistency", "when_inconsistent"] {
        object.ignored(key, "the agent talks to one cluster, whose standbys forward");
    }
}

/// Reads one `listener {}`. `None` when it was reported as unusable.
pub(super) fn listener(mut object: Object<'_>) -> Option<Listener> {
    let kind = object.kind();
    let address = object.required("address");
    let socket = match kind.as_str() {
        "tcp" => Socket::Tcp(address),
        "unix" => Socket::Unix {
            path: address.into(),
            mode: object.mode("socket_mode"),
            user: object.text("socket_user"),
            group: object.text("socket_group"),
        },
        "" => return None,
        other => {
            object.wrong("type", format!("is {other:?}; it must be tcp or unix"));
            return None;
        }
    };
    let tls = tls(&mut object);
    let role = object.word("role", &["default", "metrics_only"]);
    let require_request_header = object.flag("require_request_header").unwrap_or(false);
    for key in NOT_FOR_A_POD {
        object.ignored(key, "the listener serves one pod");
    }
    let mut enable_quit = false;
    if let Some(mut api) = object.object("agent_api") {
        enable_quit = api.flag("enable_quit").unwrap_or(false);
        api.finish();
    }
    object.finish();
    Some(Listener {
        socket,
        tls,
        metrics_only: role == Some("metrics_only"),
        require_request_header,
        enable_quit,
    })
}

fn tls(object: &mut Object<'_>) -> Option<ListenerTls> {
    let is_off = object.flag("tls_disable").unwrap_or(false);
    let (cert, key) = (object.file("tls_cert_file"), object.file("tls_key_file"));
    let client_ca = object.file("tls_client_ca_file");
    object.flag("tls_require_and_verify_client_cert");
    if is_off {
        return None;
    }
    match (cert, key) {
        (Some(cert), Some(key)) => Some(ListenerTls { cert, key, client_ca }),
        (None, _) => {
            object.missing("tls_cert_file");
            None
        }
        (_, None) => {
            object.missing("tls_key_file");
            None
        }
    }
}
