//! The seal in the server's configuration. Pure.

use vaultkeeper_crds::cluster::{
    AwsKmsSeal, AzureKeyVaultSeal, Distribution, GcpCkmsSeal, OciKmsSeal, Pkcs11Seal, StaticSeal, TransitSeal,
};

use super::credentials::{Credential, entry_of, path};
use super::hcl;
use crate::cluster::validate::{AutoSeal, Validated};

const TRANSIT_CA: &str = "transit-ca.crt";
const TRANSIT_CERTIFICATE: &str = "transit-client.crt";
const TRANSIT_KEY: &str = "transit-client.key";
const GCP_KEY: &str = "gcp-credentials.json";
const OCI_CONFIG: &str = "oci-config";
const OCI_KEY: &str = "oci-key.pem";
const STATIC_CURRENT: &str = "static-current.key";
const STATIC_PREVIOUS: &str = "static-previous.key";

/// The stanza; Shamir has none. One that the data is brought away from is disabled: the members read with it what they
/// write anew.
pub(crate) fn stanza(cluster: &Validated) -> Option<String> {
    let text = enabled(cluster.auto_seal()?);
    Some(match cluster.former {
        None => text,
        Some(_) => text.replacen("{\n", "{\n  disabled = \"true\"\n", 1),
    })
}

fn enabled(seal: &AutoSeal) -> String {
    match seal {
        AutoSeal::Transit(seal) => transit(seal),
        AutoSeal::AwsKms(seal) => awskms(seal),
        AutoSeal::GcpCkms(seal) => gcpckms(seal),
        AutoSeal::AzureKeyVault(seal) => azurekeyvault(seal),
        AutoSeal::OciKms(seal) => ocikms(seal),
        AutoSeal::Static(seal) => static_key(seal),
        AutoSeal::Pkcs11(seal) => pkcs11(seal),
    }
}

fn transit(seal: &TransitSeal) -> String {
    let TransitSeal {
        address,
        mount_path,
        key_name,
        namespace,
        token_secret: _,
        ca_secret,
        tls_server_name,
        client_certificate_secret,
        disable_renewal,
    } = seal;
    let ca = ca_secret.as_ref().map(|_| path(TRANSIT_CA));
    let pair = client_certificate_secret.as_ref();
    let certificate = pair.map(|_| path(TRANSIT_CERTIFICATE));
    let key = pair.map(|_| path(TRANSIT_KEY));
    hcl::block(
        "seal",
        "transit",
        &[
            ("address", Some(address)),
            ("mount_path", Some(mount_path)),
            ("key_name", Some(key_name)),
            ("namespace", namespace.as_deref()),
            ("tls_ca_cert", ca.as_deref()),
            ("tls_client_cert", certificate.as_deref()),
            ("tls_client_key", key.as_deref()),
            ("tls_server_name", tls_server_name.as_deref()),
            ("disable_renewal", disable_renewal.then_some("true")),
        ],
    )
}

fn awskms(seal: &AwsKmsSeal) -> String {
    let AwsKmsSeal {
        region,
        kms_key_id,
        endpoint,
        credentials_secret: _,
    } = seal;
    hcl::block(
        "seal",
        "awskms",
        &[
            ("region", Some(region)),
            ("kms_key_id", Some(kms_key_id)),
            ("endpoint", endpoint.as_deref()),
        ],
    )
}

fn gcpckms(seal: &GcpCkmsSeal) -> String {
    let GcpCkmsSeal {
        project,
        region,
        key_ring,
        crypto_key,
        credentials_secret,
    } = seal;
    let credentials = credentials_secret.as_ref().map(|_| path(GCP_KEY));
    hcl::block(
        "seal",
        "gcpckms",
        &[
            ("project", Some(project)),
            ("region", Some(region)),
            ("key_ring", Some(key_ring)),
            ("crypto_key", Some(crypto_key)),
            ("credentials", credentials.as_deref()),
        ],
    )
}

fn azurekeyvault(seal: &AzureKeyVaultSeal) -> String {
    let AzureKeyVaultSeal {
        vault_name,
        key_name,
        tenant_id,
        client_id,
        client_secret: _,
        environment,
    } = seal;
    hcl::block(
        "seal",
        "azurekeyvault",
        &[
            ("vault_name", Some(vault_name)),
            ("key_name", Some(key_name)),
            ("tenant_id", tenant_id.as_deref()),
            ("client_id", client_id.as_deref()),
            ("environment", environment.as_deref()),
        ],
    )
}

