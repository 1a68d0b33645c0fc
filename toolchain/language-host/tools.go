//go:build tools

// Package languagehost pins the command it imports: Pulumi's Python language host.
package languagehost

import _ "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
