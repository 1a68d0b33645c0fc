package shimtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// fakeEngine answers the few calls of Docker's API that the replaced functions need, as dockerd does.
type fakeEngine struct {
	host string

	// removals gets one value for each attempt to remove something, before it is answered.
	removals chan struct{}

	mu       sync.Mutex
	networks map[string]network.CreateRequest // by id
	volumes  map[string]volume.CreateOptions  // by name
	images   []image.InspectResponse          // the list has those with a name
	// containers by id; of what they are made from, only the image is kept.
	containers map[string]container.InspectResponse
	onCreation func() // while a creation is on its way
	held       bool   // everything is in use
	broken     string // every call but the handshake fails with this
	calls      []string
}

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	engine := &fakeEngine{
		removals: make(chan struct{}, 1000),
		networks: map[string]network.CreateRequest{},
		volumes:  map[string]volume.CreateOptions{},

		containers: map[string]container.InspectResponse{},
		onCreation: func() {},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.41") })
	mux.HandleFunc("GET /v1.41/version", engine.locked(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"ApiVersion": "1.41"})
	}))
	mux.HandleFunc("/", engine.locked(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "page not found")
	}))
	mux.HandleFunc("POST /v1.41/networks/create", engine.locked(engine.createNetwork))
	mux.HandleFunc("GET /v1.41/networks/{id}", engine.locked(engine.inspectNetwork))
	mux.HandleFunc("DELETE /v1.41/networks/{id}", engine.locked(engine.removeNetwork))
	mux.HandleFunc("POST /v1.41/volumes/create", engine.locked(engine.createVolume))
	mux.HandleFunc("GET /v1.41/volumes/{name}", engine.locked(engine.inspectVolume))
	mux.HandleFunc("DELETE /v1.41/volumes/{name}", engine.locked(engine.removeVolume))
	mux.HandleFunc("GET /v1.41/images/json", engine.locked(engine.listImages))
	mux.HandleFunc("GET /v1.41/images/{name}/json", engine.locked(engine.inspectImage))
	mux.HandleFunc("POST /v1.41/images/create", engine.locked(engine.pullImage))
	mux.HandleFunc("POST /v1.41/containers/create", engine.locked(engine.createContainer))
	mux.HandleFunc("POST /v1.41/containers/{id}/start", engine.locked(engine.startContainer))
	mux.HandleFunc("GET /v1.41/containers/json", engine.locked(engine.listContainers))
	mux.HandleFunc("GET /v1.41/containers/{id}/json", engine.locked(engine.inspectContainer))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	engine.host = "tcp://" + strings.TrimPrefix(server.URL, "http://")
	return engine
}

func (e *fakeEngine) hold(held bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = held
}

func (e *fakeEngine) breakWith(message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.broken = message
}

// called returns the calls since the last time, without the API's version.
func (e *fakeEngine) called() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var calls []string
	for _, call := range e.calls {
		calls = append(calls, strings.Replace(call, "/v1.41", "", 1))
	}
	e.calls = nil
	return calls
}

// count returns how many calls of that method were answered.
func (e *fakeEngine) count(method string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, call := range e.calls {
		if strings.HasPrefix(call, method+" ") {
			n++
		}
	}
	return n
}

func (e *fakeEngine) locked(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			e.removals <- struct{}{}
		}
		if strings.HasSuffix(r.URL.Path, "/create") {
			e.onCreation()
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.calls = append(e.calls, r.Method+" "+r.URL.Path)
		if e.broken != "" {
			refuse(w, http.StatusInternalServerError, e.broken)
			return
		}
		handle(w, r)
	}
}

func (e *fakeEngine) createNetwork(w http.ResponseWriter, r *http.Request) {
	var request network.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	for _, other := range e.networks {
		if other.Name == request.Name {
			refuse(w, http.StatusConflict, "network with name "+request.Name+" already exists")
			return
		}
	}
	id := "id-of-" + request.Name
	e.networks[id] = request
	answer(w, http.StatusCreated, network.CreateResponse{ID: id})
}

func (e *fakeEngine) inspectNetwork(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	request, ok := e.networks[id]
	if !ok {
		refuse(w, http.StatusNotFound, "network "+id+" not found")
		return
	}
	ipam := *request.IPAM
	if len(ipam.Config) == 0 {
		ipam.Config = []network.IPAMConfig{{Subnet: "172.30.0.0/16", Gateway: "172.30.0.1"}}
	}
	driver := request.Driver
	if driver == "" {
		driver = "bridge"
	}
	answer(w, http.StatusOK, network.Inspect{
		ID: id, Name: request.Name, Driver: driver, Scope: "local", IPAM: ipam, Labels: request.Labels,
		Options: request.Options, Internal: request.Internal, Attachable: request.Attachable, Ingress: request.Ingress,
		EnableIPv6: request.EnableIPv6 != nil && *request.EnableIPv6,
	})
}

func (e *fakeEngine) removeNetwork(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	switch request, ok := e.networks[id]; {
	case !ok:
		refuse(w, http.StatusNotFound, "network "+id+" not found")
	case e.held:
		refuse(w, http.StatusForbidden,
			"error while removing network: network "+request.Name+" id "+id+" has active endpoints")
	default:
		delete(e.networks, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (e *fakeEngine) createVolume(w http.ResponseWriter, r *http.Request) {
	var request volume.CreateOptions
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	e.volumes[request.Name] = request
	answer(w, http.StatusCreated, volumeOf(request))
}

func (e *fakeEngine) inspectVolume(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	request, ok := e.volumes[name]
	if !ok {
		refuse(w, http.StatusNotFound, "get "+name+": no such volume")
		return
	}
	answer(w, http.StatusOK, volumeOf(request))
}

func (e *fakeEngine) removeVolume(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	switch _, ok := e.volumes[name]; {
	case !ok:
		refuse(w, http.StatusNotFound, "get "+name+": no such volume")
	case e.held:
		refuse(w, http.StatusConflict, "remove "+name+": volume is in use - [0123456789ab]")
	default:
		delete(e.volumes, name)
		w.WriteHeader(http.StatusNoContent)
	}
}

func volumeOf(request volume.CreateOptions) volume.Volume {
	driver := request.Driver
	if driver == "" {
		driver = "local"
	}
	return volume.Volume{
		Name: request.Name, Driver: driver, Labels: request.Labels, Options: request.DriverOpts,
		Mountpoint: "/var/lib/docker/volumes/" + request.Name + "/_data", Scope: "local",
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that hung up is the test's own doing
}
