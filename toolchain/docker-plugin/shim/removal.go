package shim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

const (
	// removalTimeout is upstream's; a resource's own delete time-out (Pulumi's customTimeouts) goes before it.
	removalTimeout = 30 * time.Second
	// timeoutOfNone is what the SDK gives a resource that has none of its own. Declaring ours would write it into the
	// state of every network and volume, where upstream's has none.
	timeoutOfNone = 20 * time.Minute
	// removalInterval is short against a container's stop, which is what a removal waits for.
	removalInterval = 25 * time.Millisecond
)

// removal takes one object off the engine that another object may still hold for a moment.
type removal struct {
	object string // as a person would name it
	inUse  string // what the engine's error contains while the object is held
	remedy string // what to do if it stays held
	remove func(context.Context) error
}

// run removes the object at once, or as soon as it is free. An object that is gone already counts as removed.
// Any error but "in use" is final; so is the end of ctx, and that of the resource's delete time-out.
func (r removal) run(ctx context.Context, d *schema.ResourceData) error {
	timeout := removalTimeout
	if own := d.Timeout(schema.TimeoutDelete); own != timeoutOfNone {
		timeout = own
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(removalInterval)
	defer ticker.Stop()
	started := time.Now()
	var held error // the last "in use"
	for {
		err := r.remove(ctx)
		switch {
		case err == nil, errdefs.IsNotFound(err):
			return nil
		case ctx.Err() != nil: // the call itself was cut short
			return r.unfinished(ctx.Err(), held, started)
		case !strings.Contains(err.Error(), r.inUse):
			return fmt.Errorf("%s cannot be removed: %w", r.object, err)
		}
		held = err
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return r.unfinished(ctx.Err(), held, started)
		}
	}
}

// unfinished is the error of a removal that ran out of time or was cancelled.
func (r removal) unfinished(cause, held error, started time.Time) error {
	waited := time.Since(started).Round(time.Millisecond)
	if held == nil {
		return fmt.Errorf("%s was not removed within %s: %w", r.object, waited, cause)
	}
	return fmt.Errorf("%s was not removed within %s: %w (%w); %s", r.object, waited, cause, held, r.remedy)
}
