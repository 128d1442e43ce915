# Sees how Vault is set up. Changes nothing, reads no secrets.
path "sys/policies/acl"        { capabilities = ["list"] }
path "sys/policies/acl/*"      { capabilities = ["read"] }
path "sys/policies/password"   { capabilities = ["list"] }
path "sys/policies/password/+" { capabilities = ["read"] }
path "sys/mounts"              { capabilities = ["read"] }
path "sys/mounts/+/tune"       { capabilities = ["read"] }
path "sys/auth"                { capabilities = ["read"] }
path "sys/auth/+/tune"         { capabilities = ["read", "sudo"] }
path "sys/audit"               { capabilities = ["read", "sudo"] }
path "sys/config/auditing/request-headers" { capabilities = ["read", "sudo"] }
path "sys/ha-status"           { capabilities = ["read"] }
path "sys/key-status"          { capabilities = ["read"] }
path "sys/storage/raft/configuration" { capabilities = ["read"] }
path "sys/internal/counters/*" { capabilities = ["read"] }
# Who holds which tokens, without the tokens.
path "auth/token/accessors"       { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
# Who may log in, and with which policies.
path "auth/+/role"   { capabilities = ["list"] }
path "auth/+/role/+" { capabilities = ["read"] }
path "auth/+/users"   { capabilities = ["list"] }
path "auth/+/users/+" { capabilities = ["read"] }
path "auth/+/certs"   { capabilities = ["list"] }
path "auth/+/certs/+" { capabilities = ["read"] }
path "identity/entity/id"   { capabilities = ["list"] }
path "identity/entity/id/+" { capabilities = ["read"] }
path "identity/group/id"    { capabilities = ["list"] }
path "identity/group/id/+"  { capabilities = ["read"] }
path "identity/mfa/login-enforcement"   { capabilities = ["list"] }
path "identity/mfa/login-enforcement/+" { capabilities = ["read"] }
