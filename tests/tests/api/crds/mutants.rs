//! A rule that is taken away turns a test red: tried for each CEL rule and each pattern, with the specs that the tests
//! beside this one want refused. Each mutant is a CRD of a group of its own that lacks one rule.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use vaultkeeper_tests::wait;

use super::{
    app_role, audit, backup, certificate, client, configuration, external, logins, monitoring, readiness,
    role_policy, seals, tls,
};

/// How many mutants there are at a time.
const AT_A_TIME: usize = 6;

/// What a test wants refused, and with which words.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Plural of the kind.
    pub kind: String,
    /// The object that is changed; none where a new one is refused.
    pub before: Option<Value>,
    /// The new object, or the change.
    pub object: Value,
    /// The words.
    pub words: &'static str,
}

static REFUSALS: Mutex<Vec<Refusal>> = Mutex::new(Vec::new());

/// Remembers what a test wants refused.
pub(super) fn remember(refusal: Refusal) {
    REFUSALS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(refusal);
}

/// Each rule below a schema, with its message.
fn rules(schema: &Value, found: &mut BTreeSet<(String, String)>) {
    match schema {
        Value::Object(map) => {
            let here = map.get("x-kubernetes-validations").and_then(Value::as_array);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let here = here.into_iter().flatten();
            found.extend(here.map(|rule| (text(&rule["rule"]), text(&rule["message"]))));
            map.values().for_each(|inner| rules(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| rules(inner, found)),
        _ => {}
    }
}

/// Takes a rule away, wherever the type that has it is used.
fn take_away(schema: &mut Value, rule: &(String, String)) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(rules)) = map.get_mut("x-kubernetes-validations") {
                rules.retain(|there| there["rule"] != rule.0 || there["message"] != rule.1);
            }
            map.values_mut().for_each(|inner| take_away(inner, rule));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| take_away(inner, rule)),
        _ => {}
    }
}

/// Where each pattern of a schema stands.
fn patterns(schema: &Value, pointer: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            // A property of that name would be an object.
            if map.get("pattern").is_some_and(Value::is_string) {
                found.push(format!("{pointer}/pattern"));
            }
            for (key, inner) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                patterns(inner, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                patterns(inner, &format!("{pointer}/{n}"), found);
            }
        }
        _ => {}
    }
}

/// What a CRD lacks.
#[derive(Clone, Debug)]
enum Lack {
    Nothing,
    /// A CEL rule with its message.
    Rule((String, String)),
    /// The pattern at this place.
    Pattern(String),
}

impl Lack {
    fn apply(&self, crd: &mut Value) {
        match self {
            Self::Nothing => {}
            Self::Rule(rule) => take_away(&mut crd["spec"]["versions"], rule),
            Self::Pattern(pointer) => {
                let parent = pointer
                    .strip_suffix("/pattern")
                    .and_then(|at| crd.pointer_mut(at));
                let map = parent.and_then(Value::as_object_mut).expect("there is a pattern");
                map.remove("pattern").expect("it was there");
            }
        }
    }

    /// Whether a spec may have been refused for what is lacking. What no rule tells the schema does.
    fn may_tell(&self, words: &str, messages: &BTreeSet<String>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Rule((_, message)) => message.contains(words),
            Self::Pattern(_) => !messages.iter().any(|message| message.contains(words)),
        }
    }
}

/// One CRD without one rule.
struct Mutant {
    crd: Value,
    lack: Lack,
    group: String,
}

impl Mutant {
    fn new(crd: &Value, lack: Lack, number: usize) -> Self {
        let mut crd = crd.clone();
        lack.apply(&mut crd);
        let group = format!("m{number}.vaultkeeper.dev");
        crd["spec"]["group"] = json!(group);
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
        crd["metadata"]["name"] = json!(format!("{plural}.{group}"));
        Self { crd, lack, group }
    }

    fn name(&self, of: &str) -> String {
        self.crd["spec"]["names"][of].as_str().unwrap().to_owned()
    }

    /// Whether one of these is not refused any more, or not with these words.
    async fn turns_a_test_red(&self, client: &Client, refusals: &[Refusal]) -> anyhow::Result<bool> {
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        let crd: CustomResourceDefinition = serde_json::from_value(self.crd.clone())?;
        crds.create(&PostParams::default(), &crd).await?;
        let mut red = false;
        for refusal in refusals {
            red |= self.is_red(client, refusal).await?;
            if red {
                break;
            }
        }
        let name = self.crd["metadata"]["name"].as_str().unwrap();
        crds.delete(name, &DeleteParams::default()).await?;
        Ok(red)
    }

