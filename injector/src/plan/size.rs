//! How large the agent's configuration may become. It travels in one variable of the environment, and Linux starts no
//! program with a larger one than 128 KiB: the pod would fail long after it was admitted.

use std::collections::BTreeMap;

use crate::agent_config::AgentConfig;
use crate::annotations::Secret;
use crate::denial::Denial;

/// The largest configuration, in bytes once encoded; the rest of the 128 KiB is left for the variable's name.
const MOST: usize = 120 << 10;

/// Refuses a configuration that is too large, by the annotation that takes the most of it.
pub(super) fn refuse(config: &AgentConfig, secrets: &BTreeMap<String, Secret>) -> Result<(), Denial> {
    let plain = serde_json::to_vec(config)
        .map_err(|error| Denial::Unavailable(format!("the configuration cannot be written: {error}")))?;
    // The length in base64.
    let encoded = plain.len().div_ceil(3) * 4;
    if encoded <= MOST {
        return Ok(());
    }
    let problem = format!(
        "the agent's configuration is too large: {} KiB, and at most {} KiB can be given to a container",
        encoded.div_ceil(1024),
        MOST >> 10
    );
    let largest = secrets
        .values()
        .filter_map(|secret| secret.template.as_ref())
        .max_by_key(|given| given.value.len());
    Err(match largest {
        Some(given) => Denial::annotation(
            &given.key,
            format!(
                "{problem}; this template takes the most of it: shorten it, or put it into a Secret and name that in \
                 agent-extra-secret and its file in agent-inject-template-file-NAME"
            ),
        ),
        None => Denial::Invalid(format!("{problem}: ask for fewer secrets")),
    })
}
