//! Whether the agent will find the certificates that it is told to use. Its image is empty, and it trusts no CA of a
//! system's: a path that nothing mounts, or an https address without a CA, would keep the pod waiting for ever.

use vaultkeeper_crds::annotations::COMPATIBLE_PREFIX;

use super::{CUSTOM_FOLDER, TLS_FOLDER};
use crate::annotations::Given;
use crate::denial::Denial;
use crate::origin;
use crate::pod::Pod;

/// Where Kubernetes mounts a pod's ServiceAccount token, with the CA of the API server beside it.
const API_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The annotated paths of certificates, in the agent's container.
pub(super) struct Paths<'a> {
    /// The CA of Vault's certificate.
    pub(super) ca_cert: Option<&'a Given>,
    /// A folder of such CAs.
    pub(super) ca_path: Option<&'a Given>,
    /// The agent's own certificate.
    pub(super) client_cert: Option<&'a Given>,
    /// The key of that.
    pub(super) client_key: Option<&'a Given>,
}

/// The folders with files that the pod's author chose.
pub(super) struct Mounted {
    /// Whether the Secret of `tls-secret` is mounted.
    pub(super) tls_secret: bool,
    /// Whether the Secret of `agent-extra-secret` is.
    pub(super) extra_secret: bool,
    /// Whether Kubernetes mounts the ServiceAccount token.
    pub(super) api_token: bool,
}

impl Mounted {
    /// What the agent's container will hold.
    pub(super) fn of(pod: &Pod, tls_secret: bool, extra_secret: bool) -> Self {
        // Kubernetes has put the token into the pod's containers by now, and does so again for the sidecar: it looks a
        // second time at a pod that a webhook changed. Where the pod's author switched that off, no container has it.
        let mut all = pod.spec.containers.iter().chain(pod.init_containers());
        Self {
            tls_secret,
            extra_secret,
            api_token: all.any(|container| {
                container
                    .mounts()
                    .iter()
                    .any(|mount| mount.mount_path == API_FOLDER)
            }),
        }
    }

    fn folders(&self) -> impl Iterator<Item = &'static str> {
        [
            (TLS_FOLDER, self.tls_secret),
            (CUSTOM_FOLDER, self.extra_secret),
            (API_FOLDER, self.api_token),
        ]
        .into_iter()
        .filter_map(|(folder, is_there)| is_there.then_some(folder))
    }

    fn holds_file(&self, path: &str) -> bool {
        self.folders().any(|folder| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    fn holds_folder(&self, path: &str) -> bool {
        self.folders().any(|folder| path == folder) || self.holds_file(path)
    }
}

/// Refuses paths at which nothing can be, and half a client certificate.
pub(super) fn refuse_missing(paths: &Paths<'_>, mounted: &Mounted) -> Result<(), Denial> {
    let Paths {
        ca_cert,
        ca_path,
        client_cert,
        client_key,
    } = paths;
    for file in [ca_cert, client_cert, client_key].into_iter().flatten() {
        if !mounted.holds_file(&file.value) {
            return Err(missing(file, "file", "/ and its key"));
        }
    }
    if let Some(folder) = ca_path.filter(|folder| !mounted.holds_folder(&folder.value)) {
        return Err(missing(folder, "folder", ""));
    }
    match (client_cert, client_key) {
        (Some(_), Some(_)) | (None, None) => Ok(()),
        (Some(given), None) => Err(Denial::annotation(
            &given.key,
            "a certificate needs its key: set client-key too",
        )),
        (None, Some(given)) => Err(Denial::annotation(
            &given.key,
            "a key needs its certificate: set client-cert too",
        )),
    }
}

fn missing(given: &Given, what: &str, below: &str) -> Denial {
    let problem = format!(
        "there is no {what} {} in the agent's container: put what belongs there into a Secret, name that in \
         {COMPATIBLE_PREFIX}tls-secret, and write {TLS_FOLDER}{below} here",
        given.value
    );
    Denial::annotation(&given.key, problem)
}

/// Refuses an https address whose certificate the agent could check against nothing.
pub(super) fn refuse_untrusted(address: &str, service: Option<&Given>, has_ca: bool) -> Result<(), Denial> {
    if has_ca || !origin::is_https(address) {
        return Ok(());
    }
    let problem = format!(
        "no VaultRole gives the CA of {address}, and the agent trusts no other: name a Secret with that CA in \
         {COMPATIBLE_PREFIX}tls-secret and write {TLS_FOLDER}/ca.crt in {COMPATIBLE_PREFIX}ca-cert"
    );
    Err(match service {
        Some(given) => Denial::annotation(&given.key, problem),
        None => Denial::Invalid(problem),
    })
}
