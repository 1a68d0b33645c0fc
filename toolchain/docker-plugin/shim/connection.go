package shim

import (
	"context"
	"fmt"

	"github.com/docker/docker/client"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// connect gives every function of the provider, ours and upstream's, one client that speaks through our transport.
//
// Upstream makes a client at the first use and caches it; functions that run side by side each made one, and asked the
// engine for its version. Made here, while nothing else runs, it can be changed before anybody uses it, and the version
// is negotiated once, with the first request.
func connect(p *schema.Provider) {
	configure := p.ConfigureContextFunc
	p.ConfigureContextFunc = func(ctx context.Context, d *schema.ResourceData) (any, diag.Diagnostics) {
		meta, diags := configure(ctx, d)
		if config, ok := meta.(*provider.ProviderConfig); ok && !diags.HasError() {
			throughTransport(ctx, config)
		}
		return meta, diags
	}
}

// throughTransport makes the client, without asking the engine anything, and puts the transport beneath it. Where it
// cannot be made (a certificate is not there) the functions meet the same error, and report it.
func throughTransport(ctx context.Context, config *provider.ProviderConfig) {
	asked := config.DefaultConfig.DisableDockerDaemonCheck
	config.DefaultConfig.DisableDockerDaemonCheck = true
	docker, err := config.MakeClient(ctx, nil)
	config.DefaultConfig.DisableDockerDaemonCheck = asked
	if err != nil {
		return
	}
	plain := docker.HTTPClient() // a copy
	plain.Transport = &transport{engine: plain.Transport}
	_ = client.WithHTTPClient(plain)(docker) // never fails
}

// dockerClient returns the client of the configured engine; upstream caches it per provider.
func dockerClient(ctx context.Context, d *schema.ResourceData, meta any) (*client.Client, error) {
	docker, err := meta.(*provider.ProviderConfig).MakeClient(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("no client of the Docker engine can be made: %w; are DOCKER_HOST and the certificates right?", err)
	}
	return docker, nil
}

// versioned has upstream's function run with the engine's API version negotiated, where it decides by that before it
// asks the engine for anything.
func versioned(function schema.CreateContextFunc) schema.CreateContextFunc {
	return func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		docker, err := dockerClient(ctx, d, meta)
		if err != nil {
			return diag.FromErr(err)
		}
		if _, err := docker.ServerVersion(ctx); err != nil {
			return diag.Errorf("the Docker engine cannot be reached: %s", err)
		}
		return function(ctx, d, meta)
	}
}