fn ocikms(seal: &OciKmsSeal) -> String {
    let OciKmsSeal {
        key_id,
        crypto_endpoint,
        management_endpoint,
        credentials_secret,
    } = seal;
    hcl::block(
        "seal",
        "ocikms",
        &[
            ("key_id", Some(key_id)),
            ("crypto_endpoint", Some(crypto_endpoint)),
            ("management_endpoint", Some(management_endpoint)),
            ("auth_type_api_key", credentials_secret.as_ref().map(|_| "true")),
        ],
    )
}

fn static_key(seal: &StaticSeal) -> String {
    let StaticSeal { current, previous } = seal;
    let file = |name| format!("file://{}", path(name));
    let current_key = file(STATIC_CURRENT);
    let previous_key = previous.as_ref().map(|_| file(STATIC_PREVIOUS));
    hcl::block(
        "seal",
        "static",
        &[
            ("current_key_id", Some(&current.id)),
            ("current_key", Some(&current_key)),
            ("previous_key_id", previous.as_ref().map(|p| p.id.as_str())),
            ("previous_key", previous_key.as_deref()),
        ],
    )
}

fn pkcs11(seal: &Pkcs11Seal) -> String {
    let Pkcs11Seal {
        lib,
        slot,
        token_label,
        pin_secret: _,
        key_label,
        mechanism,
        hmac_key_label,
    } = seal;
    hcl::block(
        "seal",
        "pkcs11",
        &[
            ("lib", Some(lib)),
            ("slot", slot.as_deref()),
            ("token_label", token_label.as_deref()),
            ("key_label", Some(key_label)),
            ("mechanism", mechanism.as_deref()),
            ("hmac_key_label", hmac_key_label.as_deref()),
        ],
    )
}

/// What the seal needs from Secrets.
pub(crate) fn credentials(cluster: &Validated) -> Vec<Credential> {
    let either = |vault, bao| match cluster.distribution {
        Distribution::Vault => vault,
        Distribution::OpenBao => bao,
    };
    let mut needed = Vec::new();
    match cluster.auto_seal() {
        None => {}
        Some(AutoSeal::Transit(seal)) => {
            let token = either("VAULT_TOKEN", "BAO_TOKEN");
            needed.push(Credential::variable(token, &seal.token_secret));
            needed.extend(seal.ca_secret.as_ref().map(|s| Credential::file(TRANSIT_CA, s)));
            if let Some(secret) = &seal.client_certificate_secret {
                needed.extend(Credential::pair(TRANSIT_CERTIFICATE, TRANSIT_KEY, secret));
            }
        }
        Some(AutoSeal::AwsKms(seal)) => {
            if let Some(secret) = &seal.credentials_secret {
                needed.extend(
                    [
                        ("AWS_ACCESS_KEY_ID", false),
                        ("AWS_SECRET_ACCESS_KEY", false),
                        ("AWS_SESSION_TOKEN", true),
                    ]
                    .map(|(name, optional)| Credential::Variable {
                        name,
                        from: entry_of(secret, name),
                        optional,
                    }),
                );
            }
        }
        Some(AutoSeal::GcpCkms(seal)) => {
            needed.extend(
                seal.credentials_secret
                    .as_ref()
                    .map(|s| Credential::file(GCP_KEY, s)),
            );
        }
        Some(AutoSeal::AzureKeyVault(seal)) => {
            let secret = seal.client_secret.as_ref();
            needed.extend(secret.map(|s| Credential::variable("AZURE_CLIENT_SECRET", s)));
        }
        Some(AutoSeal::OciKms(seal)) => {
            if let Some(secret) = &seal.credentials_secret {
                needed.push(Credential::file(OCI_CONFIG, &entry_of(secret, "config")));
                needed.push(Credential::file(OCI_KEY, &entry_of(secret, "key.pem")));
                needed.push(Credential::Plain {
                    name: "OCI_CONFIG_FILE",
                    value: path(OCI_CONFIG),
                });
            }
        }
        Some(AutoSeal::Static(seal)) => {
            needed.push(Credential::file(STATIC_CURRENT, &seal.current.secret));
            let previous = seal.previous.as_ref();
            needed.extend(previous.map(|p| Credential::file(STATIC_PREVIOUS, &p.secret)));
        }
        Some(AutoSeal::Pkcs11(seal)) => {
            let pin = either("VAULT_HSM_PIN", "BAO_HSM_PIN");
            needed.push(Credential::variable(pin, &seal.pin_secret));
        }
    }
    needed
}

/// The transit seal reads the variables of the command line (`VAULT_ADDR`, `VAULT_CACERT`) for settings that the file
/// does not hold: with them in the pod it would trust this cluster's CA instead of the image's.
pub(crate) fn forbids_cli_variables(cluster: &Validated) -> bool {
    matches!(cluster.auto_seal(), Some(AutoSeal::Transit(_)))
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
