//! Unsealed by a key of a cloud provider.
//!
//! Without a Secret the members use the identity of their ServiceAccount (`spec.pod`) or of their node.

// KubeSchema repeats each struct inside a private scope, where `pub` looks unreachable.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::secret::SecretKey;

/// Unsealed by a key in AWS KMS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AwsKmsSeal {
    /// Region of the key, for example eu-central-1.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("spec.seal.awskms.region must be a region such as eu-central-1"))]
    pub region: String,

    /// Id, ARN or alias of a symmetric key. The members need kms:Encrypt, kms:Decrypt and kms:DescribeKey on it.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^[-_:/a-zA-Z0-9]+$')").message("spec.seal.awskms.kmsKeyId must be the id, the ARN or the alias (alias/name) of a key"))]
    pub kms_key_id: String,

    /// Address of KMS, for a VPC endpoint. Default: the public one of the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https://[-.a-zA-Z0-9]+(:[0-9]{1,5})?$')").message("spec.seal.awskms.endpoint must be a URL such as https://vpce-1.kms.eu-central-1.vpce.amazonaws.com"))]
    pub endpoint: Option<String>,

    /// Secret with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if it is to be, AWS_SESSION_TOKEN. Default: the
    /// identity of the ServiceAccount (IRSA) or of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("spec.seal.awskms.credentialsSecret must be the name of a Secret"),
        validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.seal.awskms.credentialsSecret must not be that of a Secret in which the operator keeps keys"),
    )]
    pub credentials_secret: Option<String>,
}

/// Unsealed by a key in Google Cloud KMS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.project == oldSelf.project && self.region == oldSelf.region && self.keyRing == oldSelf.keyRing && self.cryptoKey == oldSelf.cryptoKey")
        .message("the key in spec.seal.gcpckms cannot be changed: another key does not open what this one sealed. Rotate the key where it is"),
)]
pub struct GcpCkmsSeal {
    /// Project of the key ring.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[-.:a-z0-9]+$')").message("spec.seal.gcpckms.project must be the id of a project"))]
    pub project: String,

    /// Location of the key ring, for example global or europe-west3.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("spec.seal.gcpckms.region must be a location such as europe-west3"))]
    pub region: String,

    /// Name of the key ring.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[-_a-zA-Z0-9]+$')").message("spec.seal.gcpckms.keyRing must be the name of a key ring"))]
    pub key_ring: String,

    /// Name of the key. The members need cloudkms.cryptoKeyVersions.useToEncrypt and useToDecrypt and cloudkms.cryptoKeys.get on it.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[-_a-zA-Z0-9]+$')").message("spec.seal.gcpckms.cryptoKey must be the name of a key"))]
    pub crypto_key: String,

    /// The JSON key file of a Google service account. Default: the identity of the ServiceAccount (Workload Identity) or
    /// of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<SecretKey>,
}

/// Unsealed by a key in Azure Key Vault.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.vaultName == oldSelf.vaultName && self.keyName == oldSelf.keyName")
        .message("spec.seal.azurekeyvault.vaultName and keyName cannot be changed: another key does not open what this one sealed. Rotate the key where it is"),
    validation = Rule::new("!has(self.clientSecret) || (has(self.tenantId) && has(self.clientId))")
        .message("spec.seal.azurekeyvault.clientSecret needs tenantId and clientId beside it"),
)]
pub struct AzureKeyVaultSeal {
    /// Name of the key vault.
    #[schemars(length(min = 1, max = 127))]
    #[x_kube(validation = Rule::new("self.matches('^[-a-zA-Z0-9]+$')").message("spec.seal.azurekeyvault.vaultName must be the name of a key vault, not its URL"))]
    pub vault_name: String,

    /// Name of an RSA key in it. The members need get, wrapKey and unwrapKey on it.
    #[schemars(length(min = 1, max = 127))]
    #[x_kube(validation = Rule::new("self.matches('^[-a-zA-Z0-9]+$')").message("spec.seal.azurekeyvault.keyName must be the name of a key"))]
    pub key_name: String,

    /// Tenant of the key vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[-.a-zA-Z0-9]+$')").message("spec.seal.azurekeyvault.tenantId must be the id of a tenant"))]
    pub tenant_id: Option<String>,

    /// Client id of the application or of the managed identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[-a-zA-Z0-9]+$')").message("spec.seal.azurekeyvault.clientId must be the id of an application"))]
    pub client_id: Option<String>,

    /// The application's client secret. Default: workload identity or the node's managed identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretKey>,

    /// Cloud, for example AZUREUSGOVERNMENTCLOUD. Default: the public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z]+$')").message("spec.seal.azurekeyvault.environment must be the name of a cloud such as AZUREPUBLICCLOUD"))]
    pub environment: Option<String>,
}

/// Unsealed by a key in OCI KMS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.keyId == oldSelf.keyId")
        .message("spec.seal.ocikms.keyId cannot be changed: another key does not open what this one sealed. Rotate the key where it is"),
)]
pub struct OciKmsSeal {
    /// OCID of the key.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^ocid1[.]key[.][-_.a-zA-Z0-9]+$')").message("spec.seal.ocikms.keyId must be the OCID of a key: ocid1.key.…"))]
    pub key_id: String,

    /// Cryptographic endpoint of the key's vault.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https://[-.a-zA-Z0-9]+/?$')").message("spec.seal.ocikms.cryptoEndpoint must be a URL such as https://abc-crypto.kms.eu-frankfurt-1.oraclecloud.com"))]
    pub crypto_endpoint: String,

    /// Management endpoint of the key's vault.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https://[-.a-zA-Z0-9]+/?$')").message("spec.seal.ocikms.managementEndpoint must be a URL such as https://abc-management.kms.eu-frankfurt-1.oraclecloud.com"))]
    pub management_endpoint: String,

    /// Secret with the keys `config` (an OCI configuration file) and `key.pem`; `key_file` in the former must be
    /// /vault/credentials/oci-key.pem. Default: the instance principal of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("spec.seal.ocikms.credentialsSecret must be the name of a Secret"),
        validation = Rule::new("!self.startsWith('vault-keys.') && !self.startsWith('vault-ca.')").message("spec.seal.ocikms.credentialsSecret must not be that of a Secret in which the operator keeps keys"),
    )]
    pub credentials_secret: Option<String>,
}
