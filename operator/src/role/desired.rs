//! What a VaultRole wants to be in Vault. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use vaultkeeper_crds::cluster::configuration::BoundClaimsType;
use vaultkeeper_crds::names;
use vaultkeeper_crds::role::JwtLogin;
use vaultkeeper_vault::auth::params::TokenParams;
use vaultkeeper_vault::auth::{approle, kubernetes};

use super::further::Fields;
use super::validate::{Person, Provider, Validated};
use super::{owner, policy, token};

/// Everything that a VaultRole has in Vault, all of it under one name. None: it is not to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Name of the policy and of the roles.
    pub name: String,
    /// Text of the policy.
    pub policy: Option<String>,
    /// `auth/approle/role/<name>`.
    pub app_role: Option<approle::Role>,
    /// `auth/kubernetes/role/<name>`.
    pub kubernetes: Option<kubernetes::Role>,
    /// What is at paths of its own: see `further`.
    pub further: BTreeMap<String, Fields>,
    /// What its tokens are like.
    pub token: TokenParams,
}

impl Desired {
    /// Paths of the auth mounts at which it has a way in.
    pub fn mounts<'a>(&'a self, kubernetes_path: &'a str) -> Vec<&'a str> {
        let app_role = self.app_role.is_some().then_some(names::APPROLE_AUTH_PATH);
        let kubernetes = self.kubernetes.is_some().then_some(kubernetes_path);
        let further = self.further.keys().filter_map(|path| {
            let (mount, _) = path.strip_prefix("auth/")?.rsplit_once('/')?;
            mount.rsplit_once('/').map(|(mount, _)| mount)
        });
        app_role.into_iter().chain(kubernetes).chain(further).collect()
    }
}

/// What is different at a Vault that others use too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Which Kubernetes cluster the names belong to.
    pub owner: String,
    /// Audience that the tokens of ServiceAccounts must have.
    pub audience: String,
}

/// Works out the wish of VaultRole `namespace`/`name`.
pub fn desired(namespace: &str, name: &str, validated: &Validated, elsewhere: Option<&Elsewhere>) -> Desired {
    let Validated {
        rules,
        policies,
        app_role,
        kubernetes,
        token,
        delivery,
        certificate: _,
        person,
        provider,
    } = validated;
    let vault_name = names::vault_name(namespace, name);
    // Where others are, there is always one: it says whose the name is.
    let policy = (!rules.is_empty() || elsewhere.is_some()).then(|| {
        let text = policy::render(&format!("{namespace}/{name}"), rules);
        let mark = elsewhere.map(|place| owner::mark(&place.owner));
        format!("{}{text}", mark.unwrap_or_default())
    });
    let own = policy.is_some().then(|| vault_name.clone());
    let tokens = TokenParams {
        policies: own.into_iter().chain(policies.iter().cloned()).collect(),
        ..token.clone()
    }
    .normalised();
    let mut further = BTreeMap::new();
    if delivery.is_some() {
        further.extend(fields("token/roles", &vault_name, &token::role(&tokens)));
    }
    if let Some(Person { mount, .. }) = person {
        further.extend(fields(&format!("{mount}/users"), &vault_name, &tokens));
    }
    if let Some(provider) = provider {
        let Provider { mount, login } = provider;
        let role = jwt_role(login, &tokens);
        further.extend(fields(&format!("{mount}/role"), &vault_name, &role));
    }
    Desired {
        app_role: app_role.as_ref().map(|wish| approle::Role {
            bind_secret_id: wish.bind_secret_id,
            secret_id_bound_cidrs: wish.bound_cidrs.clone(),
            secret_id_num_uses: wish.num_uses,
            secret_id_ttl: wish.ttl,
            local_secret_ids: wish.local_secret_ids,
            role_id: wish.role_id.clone(),
            token: tokens.clone(),
        }),
        kubernetes: kubernetes.as_ref().map(|accounts| kubernetes::Role {
            bound_service_account_names: accounts.names.clone(),
            bound_service_account_namespaces: accounts.namespaces.iter().cloned().collect(),
            audience: elsewhere.map_or_else(|| accounts.audience.clone(), |place| place.audience.clone()),
            alias_name_source: accounts.alias,
            token: tokens.clone(),
        }),
        further,
        token: tokens,
        policy,
        name: vault_name,
    }
}

/// One object at `auth/<family>/<name>`.
fn fields(family: &str, name: &str, wanted: &impl Serialize) -> Option<(String, Fields)> {
    match serde_json::to_value(wanted) {
        Ok(Value::Object(fields)) => Some((format!("auth/{family}/{name}"), fields)),
        // None of these types is anything else.
        _ => None,
    }
}

