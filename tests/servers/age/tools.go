//go:build tools

// Package servers names the main package that the testbed builds.
package servers

import _ "filippo.io/age/cmd/age"
