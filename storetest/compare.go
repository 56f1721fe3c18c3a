package storetest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// equate is how records are compared. Nil and empty are the same, JSON is
// compared by value, and instants closer than a microsecond are equal: a store
// may truncate or round.
var equate = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Microsecond }),
	cmp.FilterPath(
		func(p cmp.Path) bool { return p.Last().Type() == typeJSON }, // []byte is assignable, but not JSON
		cmp.FilterValues(
			func(a, b json.RawMessage) bool { return len(a)+len(b) != 0 },
			cmp.Transformer("JSON", parsed))),
}

// diff returns how got differs from want, nothing if it does not.
func diff(want, got any) string {
	// Most records are equal to the last bit, and races compare many.
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got, equate)
}

// parsed returns the value of a JSON text, and the text itself if it is none.
func parsed(raw json.RawMessage) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() {
		return string(raw)
	}
	return v
}
