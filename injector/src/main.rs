//! The injector's program: settings, log, client, serve until SIGTERM.

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use vaultkeeper_injector::run::Server;
use vaultkeeper_injector::settings::Settings;
use vaultkeeper_injector::telemetry;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    telemetry::start(&settings)?;
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another provider of cryptography is already installed");
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let client = kube::Client::try_default()
        .await
        .context("failed to set up the connection to the API server")?;
    let server = Server::bind(settings, client).await?;
    tracing::info!(webhook = %server.address(), health = %server.health_address(), "serving");
    server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    Ok(())
}
