//! What happens to a pod: left alone, injected or denied. Pure; the one look-up between the two halves is the caller's.

use json_patch::Patch;

use crate::annotations::{self, Annotations};
use crate::denial::Denial;
use crate::patch::patch;
use crate::plan::{CONTAINER, plan};
use crate::pod::Pod;
use crate::review::Request;
use crate::roles::{Binding, Identity, identify};
use crate::settings::Injection;

/// The answer to a review.
#[derive(Debug)]
pub struct Verdict {
    /// What happens to the pod.
    pub outcome: Outcome,
    /// What `kubectl` shows to the person who created it.
    pub warnings: Vec<String>,
}

/// What happens to a pod.
#[derive(Debug)]
pub enum Outcome {
    /// It is left alone.
    Skipped,
    /// It is changed by this patch.
    Injected(Patch),
    /// It is refused.
    Denied(Denial),
}

impl Verdict {
    fn skipped(warnings: Vec<String>) -> Self {
        Self {
            outcome: Outcome::Skipped,
            warnings,
        }
    }
}

impl From<Denial> for Verdict {
    fn from(denial: Denial) -> Self {
        Self {
            outcome: Outcome::Denied(denial),
            warnings: Vec::new(),
        }
    }
}

/// A pod whose injection can go on once its identity is known.
#[derive(Debug)]
pub struct Wanted {
    pod: Pod,
    namespace: String,
    annotations: Annotations,
    warnings: Vec<String>,
}

/// The first half: reads the pod and its annotations.
///
/// # Errors
/// The verdict, when it is clear without an identity.
pub fn read(request: &Request<'_>) -> Result<Wanted, Verdict> {
    let kind = request.kind.as_ref().map_or("Pod", |kind| kind.kind.as_ref());
    if kind != "Pod" {
        let warning =
            format!("a {kind} is not injected: only pods are; the webhook's rules should name pods alone");
        return Err(Verdict::skipped(vec![warning]));
    }
    if request
        .operation
        .as_ref()
        .is_some_and(|operation| operation != "CREATE")
    {
        return Err(Verdict::skipped(Vec::new()));
    }
    let Some(object) = request.object else {
        return Err(Denial::Invalid("the request holds no pod".to_owned()).into());
    };
    let pod: Pod = serde_json::from_str(object.get())
        .map_err(|error| Denial::Invalid(format!("the pod cannot be read: {error}")))?;

    let all = &pod.metadata.annotations;
    if let Some(key) = annotations::injected_by(all) {
        // An injector is asked again about pods that it changed; then its container is there.
        let is_there = pod.has_agent() || !annotations::wants_injection(all).unwrap_or(true);
        let warning = format!(
            "not injected because of {key}: {:?}, although no container {CONTAINER} is there; remove the annotation",
            annotations::INJECTED
        );
        return Err(Verdict::skipped(if is_there {
            Vec::new()
        } else {
            vec![warning]
        }));
    }
    if !annotations::wants_injection(all)? {
        return Err(Verdict::skipped(annotations::without_injection(all)));
    }
    let namespace = request.namespace.as_deref().unwrap_or("default").to_owned();
    if ["kube-system", "kube-public", "kube-node-lease"].contains(&namespace.as_str()) {
        return Err(Verdict::skipped(vec![format!(
            "pods in {namespace} are not injected"
        )]));
    }
    if pod.spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return Err(Denial::Invalid("the agent does not run on Windows nodes".to_owned()).into());
    }
    if pod.spec.containers.is_empty() {
        return Err(Denial::Invalid("the pod has no containers".to_owned()).into());
    }
    let (annotations, warnings) = annotations::parse(all)?;
    Ok(Wanted {
        pod,
        namespace,
        annotations,
        warnings,
    })
}

impl Wanted {
    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Chooses the identity among the VaultRoles of the namespace.
    ///
    /// # Errors
    /// None fits, or several do.
    pub fn identify(&self, bindings: &[Binding], settings: &Injection) -> Result<Identity, Denial> {
        let default = settings.vault_address.as_deref();
        identify(
            &self.namespace,
            self.pod.service_account(),
            &self.annotations,
            bindings,
            default,
        )
    }

    /// The second half: plans and patches.
    pub fn inject(self, identity: Identity, settings: &Injection) -> Verdict {
        let Self {
            pod,
            namespace: _,
            annotations,
            mut warnings,
        } = self;
        let planned = plan(&pod, annotations, identity, settings).and_then(|(plan, more)| {
            warnings.extend(more);
            patch(&pod, &plan, settings)
                .map_err(|error| Denial::Unavailable(format!("the patch cannot be written: {error}")))
        });
        match planned {
            Ok(patch) => Verdict {
                outcome: Outcome::Injected(patch),
                warnings,
            },
            Err(denial) => Verdict {
                outcome: Outcome::Denied(denial),
                warnings,
            },
        }
    }
}
