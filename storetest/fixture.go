package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/opkit/opkit/store"
)

// base is the time of all checks that do not need another: far from any clock.
var base = time.Date(2031, time.May, 6, 7, 8, 9, 123456000, time.UTC)

// full returns a record in which no field is zero, because a store that drops a
// field keeps its zero value well. No two fields have the same value, and
// records with another seed differ in every field but the booleans, which are
// true if the seed is odd.
//
// It goes by the type, so a field that is added to a record is checked from then
// on; one of a type that it does not know makes it panic.
func full[R any](seed int) R {
	var r R
	f := filler{seed: seed}
	f.fill(reflect.ValueOf(&r).Elem(), reflect.TypeFor[R]().Name())
	return r
}

type filler struct {
	seed  int
	count int // of the fields filled so far
}

var (
	typeTime     = reflect.TypeFor[time.Time]()
	typeDuration = reflect.TypeFor[time.Duration]()
	typeJSON     = reflect.TypeFor[json.RawMessage]()
)

func (f *filler) fill(v reflect.Value, path string) {
	f.count++
	n := 1000*f.seed + f.count
	switch v.Type() {
	case typeTime:
		v.Set(reflect.ValueOf(base.Add(time.Duration(n) * (time.Hour + time.Microsecond))))
		return
	case typeDuration:
		v.SetInt(int64(time.Duration(n) * time.Second))
		return
	case typeJSON:
		// 2^53+1 does not survive a float64.
		v.SetBytes(fmt.Appendf(nil, `{"%s":[%d,9007199254740993,{"é":"\ud83d\udd11 \"'\\"}],"null":null}`, path, n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf(" %s %d é e\u0301 漢字 🔑 ' \" \\ %% _ <&> \t\n.", path, n))
	case reflect.Bool:
		v.SetBool(f.seed%2 == 1)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Float64:
		v.SetFloat(float64(n) + 0.5)
	case reflect.Array: // a digest: all bytes
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(n+7*i) % 256)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(binary(300, n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			f.fill(v.Index(i), path)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key, path)
			f.fill(value, path)
			v.SetMapIndex(key, value)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path)
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	default:
		panic(fmt.Sprintf("storetest: no fixture for %s of type %s", path, v.Type()))
	}
}

// binary returns bytes that are neither UTF-8 nor free of zeros.
func binary(size, n int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n + i*i)
	}
	b[0], b[size-1] = 0xff, 0
	return b
}

// enlarge replaces all bytes and JSON in r by 64 KiB each.
func enlarge(r any) {
	const size = 64 << 10
	walk(reflect.ValueOf(r).Elem(), func(v reflect.Value) {
		switch {
		case v.Type() == typeJSON:
			v.SetBytes([]byte(`{"large":"` + string(bytes.Repeat([]byte("é🔑"), size/6)) + `"}`))
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
			v.SetBytes(binary(size, 1))
		}
	})
}

// timesOf returns pointers to all times in r.
func timesOf(r any) []*time.Time {
	var times []*time.Time
	walk(reflect.ValueOf(r).Elem(), func(v reflect.Value) {
		if v.Type() == typeTime {
			times = append(times, v.Addr().Interface().(*time.Time))
		}
	})
	return times
}

// scribble changes everything that a shallow copy of *r would share with it.
func scribble(r any) {
	walk(reflect.ValueOf(r).Elem(), func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Slice:
			for i := range v.Len() {
				deface(v.Index(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				v.SetMapIndex(key, reflect.Zero(v.Type().Elem()))
			}
		case reflect.Pointer:
			if !v.IsNil() {
				deface(v.Elem())
			}
		}
	})
}

// deface changes v itself, all fields of a struct.
func deface(v reflect.Value) {
	walk(v, func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString("scribbled")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Uint8:
			v.SetUint(v.Uint() ^ 0xff)
		}
	})
}

// walk calls visit for v and, before that, for everything inside it that can be
// set: fields, elements and targets of pointers.
func walk(v reflect.Value, visit func(reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() != typeTime {
			for i := range v.NumField() {
				walk(v.Field(i), visit)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), visit)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				walk(v.Index(i), visit)
			}
		}
	}
	visit(v)
}

// eachBool calls visit once for each boolean in a record, with a function that
// sets this one alone: among many that are true two could be exchanged.
func eachBool[R any](visit func(name string, set func(*R))) {
	var descend func(t reflect.Type, name string, path []int)
	descend = func(t reflect.Type, name string, path []int) {
		switch t.Kind() {
		case reflect.Pointer:
			descend(t.Elem(), name, path)
		case reflect.Struct:
			for i := range t.NumField() {
				field := t.Field(i)
				if field.IsExported() {
					descend(field.Type, name+"."+field.Name, append(path[:len(path):len(path)], i))
				}
			}
		case reflect.Bool:
			visit(name, func(r *R) {
				v := reflect.ValueOf(r).Elem()
				for _, i := range path {
					v = present(v).Field(i)
				}
				present(v).SetBool(true)
			})
		}
	}
	descend(reflect.TypeFor[R](), reflect.TypeFor[R]().Name(), nil)
}

// present is what a pointer points to, which is made if there is nothing.
func present(v reflect.Value) reflect.Value {
	if v.Kind() != reflect.Pointer {
		return v
	}
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	return v.Elem()
}

// brief returns a lower-case text that stands for id where a value has to differ
// from record to record and case must not matter.
func brief(id string) string { return store.DigestOf(id).String()[:16] }
