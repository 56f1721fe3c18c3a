package management

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/httpx"
)

// Decode reads the JSON body of r into a T, which is a struct whose fields carry
// json tags. It is strict where encoding/json is not:
//
//   - The content type is application/json, else 415; at most 64 KiB, else 413.
//   - Names of members are compared exactly, at every level. A member that T does
//     not have is refused, and so is one that appears twice.
//   - A wrong type is refused with the name of the member and the type it needs.
//   - null is a wrong type, except for a [Nullable] field.
//
// What a field's type means:
//
//	bool, string, int…, float64   left out: the zero value
//	*X                            left out: nil; null is refused
//	Nullable[X]                   left out, null, or a value
//	struct, *struct               an object with exactly these members
//	[]X, map[string]X             an array, an object with any names
//	json.RawMessage               any value other than null, as it was sent
//
// The error is an [*Error] and comes with the zero T.
func Decode[T any](w http.ResponseWriter, r *http.Request) (T, error) {
	body, err := httpx.ReadBody(w, r)
	if err != nil {
		var zero T
		return zero, bodyError(err)
	}
	return Unmarshal[T](body, "")
}

// DecodeMembers reads the JSON body of r as an object whose members the caller
// decodes, because they are not those of a struct. The rules for the body as a whole
// are those of [Decode].
func DecodeMembers(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, error) {
	body, err := httpx.ReadBody(w, r)
	if err != nil {
		return nil, bodyError(err)
	}
	if err := checkObject(body); err != nil {
		return nil, err
	}
	return split("", body)
}

// DecodeList reads the JSON body of r as an array of T, by the rules of [Decode].
func DecodeList[T any](w http.ResponseWriter, r *http.Request) ([]T, error) {
	body, err := httpx.ReadBody(w, r)
	if err != nil {
		return nil, bodyError(err)
	}
	if !starts(body, '[') || !json.Valid(body) {
		return nil, InvalidBody("the request body must be a JSON array")
	}
	if err := checkObject(slices.Concat([]byte(`{"":`), body, []byte("}"))); err != nil {
		return nil, err
	}
	var out []T
	if err := decodeSlice("", body, reflect.ValueOf(&out).Elem()); err != nil {
		return nil, err
	}
	return out, nil
}

// Unmarshal decodes one JSON object by the rules of [Decode]. It serves members
// whose shape depends on another one. path, unless empty, is the name of the
// member that holds the object, for the error's text.
func Unmarshal[T any](object []byte, path string) (T, error) {
	var out, zero T
	if path != "" && !starts(object, '{') {
		return zero, mustBe(path, "an object")
	}
	if err := checkObject(object); err != nil {
		return zero, err
	}
	if err := decodeObject(path, object, reflect.ValueOf(&out).Elem()); err != nil {
		return zero, err
	}
	return out, nil
}

// checkObject looks once for what concerns the text as a whole: UTF-8, syntax, depth,
// and members that appear twice, at every level. What follows need not look.
func checkObject(object []byte) error {
	var tree map[string]any
	if err := httpx.DecodeJSON(object, &tree); err != nil {
		return bodyError(err)
	}
	if hasNUL(tree) {
		// No database engine keeps it in every text type.
		return InvalidBody("the request body has the character U+0000, which is not allowed")
	}
	return nil
}

// UnknownMember returns the error for a member that the resource does not have. path
// is the object that has it, empty for the body itself.
func UnknownMember(path, name string) error {
	if !harmless(name) {
		// Whoever wrote the name may not be who reads the answer.
		return InvalidBody("the request body has an unknown member")
	}
	return InvalidBody("the request body has the unknown member %s", join(path, name))
}

func bodyError(err error) error {
	e, ok := errors.AsType[*httpx.BodyError](err)
	switch {
	case !ok:
		return err
	case e.Status == http.StatusBadRequest:
		return InvalidBody("%s", e.Reason)
	}
	return Errorf(e.Status, "", "%s", e.Reason)
}

func hasNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.ContainsRune(v, 0)
	case []any:
		return slices.ContainsFunc(v, hasNUL)
	case map[string]any:
		for name, member := range v {
			if strings.ContainsRune(name, 0) || hasNUL(member) {
				return true
			}
		}
	}
	return false
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

