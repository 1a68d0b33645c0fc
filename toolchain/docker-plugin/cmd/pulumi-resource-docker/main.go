// Command pulumi-resource-docker is the plugin that Pulumi's engine starts.
package main

import (
	"github.com/ephemera-environments/ephemera/toolchain/docker-plugin"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
)

func main() { tfbridge.Main(docker.Name, docker.Version, docker.Info(), docker.Schema) }
