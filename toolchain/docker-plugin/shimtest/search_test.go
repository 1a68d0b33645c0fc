package shimtest

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/image"
)

func TestImageThatIsThereCostsOneCallPerQuestion(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	there := imageOf("1", "one:a", "two:a")
	there.RepoDigests = []string{"two@sha256:2", "one@sha256:1"}
	engine.images = []image.InspectResponse{imageOf("0", "other:a"), there}
	k := newKind(t, "docker_image", engine.host)
	config := map[string]any{"name": "one:a"}

	state := k.create(config)

	if calls := engine.called(); !slices.Equal(slices.Compact(calls), []string{"GET /images/one:a/json"}) {
		t.Errorf("creation asked for %v", calls)
	}
	want := map[string]string{"id": idOf("1") + "one:a", "image_id": idOf("1"), "repo_digest": "one@sha256:1", "name": "one:a"}
	if !maps.Equal(state.Attributes, want) {
		t.Errorf("state %v", state.Attributes)
	}
	read, diags := k.read(state)
	if diags.HasError() {
		t.Fatal(text(diags))
	}
	if calls := engine.called(); !slices.Equal(calls, []string{"GET /images/one:a/json"}) {
		t.Errorf("a read asked for %v", calls)
	}
	if diff := k.diff(read, config); diff != nil {
		t.Errorf("an update would change %v", diff)
	}
}

func TestImageThatIsNotThereIsPulled(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_image", engine.host)

	state := k.create(map[string]any{"name": "one:a"})

	if state.Attributes["image_id"] != idOf("pulled") || !slices.Contains(engine.called(), "POST /images/create") {
		t.Errorf("state %v", state.Attributes)
	}
}

func TestImageThatIsGoneLeavesTheState(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	engine.images = []image.InspectResponse{imageOf("1", "one:a")}
	k := newKind(t, "docker_image", engine.host)
	state := k.create(map[string]any{"name": "one:a"})
	engine.images = nil
	if read, diags := k.read(state); diags.HasError() || read != nil {
		t.Errorf("read %v, %s", read, text(diags))
	}
}

// Upstream takes only what the list has: what can be inspected but is not listed has to be pulled, or is an error.
func TestImageThatIsNotListedIsNotTaken(t *testing.T) {
	t.Parallel()
	for what, hidden := range map[string]image.InspectResponse{
		"without a name":    {ID: idOf("1"), Os: "linux"},
		"of another system": {ID: idOf("1"), RepoTags: []string{"one:a"}},
	} {
		engine := newFakeEngine(t)
		engine.images = []image.InspectResponse{hidden}
		k := newKind(t, "docker_image", engine.host)
		if _, diags := k.tryCreate(t.Context(), map[string]any{"name": idOf("1")}); diags.HasError() {
			wantError(t, diags, "unable to find or pull")
		}
		if !slices.Contains(engine.called(), "GET /images/json") {
			t.Errorf("an image %s was taken without the list", what)
		}
	}
}

func TestEngineErrorIsNotTakenForAGoneImage(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	engine.images = []image.InspectResponse{imageOf("1", "one:a")}
	k := newKind(t, "docker_image", engine.host)
	state := k.create(map[string]any{"name": "one:a"})
	engine.breakWith("out of memory")
	read, diags := k.read(state)
	wantError(t, diags, "out of memory")
	if read == nil {
		t.Error("the image was dropped from the state")
	}
}

func TestContainerCostsNoLists(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	engine.images = []image.InspectResponse{imageOf("1", "one:a")}
	k := newKind(t, "docker_container", engine.host)
	config := map[string]any{"name": "c", "image": idOf("1"), "network_mode": "bridge"}

	state := k.create(config)

	want := []string{
		"GET /images/" + idOf("1") + "/json", "POST /containers/create", "POST /containers/id-of-c/start",
		"GET /containers/id-of-c/json",
	}
	if calls := engine.called(); !slices.Equal(calls, want) {
		t.Errorf("creation asked for %v", calls)
	}
	read, diags := k.read(state)
	if diags.HasError() {
		t.Fatal(text(diags))
	}
	if calls := engine.called(); !slices.Equal(calls, want[3:]) {
		t.Errorf("a read asked for %v", calls)
	}
	if read.ID != "id-of-c" || read.Attributes["image"] != idOf("1") {
		t.Errorf("state %v", read)
	}
}

func TestContainerThatIsGoneLeavesTheState(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	engine.images = []image.InspectResponse{imageOf("1", "one:a")}
	k := newKind(t, "docker_container", engine.host)
	state := k.create(map[string]any{"name": "c", "image": "one:a"})
	clear(engine.containers)
	if read, diags := k.read(state); diags.HasError() || read != nil {
		t.Errorf("read %v, %s", read, text(diags))
	}
}

func TestEngineErrorIsNotTakenForAGoneContainer(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	engine.images = []image.InspectResponse{imageOf("1", "one:a")}
	k := newKind(t, "docker_container", engine.host)
	state := k.create(map[string]any{"name": "c", "image": "one:a"})
	engine.breakWith("out of memory")
	read, diags := k.read(state)
	wantError(t, diags, "out of memory")
	if read == nil {
		t.Error("the container was dropped from the state")
	}
}

// What the engine makes for a caller that gives up meanwhile is known by its id, so that it can be removed.
func TestCreationThatIsCancelledIsInTheState(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]map[string]any{
		"docker_network":   {"name": "half"},
		"docker_volume":    {"name": "half"},
		"docker_container": {"name": "half", "image": "one:a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := newFakeEngine(t)
			engine.images = []image.InspectResponse{imageOf("1", "one:a")}
			ctx, cancel := context.WithCancel(t.Context())
			engine.onCreation = cancel

			state, diags := newKind(t, name, engine.host).tryCreate(ctx, config)

			wantError(t, diags, "context canceled")
			if state == nil || state.ID == "" || len(engine.networks)+len(engine.volumes)+len(engine.containers) != 1 {
				t.Errorf("the object that was made is lost: %v", state)
			}
		})
	}
}

func TestCreationThatIsCancelledBeforeAsksForNothing(t *testing.T) {
	t.Parallel()
	engine := newFakeEngine(t)
	k := newKind(t, "docker_network", engine.host)
	k.create(map[string]any{"name": "first"}) // the version is negotiated
	engine.called()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, diags := k.tryCreate(ctx, map[string]any{"name": "second"})
	wantError(t, diags, "context canceled")
	if calls := engine.called(); len(calls) != 0 {
		t.Errorf("asked for %v", calls)
	}
}
