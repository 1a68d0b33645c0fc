package jsonschema

import (
	"strings"
	"sync"
	"testing"
)

var drafts = map[string]*Draft{
	"http://json-schema.org/draft-04/schema":       Draft4,
	"http://json-schema.org/draft-06/schema":       Draft6,
	"http://json-schema.org/draft-07/schema":       Draft7,
	"https://json-schema.org/draft/2019-09/schema": Draft2019,
	"https://json-schema.org/draft/2020-12/schema": Draft2020,
}

func TestNothingIsCompiledBeforeItIsUsed(t *testing.T) {
	schema := MustCompileString("s.json", `{"type": "strin"}`)
	defer func() {
		if said, ok := recover().(string); !ok || !strings.Contains(said, "jsonschema: ") {
			t.Errorf("panic %q", said)
		}
	}()
	err := schema.Validate("x")
	t.Errorf("validated: %v", err)
}

func TestSchemasOfEachDraftAreHeldToIt(t *testing.T) {
	for url, draft := range drafts {
		if _, err := CompileString("s.json", `{"$schema": "`+url+`", "type": "strin"}`); err == nil {
			t.Errorf("%s: takes a type that there is not", draft)
		}
		schema, err := CompileString("s.json", `{"$schema": "`+url+`", "type": "string"}`)
		if err != nil {
			t.Fatalf("%s: %v", draft, err)
		}
		if schema.Validate("x") != nil || schema.Validate(1) == nil {
			t.Errorf("%s: takes a number for a string", draft)
		}
		if draft.metaSchema() == nil {
			t.Errorf("%s: has no schema", draft)
		}
	}
}

func TestManyUseASchemaAtOnce(t *testing.T) {
	schema := MustCompileString("s.json", `{"type": "object", "properties": {"a": {"minimum": 2}}}`)
	var group sync.WaitGroup
	for n := 0; n < 16; n++ {
		group.Go(func() {
			if err := schema.Validate(map[string]interface{}{"a": 1}); err == nil {
				t.Error("1 is at least 2")
			}
			if err := schema.Validate(map[string]interface{}{"a": 2}); err != nil {
				t.Error(err)
			}
			if schema.Compiled().Properties["a"] == nil {
				t.Error("a has no schema")
			}
		})
	}
	group.Wait()
}
