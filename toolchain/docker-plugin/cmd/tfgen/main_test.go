package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/ephemera-environments/ephemera/toolchain/docker-plugin"
)

func TestCheckedInSchemaIsWhatIsGenerated(t *testing.T) {
	generated, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(generated, docker.Schema) {
		t.Error("schema.json is not what provider.go describes: run 'go generate' in docker-plugin")
	}
}

func TestSchemaServesThePublishedSDK(t *testing.T) {
	var schema struct {
		Resources map[string]struct{ InputProperties, Properties map[string]any }
		Functions map[string]any
		Provider  struct{ InputProperties map[string]any }
	}
	if err := json.Unmarshal(docker.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	for token, inputs := range map[string][]string{
		"docker:index/buildxBuilder:BuildxBuilder": nil,
		"docker:index/container:Container":         {"command", "networksAdvanced", "envs", "ports", "volumes", "name"},
		"docker:index/network:Network":             {"ipamConfigs", "labels", "options", "name"},
		"docker:index/plugin:Plugin":               nil,
		"docker:index/registryImage:RegistryImage": nil,
		"docker:index/remoteImage:RemoteImage":     {"keepLocally", "pullTriggers", "name"},
		"docker:index/secret:Secret":               nil,
		"docker:index/service:Service":             nil,
		"docker:index/serviceConfig:ServiceConfig": nil,
		"docker:index/tag:Tag":                     nil,
		"docker:index/volume:Volume":               {"driverOpts", "labels", "name"},
	} {
		resource, ok := schema.Resources[token]
		if !ok {
			t.Errorf("resource %s is missing", token)
		}
		for _, input := range inputs {
			if _, ok := resource.InputProperties[input]; !ok {
				t.Errorf("%s has no input %q", token, input)
			}
		}
	}
	for _, name := range []string{
		"getLogs", "getNetwork", "getPlugin", "getRegistryImage", "getRegistryImageManifests", "getRemoteImage",
	} {
		if _, ok := schema.Functions["docker:index/"+name+":"+name]; !ok {
			t.Errorf("function %s is missing", name)
		}
	}
	if _, ok := schema.Provider.InputProperties["registryAuth"]; !ok {
		t.Error("the provider has no input registryAuth")
	}
}
