//! Where the demo runs: the testbed's cluster, or the one that the user's kubeconfig points to.

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use clap::ValueEnum;

use super::consent;
use crate::cluster::{Cluster, Options};
use crate::helm;
use crate::images::{Archive, Image};
use crate::invocation;
use crate::progress::say;
use crate::servers::{self, Server};

/// The annotation of the chart's pods that carries the digest of their image. Only the demo sets it.
pub(super) const MARK: &str = "testbed/image";

/// Which cluster is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// A cluster on this machine. KUBECONFIG is not looked at.
    #[default]
    Testbed,
    /// The current context of the user's kubeconfig.
    Current,
}

/// A cluster that the demo can use.
#[derive(Debug)]
pub(super) enum Place {
    Testbed(Box<Cluster>),
    Current { context: String, server: String },
}

/// The testbed's cluster of this name: as it is when there is one, else a new one.
pub(super) fn testbed(name: &str) -> anyhow::Result<Place> {
    let exists = Cluster::list()?.iter().any(|cluster| cluster.name() == name);
    if !exists {
        let options = Options {
            name: Some(name.to_owned()),
            // Not its path: the file there may be another by now.
            testbed: PathBuf::from("/proc/self/exe"),
            images: Vec::new(),
        };
        return Ok(Place::Testbed(Box::new(Cluster::up_to_stay(options)?)));
    }
    say(&format!(
        "    the cluster {name} is up already: it is used as it is"
    ));
    let place = Place::Testbed(Box::new(Cluster::find(name)?));
    helm::run(
        place
            .kubectl()?
            .args(["get", "--raw", "/readyz", "--request-timeout=10s"]),
    )
    .with_context(|| {
        format!("the cluster {name} does not answer; remove it with `make demo-down` and start again")
    })?;
    Ok(place)
}

/// The cluster that the user's kubeconfig points to. Pinned by context, so that a switch does not redirect us.
pub(super) fn current() -> anyhow::Result<Place> {
    let ask = |arguments: &[&str]| -> anyhow::Result<String> {
        let mut kubectl = Command::new(servers::path(Server::Kubectl)?);
        Ok(helm::run(kubectl.args(arguments))?.trim().to_owned())
    };
    let context = ask(&["config", "current-context"])
        .context("CLUSTER=current needs a kubeconfig with a current context")?;
    let server = ask(&[
        "config",
        "view",
        "--minify",
        "--output=jsonpath={.clusters[0].cluster.server}",
    ])?;
    Ok(Place::Current { context, server })
}

impl Place {
    /// `kubectl` against this cluster.
    pub(super) fn kubectl(&self) -> anyhow::Result<Command> {
        match self {
            Self::Testbed(cluster) => cluster.kubectl(),
            Self::Current { context, server: _ } => {
                let mut command = Command::new(servers::path(Server::Kubectl)?);
                command.args(["--context", context]);
                Ok(command)
            }
        }
    }

    /// `helm` against this cluster.
    pub(super) fn helm(&self) -> anyhow::Result<Command> {
        match self {
            Self::Testbed(cluster) => cluster.helm(),
            Self::Current { context, server: _ } => {
                let mut command = Command::new(servers::path(Server::Helm)?);
                command.args(["--kube-context", context]);
                helm::only_where_told(&mut command);
                Ok(command)
            }
        }
    }

    /// How a person calls kubectl against this cluster, from where the person is.
    pub(super) fn kubectl_for_people(&self) -> String {
        match self {
            Self::Testbed(cluster) => {
                format!(
                    "{} kubectl --name {}",
                    invocation::of_this_program(),
                    cluster.name()
                )
            }
            Self::Current { context, server: _ } => format!("kubectl --context {context}"),
        }
    }

    /// Builds the images and makes the cluster have them.
    pub(super) fn load(&self) -> anyhow::Result<Vec<Archive>> {
        match self {
            Self::Testbed(cluster) => cluster.load(&Image::ALL),
            Self::Current { .. } => hand_over(),
        }
    }

    /// Runs a future where the cluster's forwarded ports can be reached.
    pub(super) fn block_on<T, F>(&self, work: impl FnOnce() -> F + Send) -> anyhow::Result<T>
    where
        T: Send,
        F: Future<Output = anyhow::Result<T>>,
    {
        match self {
            Self::Testbed(cluster) => cluster.netns().block_on(work),
            Self::Current { .. } => tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start an async runtime")?
                .block_on(work()),
        }
    }
}

/// How images get into a cluster that is not ours is for the user to say.
fn hand_over() -> anyhow::Result<Vec<Archive>> {
    let ours = [Image::Operator, Image::Injector, Image::Agent, Image::DemoApp];
    let archives = ours
        .iter()
        .map(|image| image.build())
        .collect::<anyhow::Result<Vec<_>>>()?;
    let lines: Vec<String> = archives
        .iter()
        .map(|archive| format!("    {}  {}", archive.tar.display(), archive.reference))
        .collect();
    say(&format!(
        "The nodes of your cluster need these images under these names (for example: kind load image-archive FILE,\n\
         k3s ctr images import FILE, or docker load -i FILE and a push to the registry that they pull from):\n{}",
        lines.join("\n")
    ));
    consent::ask_for_yes()?;
    Ok(archives)
}

/// Arguments for Helm, so that pods are replaced when an image of the same tag has changed.
pub(super) fn image_values(archives: &[Archive]) -> Vec<String> {
    let digest_of = |image: Image| {
        let reference = image.reference();
        let archive = archives.iter().find(|archive| archive.reference == reference);
        archive.map(|archive| archive.digest.as_str())
    };
    [("operator", Image::Operator), ("injector", Image::Injector)]
        .into_iter()
        .filter_map(|(component, image)| {
            let digest = digest_of(image)?;
            Some([
                "--set-string".to_owned(),
                format!("{component}.podAnnotations.{MARK}={digest}"),
            ])
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_image_changes_what_helm_is_told() {
        let archive = |image: Image, digest: &str| Archive {
            reference: image.reference(),
            tar: PathBuf::new(),
            digest: digest.to_owned(),
        };
        let values = image_values(&[
            archive(Image::Agent, "sha256:a"),
            archive(Image::Operator, "sha256:b"),
        ]);
        assert_eq!(
            values,
            ["--set-string", "operator.podAnnotations.testbed/image=sha256:b"],
            "only pods of the chart carry the digest of their image"
        );
    }
}
