package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// search is how upstream looks for one image or container: it asks for the list of all, then for the one, and takes it
// from the list where it is in it. The list of images costs the engine a millisecond per image and more. Here the one is
// asked for when upstream asks for all; where it is there, the list is that one, and the answer serves the second
// question.
type search struct {
	list string                   // end of the path of the request for all
	name func() string            // of the one
	only func([]byte) (any, bool) // it as the list would have it; false where the list would not, or might not

	mu      sync.Mutex
	learned []byte // between the two questions
}

// searches are those of one operation.
type searches []*search

type searchesKey struct{}

// shortenImage leaves upstream's functions as they are, and spares the engine the lists that they ask for. A build stays
// upstream's alone: what it makes is not what was there before.
func shortenImage(resource *schema.Resource) {
	build, create := resource.CreateContext, searching(resource.CreateContext, imageIn("name"))
	resource.CreateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if _, built := d.GetOk("build"); built {
			return build(ctx, d, meta)
		}
		return create(ctx, d, meta)
	}
	resource.ReadContext = searching(resource.ReadContext, imageIn("name"))
	resource.UpdateContext = searching(resource.UpdateContext, imageIn("name"))
	resource.DeleteContext = searching(resource.DeleteContext, imageIn("name"))
}

// shortenContainer does the same for containers: upstream lists all images before it creates one, and all containers
// before it reads one. What is left is what the creation itself costs the engine.
func shortenContainer(resource *schema.Resource) {
	resource.CreateContext = searching(resource.CreateContext, imageIn("image"), itself)
	resource.ReadContext = searching(resource.ReadContext, itself)
}

// searching runs upstream's function with its searches shortened.
func searching[F ~func(context.Context, *schema.ResourceData, any) diag.Diagnostics](
	function F, kinds ...func(*schema.ResourceData) *search,
) F {
	return func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		var all searches
		for _, kind := range kinds {
			all = append(all, kind(d))
		}
		return function(context.WithValue(ctx, searchesKey{}, all), d, meta)
	}
}

// imageIn is the search for the image that the field names.
func imageIn(field string) func(*schema.ResourceData) *search {
	return func(d *schema.ResourceData) *search {
		return &search{list: "/images/json", name: func() string { return d.Get(field).(string) }, only: onlyImage}
	}
}

// itself is the search for the container that the resource is.
func itself(d *schema.ResourceData) *search {
	return &search{list: "/containers/json", name: d.Id, only: onlyContainer}
}

// answer returns what can be said without asking the engine what upstream asks; nil: ask it.
func (all searches) answer(request *http.Request, engine http.RoundTripper) *http.Response {
	if request.Method != http.MethodGet {
		return nil
	}
	// Upstream asks for all that the engine knows of its machine, to log a warning on Windows.
	if len(all) > 0 && strings.HasSuffix(request.URL.Path, "/info") {
		return answered(request, []byte(`{"OSType":"linux"}`))
	}
	for _, s := range all {
		if answer := s.answer(request, engine); answer != nil {
			return answer
		}
	}
	return nil
}

func (s *search) answer(request *http.Request, engine http.RoundTripper) *http.Response {
	s.mu.Lock() // upstream waits for a container's health in a goroutine, which it does not wait for
	defer s.mu.Unlock()
	inspect := strings.TrimSuffix(s.list, "json") + s.name() + "/json"
	switch path := request.URL.Path; {
	case strings.HasSuffix(path, inspect):
		learned := s.learned
		s.learned = nil // it is good for one question: what is asked later is to be what is so later
		return answered(request, learned)
	case strings.HasSuffix(path, s.list):
		listed, learned := s.one(request, strings.TrimSuffix(path, s.list)+inspect, engine)
		s.learned = learned
		return answered(request, listed)
	}
	return nil
}

// one asks for the one instead of the list: it as a list, and as the engine told it; nothing where that is not sure to be
// what upstream would find. An error is left to the list to meet as well.
func (s *search) one(list *http.Request, path string, engine http.RoundTripper) (listed, learned []byte) {
	request := list.Clone(list.Context())
	request.URL.Path, request.URL.RawQuery = path, ""
	response, err := engine.RoundTrip(request)
	if err != nil {
		return nil, nil
	}
	body, err := read(response)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, nil
	}
	only, ok := s.only(body)
	if !ok {
		return nil, nil
	}
	if listed, err = json.Marshal([]any{only}); err != nil {
		return nil, nil
	}
	return listed, body
}

// onlyImage is an image as the list has it, as far as upstream reads it. Not every image that can be inspected is in the
// list: the layers of a build without a name are not, nor is one of which the engine has no content for this platform.
func onlyImage(inspected []byte) (any, bool) {
	var found image.InspectResponse
	if err := json.Unmarshal(inspected, &found); err != nil {
		return nil, false
	}
	listed := found.Os != "" && len(found.RepoTags)+len(found.RepoDigests) > 0
	return image.Summary{ID: found.ID, RepoTags: found.RepoTags, RepoDigests: found.RepoDigests}, listed
}

func onlyContainer(inspected []byte) (any, bool) {
	var found struct{ ID string } // as `Id`: names are matched without regard to case
	err := json.Unmarshal(inspected, &found)
	return container.Summary{ID: found.ID}, err == nil && found.ID != ""
}

// answered is the engine's answer, made up; nil for none.
func answered(request *http.Request, body []byte) *http.Response {
	if body == nil {
		return nil
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: request.Proto, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: request,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
