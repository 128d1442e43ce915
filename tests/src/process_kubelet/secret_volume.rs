//! The files of a Secret as a kubelet lays them out: each is a link through `..data`, which is flipped from one folder
//! with all files to the next, so that nobody ever sees half of a change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::ByteString;

/// A volume that is kept current.
pub(super) struct SecretVolume {
    folder: PathBuf,
    /// Name of the Secret.
    pub(super) secret: String,
    data: BTreeMap<String, ByteString>,
    flips: usize,
}

impl SecretVolume {
    /// Makes the volume; one that an earlier process left is taken over.
    pub(super) fn mount(
        folder: PathBuf,
        secret: &str,
        data: BTreeMap<String, ByteString>,
    ) -> anyhow::Result<Self> {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut volume = Self {
            folder,
            secret: secret.to_owned(),
            data: BTreeMap::new(),
            flips: 0,
        };
        volume.update(data)?;
        Ok(volume)
    }

    /// Brings new content, all at once.
    pub(super) fn update(&mut self, data: BTreeMap<String, ByteString>) -> anyhow::Result<()> {
        if self.data == data {
            return Ok(());
        }
        self.flips += 1;
        let (old, new) = (format!("..{}", self.flips - 1), format!("..{}", self.flips));
        fs::create_dir(self.folder.join(&new))?;
        for (key, value) in &data {
            fs::write(self.folder.join(&new).join(key), &value.0)?;
        }
        let draft = self.folder.join("..data_tmp");
        symlink(&new, &draft)?;
        fs::rename(&draft, self.folder.join("..data"))?;
        for key in data.keys() {
            let link = self.folder.join(key);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(key), &link)?;
            }
        }
        let _ = fs::remove_dir_all(self.folder.join(old));
        self.data = data;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(value: &str) -> BTreeMap<String, ByteString> {
        let bytes = ByteString(value.as_bytes().to_vec());
        BTreeMap::from([("a".to_owned(), bytes.clone()), ("b".to_owned(), bytes)])
    }

    #[test]
    fn a_change_reaches_all_files_by_the_flip_of_one_link() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("tls");
        let mut volume = SecretVolume::mount(folder.clone(), "s", data("1")).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("a") + &read("b"), "11");
        volume.update(data("2")).unwrap();
        assert_eq!(read("a") + &read("b"), "22");
        assert_eq!(fs::read_link(folder.join("a")).unwrap(), Path::new("..data/a"));
        SecretVolume::mount(folder.clone(), "s", data("3")).unwrap();
        assert_eq!(read("a"), "3", "a new process takes the folder over");
    }
}
