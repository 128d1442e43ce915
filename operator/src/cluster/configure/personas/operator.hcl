# Runs the server. Sees no secrets, and cannot change who may do what.
path "sys/health"      { capabilities = ["read"] }
path "sys/seal-status" { capabilities = ["read"] }
path "sys/leader"      { capabilities = ["read"] }
path "sys/ha-status"   { capabilities = ["read"] }
path "sys/host-info"   { capabilities = ["read"] }
path "sys/metrics"     { capabilities = ["read"] }
path "sys/key-status"  { capabilities = ["read"] }
path "sys/mounts"      { capabilities = ["read"] }
path "sys/auth"        { capabilities = ["read"] }
# Members and their health. Removing a member and restoring a snapshot are left out on purpose.
path "sys/storage/raft/configuration"           { capabilities = ["read"] }
path "sys/storage/raft/autopilot/state"         { capabilities = ["read"] }
path "sys/storage/raft/autopilot/configuration" { capabilities = ["read"] }
path "sys/storage/raft/snapshot"                { capabilities = ["read"] }
# Maintenance.
path "sys/step-down"     { capabilities = ["update", "sudo"] }
path "sys/rotate"        { capabilities = ["update", "sudo"] }
path "sys/rotate/config" { capabilities = ["read"] }
