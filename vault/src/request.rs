//! One request before it is sent: a value, built and checked without I/O.

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;

/// What to send. Built by the calls, sent by `client.rs`.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Relative to `/v1/`, not encoded.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Body,
    /// Longer than the client's usual time, for the few calls that need it.
    pub(crate) timeout: Option<Duration>,
    /// Asks for the answer to be wrapped (header `X-Vault-Wrap-TTL`).
    pub(crate) wrap_ttl: Option<Duration>,
    /// Calls that exist only in the root namespace go without `X-Vault-Namespace`: OpenBao answers 400 otherwise.
    pub(crate) root_namespace: bool,
    /// Parts of the path that are one name each.
    names: Vec<String>,
}

/// The body, serialised at once so that an error in it is told before anything is sent.
#[derive(Clone)]
pub(crate) enum Body {
    None,
    Json(Vec<u8>),
    Unserializable,
}

/// Why a request cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRequest {
    #[error("the path is empty")]
    EmptyPath,
    #[error("the path must not hold a segment `.` or `..`")]
    DotSegment,
    #[error("the path holds a control character")]
    ControlCharacter,
    #[error("a name is empty or holds a slash; choose one without")]
    Name,
    #[error("the body cannot be written as JSON")]
    Body,
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: Body::None,
            timeout: None,
            wrap_ttl: None,
            root_namespace: false,
            names: Vec::new(),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A list, as GET with `list=true`: proxies that know no method LIST let it pass.
    pub(crate) fn list(path: impl Into<String>) -> Self {
        let mut request = Self::get(path);
        request.query.push(("list".to_owned(), "true".to_owned()));
        request
    }

    pub(crate) fn put(path: impl Into<String>, body: &(impl Serialize + ?Sized)) -> Self {
        let mut request = Self::new(Method::PUT, path);
        request.body = serde_json::to_vec(body).map_or(Body::Unserializable, Body::Json);
        request
    }

    /// A PUT without a body.
    pub(crate) fn put_empty(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Says that `name`, used inside the path, must be one segment: a slash in it would address something else.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    pub(crate) fn root_namespace(mut self) -> Self {
        self.root_namespace = true;
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// `/v1/…` with path and query percent-encoded, or why this must not be sent.
    pub(crate) fn target(&self) -> Result<String, InvalidRequest> {
        if self
            .names
            .iter()
            .any(|name| name.is_empty() || name.contains('/'))
        {
            return Err(InvalidRequest::Name);
        }
        if matches!(self.body, Body::Unserializable) {
            return Err(InvalidRequest::Body);
        }
        let path = self.path.trim_start_matches('/');
        if path.is_empty() {
            return Err(InvalidRequest::EmptyPath);
        }
        // The URL standard resolves these away: `secret/data/../../sys/seal` would be another call.
        if path.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(InvalidRequest::DotSegment);
        }
        if path.chars().any(char::is_control) {
            return Err(InvalidRequest::ControlCharacter);
        }
        let mut target = String::with_capacity(path.len() + 4);
        target.push_str("/v1/");
        encode(path, b"/", &mut target);
        for (index, (key, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            encode(key, b"", &mut target);
            target.push('=');
            encode(value, b"", &mut target);
        }
        Ok(target)
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters and those in `keep`.
fn encode(text: &str, keep: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_so_that_it_stays_one_path() {
        let request = Request::get("/secret/data/a b?x#y%2e");
        assert_eq!(
            request.target().unwrap(),
            "/v1/secret/data/a%20b%3Fx%23y%252e",
            "each odd byte encoded"
        );
    }

    #[test]
    fn a_path_that_climbs_out_of_its_mount_is_never_sent() {
        for path in ["secret/data/../../sys/seal", "..", "a/./b"] {
            assert_eq!(
                Request::get(path).target(),
                Err(InvalidRequest::DotSegment),
                "path {path:?}"
            );
        }
        assert_eq!(
            Request::get("//").target(),
            Err(InvalidRequest::EmptyPath),
            "slashes only"
        );
        assert_eq!(
            Request::get("a\nb").target(),
            Err(InvalidRequest::ControlCharacter),
            "a newline"
        );
    }

    #[test]
    fn a_name_with_a_slash_is_refused_before_it_addresses_something_else() {
        for name in ["a/secret-id", ""] {
            let request = Request::get(format!("auth/approle/role/{name}")).named(name);
            assert_eq!(request.target(), Err(InvalidRequest::Name), "name {name:?}");
        }
    }

    #[test]
    fn a_list_is_a_get_that_every_proxy_lets_pass() {
        let request = Request::list("auth/approle/role");
        assert_eq!(
            request.target().unwrap(),
            "/v1/auth/approle/role?list=true",
            "GET with list=true"
        );
        assert_eq!(request.method, Method::GET, "not the method LIST");
    }

    #[test]
    fn a_query_is_encoded() {
        let mut request = Request::get("pki/x");
        request.query = vec![
            ("a&b".to_owned(), "c=d e".to_owned()),
            ("version".to_owned(), "2".to_owned()),
        ];
        assert_eq!(
            request.target().unwrap(),
            "/v1/pki/x?a%26b=c%3Dd%20e&version=2",
            "key and value encoded"
        );
    }
}
