# A thin list of verbs: what they do lies in the testbed (tests/src). `make help` shows them.

.DEFAULT_GOAL := help
.SUFFIXES:

target  := $(or $(CARGO_TARGET_DIR),target)
testbed := $(target)/debug/testbed

# Only as an argument of make: a variable of the environment that happens to have this name says nothing about the demo.
cluster := $(if $(filter command,$(origin CLUSTER)),$(CLUSTER:%=--cluster=%))

.PHONY: bench-agent bench-operator soak help prepare testbed build test test-unit test-api test-vault test-e2e test-long test-fresh lint fmt servers images \
	crds up down demo demo-down clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prepare:
	@tests/prepare

testbed: prepare
	@cargo build --locked --workspace --bin testbed

build: prepare ## Compile everything
	cargo build --locked --workspace

test: testbed ## Format, lints and all tiers of tests, with the time of each
	@$(testbed) test

test-unit: testbed ## Tests without servers
	@$(testbed) test unit

test-api: testbed ## Tests against a real etcd and API server (no root)
	@$(testbed) test api

test-vault: testbed ## Tests against real Vault processes (no root)
	@$(testbed) test vault

test-e2e: testbed ## Tests on a whole cluster with real pods (root)
	@$(testbed) test e2e

test-long: testbed ## What the tiers leave out because it takes long (root)
	@$(testbed) test long

test-fresh: ## make test in a freshly bootstrapped Debian with nothing cached (root, debootstrap)
	@tests/fresh-debian make test

# For example: make soak CASES=1000000
soak: prepare ## Render random templates with random secrets for a long time; CASES
	PROPTEST_CASES=$(or $(CASES),200000) cargo test --locked --profile soak --package vaultkeeper-template --test properties -- --nocapture

# For example: make bench-operator ROLES=300 AT_ONCE=100 REST_SECONDS=60
bench-operator: testbed servers ## Measure the operator with 10,000 VaultRoles, an hour (no root); ROLES, AT_ONCE, NAMESPACES, REST_SECONDS
	$(foreach name,ROLES AT_ONCE NAMESPACES REST_SECONDS LOGINS,$(if $($(name)),$(name)=$($(name)))) \
		cargo bench --locked --package vaultkeeper-tests --bench operator

# For example: make bench-agent ROUNDS=10 REST_SECONDS=20
bench-agent: testbed servers ## Measure the agent beside `vault agent`, five minutes (no root); ROUNDS, STARTS, FILES, REST_SECONDS
	$(foreach name,ROUNDS STARTS FILES REST_SECONDS,$(if $($(name)),$(name)=$($(name)))) \
		cargo bench --locked --profile dev --package vaultkeeper-tests --bench agent

lint: testbed ## Format check, Clippy, rules of dependency
	@$(testbed) test fmt lint

fmt: ## Format the code
	cargo fmt --all

servers: testbed ## Build the pinned servers (etcd, Kubernetes, Vault, …) into the user's cache
	@$(testbed) build

images: testbed ## Build the container images as tar files
	@$(testbed) images

crds: prepare ## Write crds/*.yaml and the chart's copies again from the Rust types
	cargo run --quiet --locked --package vaultkeeper-crds -- crds
	cargo run --quiet --locked --package vaultkeeper-crds -- charts/vaultkeeper/files/crds

up: testbed ## Bring up a cluster and leave it running (root)
	@$(testbed) up

down: testbed ## Remove that cluster and every trace of it (root)
	@$(testbed) down

# `make demo CLUSTER=current` takes the cluster of the current kubeconfig instead; it asks first.
demo: testbed ## Show the whole thing on a cluster of its own (root); CLUSTER=current uses yours
	@$(testbed) demo $(cluster)

demo-down: testbed ## Remove the demo and every trace of it
	@$(testbed) demo-down $(cluster)

clean: ## Remove what was compiled here; the servers in the user's cache stay
	cargo clean
