//! `auto_auth.method {}`: how to log in.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Object;

/// Where Kubernetes mounts a ServiceAccount's token.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The method.
    pub method: Method,
    /// The auth mount, without `auth/`.
    pub mount: String,
    /// The first delay after a failed login.
    pub min_backoff: Duration,
    /// The longest delay after failed logins.
    pub max_backoff: Duration,
    /// Give up after the first failed login instead of trying for ever.
    pub exit_on_err: bool,
    /// Log in again when the credentials' file changed (`jwt`, `cert`, `userpass`, `ldap`, `token_file`).
    pub follow_credentials: bool,
    /// How often the credentials' file is looked at for that.
    pub read_period: Duration,
    /// Revoke the token when the agent is told to stop, this long after that.
    pub revoke_on_shutdown: Option<Duration>,
}

/// A login method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// With a ServiceAccount's token; the file is read at each login.
    Kubernetes {
        /// The role.
        role: String,
        /// The token's file.
        token_path: PathBuf,
    },
    /// With a role-id and a secret-id; the files are read at each login.
    AppRole {
        /// The role-id's file.
        role_id_path: PathBuf,
        /// The secret-id's file; `None` for a role without secret-ids.
        secret_id_path: Option<PathBuf>,
        /// Whether the secret-id's file is removed after it was read (the default of Vault Agent).
        remove_secret_id: bool,
        /// The file holds a wrapping token, which must have been made at this path.
        wrapping_path: Option<String>,
    },
    /// With a JSON web token; the file is read at each login.
    Jwt {
        /// The role.
        role: String,
        /// The token's file.
        path: PathBuf,
        /// How the file is removed after it was read.
        removal: Removal,
    },
    /// With a client certificate; the files are read at each login.
    Cert {
        /// The role; the server tries all of them without one.
        name: Option<String>,
        /// The certificate, PEM file; without one that of `vault {}`.
        client_cert: Option<PathBuf>,
        /// Its key, PEM file.
        client_key: Option<PathBuf>,
        /// The server's CA for the login, PEM file; without one that of `vault {}`.
        ca_cert: Option<PathBuf>,
    },
    /// With a name and a password; the password's file is read at each login.
    Password {
        /// Which of the two methods that take a password.
        kind: PasswordKind,
        /// The name.
        username: String,
        /// The password's file.
        password_path: PathBuf,
        /// How the file is removed after it was read.
        removal: Removal,
    },
    /// With a token that somebody else made; the file is read at each login.
    TokenFile {
        /// The token's file.
        path: PathBuf,
    },
}

/// A method that takes a name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordKind {
    /// `userpass`
    Userpass,
    /// `ldap`
    Ldap,
}

/// What becomes of a file after it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It stays.
    Keep,
    /// It is removed; of a symlink the link.
    Remove,
    /// It is removed; of a symlink what it leads to.
    RemoveTarget,
}

impl Method {
    /// The method's name, as in the key `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } => "kubernetes",
            Self::AppRole { .. } => "approle",
            Self::Jwt { .. } => "jwt",
            Self::Cert { .. } => "cert",
            Self::Password {
                kind: PasswordKind::Userpass,
                ..
            } => "userpass",
            Self::Password {
                kind: PasswordKind::Ldap,
                ..
            } => "ldap",
            Self::TokenFile { .. } => "token_file",
        }
    }
}

/// What of the method is decided outside of its block.
pub(super) struct Around {
    /// `auto_auth.enable_reauth_on_new_credentials`
    pub(super) follow_credentials: bool,
    /// `auto_auth.revoke_on_shutdown` and `revoke_grace`
    pub(super) revoke_on_shutdown: Option<Duration>,
    /// `vault {}` has a client certificate.
    pub(super) has_client_cert: bool,
}

/// The settings of a method, with how often its file is looked at.
struct Settings {
    method: Method,
    read_period: Option<Duration>,
}

