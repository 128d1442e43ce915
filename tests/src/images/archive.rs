//! Writes an image as a tar file, without an engine: readable as OCI layout (containerd, podman) and as docker archive.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use ring::digest::{Context as Hash, SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// One entry of an image's only layer. Paths are absolute, as seen inside a container.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A folder with this mode, owned by root.
    Folder(&'static str, u32),
    /// A program (mode 0755) with the content of a file of the host.
    Program(String, PathBuf),
    /// A text file (mode 0644).
    Text(&'static str, &'static str),
    /// A symbolic link and its target.
    Link(String, &'static str),
}

/// What a container started from the image does.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `uid:gid`.
    pub user: &'static str,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments when the pod gives none.
    pub command: Vec<String>,
}

/// An image on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The full name, `docker.io/…:tag`.
    pub reference: String,
    /// The file.
    pub tar: PathBuf,
    /// The digest of the manifest, by which containerd knows the image.
    pub digest: String,
}

/// Writes the image to `tar`. The same content gives the same bytes, hence the same digest.
pub fn write(reference: &str, entries: &[Entry], config: &Config, tar: &Path) -> anyhow::Result<Archive> {
    let folder = tar.parent().context("an image file needs a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Under names of this process until complete: two may build the same image at a time.
    let layer_file = tar.with_extension(format!("{}.layer", std::process::id()));
    let draft = tar.with_extension(format!("{}.draft", std::process::id()));
    let written = || -> anyhow::Result<String> {
        let layer = write_layer(entries, &layer_file)
            .with_context(|| format!("cannot write the layer of {reference}"))?;
        let digest = write_image(reference, config, &layer, &draft)
            .with_context(|| format!("cannot write the image {reference}"))?;
        fs::rename(&draft, tar).with_context(|| format!("cannot write {}", tar.display()))?;
        Ok(digest)
    };
    let digest = written();
    let _ = fs::remove_file(&layer_file);
    let _ = fs::remove_file(&draft);
    Ok(Archive {
        reference: reference.to_owned(),
        tar: tar.to_owned(),
        digest: digest?,
    })
}

struct Layer {
    file: PathBuf,
    digest: String,
    size: u64,
}

fn write_layer(entries: &[Entry], file: &Path) -> anyhow::Result<Layer> {
    let mut builder = Builder::new(Hashing::new(File::create(file)?));
    for entry in entries {
        append(&mut builder, entry)?;
    }
    let Hashing { to, hash, size } = builder.into_inner()?;
    to.sync_data()?;
    Ok(Layer {
        file: file.to_owned(),
        digest: hex(hash.finish().as_ref()),
        size,
    })
}

fn append<W: Write>(builder: &mut Builder<W>, entry: &Entry) -> anyhow::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    match entry {
        Entry::Folder(path, mode) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            builder.append_data(&mut header, inside(path), io::empty())?;
        }
        Entry::Program(path, source) => {
            let file = File::open(source).with_context(|| format!("cannot open {}", source.display()))?;
            let size = file.metadata()?.len();
            header.set_mode(0o755);
            header.set_size(size);
            builder.append_data(&mut header, inside(path), file.take(size))?;
        }
        Entry::Text(path, text) => {
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, inside(path), text.as_bytes())?;
        }
        Entry::Link(path, target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, inside(path), target)?;
        }
    }
    Ok(())
}

fn write_image(reference: &str, config: &Config, layer: &Layer, draft: &Path) -> anyhow::Result<String> {
    let config = config_json(config, &layer.digest).to_string();
    let config_digest = hex(digest(&SHA256, config.as_bytes()).as_ref());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{config_digest}"),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": format!("sha256:{}", layer.digest),
            "size": layer.size,
        }],
    })
    .to_string();
    let manifest_digest = hex(digest(&SHA256, manifest.as_bytes()).as_ref());
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{manifest_digest}"),
            "size": manifest.len(),
            "annotations": {
                "io.containerd.image.name": reference,
                "org.opencontainers.image.ref.name": tag(reference),
            },
        }],
    })
    .to_string();
    let docker = json!([{
        "Config": format!("blobs/sha256/{config_digest}"),
        "RepoTags": [reference],
        "Layers": [format!("blobs/sha256/{}", layer.digest)],
    }])
    .to_string();

    let mut builder = Builder::new(File::create(draft)?);
    for (name, text) in [
        ("oci-layout".to_owned(), r#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json".to_owned(), &index),
        ("manifest.json".to_owned(), &docker),
        (format!("blobs/sha256/{config_digest}"), &config),
        (format!("blobs/sha256/{manifest_digest}"), &manifest),
    ] {
        let mut header = blob_header(text.len() as u64);
        builder.append_data(&mut header, name, text.as_bytes())?;
    }
    let mut header = blob_header(layer.size);
    builder.append_data(
        &mut header,
        format!("blobs/sha256/{}", layer.digest),
        File::open(&layer.file)?,
    )?;
    builder.into_inner()?;
    Ok(format!("sha256:{manifest_digest}"))
}

