package shimtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// The part of the fake engine that images and containers need.

func (e *fakeEngine) listImages(w http.ResponseWriter, _ *http.Request) {
	list := []image.Summary{}
	for _, i := range e.images {
		if len(i.RepoTags)+len(i.RepoDigests) > 0 {
			list = append(list, image.Summary{ID: i.ID, RepoTags: i.RepoTags, RepoDigests: i.RepoDigests})
		}
	}
	answer(w, http.StatusOK, list)
}

func (e *fakeEngine) inspectImage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	for _, i := range e.images {
		if i.ID == name || slices.Contains(i.RepoTags, name) || slices.Contains(i.RepoDigests, name) {
			answer(w, http.StatusOK, i)
			return
		}
	}
	refuse(w, http.StatusNotFound, "No such image: "+name)
}

func (e *fakeEngine) pullImage(w http.ResponseWriter, r *http.Request) {
	tag := strings.TrimPrefix(r.FormValue("fromImage"), "docker.io/library/") + ":" + r.FormValue("tag")
	e.images = append(e.images, imageOf("pulled", tag))
	answer(w, http.StatusOK, map[string]string{"status": "pulled " + tag})
}

func (e *fakeEngine) createContainer(w http.ResponseWriter, r *http.Request) {
	var request container.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	id := "id-of-" + r.FormValue("name")
	e.containers[id] = container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: id, Name: "/" + r.FormValue("name"), HostConfig: request.HostConfig, Image: request.Image,
			State: &container.State{},
		},
		Config: request.Config, NetworkSettings: &container.NetworkSettings{},
	}
	answer(w, http.StatusCreated, container.CreateResponse{ID: id})
}

func (e *fakeEngine) startContainer(w http.ResponseWriter, r *http.Request) {
	e.containers[r.PathValue("id")].State.Running = true
	w.WriteHeader(http.StatusNoContent)
}

func (e *fakeEngine) listContainers(w http.ResponseWriter, _ *http.Request) {
	list := []container.Summary{}
	for id := range e.containers {
		list = append(list, container.Summary{ID: id})
	}
	answer(w, http.StatusOK, list)
}

func (e *fakeEngine) inspectContainer(w http.ResponseWriter, r *http.Request) {
	found, ok := e.containers[r.PathValue("id")]
	if !ok {
		refuse(w, http.StatusNotFound, "No such container: "+r.PathValue("id"))
		return
	}
	answer(w, http.StatusOK, found)
}

// imageOf is an image with these names.
func imageOf(id string, tags ...string) image.InspectResponse {
	return image.InspectResponse{ID: idOf(id), RepoTags: tags, Os: "linux"}
}

// idOf is an id as long as upstream takes every id to be.
func idOf(image string) string { return "sha256:" + strings.Repeat(image, 12)[:12] }
