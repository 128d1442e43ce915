//! Schemas of Kubernetes' own types, cut to what people need: the full ones would outgrow the size that a manifest
//! may have.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

/// What the API server takes as a quantity.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// `ResourceRequirements` without claims.
pub(super) fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = |what: &str| {
        json!({
            "type": "object",
            "description": what,
            "additionalProperties": { "x-kubernetes-int-or-string": true, "pattern": QUANTITY },
        })
    };
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "requests": quantities("What is set aside for the container, for example cpu: 250m, memory: 256Mi."),
            "limits": quantities("What the container may use at most."),
        },
    })
}

/// `Affinity` without its rarest fields.
pub(super) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let pods = |what: &str| {
        both(
            what,
            &array("All of these must hold.", &pod_term("A set of pods.")),
            &array(
                "The more of these hold, the better.",
                &weighted("podAffinityTerm", &pod_term("A set of pods.")),
            ),
        )
    };
    let term = object(
        "What a node must have.",
        &[],
        json!({"matchExpressions": expressions("Conditions on the node's labels.")}),
    );
    let terms = json!({"nodeSelectorTerms": array("At least one of these must hold.", &term)});
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "nodeAffinity": both(
                "On which nodes.",
                &object("What must hold.", &["nodeSelectorTerms"], terms),
                &array("The more of these hold, the better.", &weighted("preference", &term)),
            ),
            "podAffinity": pods("Beside which pods."),
            "podAntiAffinity": pods("Not beside which pods."),
        },
    })
}

fn object(what: &str, required: &[&str], properties: Value) -> Value {
    let mut schema = json!({"type": "object", "description": what, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn array(what: &str, items: &Value) -> Value {
    json!({"type": "array", "description": what, "maxItems": 50, "items": items})
}

fn both(what: &str, required: &Value, preferred: &Value) -> Value {
    let properties = json!({
        "requiredDuringSchedulingIgnoredDuringExecution": required,
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    });
    object(what, &[], properties)
}

fn weighted(field: &str, term: &Value) -> Value {
    let weight = json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 100, "description": "From 1 to 100."});
    object(
        "One wish and its weight.",
        &["weight", field],
        json!({"weight": weight, field: term}),
    )
}

fn pod_term(what: &str) -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    let selector = json!({
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Labels with these values."},
        "matchExpressions": expressions("Conditions on the labels."),
    });
    let properties = json!({
        "topologyKey": text("Label of nodes that tells places apart, for example kubernetes.io/hostname."),
        "labelSelector": object("Which pods.", &[], selector),
        "namespaces": array("Their namespaces. Default: the members' own.", &json!({"type": "string"})),
    });
    object(what, &["topologyKey"], properties)
}

fn expressions(what: &str) -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    let mut operator = text("How the label is compared.");
    operator["enum"] = json!(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
    let properties = json!({
        "key": text("Name of the label."),
        "operator": operator,
        "values": array("What it is compared with.", &json!({"type": "string"})),
    });
    array(what, &object("One condition.", &["key", "operator"], properties))
}

/// `Toleration`s.
pub(super) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    let text = |what: &str, values: &[&str]| {
        let mut schema = json!({"type": "string", "description": what});
        if !values.is_empty() {
            schema["enum"] = json!(values);
        }
        schema
    };
    let properties = json!({
        "key": text("Key of the taint. None, with operator Exists: every taint.", &[]),
        "operator": text("Whether the value counts. Default: Equal.", &["Exists", "Equal"]),
        "value": text("Value of the taint, with operator Equal.", &[]),
        "effect": text("Effect of the taint. Default: every effect.", &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        "tolerationSeconds": {"type": "integer", "format": "int64", "description": "How long a taint of effect NoExecute is tolerated. Default: for ever."},
    });
    let mut schema = schemars::json_schema!({"type": "array", "maxItems": 50});
    schema.insert(
        "items".to_owned(),
        object("A taint that is tolerated.", &[], properties),
    );
    schema
}

/// A map of texts, as labels and annotations are. Bounded, so that rules over it have a bounded cost.
pub(crate) fn texts(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 50,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// Labels to select by: at least one, since none would select everything.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 20,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// An object of any content.
pub(super) fn free_object(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
