//! The testbed's program: see `vaultkeeper_tests::cli`.

fn main() -> anyhow::Result<()> {
    vaultkeeper_tests::install_crypto();
    vaultkeeper_tests::cli::run()
}
