package shimtest

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/hashicorp/terraform-plugin-sdk/v2/terraform"
)

func TestNetworkWithEveryOption(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_network", engine.host)
	config := map[string]any{
		"name":         "everything",
		"driver":       "macvlan",
		"options":      map[string]any{"parent": "eth0"},
		"internal":     true,
		"attachable":   true,
		"ingress":      true,
		"ipv6":         true,
		"ipam_driver":  "custom",
		"ipam_options": map[string]any{"pool": "blue"},
		"labels": []any{
			map[string]any{"label": "stack", "value": "one"},
			map[string]any{"label": "owner", "value": "two"},
		},
		"ipam_config": []any{
			map[string]any{
				"subnet": "10.83.0.0/28", "gateway": "10.83.0.1", "ip_range": "10.83.0.8/29",
				"aux_address": map[string]any{"router": "10.83.0.2"},
			},
			map[string]any{"subnet": "fd00:83::/64"},
		},
	}

	state := k.create(config)

	asked := engine.networks[state.ID]
	if asked.Name != "everything" || asked.Driver != "macvlan" || !asked.Internal || !asked.Attachable || !asked.Ingress ||
		asked.EnableIPv6 == nil || !*asked.EnableIPv6 {
		t.Errorf("asked for %+v", asked)
	}
	if !maps.Equal(asked.Labels, map[string]string{"stack": "one", "owner": "two"}) {
		t.Errorf("labels %v", asked.Labels)
	}
	if !maps.Equal(asked.Options, map[string]string{"parent": "eth0"}) {
		t.Errorf("options %v", asked.Options)
	}
	if asked.IPAM.Driver != "custom" || !maps.Equal(asked.IPAM.Options, map[string]string{"pool": "blue"}) {
		t.Errorf("ipam %+v", asked.IPAM)
	}
	subnets := map[string]network.IPAMConfig{}
	for _, c := range asked.IPAM.Config {
		subnets[c.Subnet] = c
	}
	v4 := subnets["10.83.0.0/28"]
	if v4.Gateway != "10.83.0.1" || v4.IPRange != "10.83.0.8/29" || v4.AuxAddress["router"] != "10.83.0.2" {
		t.Errorf("ipam config %+v", asked.IPAM.Config)
	}
	if _, ok := subnets["fd00:83::/64"]; !ok || len(subnets) != 2 {
		t.Errorf("ipam config %+v", asked.IPAM.Config)
	}
	if state.Attributes["scope"] != "local" || state.Attributes["labels.#"] != "2" {
		t.Errorf("state %v", state.Attributes)
	}

	for what, known := range map[string]*terraform.InstanceState{
		"a refresh": state,
		"an import": {ID: state.ID}, // has the engine's word alone
	} {
		read, diags := k.read(known)
		if diags.HasError() {
			t.Fatal(text(diags))
		}
		if diff := k.diff(read, config); diff != nil {
			t.Errorf("after %s an update would change %v", what, diff)
		}
	}
}

func TestNetworkWithNoOption(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_network", engine.host)
	config := map[string]any{"name": "plain"}

	state := k.create(config)

	if state.Attributes["driver"] != "bridge" || state.Attributes["ipam_config.#"] != "1" {
		t.Errorf("state %v", state.Attributes)
	}
	if asked := engine.networks[state.ID]; asked.EnableIPv6 != nil || asked.Driver != "" || len(asked.IPAM.Config) != 0 {
		t.Errorf("asked for %+v", asked)
	}
	if diff := k.diff(state, config); diff != nil {
		t.Errorf("a second update would change %v", diff)
	}
}

func TestNetworkThatExistsIsRefusedWithARemedy(t *testing.T) {
	t.Parallel()
	k := newKind(t, "docker_network", newFakeEngine(t).host)
	k.create(map[string]any{"name": "twice"})
	_, diags := k.tryCreate(t.Context(), map[string]any{"name": "twice"})
	wantError(t, diags, `"twice"`, "already exists", "docker network rm twice")
}

func TestNetworkThatIsGoneLeavesTheState(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_network", engine.host)
	state := k.create(map[string]any{"name": "gone"})
	clear(engine.networks)
	if read, diags := k.read(state); diags.HasError() || read != nil {
		t.Errorf("read %v, %s", read, text(diags))
	}
}

func TestEngineErrorIsNotTakenForAGoneNetwork(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_network", engine.host)
	state := k.create(map[string]any{"name": "there"})
	engine.breakWith("out of memory")
	read, diags := k.read(state)
	wantError(t, diags, "out of memory")
	if read == nil {
		t.Error("the network was dropped from the state")
	}
}

func TestRefusedSubnetsComeWithARemedy(t *testing.T) {
	t.Parallel()
	for refusal, remedy := range map[string]string{
		"Pool overlaps with other one on this address space":                                "give one that is free",
		"could not find an available, non-overlapping IPv4 address pool among the defaults": "used up",
		"all predefined address pools have been fully subnetted":                            "used up",
	} {
		engine := newFakeEngine(t)
		engine.breakWith(refusal)
		_, diags := newKind(t, "docker_network", engine.host).tryCreate(t.Context(), map[string]any{"name": "refused"})
		wantError(t, diags, `"refused"`, refusal, remedy)
	}
}

// Upstream waits longer than these contexts live before it reads or removes anything.

func TestOverlayNetworkIsReadByUpstream(t *testing.T) {
	t.Parallel()
	k := newKind(t, "docker_network", newFakeEngine(t).host)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	state, diags := k.tryCreate(ctx, map[string]any{"name": "spread", "driver": "overlay"})
	wantError(t, diags, "context deadline exceeded")
	if state.ID != "id-of-spread" {
		t.Errorf("the network that was made is lost: %v", state)
	}
}

func TestOverlayNetworkIsRemovedByUpstream(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_network", engine.host)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	overlay := &terraform.InstanceState{ID: "spread", Attributes: map[string]string{"id": "spread", "driver": "overlay"}}
	wantError(t, k.delete(ctx, overlay, 0), "context deadline exceeded")
	if n := engine.count("DELETE"); n != 0 {
		t.Errorf("%d attempts to remove it", n)
	}
}
