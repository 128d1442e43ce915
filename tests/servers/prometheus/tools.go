//go:build tools

// Package servers names the main package that the testbed builds.
package servers

import _ "github.com/prometheus/prometheus/cmd/promtool"
