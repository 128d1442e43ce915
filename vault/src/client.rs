//! The client: makes one request of a call, and of its answer a value or an error.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::builder::ClientBuilder;
use crate::classify::{Failure, classify};
use crate::connections::Connections;
use crate::error::{Call, Error, Result};
use crate::request::{Body, Request};
use crate::response::{Auth, Secret, WrapInfo, describe};
use crate::token::Token;
use crate::transport::{self, Answer, Fault, Http, Transport};

/// One server (or a load-balanced name for several) and the identity to call it with. Cheap to clone: clones share
/// their connections. They are kept, but not after an error that another member might not give
/// ([`Error::may_be_this_member`]): the next call then connects anew.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    token: Option<Token>,
    /// Other secrets that the server knows.
    unsaid: Vec<SecretString>,
    on_this_node: bool,
    timeout: Duration,
}

struct Inner {
    connections: Arc<Connections>,
    /// Sends requests, in the end over `connections`.
    transport: Arc<dyn Transport>,
    /// What requests are sent to; its host is the name that TLS checks.
    base: Url,
    /// What errors call the server.
    node: String,
    namespace: Option<HeaderValue>,
    /// The most that is read of an answer, in bytes.
    max_answer: usize,
}

/// Where requests go.
pub(crate) struct Place {
    /// What requests are sent to; its host is the name that TLS checks.
    pub(crate) base: Url,
    /// What errors call the server.
    pub(crate) node: Url,
    /// Namespace of the calls.
    pub(crate) namespace: Option<HeaderValue>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("node", &self.inner.node)
            .field("authenticated", &self.token.is_some())
            .field("on_this_node", &self.on_this_node)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a client for a server's address, `https://host:port`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    pub(crate) fn from_parts(
        connections: Connections,
        place: Place,
        timeout: Duration,
        max_answer: usize,
    ) -> Self {
        let Place {
            base,
            node,
            namespace,
        } = place;
        let node = node.as_str().trim_end_matches('/').to_owned();
        let connections = Arc::new(connections);
        Self {
            inner: Arc::new(Inner {
                transport: Arc::new(Http {
                    connections: Arc::clone(&connections),
                    max_answer,
                }),
                connections,
                base,
                node,
                namespace,
                max_answer,
            }),
            token: None,
            unsaid: Vec::new(),
            on_this_node: false,
            timeout,
        }
    }

    /// The same server, whose words are repeated in errors without this secret, which it was shown before, beside those
    /// named earlier. The token of the client is left out of them in any case.
    pub fn never_repeating(&self, secret: &SecretString) -> Self {
        let mut client = self.clone();
        client.unsaid.push(secret.clone());
        client
    }

    /// The same server, called with this token.
    pub fn with_token(&self, token: &Token) -> Self {
        Self {
            token: Some(token.clone()),
            ..self.clone()
        }
    }

    /// The same server, called without a token.
    pub fn without_token(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    /// The same server, which is told not to forward a call to the active node (header
    /// `X-Vault-No-Request-Forwarding`): a standby then answers [`Error::Standby`] instead of acting on another
    /// node. For every call that is about one node, `sys/step-down` above all.
    pub fn on_this_node(&self) -> Self {
        Self {
            on_this_node: true,
            ..self.clone()
        }
    }

    /// The same server with another time limit per call.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// The same server, reached in another way: `wrap` gets the present transport and gives the new one.
    pub fn with_transport(&self, wrap: impl FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport>) -> Self {
        let Inner {
            connections,
            transport,
            base,
            node,
            namespace,
            max_answer,
        } = &*self.inner;
        let inner = Inner {
            connections: Arc::clone(connections),
            transport: wrap(Arc::clone(transport)),
            base: base.clone(),
            node: node.clone(),
            namespace: namespace.clone(),
            max_answer: *max_answer,
        };
        Self {
            inner: Arc::new(inner),
            ..self.clone()
        }
    }

    /// The server's URL.
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// Reads a path. [`Error::NotFound`] where there is nothing, a deleted version of KV v2 included.
    pub async fn read(&self, path: &str) -> Result<Secret> {
        self.read_with(path, &[]).await
    }

    /// Reads a path with a query, for instance `version=2`.
    pub async fn read_with(&self, path: &str, query: &[(&str, &str)]) -> Result<Secret> {
        let mut request = Request::get(path);
        request.query = query
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.secret(request).await
    }

    /// Writes to a path. `None` where the server answers without content.
    pub async fn write(&self, path: &str, body: &(impl Serialize + ?Sized + Sync)) -> Result<Option<Secret>> {
        self.optional_secret(Request::put(path, body)).await
    }

    /// Writes to a path and has the answer wrapped for `ttl` (header `X-Vault-Wrap-TTL`).
    pub async fn write_wrapped(
        &self,
        path: &str,
        body: &(impl Serialize + ?Sized + Sync),
        ttl: Duration,
    ) -> Result<WrapInfo> {
        let mut request = Request::put(path, body);
        request.wrap_ttl = Some(ttl);
        self.wrapped(request).await
    }

    /// The keys under a path; none where nothing is there. [`Error::NotFound`] where no mount is there.
    pub async fn list(&self, path: &str) -> Result<Vec<String>> {
        self.keys(Request::list(path)).await
    }

    /// Deletes a path; succeeds where nothing is there.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.done(Request::delete(path)).await
    }

    /// A request whose answer does not matter beyond its success.
    pub(crate) async fn done(&self, request: Request) -> Result<()> {
        self.send(&request).await.map(|_| ())
    }

    /// A request whose whole answer is the wanted value.
    pub(crate) async fn body<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        let answer = self.send(&request).await?;
        self.decode(&request, &answer.body)
    }

    /// A request whose answer holds the wanted value under `data`.
    pub(crate) async fn data<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        #[derive(serde::Deserialize)]
        struct Envelope<T> {
            data: T,
        }
        Ok(self.body::<Envelope<T>>(request).await?.data)
    }

    /// A request that answers with Vault's envelope.
    pub(crate) async fn secret(&self, request: Request) -> Result<Secret> {
        let answer = self.send(&request).await?;
        Secret::parse(&answer.body).map_err(|error| self.not_understood(&request, describe(&error)))
    }

    /// The same, or an answer without content.
    pub(crate) async fn optional_secret(&self, request: Request) -> Result<Option<Secret>> {
        let answer = self.send(&request).await?;
        if answer.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let secret = Secret::parse(&answer.body);
        secret
            .map(Some)
            .map_err(|error| self.not_understood(&request, describe(&error)))
    }

    /// A request that answers with a token.
    pub(crate) async fn auth(&self, request: Request) -> Result<Auth> {
        let call = self.call(&request);
        let missing = || Error::Decode {
            call,
            reason: "it holds no token".to_owned(),
        };
        self.secret(request).await?.auth.ok_or_else(missing)
    }

    /// A request that answers with a wrapping token.
    pub(crate) async fn wrapped(&self, request: Request) -> Result<WrapInfo> {
        let call = self.call(&request);
        let missing = || Error::Decode {
            call,
            reason: "it is not wrapped".to_owned(),
        };
        self.secret(request).await?.wrap_info.ok_or_else(missing)
    }

    /// A list request: 404 without words means that nothing is there.
    pub(crate) async fn keys(&self, request: Request) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Keys {
            keys: Vec<String>,
        }
        match self.data::<Keys>(request).await {
            Ok(Keys { keys }) => Ok(keys),
            Err(Error::NotFound { errors, .. }) if errors.0.is_empty() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn decode<T: DeserializeOwned>(&self, request: &Request, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| self.not_understood(request, describe(&error)))
    }

    pub(crate) fn not_understood(&self, request: &Request, reason: String) -> Error {
        Error::Decode {
            call: self.call(request),
            reason,
        }
    }

    pub(crate) fn call(&self, request: &Request) -> Call {
        Call {
            operation: format!("{} {}", request.method, request.path.trim_start_matches('/')),
            node: self.inner.node.clone(),
        }
    }

    /// Sends a request; every status but 2xx is an error.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer> {
        let answer = self.send_any(request).await?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(self.failure(request, &answer))
        }
    }

    pub(crate) fn failure(&self, request: &Request, answer: &Answer) -> Error {
        let token = self.token.iter().map(Token::expose);
        let unsaid = self.unsaid.iter().map(ExposeSecret::expose_secret);
        let secrets: Vec<&str> = token.chain(unsaid).collect();
        let failure = Failure {
            status: answer.status,
            location: answer.location.as_deref(),
            retry_after: answer.retry_after.as_deref(),
            body: &answer.body,
            secrets: &secrets,
        };
        self.judged(classify(self.call(request), &failure))
    }

    /// Sends a request and returns the answer whatever its status.
    pub(crate) async fn send_any(&self, request: &Request) -> Result<Answer> {
        // The request is not kept while the answer is waited for: it is large, and so would be every future up there.
        let (exchange, timeout) = {
            let (ready, timeout) = self.ready(request)?;
            (self.inner.transport.exchange(ready), timeout)
        };
        exchange
            .await
            .map_err(|fault| self.no_answer(request, timeout, fault))
    }

    /// Sends a request and gives its answer while it arrives; every status but 2xx is an error. The transport, which reads
    /// whole answers, is left out. `body` takes the place of the request's.
    pub(crate) async fn open(
        &self,
        request: &Request,
        body: Option<reqwest::Body>,
        timeout: Option<Duration>,
    ) -> Result<reqwest::Response> {
        let (mut ready, patience) = self.ready(request)?;
        *ready.timeout_mut() = timeout;
        if let Some(body) = body {
            *ready.body_mut() = Some(body);
        }
        let fault = |fault| self.no_answer(request, patience, fault);
        let sent = self.inner.connections.current().execute(ready).await;
        let response = sent.map_err(|error| fault(transport::fault(error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = transport::whole(response, self.inner.max_answer).await;
        Err(self.failure(request, &answer.map_err(fault)?))
    }

    /// A request as it goes over the wire, and how long its answer may take.
    fn ready(&self, request: &Request) -> Result<(reqwest::Request, Duration)> {
        let invalid = |reason: String| Error::InvalidRequest {
            call: self.call(request),
            reason,
        };
        let target = request.target().map_err(|error| invalid(error.to_string()))?;
        let url = self
            .inner
            .base
            .join(&target)
            .map_err(|error| invalid(error.to_string()))?;
        let timeout = request
            .timeout
            .map_or(self.timeout, |needed| needed.max(self.timeout));

        let mut http = self
            .inner
            .connections
            .current()
            .request(request.method.clone(), url)
            .timeout(timeout)
            .header("X-Vault-Request", "true");
        if let Some(token) = &self.token {
            http = http.header(
                "X-Vault-Token",
                token.header().map_err(|error| invalid(error.to_string()))?,
            );
        }
        if let (Some(namespace), false) = (&self.inner.namespace, request.root_namespace) {
            http = http.header("X-Vault-Namespace", namespace.clone());
        }
        if self.on_this_node {
            http = http.header("X-Vault-No-Request-Forwarding", "true");
        }
        if let Some(ttl) = request.wrap_ttl {
            http = http.header("X-Vault-Wrap-TTL", ttl.as_secs().max(1));
        }
        if let Body::Json(json) = &request.body {
            http = http.header(CONTENT_TYPE, "application/json").body(json.clone());
        }
        let ready = http
            .build()
            .map_err(|error| invalid(error.without_url().to_string()))?;
        Ok((ready, timeout))
    }

    /// Gives the connections up where another member might answer otherwise.
    fn judged(&self, error: Error) -> Error {
        if error.may_be_this_member() {
            self.inner.connections.give_up();
        }
        error
    }

    pub(crate) fn no_answer(&self, request: &Request, after: Duration, fault: Fault) -> Error {
        let call = self.call(request);
        self.judged(match fault {
            Fault::Unreachable { reason, tls } => Error::Unreachable { call, reason, tls },
            Fault::TimedOut => Error::TimedOut { call, after },
            Fault::Interrupted { reason } => Error::Interrupted { call, reason },
            Fault::TooLong => self.not_understood(
                request,
                format!("it is longer than {} bytes", self.inner.max_answer),
            ),
            Fault::Invalid { reason } => Error::InvalidRequest { call, reason },
        })
    }
}
