# Acts in an incident. Can stop things and look, cannot read secrets or give rights.
path "sys/seal"        { capabilities = ["update", "sudo"] }
path "sys/step-down"   { capabilities = ["update", "sudo"] }
path "sys/ha-status"   { capabilities = ["read"] }
path "sys/mounts"      { capabilities = ["read"] }
path "sys/auth"        { capabilities = ["read"] }
# Tokens, by their accessors.
path "auth/token/accessors"       { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
# Leases: all that an engine gave out.
path "sys/leases/lookup"          { capabilities = ["update"] }
path "sys/leases/lookup/*"        { capabilities = ["list", "sudo"] }
path "sys/leases/revoke"          { capabilities = ["update"] }
path "sys/leases/revoke-prefix/*" { capabilities = ["update", "sudo"] }
path "sys/leases/revoke-force/*"  { capabilities = ["update", "sudo"] }
# The API of one namespace (Vault Enterprise, OpenBao).
path "sys/namespaces/api-lock/lock/*"   { capabilities = ["update"] }
path "sys/namespaces/api-lock/unlock/*" { capabilities = ["update"] }
