//! The login method for JSON web tokens (`auth/<mount>/login`).

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::response::Auth;

/// The JWT method at one mount. See [`Client::jwt`].
#[derive(Debug, Clone)]
pub struct Jwt {
    client: Client,
    mount: String,
}

impl Client {
    /// The JWT method mounted at `auth/<mount>`.
    pub fn jwt(&self, mount: &str) -> Jwt {
        Jwt {
            client: self.clone(),
            mount: mount.trim_matches('/').to_owned(),
        }
    }
}

impl Jwt {
    /// Logs in: `PUT auth/<mount>/login`. A token whose signature, end or claims do not serve answers
    /// [`crate::Error::BadRequest`].
    pub async fn login(&self, role: &str, jwt: &SecretString) -> Result<Auth> {
        let body = json!({"role": role, "jwt": jwt.expose_secret()});
        let request = Request::put(format!("auth/{}/login", self.mount), &body);
        self.client
            .never_repeating(jwt)
            .without_token()
            .auth(request)
            .await
    }
}
