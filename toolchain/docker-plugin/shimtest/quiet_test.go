package shimtest

import (
	"bytes"
	"io"
	"log"
	"testing"
)

func TestNotesAreTakenOnlyWhereTheyAreAskedFor(t *testing.T) {
	for name, asked := range map[string]bool{"as usual": false, "with TF_LOG": true} {
		t.Run(name, func(t *testing.T) {
			if asked {
				t.Setenv("TF_LOG", "debug")
			}
			engine := newFakeEngine(t)
			engine.images = append(engine.images, imageOf("one", "one:1"))
			k := newKind(t, "docker_container", engine.host)
			var notes bytes.Buffer
			log.SetOutput(&notes)
			defer log.SetOutput(io.Discard)

			k.create(map[string]any{"name": "web", "image": "one:1"})

			if taken := notes.Len() > 0; taken != asked {
				t.Errorf("notes: %q", notes.String())
			}
		})
	}
}
