package management

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Methods is the handler of one resource: a handler for each HTTP method. Other
// methods get 405 with Allow, in the shape of the management API.
type Methods map[string]http.Handler

func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := m[r.Method]; ok {
		h.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(m)), ", "))
	WriteError(w, r, nil, Errorf(http.StatusMethodNotAllowed, "", "This resource does not support the method."))
}
