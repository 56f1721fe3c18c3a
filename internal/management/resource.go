package management

import (
	"net/http"
	"net/url"
	"path"
)

// Resource serves the records of one kind: the collection at a path that ends in
// Name, and one record at the path below it. It may be mounted under any path that
// ends in the wildcard {id} or, without wildcards, as its own path says.
type Resource struct {
	// Name is the last segment of the collection's path: "connections".
	Name string
	// Collection answers for all records, One for the record that ID names.
	Collection, One Methods
}

func (res Resource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if res.ID(r) == "" {
		res.Collection.ServeHTTP(w, r)
		return
	}
	res.One.ServeHTTP(w, r)
}

// ID returns the identifier in a request's path, not validated; empty for the
// collection.
func (res Resource) ID(r *http.Request) string { return PathID(r, res.Name) }

// PathID returns the identifier at the end of a request's path, not validated; empty
// if the path ends in the collection's name.
func PathID(r *http.Request, collection string) string {
	if id := r.PathValue("id"); id != "" {
		return id
	}
	switch last := path.Base(r.URL.Path); last {
	case collection, ".", "/":
		return ""
	default:
		return last
	}
}

// PathOwner returns the identifier before the last segment of a request's path, not
// validated: that of the user in /users/{id}/sessions.
func PathOwner(r *http.Request) string {
	if id := r.PathValue("id"); id != "" {
		return id
	}
	if owner := path.Base(path.Dir(r.URL.Path)); owner != "." && owner != "/" {
		return owner
	}
	return ""
}

// PathVerb returns the last segment of a request's path: the revoke of
// /sessions/{id}/revoke, or what may be an identifier.
func PathVerb(r *http.Request) string { return path.Base(r.URL.Path) }

// maxIdentifier bounds the identifiers that [OwnerID] and [Filter] accept.
const maxIdentifier = 1 << 10

// OwnerID is [PathOwner] for what is looked up by a filter: an empty identifier would
// select everybody's, and some stores take no control characters.
func OwnerID(r *http.Request) (string, error) {
	id := PathOwner(r)
	if id == "" || len(id) > maxIdentifier || !plainText(id) {
		return "", InvalidQuery("the identifier in the path must be text of 1 to %d bytes without control characters", maxIdentifier)
	}
	return id, nil
}

// Filter returns the value of a query parameter that selects records by an identifier,
// empty if the parameter is absent. An empty value is an error, because it would select
// everybody's.
func Filter(query url.Values, name string) (string, error) {
	switch values := query[name]; {
	case len(values) > 1:
		return "", InvalidQuery("%s appears more than once", name)
	case len(values) == 0:
		return "", nil
	case values[0] == "":
		return "", InvalidQuery("%s must not be empty", name)
	case len(values[0]) > maxIdentifier || !plainText(values[0]):
		return "", InvalidQuery("%s must be text of at most %d bytes without control characters", name, maxIdentifier)
	default:
		return values[0], nil
	}
}
