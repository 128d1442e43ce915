# A pod that logs in with its ServiceAccount: its own part of the KV engine (version 2) at `secret`.
path "secret/data/{{identity.entity.aliases.<accessor:kubernetes>.metadata.service_account_namespace}}/{{identity.entity.aliases.<accessor:kubernetes>.metadata.service_account_name}}/*" {
  capabilities = ["read"]
}
path "secret/metadata/{{identity.entity.aliases.<accessor:kubernetes>.metadata.service_account_namespace}}/{{identity.entity.aliases.<accessor:kubernetes>.metadata.service_account_name}}/*" {
  capabilities = ["list", "read"]
}
# Its own token.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