fn blob_header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_mode(0o644);
    header.set_size(size);
    header
}

fn config_json(config: &Config, layer_digest: &str) -> Value {
    let Config {
        user,
        entrypoint,
        command,
    } = config;
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": user,
            "Env": ["PATH=/bin"],
            "Entrypoint": entrypoint,
            "Cmd": command,
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
    })
}

/// This machine's architecture under the name that Go and OCI have for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn inside(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn tag(reference: &str) -> &str {
    reference.rsplit_once(':').map_or("latest", |(_, tag)| tag)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Passes bytes on and hashes them on the way.
struct Hashing<W> {
    to: W,
    hash: Hash,
    size: u64,
}

impl<W: Write> Hashing<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            hash: Hash::new(&SHA256),
            size: 0,
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The digest of an image file that [`write`] made, read back from its index.
pub fn digest_of(tar: &Path) -> anyhow::Result<String> {
    let file = File::open(tar).with_context(|| format!("cannot open {}", tar.display()))?;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new("index.json") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            let index: Value = serde_json::from_str(&text)?;
            let digest = index["manifests"][0]["digest"].as_str().unwrap_or_default();
            ensure!(
                digest.starts_with("sha256:"),
                "{} names no manifest",
                tar.display()
            );
            return Ok(digest.to_owned());
        }
    }
    anyhow::bail!("{} has no index.json", tar.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(tar: &Path, text: &'static str) -> Archive {
        let entries = [
            Entry::Folder("/etc", 0o755),
            Entry::Text("/etc/passwd", text),
            Entry::Link("/bin/sh".to_owned(), "busybox"),
        ];
        write("docker.io/x/y:1", &entries, &Config::default(), tar).unwrap()
    }

    #[test]
    fn the_same_content_gives_the_same_digest_and_other_content_another() {
        let folder = tempfile::tempdir().unwrap();
        let first = example(&folder.path().join("a.tar"), "root");
        let second = example(&folder.path().join("b.tar"), "root");
        let other = example(&folder.path().join("c.tar"), "vault");
        assert_eq!(first.digest, second.digest, "same content, same digest");
        assert_ne!(first.digest, other.digest, "other content, other digest");
    }

    #[test]
    fn the_digest_is_found_again_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let image = example(&folder.path().join("a.tar"), "root");
        assert_eq!(
            digest_of(&image.tar).unwrap(),
            image.digest,
            "the digest in {}",
            image.tar.display()
        );
    }

    #[test]
    fn every_blob_has_the_digest_that_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let image = example(&folder.path().join("a.tar"), "root");
        let mut blobs = 0;
        for entry in tar::Archive::new(File::open(image.tar).unwrap())
            .entries()
            .unwrap()
        {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                blobs += 1;
                assert_eq!(
                    hex(digest(&SHA256, &content).as_ref()),
                    name,
                    "the digest of {path}"
                );
            }
        }
        assert_eq!(blobs, 3, "config, manifest and one layer");
    }

    #[test]
    fn nothing_is_left_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        example(&folder.path().join("a.tar"), "root");
        let missing = [Entry::Program("/bin/x".to_owned(), PathBuf::from("/nowhere"))];
        write(
            "docker.io/x/z:1",
            &missing,
            &Config::default(),
            &folder.path().join("z.tar"),
        )
        .expect_err("a program that is not there cannot be packed");
        let left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["a.tar"], "only the finished image should be there");
    }
}
