package shimtest

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/terraform"
)

// kinds are the two whose removal the shim replaces: the same rules hold for both.
var kinds = []struct{ name, inUse, remedy string }{
	{"docker_network", "has active endpoints", "docker network inspect thing"},
	{"docker_volume", "volume is in use", "docker ps -a --filter volume=thing"},
}

// eachKind runs the test with an existing object of each kind.
func eachKind(t *testing.T, test func(t *testing.T, e *fakeEngine, k kind, state *terraform.InstanceState, i int)) {
	t.Helper()
	for i, c := range kinds {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			engine := newFakeEngine(t)
			k := newKind(t, c.name, engine.host)
			test(t, engine, k, k.create(map[string]any{"name": "thing"}), i)
		})
	}
}

func TestRemovesAtOnce(t *testing.T) {
	eachKind(t, func(t *testing.T, e *fakeEngine, k kind, state *terraform.InstanceState, _ int) {
		started := time.Now()
		if diags := k.delete(t.Context(), state, 0); diags.HasError() {
			t.Fatal(text(diags))
		}
		if took := time.Since(started); took >= upstreamPause {
			t.Errorf("removal took %s", took)
		}
		if len(e.networks)+len(e.volumes) != 0 {
			t.Error("the object is still there")
		}
	})
}

func TestRemovesAsSoonAsFree(t *testing.T) {
	eachKind(t, func(t *testing.T, e *fakeEngine, k kind, state *terraform.InstanceState, _ int) {
		e.hold(true)
		go func() {
			for range 2 {
				<-e.removals
			}
			e.hold(false)
		}()
		started := time.Now()
		if diags := k.delete(t.Context(), state, 0); diags.HasError() {
			t.Fatal(text(diags))
		}
		if took := time.Since(started); took >= upstreamPause {
			t.Errorf("removal took %s", took)
		}
		if n := e.count("DELETE"); n < 2 {
			t.Errorf("removed after %d attempts, though it was held at the first", n)
		}
	})
}

func TestGoneAlreadyCountsAsRemoved(t *testing.T) {
	eachKind(t, func(t *testing.T, e *fakeEngine, k kind, state *terraform.InstanceState, _ int) {
		clear(e.networks)
		clear(e.volumes)
		if diags := k.delete(t.Context(), state, 0); diags.HasError() {
			t.Fatal(text(diags))
		}
	})
}

func TestHeldUntilTheTimeoutSaysWhatHoldsIt(t *testing.T) {
	eachKind(t, func(t *testing.T, e *fakeEngine, k kind, state *terraform.InstanceState, i int) {
		e.hold(true)
		started := time.Now()
		diags := k.delete(t.Context(), state, 200*time.Millisecond)
		wantError(t, diags, `"thing"`, kinds[i].inUse, kinds[i].remedy)
		if took := time.Since(started); took < 200*time.Millisecond || took >= upstreamPause {
			t.Errorf("gave up after %s", took)
		}
	})
}

func TestNoTimeoutIsDeclared(t *testing.T) {
	for _, c := range kinds {
		if k := newKind(t, c.name, newFakeEngine(t).host); k.resource.Timeouts != nil {
			t.Errorf("%s: %v would be in the state, where upstream's has nothing", c.name, k.resource.Timeouts)
		}
	}
}

func TestCancelledRemovalIsAnError(t *testing.T) {
	eachKind(t, func(t *testing.T, e *fakeEngine, k kind, state *terraform.InstanceState, _ int) {
		e.hold(true)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-e.removals
			cancel()
		}()
		wantError(t, k.delete(ctx, state, 0), `"thing"`, "context canceled")
	})
}

func TestOtherRefusalsAreFinal(t *testing.T) {
	eachKind(t, func(t *testing.T, e *fakeEngine, k kind, state *terraform.InstanceState, _ int) {
		e.breakWith("driver failed")
		wantError(t, k.delete(t.Context(), state, 0), `"thing"`, "driver failed")
		if n := e.count("DELETE"); n != 1 {
			t.Errorf("%d attempts", n)
		}
	})
}
