package shimtest

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/terraform"
)

func TestVolumeWithEveryOption(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_volume", engine.host)
	config := map[string]any{
		"name":        "everything",
		"driver":      "nfs",
		"driver_opts": map[string]any{"device": ":/data"},
		"labels":      []any{map[string]any{"label": "stack", "value": "one"}},
	}

	state := k.create(config)

	asked := engine.volumes["everything"]
	if asked.Driver != "nfs" || !maps.Equal(asked.DriverOpts, map[string]string{"device": ":/data"}) ||
		!maps.Equal(asked.Labels, map[string]string{"stack": "one"}) {
		t.Errorf("asked for %+v", asked)
	}
	if state.Attributes["mountpoint"] == "" {
		t.Errorf("state %v", state.Attributes)
	}
	read, diags := k.read(state)
	if diags.HasError() {
		t.Fatal(text(diags))
	}
	if diff := k.diff(read, config); diff != nil {
		t.Errorf("a second update would change %v", diff)
	}
}

func TestClusterVolumeIsRemovedByUpstream(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_volume", engine.host)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cluster := &terraform.InstanceState{ID: "spread", Attributes: map[string]string{
		"id": "spread", "name": "spread", "cluster.#": "1", "cluster.0.id": "c1",
	}}
	// Upstream waits longer than the context lives before it removes anything.
	wantError(t, k.delete(ctx, cluster, 0), "context deadline exceeded")
	if n := engine.count("DELETE"); n != 0 {
		t.Errorf("%d attempts to remove it", n)
	}
}

func TestClusterVolumeIsRefusedByAnEngineThatIsTooOld(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_volume", engine.host)
	_, diags := k.tryCreate(t.Context(), map[string]any{"name": "spread", "cluster": []any{map[string]any{}}})
	wantError(t, diags, "1.42", "but you have 1.41")
	if len(engine.volumes) != 0 {
		t.Error("it was made as a volume of this machine's")
	}
}
