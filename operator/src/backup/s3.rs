//! Calls of a bucket that speaks the protocol of S3. Requests carry their signature in the URL, so that no error and no log
//! line may name one.

mod calls;
mod error;

use std::time::Duration;

use rusty_s3::{Bucket, BucketError, Credentials, UrlStyle};
use url::Url;
use vaultkeeper_vault::{ExposeSecret as _, SecretString};

pub use calls::Download;
pub use error::{Error, Problem};

/// How long nothing may come or go on a connection.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);

/// Which bucket, and what signs the requests.
pub struct Place {
    /// Address of the service.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket is named in the host name.
    pub virtual_hosts: bool,
    /// CA certificates in PEM. None for plain HTTP.
    pub ca: Option<String>,
    /// Id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: SecretString,
    /// Session token of a temporary key.
    pub session_token: Option<SecretString>,
}

/// Why a bucket cannot be called at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetupError {
    /// The address is none.
    #[error("spec.backup.s3.endpoint is not the address of a service, such as https://s3.example.com")]
    Endpoint,
    /// The CA certificates cannot be used.
    #[error("the CA certificates of spec.backup.s3.ca cannot be used")]
    Ca,
    /// No CA for TLS.
    #[error("spec.backup.s3.ca is missing: without it the service's certificate cannot be verified")]
    NoCa,
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be set up")]
    Client,
}

/// A bucket.
pub struct S3 {
    http: reqwest::Client,
    bucket: Bucket,
    credentials: Credentials,
}

impl S3 {
    /// Prepares the calls. Nothing is sent.
    pub fn new(place: Place) -> Result<Self, SetupError> {
        let Place {
            endpoint,
            bucket,
            region,
            virtual_hosts,
            ca,
            access_key_id,
            secret_access_key,
            session_token,
        } = place;
        let endpoint: Url = endpoint.parse().map_err(|_| SetupError::Endpoint)?;
        let roots = match (endpoint.scheme(), ca) {
            ("https", None) => return Err(SetupError::NoCa),
            ("https", Some(pem)) => {
                reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| SetupError::Ca)?
            }
            _ => Vec::new(),
        };
        let http = reqwest::Client::builder()
            .tls_certs_only(roots)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            // A redirect would carry data and signature to a host that nobody chose.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .retry(reqwest::retry::never())
            .build()
            .map_err(|_| SetupError::Client)?;
        let style = if virtual_hosts {
            UrlStyle::VirtualHost
        } else {
            UrlStyle::Path
        };
        let bucket =
            Bucket::new(endpoint, style, bucket, region).map_err(|_: BucketError| SetupError::Endpoint)?;
        let secret = secret_access_key.expose_secret();
        let credentials = match session_token {
            Some(token) => Credentials::new_with_token(access_key_id, secret, token.expose_secret()),
            None => Credentials::new(access_key_id, secret),
        };
        Ok(Self {
            http,
            bucket,
            credentials,
        })
    }
}
