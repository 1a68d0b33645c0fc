//go:build tools

// Package engine pins the command it imports: the Pulumi CLI, engine included.
package engine

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
