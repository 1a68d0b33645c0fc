// Package docker describes pulumi-resource-docker: upstream's Terraform provider for Docker, as Pulumi's bridge serves
// it to the published `pulumi_docker` SDK, with the same tokens, names and defaults as the vendor's plugin.
package docker

import (
	"context"
	_ "embed" // for the schema
	"strings"

	"github.com/docker/docker/client"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/terraform-providers/terraform-provider-docker/shim"
)

//go:generate go run ./cmd/tfgen .

const (
	// Name is the package's, as SDKs and the engine know it.
	Name = "docker"
	// Version is that of the `pulumi_docker` SDK which this plugin serves; the engine looks plugins up by it.
	Version = "5.2.0"
)

// Schema is the package schema that cmd/tfgen made of Info.
//
//go:embed schema.json
var Schema []byte

// Info is the provider without upstream's waits and detours.
func Info() tfbridge.ProviderInfo { return info(shim.New(Version)) }

// UpstreamInfo is upstream's provider as it is, for the tests to compare with.
func UpstreamInfo() tfbridge.ProviderInfo { return info(shim.Upstream(Version)) }

// info maps upstream's resources and data sources to the tokens and property names of the published SDK.
func info(p *schema.Provider) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:         shimv2.NewProvider(p),
		Name:      Name,
		Version:   Version,
		GitHubOrg: "kreuzwerker",
		Config: map[string]*tfbridge.SchemaInfo{
			"host": {Default: &tfbridge.DefaultInfo{
				EnvVars: []string{"DOCKER_HOST"},
				ComputeDefault: func(context.Context, tfbridge.ComputeDefaultOptions) (any, error) {
					return client.DefaultDockerHost, nil
				},
			}},
			"registry_auth": {Name: "registryAuth", MaxItemsOne: tfbridge.False()},
		},
		Resources: map[string]*tfbridge.ResourceInfo{
			"docker_buildx_builder": {Tok: resource("BuildxBuilder")},
			"docker_config":         {Tok: resource("ServiceConfig")},
			"docker_container": {
				Tok:                 resource("Container"),
				DeleteBeforeReplace: true, // its name and its published ports can be held by one container only
				Fields: map[string]*tfbridge.SchemaInfo{
					"command":           {Name: "command"},
					"networks_advanced": {Name: "networksAdvanced"},
				},
			},
			// A RemoteImage's name is that of an existing image: none can be made up for it.
			"docker_image": {
				Tok:    resource("RemoteImage"),
				Fields: map[string]*tfbridge.SchemaInfo{"name": {Name: "name"}},
			},
			"docker_network":        {Tok: resource("Network")},
			"docker_plugin":         {Tok: resource("Plugin")},
			"docker_registry_image": {Tok: resource("RegistryImage")},
			"docker_secret":         {Tok: resource("Secret")},
			"docker_service":        {Tok: resource("Service")},
			"docker_tag":            {Tok: resource("Tag")},
			"docker_volume":         {Tok: resource("Volume")},
		},
		DataSources: map[string]*tfbridge.DataSourceInfo{
			"docker_image":                    {Tok: function("getRemoteImage")},
			"docker_logs":                     {Tok: function("getLogs")},
			"docker_network":                  {Tok: function("getNetwork")},
			"docker_plugin":                   {Tok: function("getPlugin")},
			"docker_registry_image":           {Tok: function("getRegistryImage")},
			"docker_registry_image_manifests": {Tok: function("getRegistryImageManifests")},
		},
	}
	info.SetAutonaming(255, "-")
	return info
}

func resource(name string) tokens.Type { return tokens.Type(token(name)) }

func function(name string) tokens.ModuleMember { return tokens.ModuleMember(token(name)) }

// token is the bridge's standard form: a module for each member, named after it.
func token(member string) string {
	return Name + ":index/" + strings.ToLower(member[:1]) + member[1:] + ":" + member
}
