//! A client for the HTTP API of HashiCorp Vault and OpenBao: typed calls, secrets that cannot be printed,
//! errors that tell apart what an operator or an agent has to do next. It knows nothing of Kubernetes.
//!
//! ```no_run
//! # async fn example(ca: &[u8], role_id: &str, secret_id: vaultkeeper_vault::SecretString)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let vault = vaultkeeper_vault::Client::builder("https://vault.example:8200").ca_pem(ca).build()?;
//! let login = vault.approle("approle").login(role_id, &secret_id).await?;
//! let secret = vault.with_token(&login.client_token).read("secret/data/app").await?;
//! # let _ = secret;
//! # Ok(())
//! # }
//! ```

pub mod auth;
mod builder;
mod classify;
mod client;
mod connections;
pub mod error;
pub mod kv;
pub mod pki;
mod request;
mod response;
mod shown;
pub mod sys;
mod token;
pub mod transport;
mod wire;

pub use builder::{BuildError, ClientBuilder, DEFAULT_CONNECT_TIMEOUT, DEFAULT_TIMEOUT};
pub use client::Client;
pub use error::{Call, Error, Result, ServerErrors};
pub use response::{Auth, Data, DataError, Secret, WrapInfo};
pub use rustls::pki_types::CertificateDer;
pub use secrecy::{ExposeSecret, SecretString};
pub use shown::{ShownError, shown_certificate};
pub use token::{Token, TokenError};
