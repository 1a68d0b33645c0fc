// Package shimtest tests the shim through the provider it returns, against a fake engine: what the shim's own folder
// cannot hold, because it is a module of its own that is only built as a part of the plugin's.
package shimtest

import (
	"context"
	"io"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-plugin-sdk/v2/terraform"
	"github.com/terraform-providers/terraform-provider-docker/shim"
)

// upstreamPause is the shortest of the waits that the shim takes out: what ends sooner has not waited.
const upstreamPause = 2 * time.Second

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // upstream logs every call
	os.Exit(m.Run())
}

// kind drives one kind of resource the way the bridge does.
type kind struct {
	t        *testing.T
	resource *schema.Resource
	meta     any
}

func newKind(t *testing.T, name, host string) kind {
	t.Helper()
	p := shim.New("0.0.0")
	if err := p.InternalValidate(); err != nil {
		t.Fatalf("the provider is not valid: %v", err)
	}
	if diags := p.Configure(t.Context(), terraform.NewResourceConfigRaw(map[string]any{"host": host})); diags.HasError() {
		t.Fatalf("the provider cannot be configured: %s", text(diags))
	}
	return kind{t, p.ResourcesMap[name], p.Meta()}
}

// create makes the object, and fails the test where upstream's pauses are back.
func (k kind) create(config map[string]any) *terraform.InstanceState {
	k.t.Helper()
	started := time.Now()
	state, diags := k.tryCreate(k.t.Context(), config)
	if diags.HasError() {
		k.t.Fatalf("create: %s", text(diags))
	}
	if took := time.Since(started); took >= upstreamPause {
		k.t.Errorf("create took %s", took)
	}
	return state
}

func (k kind) tryCreate(ctx context.Context, config map[string]any) (*terraform.InstanceState, diag.Diagnostics) {
	k.t.Helper()
	return k.resource.Apply(ctx, nil, k.diff(nil, config), k.meta)
}

// diff is what an update would change; nil where nothing.
func (k kind) diff(state *terraform.InstanceState, config map[string]any) *terraform.InstanceDiff {
	k.t.Helper()
	diff, err := k.resource.Diff(k.t.Context(), state, terraform.NewResourceConfigRaw(config), k.meta)
	if err != nil {
		k.t.Fatalf("diff: %v", err)
	}
	return diff
}

func (k kind) read(state *terraform.InstanceState) (*terraform.InstanceState, diag.Diagnostics) {
	return k.resource.RefreshWithoutUpgrade(k.t.Context(), state, k.meta)
}

// delete removes the object; timeout is the resource's own, 0 leaves the default.
func (k kind) delete(ctx context.Context, state *terraform.InstanceState, timeout time.Duration) diag.Diagnostics {
	diff := &terraform.InstanceDiff{Destroy: true, Meta: map[string]any{}}
	if timeout > 0 {
		diff.Meta[schema.TimeoutKey] = map[string]any{schema.TimeoutDelete: float64(timeout.Nanoseconds())}
	}
	_, diags := k.resource.Apply(ctx, state, diff, k.meta)
	return diags
}

func text(diags diag.Diagnostics) string {
	var parts []string
	for _, d := range diags {
		parts = append(parts, d.Summary+d.Detail)
	}
	return strings.Join(parts, "; ")
}

func wantError(t *testing.T, diags diag.Diagnostics, parts ...string) {
	t.Helper()
	if !diags.HasError() {
		t.Fatalf("no error, expected one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(text(diags), part) {
			t.Errorf("error %q lacks %q", text(diags), part)
		}
	}
}