/// The role at a mount of type jwt or oidc.
fn jwt_role(login: &JwtLogin, token: &TokenParams) -> impl Serialize {
    let JwtLogin {
        path: _,
        bound_audiences,
        bound_subject,
        bound_claims,
        bound_claims_type,
        user_claim,
    } = login;
    let claims_type = match bound_claims_type {
        BoundClaimsType::String => "string",
        BoundClaimsType::Glob => "glob",
    };
    let mut role = json!(token);
    let bounds = json!({
        "role_type": "jwt",
        "user_claim": user_claim,
        "bound_audiences": bound_audiences,
        "bound_subject": bound_subject.as_deref().unwrap_or_default(),
        "bound_claims": bound_claims,
        "bound_claims_type": claims_type,
        "groups_claim": "",
        "claim_mappings": {},
    });
    if let (Some(role), Value::Object(bounds)) = (role.as_object_mut(), bounds) {
        role.extend(bounds);
    }
    role
}

/// Whether an AppRole role read from Vault is what is wanted.
pub fn same_app_role(found: &approle::Role, wanted: &approle::Role) -> bool {
    let mut found = approle::Role {
        token: found.token.clone().normalised(),
        // Told by another read.
        role_id: wanted.role_id.clone(),
        ..found.clone()
    };
    found.secret_id_bound_cidrs.sort();
    found == *wanted
}

