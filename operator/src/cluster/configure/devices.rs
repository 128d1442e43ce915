//! Looks at audit devices and enables them. OpenBao has its devices in the configuration file and refuses these calls.

use std::collections::BTreeMap;

use vaultkeeper_crds::cluster::configuration::Configuration;
use vaultkeeper_crds::cluster::{Distribution, Profile};
use vaultkeeper_vault::sys::audit::AuditDevice as Device;
use vaultkeeper_vault::{Client, Error as VaultError};

use super::audit::{self, AuditChange, Declared};
use super::mode::Mode;
use super::work::Work;
use crate::cluster::error::Error;
use crate::cluster::validate::Validated;

/// The devices of a cluster that has none yet. The declared ones come later, when the operator can log in: one of them
/// that cannot work must not stop the set-up.
pub(crate) async fn at_bootstrap(cluster: &Validated, client: &Client, member: &str) -> Result<(), Error> {
    if cluster.distribution == Distribution::OpenBao {
        return Ok(());
    }
    let declared = cluster.configuration.as_ref().map(|c| c.audit.as_deref());
    match declared {
        Ok(Some(declared)) => {
            for device in audit::declared(declared) {
                enable_if_it_works(client, &device, member).await?;
            }
        }
        Ok(None) => {
            defaults(cluster.profile, client, member).await?;
        }
        // What a refused configuration declares is not known.
        Err(_) => {
            enable(client, &audit::standard_output(), member).await?;
        }
    }
    if found(client, member).await?.is_empty() {
        // Never without any.
        enable(client, &audit::standard_output(), member).await?;
    }
    Ok(())
}

/// Puts the default devices back, unless the spec declares devices. Gives the names of those that were not there.
pub(crate) async fn standard(
    cluster: &Validated,
    configuration: &Configuration,
    client: &Client,
    member: &str,
) -> Result<Vec<String>, Error> {
    if cluster.distribution == Distribution::OpenBao || configuration.audit.is_some() {
        return Ok(Vec::new());
    }
    defaults(cluster.profile, client, member).await
}

/// Enables the devices of every cluster whose spec declares none. Gives the names of those that were not there.
async fn defaults(profile: Profile, client: &Client, member: &str) -> Result<Vec<String>, Error> {
    let mut enabled = Vec::new();
    let first = audit::standard_output();
    if enable(client, &first, member).await? {
        enabled.push(first.path);
    }
    if let Some(second) = audit::second(profile)
        && enable_if_it_works(client, &second, member).await?
    {
        enabled.push(second.path);
    }
    Ok(enabled)
}

/// Enables a device, unless Vault says that it cannot work: a typing error, or a pod whose standard error cannot be
/// opened. The look at the configuration and the rules for production tell that one is missing.
async fn enable_if_it_works(client: &Client, device: &Declared, member: &str) -> Result<bool, Error> {
    match enable(client, device, member).await {
        Err(Error::Vault { source, .. }) if matches!(*source, VaultError::BadRequest { .. }) => {
            tracing::warn!(error = %source, device = %device.path, "an audit device could not be enabled");
            Ok(false)
        }
        result => result,
    }
}

/// Enables a device unless there is one in its place. Says whether it did.
async fn enable(client: &Client, device: &Declared, member: &str) -> Result<bool, Error> {
    if audit::is_there(device, &found(client, member).await?) {
        return Ok(false);
    }
    let enabled = client.enable_audit_device(&device.path, &device.device).await;
    enabled
        .map(|()| true)
        .map_err(|e| Error::vault("enable the audit device", member, e))
}

/// The devices that are enabled, by path.
async fn found(client: &Client, member: &str) -> Result<BTreeMap<String, Device>, Error> {
    let found = client.audit_devices().await;
    found.map_err(|e| Error::vault("read the audit devices", member, e))
}

/// Brings the declared devices to what is declared. Others are left alone.
pub(crate) async fn declared(
    distribution: Distribution,
    configuration: &Configuration,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let Some(devices) = &configuration.audit else {
        return Ok(());
    };
    if distribution == Distribution::OpenBao {
        return Ok(());
    }
    let client = work.client();
    for declared in audit::declared(devices) {
        let mode = work.mode(&declared.field);
        if mode == Mode::Off {
            continue;
        }
        // Read anew for each: whether one may be replaced depends on the others.
        let (difference, replaces) = match audit::plan(&declared, &found(client, client.node()).await?) {
            AuditChange::None => continue,
            AuditChange::Enable => (
                super::object::missing(&declared.field, &audit::what(&declared)),
                None,
            ),
            AuditChange::Replace(difference, there) => (difference, Some(there)),
            AuditChange::Alone(difference) if mode.writes() => {
                let field = difference.field.clone();
                work.fail(&declared.field, Error::OnlyAuditDevice { field })?;
                continue;
            }
            AuditChange::Alone(difference) => (difference, None),
        };
        if mode.writes()
            && let Err(error) = write(client, &declared, replaces.as_ref()).await
        {
            work.fail(&declared.field, error)?;
            continue;
        }
        work.note(mode, difference);
    }
    Ok(())
}

async fn write(client: &Client, declared: &Declared, replaces: Option<&Device>) -> Result<(), Error> {
    let failed = |source: VaultError| Error::Declared {
        field: declared.field.clone(),
        what: audit::what(declared),
        source: Box::new(source),
    };
    let Some(there) = replaces else {
        let enabled = client.enable_audit_device(&declared.path, &declared.device).await;
        return enabled.map_err(failed);
    };
    // The plan has found a stream beside it: what comes in between is logged there.
    client
        .disable_audit_device(&declared.path)
        .await
        .map_err(failed)?;
    let enabled = client.enable_audit_device(&declared.path, &declared.device).await;
    if enabled.is_err() {
        // The one that worked is better than none.
        client
            .enable_audit_device(&declared.path, there)
            .await
            .map_err(failed)?;
    }
    enabled.map_err(failed)
}
