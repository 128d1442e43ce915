//! The login methods that take a name and a password, `userpass` and `ldap` (`auth/<mount>/login/<name>`).

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;
use crate::response::Auth;

impl Client {
    /// Logs in with a name and a password at a mount of `userpass` or `ldap`: `PUT auth/<mount>/login/<name>`. A wrong
    /// password answers [`crate::Error::BadRequest`].
    pub async fn login_with_password(
        &self,
        mount: &str,
        name: &str,
        password: &SecretString,
    ) -> Result<Auth> {
        let body = json!({"password": password.expose_secret()});
        let mount = mount.trim_matches('/');
        let request = Request::put(format!("auth/{mount}/login/{name}"), &body).named(name);
        self.never_repeating(password).without_token().auth(request).await
    }
}
