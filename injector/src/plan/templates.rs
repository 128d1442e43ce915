//! The files that the agent is to render.

use std::collections::{BTreeMap, BTreeSet};

use vaultkeeper_template::{Delims, Template as Parsed, defaults};

use super::CUSTOM_FOLDER;
use crate::agent_config::Template;
use crate::annotations::{Given, Secret};
use crate::denial::Denial;

/// What holds for all secrets.
pub(super) struct Common<'a> {
    /// Where files appear.
    pub(super) volume_path: &'a str,
    /// The template of secrets without one.
    pub(super) default: defaults::Default,
    /// Whether files keep the case of NAME.
    pub(super) preserve_case: bool,
    /// Whether a Secret with files for the agent is mounted.
    pub(super) has_extra_secret: bool,
}

/// The files to render, in the order of their paths, so that the same pod always gives the same patch.
pub(super) fn templates(
    secrets: &BTreeMap<String, Secret>,
    common: &Common<'_>,
) -> Result<Vec<Template>, Denial> {
    let mut templates = Vec::new();
    for (name, secret) in secrets {
        let Secret {
            path,
            template,
            template_file,
            volume_path,
            file,
            perms,
            error_on_missing_key,
            left_delimiter,
            right_delimiter,
            preserve_case,
            mentioned_by: _,
        } = secret;
        // The default template has its own delimiters, whatever the annotations say.
        let (contents, source, own_delimiters) = match (template, template_file, path) {
            (Some(given), _, _) => {
                check(given, left_delimiter.as_deref(), right_delimiter.as_deref())?;
                (Some(given.value.clone()), None, true)
            }
            (None, Some(given), _) => {
                is_mounted(given, common)?;
                (None, Some(given.value.clone()), true)
            }
            (None, None, Some(path)) => (Some(common.default.template(path)), None, false),
            (None, None, None) => continue,
        };
        let file = match file {
            Some(file) => file.clone(),
            None if preserve_case.unwrap_or(common.preserve_case) => name.clone(),
            None => name.to_lowercase(),
        };
        let folder = volume_path.as_deref().unwrap_or(common.volume_path);
        templates.push(Template {
            destination: format!("{folder}/{file}"),
            contents,
            source,
            left_delimiter: left_delimiter.clone().filter(|_| own_delimiters),
            right_delimiter: right_delimiter.clone().filter(|_| own_delimiters),
            perms: perms.clone(),
            error_on_missing_key: *error_on_missing_key,
        });
    }
    templates.sort();
    Ok(templates)
}

/// What is odd about a list of files, but no reason to refuse the pod.
pub(super) fn warnings<'a>(destinations: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut warnings: Vec<String> = destinations
        .into_iter()
        .filter(|destination| !seen.insert(*destination))
        .map(|twice| format!("two files are written to {twice}: one will overwrite the other"))
        .collect();
    if seen.is_empty() {
        warnings.push("no secret is asked for, so that nothing will be rendered".to_owned());
    }
    warnings
}

fn check(given: &Given, left: Option<&str>, right: Option<&str>) -> Result<(), Denial> {
    let mut delims = Delims::default();
    if let Some(left) = left {
        left.clone_into(&mut delims.left);
    }
    if let Some(right) = right {
        right.clone_into(&mut delims.right);
    }
    match Parsed::parse(&given.value, &delims) {
        Ok(_) => Ok(()),
        Err(error) => Err(Denial::annotation(
            &given.key,
            format!("the template does not parse: {error}"),
        )),
    }
}

/// The agent's image is empty: only what is mounted can be there.
fn is_mounted(file: &Given, common: &Common<'_>) -> Result<(), Denial> {
    if common.has_extra_secret && file.value.starts_with(&format!("{CUSTOM_FOLDER}/")) {
        return Ok(());
    }
    let problem = format!(
        "there is no file {} in the agent's container: put it into a Secret, name that in \
         vault.hashicorp.com/agent-extra-secret, and write {CUSTOM_FOLDER}/ and its key here",
        file.value
    );
    Err(Denial::annotation(&file.key, problem))
}
