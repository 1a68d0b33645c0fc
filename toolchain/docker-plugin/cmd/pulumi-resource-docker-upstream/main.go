// Command pulumi-resource-docker-upstream is the plugin with upstream's provider as it is: what pulumi-resource-docker is
// compared with by the tests. It is never shipped.
package main

import (
	"github.com/ephemera-environments/ephemera/toolchain/docker-plugin"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
)

func main() { tfbridge.Main(docker.Name, docker.Version, docker.UpstreamInfo(), docker.Schema) }
