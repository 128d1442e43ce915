//! ACL policies and what a token may do (`sys/policies/acl`, `sys/capabilities-self`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::request::Request;

fn at(name: &str) -> String {
    format!("sys/policies/acl/{name}")
}

impl Client {
    /// A policy's text: `GET sys/policies/acl/<name>`.
    pub async fn read_policy(&self, name: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Policy {
            policy: String,
        }
        let answer: Policy = self.data(Request::get(at(name)).named(name)).await?;
        Ok(answer.policy)
    }

    /// Creates or replaces a policy: `PUT sys/policies/acl/<name>`. Names are folded to lower case by the server; the
    /// policy `root` cannot be written.
    pub async fn write_policy(&self, name: &str, policy: &str) -> Result<()> {
        self.done(Request::put(at(name), &json!({"policy": policy})).named(name))
            .await
    }

    /// Deletes a policy: `DELETE sys/policies/acl/<name>`. Succeeds where there is none.
    pub async fn delete_policy(&self, name: &str) -> Result<()> {
        self.done(Request::delete(at(name)).named(name)).await
    }

    /// The names of all policies: `LIST sys/policies/acl`.
    pub async fn list_policies(&self) -> Result<Vec<String>> {
        self.list("sys/policies/acl").await
    }

    /// What this client's token may do with each path: `PUT sys/capabilities-self`. `deny` stands alone; `root` is
    /// everything.
    pub async fn capabilities_self(&self, paths: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
        // The answer holds each path, and for one alone also a key `capabilities`.
        let request = Request::put("sys/capabilities-self", &json!({"paths": paths}));
        let mut answer: BTreeMap<String, Vec<String>> = self.data(request).await?;
        if !paths.contains(&"capabilities") {
            answer.remove("capabilities");
        }
        Ok(answer)
    }
}
