package shim

import (
	"context"
	"io"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// quiet has the resource's functions keep their notes to themselves unless TF_LOG asks for them.
//
// Upstream notes every step and all that it was given. The bridge sends each line to Pulumi's engine as a call that the
// function waits for, and the engine drops it. The bridge sets the destination at the beginning of each of its calls,
// so it is set here at the beginning of each function.
func quiet(resource *schema.Resource) {
	resource.CreateContext = quietly(resource.CreateContext)
	resource.ReadContext = quietly(resource.ReadContext)
	resource.UpdateContext = quietly(resource.UpdateContext)
	resource.DeleteContext = quietly(resource.DeleteContext)
}

func quietly[F ~func(context.Context, *schema.ResourceData, any) diag.Diagnostics](function F) F {
	if function == nil {
		return nil
	}
	return func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if _, asked := os.LookupEnv("TF_LOG"); !asked {
			log.SetOutput(io.Discard)
		}
		return function(ctx, d, meta)
	}
}
