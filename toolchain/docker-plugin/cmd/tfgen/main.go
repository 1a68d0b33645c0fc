// Command tfgen writes the plugin's package schema, schema.json, into the folder it is given.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ephemera-environments/ephemera/toolchain/docker-plugin"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	"github.com/spf13/afero"
)

const schemaFile = "schema.json"

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: tfgen FOLDER (schema.json is written into it)"))
	}
	schema, err := generate()
	if err != nil {
		fail(fmt.Errorf("the schema cannot be generated: %w", err))
	}
	if err := os.WriteFile(filepath.Join(os.Args[1], schemaFile), schema, 0o644); err != nil {
		fail(err)
	}
}

// generate returns the schema without the guides and examples of upstream's documentation: they are what the published
// SDK carries, and nothing here reads them.
func generate() ([]byte, error) {
	files := afero.NewMemMapFs() // the bridge writes other files too, which nothing here needs
	generator, err := tfgen.NewGenerator(tfgen.GeneratorOptions{
		Package:       docker.Name,
		Version:       docker.Version,
		Language:      tfgen.Schema,
		ProviderInfo:  docker.Info(),
		Root:          files,
		SkipDocs:      true,
		SkipExamples:  true,
		XInMemoryDocs: true,
	})
	if err != nil {
		return nil, err
	}
	if _, err := generator.Generate(context.Background()); err != nil {
		return nil, err
	}
	return afero.ReadFile(files, schemaFile)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