/// Reads the block. `None` when it was reported as unusable.
pub(super) fn read(mut method: Object<'_>, around: Around) -> Option<Login> {
    let Around {
        follow_credentials,
        revoke_on_shutdown,
        has_client_cert,
    } = around;
    let kind = method.kind();
    let mount = method
        .text("mount_path")
        .unwrap_or_else(|| format!("auth/{kind}"));
    let min_backoff = at_least(method.duration("min_backoff"), Duration::from_secs(1));
    // A longer shortest delay alone is no mistake.
    let max_backoff = at_least(
        method.duration("max_backoff"),
        min_backoff.max(Duration::from_secs(60)),
    );
    if min_backoff > max_backoff {
        method.wrong("min_backoff", "must not be longer than max_backoff");
    }
    let exit_on_err = method.flag("exit_on_err").unwrap_or(false);
    if method.duration("wrap_ttl").is_some_and(|ttl| !ttl.is_zero()) {
        let reason =
            "is not offered: the agent could not use a wrapped token itself; give the sink a wrap_ttl";
        method.wrong("wrap_ttl", reason);
    }
    // A client certificate may come from vault {} alone.
    let config = match method.object("config") {
        None if kind == "cert" => None,
        None => {
            method.missing("config");
            return None;
        }
        Some(config) => Some(config),
    };
    let settings = match (kind.as_str(), config) {
        ("kubernetes", Some(config)) => kubernetes(config),
        ("approle", Some(config)) => approle(config),
        ("jwt", Some(config)) => jwt(config),
        ("cert", config) => cert(&method, config, has_client_cert),
        ("userpass", Some(config)) => password(PasswordKind::Userpass, config),
        ("ldap", Some(config)) => password(PasswordKind::Ldap, config),
        ("token_file" | "token-file", Some(config)) => token_file(config),
        ("", _) => return None,
        (other, _) => {
            let offered = "kubernetes, approle, jwt, cert, userpass, ldap and token_file";
            method.wrong("type", format!("is {other:?}; the agent logs in with {offered}"));
            return None;
        }
    };
    let Settings {
        method: read,
        read_period,
    } = settings;
    if let (Method::TokenFile { .. }, Some(_)) = (&read, revoke_on_shutdown) {
        let reason = "is token_file, whose token the agent did not make: it is not to be revoked on shutdown";
        method.wrong("type", reason);
    }
    method.finish();
    let mount = mount.trim_matches('/');
    Some(Login {
        method: read,
        mount: mount.strip_prefix("auth/").unwrap_or(mount).to_owned(),
        min_backoff,
        max_backoff,
        exit_on_err,
        follow_credentials,
        read_period: at_least(read_period, Duration::from_secs(60)),
        revoke_on_shutdown,
    })
}

/// Zero counts as not given.
fn at_least(given: Option<Duration>, otherwise: Duration) -> Duration {
    given.filter(|duration| !duration.is_zero()).unwrap_or(otherwise)
}

fn kubernetes(mut config: Object<'_>) -> Settings {
    let method = Method::Kubernetes {
        role: config.required("role"),
        token_path: config
            .file("token_path")
            .unwrap_or_else(|| SERVICE_ACCOUNT_TOKEN.into()),
    };
    config.finish();
    Settings {
        method,
        read_period: None,
    }
}

fn approle(mut config: Object<'_>) -> Settings {
    let wrapping_path = config.text("secret_id_response_wrapping_path");
    let method = Method::AppRole {
        role_id_path: config.required("role_id_file_path").into(),
        secret_id_path: config.file("secret_id_file_path"),
        remove_secret_id: config.flag("remove_secret_id_file_after_reading").unwrap_or(true),
        wrapping_path: wrapping_path.map(|path| path.trim_matches('/').to_owned()),
    };
    if config.has("secret_id_response_wrapping_path") && !config.has("secret_id_file_path") {
        config.missing("secret_id_file_path");
    }
    config.finish();
    Settings {
        method,
        read_period: None,
    }
}

fn removal(config: &mut Object<'_>, remove: &'static str, follow: &'static str) -> Removal {
    let follow = config.flag(follow).unwrap_or(false);
    match config.flag(remove) {
        Some(false) => Removal::Keep,
        _ if follow => Removal::RemoveTarget,
        _ => Removal::Remove,
    }
}

fn jwt(mut config: Object<'_>) -> Settings {
    let method = Method::Jwt {
        role: config.required("role"),
        path: config.required("path").into(),
        removal: removal(
            &mut config,
            "remove_jwt_after_reading",
            "remove_jwt_follows_symlinks",
        ),
    };
    let read_period = config.duration("jwt_read_period");
    config.finish();
    Settings { method, read_period }
}

fn cert(method: &Object<'_>, config: Option<Object<'_>>, has_client_cert: bool) -> Settings {
    let (mut name, mut client_cert, mut client_key, mut ca_cert) = (None, None, None, None);
    let mut read_period = None;
    if let Some(mut config) = config {
        name = config.text("name");
        client_cert = config.file("client_cert");
        client_key = config.file("client_key");
        ca_cert = config.file("ca_cert");
        read_period = config.duration("reload_period");
        // The files are read at each login in any case.
        config.flag("reload");
        if client_cert.is_some() != client_key.is_some() {
            config.wrong("client_cert", "and client_key belong together");
        }
        config.finish();
    }
    if client_cert.is_none() && !has_client_cert {
        method.missing("config.client_cert");
    }
    let method = Method::Cert {
        name,
        client_cert,
        client_key,
        ca_cert,
    };
    Settings { method, read_period }
}

fn password(kind: PasswordKind, mut config: Object<'_>) -> Settings {
    let method = Method::Password {
        kind,
        username: config.required("username"),
        password_path: config.required("password_file_path").into(),
        removal: removal(
            &mut config,
            "remove_password_after_reading",
            "remove_password_follows_symlinks",
        ),
    };
    let read_period = config.duration("password_read_period");
    config.finish();
    Settings { method, read_period }
}

fn token_file(mut config: Object<'_>) -> Settings {
    let method = Method::TokenFile {
        path: config.required("token_file_path").into(),
    };
    config.finish();
    Settings {
        method,
        read_period: None,
    }
}
