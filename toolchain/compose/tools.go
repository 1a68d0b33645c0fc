//go:build tools

// Package compose pins the command it imports: Docker Compose, which the benchmark measures against.
package compose

import _ "github.com/docker/compose/v2/cmd"