/// Whether a Kubernetes role read from Vault is what is wanted.
pub fn same_kubernetes(found: &kubernetes::Role, wanted: &kubernetes::Role) -> bool {
    let mut found = kubernetes::Role {
        token: found.token.clone().normalised(),
        ..found.clone()
    };
    found.bound_service_account_names.sort();
    found.bound_service_account_namespaces.sort();
    found == *wanted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use vaultkeeper_crds::role::{Capability, CredentialsSecret};

    use super::super::validate::{Accounts, AppRoleWish, Period, RotationWish, Rule};
    use super::*;

    fn app_role() -> AppRoleWish {
        AppRoleWish {
            secret_name: "app-vault".to_owned(),
            secret: CredentialsSecret::default(),
            role_id: Some("shop-app".to_owned()),
            bind_secret_id: true,
            local_secret_ids: true,
            bound_cidrs: vec!["10.0.0.0/8".to_owned(), "9.0.0.0/8".to_owned()],
            ttl: Duration::from_secs(86400),
            num_uses: 40,
            rotation: RotationWish {
                period: Period::Never,
                overlap: None,
                targets: Vec::new(),
            },
            wrap: None,
        }
    }

    fn validated() -> Validated {
        Validated {
            rules: BTreeMap::from([(
                "secret/data/shop/*".to_owned(),
                Rule {
                    capabilities: vec![Capability::Read],
                    ..Rule::default()
                },
            )]),
            policies: vec!["read-metrics".to_owned()],
            app_role: Some(app_role()),
            kubernetes: Some(Accounts {
                names: vec!["app".to_owned(), "job".to_owned()],
                namespaces: BTreeSet::from(["shop".to_owned()]),
                selected: None,
                audience: String::new(),
                alias: kubernetes::AliasNameSource::ServiceaccountUid,
            }),
            token: TokenParams {
                ttl: Duration::from_secs(3600),
                max_ttl: Duration::from_secs(14400),
                ..TokenParams::default()
            },
            delivery: None,
            certificate: None,
            person: None,
            provider: None,
        }
    }

    #[test]
    fn both_logins_give_the_same_tokens_and_only_to_the_own_namespace() {
        let Desired {
            name,
            policy,
            app_role,
            kubernetes,
            ..
        } = desired("shop", "app", &validated(), None);
        assert_eq!(name, "shop.app");
        assert!(policy.unwrap().contains("secret/data/shop/*"));
        let (app_role, kubernetes) = (app_role.unwrap(), kubernetes.unwrap());
        assert_eq!(app_role.token, kubernetes.token);
        assert_eq!(app_role.token.policies, ["read-metrics", "shop.app"]);
        assert!(app_role.bind_secret_id, "a role-id alone must not log in");
        assert_eq!(kubernetes.bound_service_account_namespaces, ["shop"]);
        assert_eq!(kubernetes.bound_service_account_names, ["app", "job"]);
    }

    #[test]
    fn without_rules_there_is_no_policy_of_its_own() {
        let Desired { policy, app_role, .. } = desired(
            "shop",
            "app",
            &Validated {
                rules: BTreeMap::new(),
                ..validated()
            },
            None,
        );
        assert_eq!(policy, None);
        assert_eq!(app_role.unwrap().token.policies, ["read-metrics"]);
    }

    #[test]
    fn where_others_are_the_policy_says_whose_it_is_and_tokens_are_for_that_vault_alone() {
        let place = Elsewhere {
            owner: "k-1".to_owned(),
            audience: "for-them".to_owned(),
        };
        let plain = Validated {
            rules: BTreeMap::new(),
            ..validated()
        };
        for wish in [validated(), plain] {
            let Desired {
                name,
                policy,
                app_role,
                kubernetes,
                ..
            } = desired("shop", "app", &wish, Some(&place));
            assert!(policy.unwrap().starts_with(&owner::mark("k-1")));
            assert_eq!(kubernetes.unwrap().audience, "for-them");
            assert!(
                app_role.unwrap().token.policies.contains(&name),
                "it is used, so that nobody takes it for a remnant"
            );
        }
        let here = desired("shop", "app", &validated(), None);
        assert_eq!(here.kubernetes.unwrap().audience, "");
    }

    #[test]
    fn a_login_that_is_not_asked_for_is_not_there() {
        let plain = Validated {
            app_role: None,
            ..validated()
        };
        assert_eq!(desired("shop", "app", &plain, None).app_role, None);
        let plain = Validated {
            kubernetes: None,
            ..validated()
        };
        assert_eq!(desired("shop", "app", &plain, None).kubernetes, None);
    }

    #[test]
    fn an_audience_and_further_namespaces_go_to_vault_in_order() {
        let mut wish = validated();
        let accounts = wish.kubernetes.as_mut().unwrap();
        accounts.namespaces.insert("jobs".to_owned());
        accounts.audience = "vault".to_owned();
        let wanted = desired("shop", "app", &wish, None).kubernetes.unwrap();
        assert_eq!(wanted.bound_service_account_namespaces, ["jobs", "shop"]);
        assert_eq!(wanted.audience, "vault");
        let mut found = wanted.clone();
        found.bound_service_account_namespaces.reverse();
        assert!(same_kubernetes(&found, &wanted), "the order is Vault's");
    }

    #[test]
    fn every_parameter_of_a_secret_id_is_in_the_role() {
        let role = desired("shop", "app", &validated(), None).app_role.unwrap();
        assert_eq!(role.secret_id_ttl, Duration::from_secs(86400));
        assert_eq!(role.secret_id_num_uses, 40);
        assert_eq!(role.secret_id_bound_cidrs, ["10.0.0.0/8", "9.0.0.0/8"]);
        assert_eq!(role.role_id.as_deref(), Some("shop-app"));
        assert!(role.local_secret_ids);
        for change in [
            |role: &mut approle::Role| role.secret_id_num_uses = 0,
            |role: &mut approle::Role| role.secret_id_bound_cidrs.clear(),
            |role: &mut approle::Role| role.local_secret_ids = false,
        ] {
            let mut found = role.clone();
            change(&mut found);
            assert!(!same_app_role(&found, &role), "{found:?} is not what is wanted");
        }
    }

    #[test]
    fn what_vault_reads_back_in_its_own_order_is_the_same() {
        let wanted = desired("shop", "app", &validated(), None);
        let mut app_role = wanted.app_role.clone().unwrap();
        app_role.token.policies.reverse();
        assert!(
            same_app_role(&app_role, wanted.app_role.as_ref().unwrap()),
            "the order of policies is Vault's"
        );
        app_role.role_id = None;
        app_role.secret_id_bound_cidrs.reverse();
        assert!(
            same_app_role(&app_role, wanted.app_role.as_ref().unwrap()),
            "a read tells no role-id, and the order of blocks means nothing"
        );
        app_role.token.ttl = Duration::from_secs(1);
        assert!(
            !same_app_role(&app_role, wanted.app_role.as_ref().unwrap()),
            "the ttl was changed"
        );

        let mut kubernetes = wanted.kubernetes.clone().unwrap();
        kubernetes.bound_service_account_names.reverse();
        assert!(
            same_kubernetes(&kubernetes, wanted.kubernetes.as_ref().unwrap()),
            "the order of names"
        );
        kubernetes
            .bound_service_account_namespaces
            .push("other".to_owned());
        assert!(
            !same_kubernetes(&kubernetes, wanted.kubernetes.as_ref().unwrap()),
            "a namespace was added"
        );
    }
}
