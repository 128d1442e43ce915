// The Consul of the testbed: a test dependency, built locally and never shipped.
module vaultkeeper.dev/tests/servers/consul

go 1.26

require github.com/hashicorp/consul v1.22.0
