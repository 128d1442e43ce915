//! Puts the parts together: binds the ports, then serves until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::health::{self, Trusted};
use crate::http::{self, Injector};
use crate::metrics::Metrics;
use crate::role_source::Roles;
use crate::serve;
use crate::settings::{self, Settings};
use crate::tls::{self, CurrentCertificate};
use crate::trust::Trust;

/// Why the injector does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken or not allowed.
    #[error("failed to listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A setting that no injected pod could work with.
    #[error("a setting is not usable")]
    Setting(#[from] settings::Unusable),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The health port failed.
    #[error("the health port failed")]
    Health(#[source] std::io::Error),
    /// A part that runs for ever ended.
    #[error("{0} ended, which it never should")]
    Ended(&'static str),
}

/// An injector whose ports are bound.
pub struct Server {
    settings: Settings,
    client: Client,
    webhook: TcpListener,
    health: TcpListener,
    address: SocketAddr,
    health_address: SocketAddr,
}

impl Server {
    /// Checks the settings and binds both ports; port 0 takes a free one.
    ///
    /// # Errors
    /// A setting is not usable, or a port is taken or not allowed.
    pub async fn bind(settings: Settings, client: Client) -> Result<Self, Error> {
        let settings = settings.checked()?;
        let (webhook, address) = bind(settings.listen).await?;
        let (health, health_address) = bind(settings.health_listen).await?;
        Ok(Self {
            settings,
            client,
            webhook,
            health,
            address,
            health_address,
        })
    }

    /// Where reviews are answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    pub fn health_address(&self) -> SocketAddr {
        self.health_address
    }

    /// Serves until `stop`, then stays reachable for the linger time, drains and returns.
    ///
    /// # Errors
    /// TLS cannot be set up, or a part that runs for ever ended.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            settings,
            client,
            webhook,
            health,
            address,
            health_address: _,
        } = self;
        let roles = Roles::of_cluster(client.clone());
        let injector = Arc::new(Injector {
            settings: settings.injection.clone(),
            roles: roles.clone(),
            metrics: Metrics::default(),
        });
        let (trusted, certificate) = (
            Arc::new(Trusted::default()),
            Arc::new(CurrentCertificate::default()),
        );
        let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(Arc::clone(&certificate))?));
        let trust = Trust {
            client,
            settings: settings.clone(),
            listening: address,
            certificate,
            trusted: Arc::clone(&trusted),
            injector: Arc::clone(&injector),
        };

        let (stopping, mut stopped) = watch::channel(false);
        let webhook = serve::serve(
            webhook,
            acceptor,
            http::router(Arc::clone(&injector)),
            async move {
                // An error means that the other end is gone, and so is the reason to go on.
                let _ = stopped.wait_for(|stop| *stop).await;
            },
            Duration::from_secs(settings.drain_seconds),
        );
        let health = axum::serve(health, health::router(injector, trusted));
        let ending = async {
            stop.await;
            tracing::info!("stopping");
            // Endpoints change after the signal, at a time that cannot be observed from here; until then the API server
            // still opens connections to us, and with failurePolicy Fail each one refused is a pod refused.
            tokio::time::sleep(Duration::from_secs(settings.linger_seconds)).await;
            let _ = stopping.send(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = webhook => Ok(()),
            () = ending => Ok(()),
            result = async { health.await } => Err(result.map_or_else(Error::Health, |()| Error::Ended("the health port"))),
            () = roles.watch() => Err(Error::Ended("the watch of VaultRoles")),
            () = trust.keep() => Err(Error::Ended("the care for the certificate")),
        }
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| Error::Bind { address, source })
}
