package shim

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// replaceVolume takes out upstream's pause of two seconds before a volume's removal, and its five seconds between two
// tries. Creating and reading a volume wait for nothing and stay upstream's; so does the removal of a cluster volume,
// which Swarm has to spread over its nodes.
func replaceVolume(resource *schema.Resource) {
	upstreamCreate, upstreamDelete := resource.CreateContext, resource.DeleteContext
	resource.CreateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if _, cluster := d.GetOk("cluster"); cluster {
			return versioned(upstreamCreate)(ctx, d, meta)
		}
		return upstreamCreate(ctx, d, meta)
	}
	resource.DeleteContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if _, cluster := d.GetOk("cluster"); cluster {
			return upstreamDelete(ctx, d, meta)
		}
		return deleteVolume(ctx, d, meta)
	}
}

func deleteVolume(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	docker, err := dockerClient(ctx, d, meta)
	if err != nil {
		return diag.FromErr(err)
	}
	name := d.Id() // a volume's id is its name
	err = removal{
		object: fmt.Sprintf("volume %q", name),
		inUse:  "volume is in use",
		remedy: fmt.Sprintf("'docker ps -a --filter volume=%s' lists the containers that hold it: remove them", name),
		remove: func(ctx context.Context) error { return docker.VolumeRemove(ctx, name, true) },
	}.run(ctx, d)
	if err != nil {
		return diag.FromErr(err)
	}
	d.SetId("")
	return nil
}
