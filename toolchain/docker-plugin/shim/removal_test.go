package shim

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

func TestRemovalIsGivenUpAfterTheResourcesTimeout(t *testing.T) {
	for what, c := range map[string]struct {
		own  *time.Duration
		want time.Duration
	}{
		"none of its own": {nil, 30 * time.Second},
		"a shorter one":   {schema.DefaultTimeout(5 * time.Second), 5 * time.Second},
		"a longer one":    {schema.DefaultTimeout(2 * time.Minute), 2 * time.Minute},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := (&schema.Resource{Timeouts: &schema.ResourceTimeout{Delete: c.own}}).Data(nil)
				started := time.Now()
				err := removal{
					inUse:  "is in use",
					remove: func(context.Context) error { return errors.New("it is in use") },
				}.run(t.Context(), d)
				if took := time.Since(started); took != c.want || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}
