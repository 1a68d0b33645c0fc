// Package shim is upstream's Docker provider without its fixed waits.
//
// Upstream keeps its provider in an internal package: only a module whose path lies below upstream's may import it,
// hence this module's name. What is replaced, and why, is said where it is replaced; everything else is upstream's.
package shim

import (
	"fmt"

	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// New returns the provider; version is what it reports about itself.
func New(version string) *schema.Provider {
	p := Upstream(version)
	connect(p)
	replaceNetwork(p.ResourcesMap["docker_network"])
	replaceVolume(p.ResourcesMap["docker_volume"])
	shortenImage(p.ResourcesMap["docker_image"])
	shortenContainer(p.ResourcesMap["docker_container"])
	for _, resource := range p.ResourcesMap {
		quiet(resource)
	}
	return p
}

// Upstream returns the provider as it is, for what New returns to be compared with.
func Upstream(version string) *schema.Provider { return provider.New(version)() }

// stringMap turns the value of a map of strings, as the schema holds it, into one.
func stringMap(value any) map[string]string {
	raw := value.(map[string]any)
	out := make(map[string]string, len(raw))
	for key, v := range raw {
		out[key] = v.(string)
	}
	return out
}

// setAll writes the fields into the resource's state.
func setAll(d *schema.ResourceData, fields map[string]any) error {
	for field, value := range fields {
		if err := d.Set(field, value); err != nil {
			return fmt.Errorf("field %q: %w", field, err)
		}
	}
	return nil
}
