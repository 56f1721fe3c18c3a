package management

import (
	"net/http"
	"slices"
)

// Operation is the handler of one method of a resource, and what the OpenAPI document
// says of it. [Guard.Require] makes one.
type Operation struct {
	scope   string
	handler http.Handler
	doc     Doc
}

func (o *Operation) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.handler.ServeHTTP(w, r) }

// Describe sets what the document says of the operation.
func (o *Operation) Describe(doc Doc) *Operation {
	o.doc = doc
	return o
}

// conditional reports whether the handler itself looks at the conditions of a request.
func (o *Operation) conditional(method string) bool {
	switch method {
	case http.MethodGet:
		return true
	case http.MethodPatch, http.MethodPut, http.MethodDelete:
		return o.doc.Tagged || slices.Contains(o.doc.Errors, http.StatusPreconditionFailed)
	}
	return false
}

// Doc is what the OpenAPI document says of an operation beyond what holds for all of
// them: the scope, the header fields, and 400, 401, 403 and 429.
type Doc struct {
	// Summary says in a few words what the operation does.
	Summary string
	// Query are the parameters beside those of paging.
	Query []Parameter
	// Body is a value of the type that the handler decodes. Nil: there is no body.
	Body any
	// Required are the members that a body must have; Optional says that the body as a
	// whole may be left out.
	Required []string
	Optional bool
	// Status is that of success. Zero: 200.
	Status int
	// Answer is what success answers with. The zero value: nothing.
	Answer Answer
	// Tagged says that the operation is about one record with an ETag, so that it may be
	// conditional.
	Tagged bool
	// Errors are statuses of errors that not every operation has.
	Errors []int
}

// Parameter is a query parameter.
type Parameter struct {
	Name, Description string
	Required, Repeats bool
	// Values are all that it may have. Empty: any.
	Values []string
}

// form is how an answer with many records looks.
type form int

const (
	one form = iota
	array
	paged
	byCheckpoint
)

// Answer is the body of an answer: one record or many.
type Answer struct {
	name   string // of the schema
	view   any
	form   form
	member string // that has the records
}

// Object is an answer with one record. The name is that of its schema.
func Object(name string, view any) Answer { return Answer{name: name, view: view} }

// Array is an answer with all records.
func Array(name string, view any) Answer { return Answer{name: name, view: view, form: array} }

// Paged is the answer of a [List], member its Name.
func Paged(member, name string, view any) Answer { return Answer{name, view, paged, member} }

// ByCheckpoint is the answer of a [List] with CheckpointOnly.
func ByCheckpoint(member, name string, view any) Answer {
	return Answer{name, view, byCheckpoint, member}
}

// Described is a handler that knows its operations, by the path below its own: "" and
// "/{id}".
type Described interface {
	http.Handler
	Operations() map[string]Methods
}

// Operations implements [Described].
func (m Methods) Operations() map[string]Methods { return map[string]Methods{"": m} }

// Operations implements [Described].
func (res Resource) Operations() map[string]Methods {
	return map[string]Methods{"": res.Collection, "/{id}": res.One}
}
