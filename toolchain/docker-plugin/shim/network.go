package shim

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// replaceNetwork takes out upstream's pauses of two seconds before a network's read (so also after its creation) and
// before its removal, and its five seconds between two tries. They are for Swarm, which spreads a network over its
// nodes: overlay networks stay upstream's.
//
// Two of upstream's errors go with them: a read that fails for any reason (the engine is away) no longer counts as
// "the network is gone", and a field that cannot be stored is reported.
func replaceNetwork(resource *schema.Resource) {
	functions := networkFunctions{upstreamRead: resource.ReadContext, upstreamDelete: resource.DeleteContext}
	resource.CreateContext = functions.create
	resource.ReadContext = functions.read
	resource.DeleteContext = functions.delete
}

// networkFunctions replace upstream's, and hold those that overlay networks still need.
type networkFunctions struct {
	upstreamRead   schema.ReadContextFunc
	upstreamDelete schema.DeleteContextFunc
}

func (f networkFunctions) create(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	docker, err := dockerClient(ctx, d, meta)
	if err != nil {
		return diag.FromErr(err)
	}
	name := d.Get("name").(string)
	created, err := docker.NetworkCreate(ctx, name, networkOptions(d))
	if err != nil {
		return diag.Errorf("network %q cannot be created: %s%s", name, err, creationRemedy(name, err))
	}
	d.SetId(created.ID)
	return f.read(ctx, d, meta)
}

func (f networkFunctions) read(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	docker, err := dockerClient(ctx, d, meta)
	if err != nil {
		return diag.FromErr(err)
	}
	found, err := docker.NetworkInspect(ctx, d.Id(), network.InspectOptions{})
	switch {
	case errdefs.IsNotFound(err):
		d.SetId("")
		return nil
	case err != nil:
		return diag.Errorf("network %s cannot be read: %s", d.Id(), err)
	case isOverlay(found.Driver):
		return f.upstreamRead(ctx, d, meta)
	}
	if err := setAll(d, networkFields(found)); err != nil {
		return diag.Errorf("network %q: %s", found.Name, err)
	}
	return nil
}

func (f networkFunctions) delete(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	if isOverlay(d.Get("driver").(string)) {
		return f.upstreamDelete(ctx, d, meta)
	}
	docker, err := dockerClient(ctx, d, meta)
	if err != nil {
		return diag.FromErr(err)
	}
	name := d.Get("name").(string)
	err = removal{
		object: fmt.Sprintf("network %q", name),
		inUse:  "has active endpoints",
		remedy: fmt.Sprintf("'docker network inspect %s' lists the containers on it: remove or disconnect them", name),
		remove: func(ctx context.Context) error { return docker.NetworkRemove(ctx, d.Id()) },
	}.run(ctx, d)
	if err != nil {
		return diag.FromErr(err)
	}
	d.SetId("")
	return nil
}

func isOverlay(driver string) bool { return driver == "overlay" }

// networkOptions reads what the engine is asked for; a field left out is left to the engine.
func networkOptions(d *schema.ResourceData) network.CreateOptions {
	options := network.CreateOptions{
		Driver:     d.Get("driver").(string),
		Internal:   d.Get("internal").(bool),
		Attachable: d.Get("attachable").(bool),
		Ingress:    d.Get("ingress").(bool),
		IPAM:       &network.IPAM{Driver: d.Get("ipam_driver").(string)},
	}
	if set, ok := d.GetOk("labels"); ok {
		options.Labels = map[string]string{}
		for _, raw := range set.(*schema.Set).List() {
			label := raw.(map[string]any)
			options.Labels[label["label"].(string)] = label["value"].(string)
		}
	}
	if given, ok := d.GetOk("options"); ok {
		options.Options = stringMap(given)
	}
	if d.Get("ipv6").(bool) {
		enabled := true
		options.EnableIPv6 = &enabled
	}
	if given, ok := d.GetOk("ipam_options"); ok {
		options.IPAM.Options = stringMap(given)
	}
	if set, ok := d.GetOk("ipam_config"); ok {
		for _, raw := range set.(*schema.Set).List() {
			config := raw.(map[string]any)
			options.IPAM.Config = append(options.IPAM.Config, network.IPAMConfig{
				Subnet:     config["subnet"].(string),
				IPRange:    config["ip_range"].(string),
				Gateway:    config["gateway"].(string),
				AuxAddress: stringMap(config["aux_address"]),
			})
		}
	}
	return options
}

// networkFields is the state of a network as upstream stores it.
func networkFields(n network.Inspect) map[string]any {
	labels := make([]any, 0, len(n.Labels))
	for label, value := range n.Labels {
		labels = append(labels, map[string]any{"label": label, "value": value})
	}
	configs := make([]any, 0, len(n.IPAM.Config))
	for _, config := range n.IPAM.Config {
		configs = append(configs, map[string]any{
			"subnet": config.Subnet, "ip_range": config.IPRange, "gateway": config.Gateway,
			"aux_address": config.AuxAddress,
		})
	}
	return map[string]any{
		"name": n.Name, "driver": n.Driver, "scope": n.Scope, "labels": labels, "options": n.Options,
		"internal": n.Internal, "attachable": n.Attachable, "ingress": n.Ingress, "ipv6": n.EnableIPv6,
		"ipam_driver": n.IPAM.Driver, "ipam_options": n.IPAM.Options, "ipam_config": configs,
	}
}

// creationRemedy says what to do about the refusals that people meet; empty for others.
func creationRemedy(name string, err error) string {
	message := strings.ToLower(err.Error())
	switch {
	case strings.Contains(message, "already exists"):
		return fmt.Sprintf("; remove it ('docker network rm %s'), or choose another name", name)
	case strings.Contains(message, "overlaps"):
		return "; another network holds that subnet: give one that is free"
	case strings.Contains(message, "non-overlapping"), strings.Contains(message, "fully subnetted"):
		return "; the engine's address pools are used up: remove networks nobody needs, or give a subnet"
	}
	return ""
}