// decodeObject decodes raw into the struct v.
func decodeObject(path string, raw []byte, v reflect.Value) error {
	members, err := split(path, raw)
	if err != nil {
		return err
	}
	fields := fieldsOf(v.Type())
	for _, name := range slices.Sorted(maps.Keys(members)) { // the same error each time
		index, ok := fields[name]
		if !ok {
			return UnknownMember(path, name)
		}
		if err := decode(join(path, name), members[name], v.Field(index)); err != nil {
			return err
		}
	}
	return nil
}

// split returns the members of the object raw.
func split(path string, raw []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if !starts(raw, '{') || json.Unmarshal(raw, &members) != nil {
		return nil, mustBe(path, "an object")
	}
	return members, nil
}

// fieldsOf maps the names of a struct's members to the indexes of its fields.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields[name] = i
	}
	return fields
}

// decode decodes one value into v, which is settable.
func decode(path string, raw json.RawMessage, v reflect.Value) error {
	if n, ok := v.Addr().Interface().(nullable); ok {
		if isNull(raw) {
			n.setNull()
			return nil
		}
		return decode(path, raw, reflect.ValueOf(n.setValue()).Elem())
	}
	if v.Type() == rawMessage {
		if isNull(raw) {
			return InvalidBody("%s must not be null", path)
		}
		v.SetBytes(slices.Clone(bytes.TrimSpace(raw)))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		if err := decode(path, raw, target.Elem()); err != nil {
			return err
		}
		v.Set(target)
		return nil
	case reflect.Struct:
		return decodeObject(path, raw, v)
	case reflect.Map:
		return decodeMap(path, raw, v)
	case reflect.Slice:
		return decodeSlice(path, raw, v)
	case reflect.String, reflect.Bool:
		want := map[reflect.Kind]string{reflect.String: "a string", reflect.Bool: "a boolean"}[v.Kind()]
		if isNull(raw) || json.Unmarshal(raw, v.Addr().Interface()) != nil {
			return mustBe(path, want)
		}
		return nil
	case reflect.Float64:
		if isNull(raw) || json.Unmarshal(raw, v.Addr().Interface()) != nil {
			return mustBe(path, "a number")
		}
		return nil
	case reflect.Int, reflect.Int64:
		return decodeInt(path, raw, v)
	}
	panic("management: cannot decode into a " + v.Type().String())
}

// maxInteger is the largest integer that every JSON implementation keeps exact
// (RFC 8259 §6).
const maxInteger = 1<<53 - 1

// decodeInt accepts every spelling of an integer that JSON has: 1, 1.0, 1e3.
func decodeInt(path string, raw json.RawMessage, v reflect.Value) error {
	var number float64
	if isNull(raw) || json.Unmarshal(raw, &number) != nil || number != math.Trunc(number) || math.Abs(number) > maxInteger {
		return mustBe(path, "an integer")
	}
	v.SetInt(int64(number))
	return nil
}

func decodeMap(path string, raw json.RawMessage, v reflect.Value) error {
	members, err := split(path, raw)
	if err != nil {
		return err
	}
	out := reflect.MakeMapWithSize(v.Type(), len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		element := reflect.New(v.Type().Elem()).Elem()
		at := path
		if harmless(name) {
			at = join(path, name)
		}
		if err := decode(at, members[name], element); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), element)
	}
	v.Set(out)
	return nil
}

func decodeSlice(path string, raw json.RawMessage, v reflect.Value) error {
	var elements []json.RawMessage
	if !starts(raw, '[') || json.Unmarshal(raw, &elements) != nil {
		return mustBe(path, "an array")
	}
	out := reflect.MakeSlice(v.Type(), len(elements), len(elements))
	for i, element := range elements {
		if err := decode(fmt.Sprintf("%s[%d]", path, i), element, out.Index(i)); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func mustBe(path, what string) error {
	if path == "" {
		path = "the request body"
	}
	return InvalidBody("%s must be %s", path, what)
}

func starts(raw []byte, c byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == c
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// harmless reports whether a name that a stranger chose may be repeated.
func harmless(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