    async fn is_red(&self, client: &Client, refusal: &Refusal) -> anyhow::Result<bool> {
        let resource = ApiResource {
            group: self.group.clone(),
            version: "v1alpha1".to_owned(),
            api_version: format!("{}/v1alpha1", self.group),
            kind: self.name("kind"),
            plural: self.name("plural"),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
        let own = |object: &Value| -> anyhow::Result<DynamicObject> {
            let mut object = object.clone();
            object["apiVersion"] = json!(resource.api_version);
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("namespace");
            }
            Ok(serde_json::from_value(object)?)
        };
        let dry_run = true;
        let answer = match &refusal.before {
            None => {
                let object = own(&refusal.object)?;
                let dry = PostParams {
                    dry_run,
                    ..PostParams::default()
                };
                served(async || api.create(&dry, &object).await).await?
            }
            Some(before) => {
                let before = own(before)?;
                let made = served(async || api.create(&PostParams::default(), &before).await).await?;
                let made = made.context("the object that is changed should be taken")?;
                let name = made.metadata.name.unwrap_or_default();
                let dry = PatchParams {
                    dry_run,
                    ..PatchParams::default()
                };
                let answer = api.patch(&name, &dry, &Patch::Merge(&refusal.object)).await;
                api.delete(&name, &DeleteParams::default()).await?;
                answer
            }
        };
        match answer {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) => Ok(!status.message.contains(refusal.words)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The answer, once the API server serves the kind.
async fn served<T>(ask: impl AsyncFn() -> kube::Result<T>) -> anyhow::Result<kube::Result<T>> {
    wait::until_async(
        "the API server to serve a CRD",
        Duration::from_secs(60),
        async || match ask().await {
            Err(kube::Error::Api(status)) if status.code == 404 => bail!("not yet: {}", status.message),
            answer => Ok(answer),
        },
    )
    .await
}

/// Runs the tests of the rules, which remember what they want refused.
fn refusals() -> Vec<Refusal> {
    super::a_vault_cluster_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken();
    super::placement_and_network_that_cannot_work_are_refused_in_words_and_their_neighbours_are_taken();
    super::a_vault_role_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken();
    super::what_cannot_be_changed_later_is_refused_with_the_reason();
    app_role::an_app_role_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken();
    app_role::a_secret_that_is_not_to_look_like_this_is_refused_in_words_and_its_neighbour_is_taken();
    app_role::what_vault_or_kubernetes_keeps_cannot_be_changed_later();
    certificate::a_client_certificate_has_a_secret_of_its_own_and_a_life_in_which_it_can_be_renewed();
    audit::files_need_a_volume_that_holds_them_and_syslog_its_socket();
    audit::the_volume_comes_at_creation_and_may_grow_and_its_rotation_may_change();
    configuration::a_mount_or_an_auth_method_that_cannot_work_is_refused_and_its_neighbour_taken();
    configuration::policies_audit_mfa_and_namespaces_that_cannot_work_are_refused_and_their_neighbours_taken(
    );
    external::a_vault_elsewhere_that_cannot_work_is_refused_in_words_and_its_neighbour_is_taken();
    external::where_a_vault_runs_cannot_be_changed_later_and_its_address_can();
    logins::a_token_goes_to_a_secret_of_its_own();
    logins::people_and_ci_log_in_with_a_password_or_a_bound_token();
    logins::tokens_that_vault_would_refuse_or_bend_are_refused_and_their_neighbours_are_taken();
    logins::accounts_of_other_namespaces_are_named_or_selected_without_wildcards();
    backup::a_backup_that_cannot_work_is_refused_and_its_neighbour_is_taken();
    monitoring::intervals_labels_and_thresholds_are_such_as_prometheus_takes();
    readiness::a_waiver_needs_a_rule_that_there_is_a_reason_and_no_twin();
    role_policy::limits_of_a_rule_that_cannot_work_are_refused_and_their_neighbours_taken();
    role_policy::tokens_are_revoked_only_where_the_role_goes();
    seals::run_all();
    tls::a_certificate_has_exactly_one_source_and_each_only_what_can_work();
    tls::the_operators_ca_is_neither_left_nor_taken_up_and_other_sources_may_change();
    REFUSALS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[test]
#[ignore = "minutes: one CRD for each rule"]
fn each_rule_that_is_taken_away_turns_a_test_red() {
    let refusals = refusals();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (tried, green) = runtime.block_on(mutate(&refusals)).unwrap();
    assert!(tried > 100, "only {tried} rules were tried");
    assert!(green.is_empty(), "no test misses these rules: {green:#?}");
}

/// How many rules were tried, and those that no test misses.
async fn mutate(refusals: &[Refusal]) -> anyhow::Result<(usize, Vec<String>)> {
    let client = client().await;
    let mut mutants = Vec::new();
    let mut messages = BTreeSet::new();
    for manifest in vaultkeeper_crds::generate::manifests()? {
        let crd: Value = serde_yaml::from_str(&manifest.yaml)?;
        let mut found = BTreeSet::new();
        rules(&crd["spec"]["versions"], &mut found);
        messages.extend(found.iter().map(|(_, message)| message.clone()));
        let mut places = Vec::new();
        patterns(&crd["spec"]["versions"], "/spec/versions", &mut places);
        let rules = found.into_iter().map(Lack::Rule);
        for lack in rules.chain(places.into_iter().map(Lack::Pattern)) {
            mutants.push(Mutant::new(&crd, lack, mutants.len()));
        }
    }
    let tried = mutants.len();
    // A copy that lacks nothing refuses all of them: what follows is the doing of the rule that is taken away.
    for manifest in vaultkeeper_crds::generate::manifests()? {
        let crd: Value = serde_yaml::from_str(&manifest.yaml)?;
        let whole = Mutant::new(&crd, Lack::Nothing, mutants.len());
        let all = refusals
            .iter()
            .filter(|refusal| refusal.kind == whole.name("plural"));
        let all: Vec<Refusal> = all.cloned().collect();
        if whole.turns_a_test_red(&client, &all).await? {
            bail!("a CRD with all rules takes what the tests want refused");
        }
    }
    let asked = mutants.iter().map(|mutant| {
        let client = client.clone();
        let kind = mutant.name("plural");
        let breaking: Vec<Refusal> = refusals
            .iter()
            .filter(|refusal| refusal.kind == kind && mutant.lack.may_tell(refusal.words, &messages))
            .cloned()
            .collect();
        async move {
            let red = mutant.turns_a_test_red(&client, &breaking).await;
            (mutant, red)
        }
    });
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(AT_A_TIME).collect().await;
    let mut green = Vec::new();
    for (mutant, red) in answers {
        if !red.with_context(|| format!("with a CRD that lacks {:?}", mutant.lack))? {
            green.push(format!("{:?}", mutant.lack));
        }
    }
    Ok((tried, green))
}
