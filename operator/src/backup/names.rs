//! How backups are called in the bucket: `<prefix><namespace>.<name>/<cluster>-<time>.snap.age`, and the same with `.json`
//! for what describes it, which is written last: an object without one was never finished. Pure.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::DateTime;
use k8s_openapi::jiff::tz::TimeZone;

const FORM: &str = "%Y%m%dT%H%M%SZ";
const SNAPSHOT: &str = ".snap.age";
const MANIFEST: &str = ".json";

/// The names of one VaultCluster. One that is made anew under the same name has others, so that it deletes none of those of
/// its predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    folder: String,
    cluster: String,
}

impl Names {
    /// `prefix` is empty or ends with a slash.
    pub fn new(prefix: &str, namespace: &str, name: &str, uid: &str) -> Self {
        let cluster: String = uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        Self {
            folder: format!("{prefix}{namespace}.{name}/"),
            cluster,
        }
    }

    /// Where all backups of clusters of this name lie.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// What a backup of this second is called.
    pub fn object(&self, at: Timestamp) -> String {
        let Self { folder, cluster } = self;
        format!("{folder}{cluster}-{}{SNAPSHOT}", at.strftime(FORM))
    }

    /// When the backup of this name was made, if the name is one of this cluster's.
    pub fn time(&self, object: &str) -> Option<Timestamp> {
        let rest = object.strip_prefix(&self.folder)?.strip_prefix(&self.cluster)?;
        let text = rest.strip_prefix('-')?.strip_suffix(SNAPSHOT)?;
        let at = DateTime::strptime(FORM, text).ok()?;
        let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
        // Only what this would write itself.
        (self.object(at) == object).then_some(at)
    }
}

/// What describes a backup.
pub fn manifest(object: &str) -> String {
    format!("{object}{MANIFEST}")
}

/// The backup that this describes, if it is the name of a description.
pub fn described(key: &str) -> Option<&str> {
    key.strip_suffix(MANIFEST)
        .filter(|object| object.ends_with(SNAPSHOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_this_very_cluster_are_known() {
        let names = Names::new("eu/", "vault", "main", "0f3b5e20-aaaa-bbbb");
        let at: Timestamp = "2026-11-23T04:05:06Z".parse().unwrap();
        let object = names.object(at);
        assert_eq!(object, "eu/vault.main/0f3b5e20-20261123T040506Z.snap.age");
        assert_eq!(names.time(&object), Some(at));
        assert_eq!(described(&manifest(&object)), Some(object.as_str()));
        for foreign in [
            "eu/vault.main/0f3b5e21-20261123T040506Z.snap.age",
            "eu/vault.main/0f3b5e20-20261123T040506Z.snap",
            "eu/vault.main/0f3b5e20-20261123T040506Z.snap.age.json",
            "eu/vault.main/0f3b5e20-20261123T250506Z.snap.age",
            "eu/vault.main/0f3b5e20-2026112T040506Z.snap.age",
            "eu/vault.main/x/0f3b5e20-20261123T040506Z.snap.age",
            "vault.main/0f3b5e20-20261123T040506Z.snap.age",
            "eu/vault.main2/0f3b5e20-20261123T040506Z.snap.age",
            "eu/vault.main/notes.txt",
            "",
        ] {
            assert_eq!(names.time(foreign), None, "{foreign}");
        }
        assert_eq!(described("eu/vault.main/settings.json"), None);
    }
}
