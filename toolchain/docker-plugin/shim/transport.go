package shim

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// creationGrace is what a creation that is on its way gets to end once its caller has given up.
const creationGrace = 10 * time.Second

// transport is between the functions of the provider and the engine. Upstream's functions stay as they are, so that what
// they store stays what it is; what they ask for in a roundabout way is answered here from less (search).
type transport struct{ engine http.RoundTripper }

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if all, searching := request.Context().Value(searchesKey{}).(searches); searching {
		if answer := all.answer(request, t.engine); answer != nil {
			return answer, nil
		}
	}
	if isCreation(request) {
		return t.carriedThrough(request)
	}
	return t.engine.RoundTrip(request)
}

func isCreation(request *http.Request) bool {
	if request.Method != http.MethodPost {
		return false
	}
	for _, kind := range []string{"containers", "networks", "volumes"} {
		if strings.HasSuffix(request.URL.Path, "/"+kind+"/create") {
			return true
		}
	}
	return false
}

// carriedThrough sees a creation to its end even when its caller gives up meanwhile: the engine would go on, and nobody
// would learn the id of what it makes. So it gets into the state, and what comes next meets the caller's end.
func (t *transport) carriedThrough(request *http.Request) (*http.Response, error) {
	caller := request.Context()
	if caller.Err() != nil { // not on its way yet
		return t.engine.RoundTrip(request)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(caller))
	defer cancel()
	defer context.AfterFunc(caller, func() { time.AfterFunc(creationGrace, cancel) })()
	response, err := t.engine.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	// What is left to read must not depend on ctx, which ends here.
	body, err := read(response)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// read reads the answer to its end and closes it.
func read(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(response.Body)
	if closing := response.Body.Close(); err == nil {
		err = closing
	}
	return body, err
}
