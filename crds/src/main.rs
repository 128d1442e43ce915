//! Writes the CRD manifests into the folder given as the only argument (default: `crds`).

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("crds"), PathBuf::from);
    for manifest in vaultkeeper_crds::generate::manifests().map_err(std::io::Error::other)? {
        std::fs::write(folder.join(manifest.file), manifest.yaml)?;
    }
    Ok(())
}
