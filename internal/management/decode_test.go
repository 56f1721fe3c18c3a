package management_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/management"
)

type inner struct {
	On    *bool `json:"on"`
	Count int   `json:"count"`
}

// body has a field of every kind that Decode knows.
type body struct {
	Name    string                        `json:"name"`
	On      bool                          `json:"on"`
	Number  float64                       `json:"number"`
	Integer int64                         `json:"integer"`
	Pointer *string                       `json:"pointer"`
	Null    management.Nullable[string]   `json:"null"`
	Nulls   management.Nullable[[]string] `json:"nulls"`
	Inner   inner                         `json:"inner"`
	Maybe   *inner                        `json:"maybe"`
	List    []string                      `json:"list"`
	Inners  []inner                       `json:"inners"`
	Map     map[string]string             `json:"map"`
	Raw     json.RawMessage               `json:"raw"`
	Hidden  string                        `json:"-"`
	NoTag   string
}

func TestDecode(t *testing.T) {
	yes, text := true, "x"
	for in, want := range map[string]body{
		`{}`:                                   {},
		" \r\n\t{ } \n":                        {},
		`{"name":"a\u00e4"}`:                   {Name: "aä"},
		`{"name":""}`:                          {},
		`{"on":true}`:                          {On: true},
		`{"number":-1.5e2}`:                    {Number: -150},
		`{"integer":1e3}`:                      {Integer: 1000},
		`{"integer":-2.0}`:                     {Integer: -2},
		`{"pointer":"x"}`:                      {Pointer: &text},
		`{"null":null}`:                        {Null: management.Nullable[string]{Sent: true, Null: true}},
		`{"null":"x"}`:                         {Null: management.Nullable[string]{Sent: true, Value: "x"}},
		`{"null":""}`:                          {Null: management.Nullable[string]{Sent: true}},
		`{"nulls":["a"]}`:                      {Nulls: management.Nullable[[]string]{Sent: true, Value: []string{"a"}}},
		`{"nulls":null}`:                       {Nulls: management.Nullable[[]string]{Sent: true, Null: true}},
		`{"inner":{"on":true,"count":2}}`:      {Inner: inner{On: &yes, Count: 2}},
		`{"inner":{}}`:                         {},
		`{"maybe":{}}`:                         {Maybe: &inner{}},
		`{"list":[]}`:                          {List: []string{}},
		`{"list":["a","b"]}`:                   {List: []string{"a", "b"}},
		`{"inners":[{"count":1},{"on":true}]}`: {Inners: []inner{{Count: 1}, {On: &yes}}},
		`{"map":{"Any Name!":"v","":"w"}}`:     {Map: map[string]string{"Any Name!": "v", "": "w"}},
		`{"raw":{"a":[1, 2]}}`:                 {Raw: json.RawMessage(`{"a":[1, 2]}`)},
		`{"raw":0}`:                            {Raw: json.RawMessage(`0`)},
	} {
		got, err := management.Unmarshal[body]([]byte(in), "")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", in, err, diff)
		}
	}
}

func TestDecodeNamesTheMemberAndTheRule(t *testing.T) {
	for in, want := range map[string]string{
		``:                             "the request body must be a JSON object",
		`null`:                         "the request body must be a JSON object",
		`[]`:                           "the request body must be a JSON object",
		`"a"`:                          "the request body must be a JSON object",
		`{"name":1}`:                   "name must be a string",
		`{"name":null}`:                "name must be a string",
		`{"name":{"a":1}}`:             "name must be a string",
		`{"on":"true"}`:                "on must be a boolean",
		`{"on":null}`:                  "on must be a boolean",
		`{"number":"1"}`:               "number must be a number",
		`{"number":null}`:              "number must be a number",
		`{"integer":1.5}`:              "integer must be an integer",
		`{"integer":1e300}`:            "integer must be an integer",
		`{"integer":9007199254740993}`: "integer must be an integer",
		`{"integer":true}`:             "integer must be an integer",
		`{"integer":null}`:             "integer must be an integer",
		`{"pointer":null}`:             "pointer must be a string",
		`{"null":1}`:                   "null must be a string",
		`{"nulls":"a"}`:                "nulls must be an array",
		`{"nulls":[null]}`:             "nulls[0] must be a string",
		`{"inner":null}`:               "inner must be an object",
		`{"inner":[]}`:                 "inner must be an object",
		`{"inner":{"on":1}}`:           "inner.on must be a boolean",
		`{"inner":{"off":1}}`:          "the request body has the unknown member inner.off",
		`{"maybe":null}`:               "maybe must be an object",
		`{"list":{}}`:                  "list must be an array",
		`{"list":null}`:                "list must be an array",
		`{"list":["a",1]}`:             "list[1] must be a string",
		`{"inners":[{},{"count":""}]}`: "inners[1].count must be an integer",
		`{"map":[]}`:                   "map must be an object",
		`{"map":{"a":1}}`:              "map.a must be a string",
		`{"map":{"a b":1}}`:            "map must be a string",
		`{"raw":null}`:                 "raw must not be null",
		// Unknown, differently spelled, not for requests.
		`{"other":1}`:  "the request body has the unknown member other",
		`{"Name":"a"}`: "the request body has the unknown member Name",
		`{"NAME":"a"}`: "the request body has the unknown member NAME",
		`{"ſist":[]}`:  "the request body has an unknown member",
		`{"Hidden":1}`: "the request body has the unknown member Hidden",
		`{"-":1}`:      "the request body has the unknown member -",
		`{"NoTag":1}`:  "the request body has the unknown member NoTag",
		`{"":1}`:       "the request body has an unknown member",
		// Names are repeated only if they are harmless.
		`{"<script>alert(1)</script>":1}`:           "the request body has an unknown member",
		`{"a\nb":1}`:                                "the request body has an unknown member",
		`{"` + strings.Repeat("a", 65) + `":1}`:     "the request body has an unknown member",
		`{"inner":{"<b>":1}}`:                       "the request body has an unknown member",
		`{"zz":1,"aa":1}`:                           "the request body has the unknown member aa",
		`{"name":"a","name":"a"}`:                   "the request body is not valid JSON, or has a member twice",
		`{"name":"a","n\u0061me":"b"}`:              "the request body is not valid JSON, or has a member twice",
		`{"inner":{"count":1,"count":2}}`:           "the request body is not valid JSON, or has a member twice",
		`{"inners":[{"count":1,"count":2}]}`:        "the request body is not valid JSON, or has a member twice",
		`{"map":{"a":"1","a":"2"}}`:                 "the request body is not valid JSON, or has a member twice",
		`{"raw":{"a":{"b":1,"b":2}}}`:               "the request body is not valid JSON, or has a member twice",
		`{"name":"a"`:                               "the request body is not valid JSON, or has a member twice",
		`{"name":"a"}{}`:                            "the request body is not valid JSON, or has a member twice",
		`{'name':"a"}`:                              "the request body is not valid JSON, or has a member twice",
		`{"name":"a",}`:                             "the request body is not valid JSON, or has a member twice",
		"{\"name\":\"\xff\"}":                       "the request body is not valid UTF-8",
		`{"name":"a\u0000"}`:                        "the request body has the character U+0000, which is not allowed",
		`{"map":{"\u0000":""}}`:                     "the request body has the character U+0000, which is not allowed",
		`{"raw":[{"a":["\u0000"]}]}`:                "the request body has the character U+0000, which is not allowed",
		`{"raw":` + strings.Repeat("[", 1000) + `}`: "the request body is nested too deeply",
	} {
		got, err := management.Unmarshal[body]([]byte(in), "")
		e, ok := errors.AsType[*management.Error](err)
		if !ok || e.Status != http.StatusBadRequest || e.Code != "invalid_body" || e.Message != want {
			t.Errorf("%.60s: %v; want %q", in, err, want)
		}
		if !reflect.ValueOf(got).IsZero() {
			t.Errorf("%.60s: the error came with %+v", in, got)
		}
	}
}

func TestUnmarshalNamesMembersBelowAPath(t *testing.T) {
	_, err := management.Unmarshal[inner]([]byte(`{"count":"1"}`), "options")
	if e, ok := errors.AsType[*management.Error](err); !ok || e.Message != "options.count must be an integer" {
		t.Error(err)
	}
}

func TestDecodeReadsJSONOfBoundedSize(t *testing.T) {
	big := `{"name":"` + strings.Repeat("a", 64<<10) + `"}`
	for name, c := range map[string]struct {
		contentType, body string
		status            int
	}{
		"JSON":              {"application/json", `{"name":"a"}`, 0},
		"with a charset":    {"application/json; charset=utf-8", `{"name":"a"}`, 0},
		"no type":           {"", `{"name":"a"}`, 415},
		"form":              {"application/x-www-form-urlencoded", "name=a", 415},
		"text":              {"text/plain", `{"name":"a"}`, 415},
		"JSON in the name":  {"application/jsonx", `{"name":"a"}`, 415},
		"too large":         {"application/json", big, 413},
		"too large, spaces": {"application/json", strings.Repeat(" ", 64<<10) + `{}`, 413},
	} {
		for _, chunked := range []bool{false, true} {
			r := httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(c.body))
			if chunked {
				r.ContentLength = -1
			}
			r.Header.Set("Content-Type", c.contentType)
			got, err := management.Decode[body](httptest.NewRecorder(), r)
			if c.status == 0 {
				if err != nil || got.Name != "a" {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
				continue
			}
			if e, ok := errors.AsType[*management.Error](err); !ok || e.Status != c.status || !reflect.ValueOf(got).IsZero() {
				t.Errorf("%s: %+v, %v; want %d", name, got, err, c.status)
			}
		}
	}
}

func TestApplyTo(t *testing.T) {
	for _, c := range []struct {
		n    management.Nullable[string]
		want string
	}{
		{management.Nullable[string]{}, "before"},
		{management.Nullable[string]{Sent: true, Null: true}, ""},
		{management.Nullable[string]{Sent: true, Value: "after"}, "after"},
	} {
		got := "before"
		if c.n.ApplyTo(&got); got != c.want {
			t.Errorf("%+v: %q, want %q", c.n, got, c.want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","null":null,"inner":{"on":true},"list":["a"],"map":{"a":"b"},"raw":[1,{"a":2}]}`,
		`{"integer":1e3,"number":-0.0}`, `{"name":"a","name":"b"}`, `{"NAME":1}`, `[`, "{\"\xff\":1}", `{"raw":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		got, err := management.Unmarshal[body](in, "")
		if !bytes.Equal(in, before) {
			t.Error("the input changed")
		}
		if err != nil {
			if _, ok := errors.AsType[*management.Error](err); !ok {
				t.Errorf("not an answer for the caller: %v", err)
			}
			if !reflect.ValueOf(got).IsZero() {
				t.Errorf("the error came with %+v", got)
			}
			return
		}
		// What is accepted means the same to every other decoder.
		var lenient body
		if jsonErr := json.Unmarshal(in, &lenient); jsonErr == nil && got.Name != lenient.Name {
			t.Errorf("%q means %q to others", got.Name, lenient.Name)
		}
	})
}

func TestDecodeList(t *testing.T) {
	decode := func(in string) ([]inner, error) {
		r := httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(in))
		r.Header.Set("Content-Type", "application/json")
		return management.DecodeList[inner](httptest.NewRecorder(), r)
	}
	got, err := decode(" [{\"count\":1}, {\"count\":2}]\n")
	if diff := cmp.Diff([]inner{{Count: 1}, {Count: 2}}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := decode(`[]`); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	for in, want := range map[string]string{
		``: "must be a JSON array", `null`: "must be a JSON array", `{}`: "must be a JSON array", `[`: "must be a JSON array",
		`[] []`: "must be a JSON array", `[],"x":[]`: "must be a JSON array", `[null]`: "[0] must be an object", `[{},{"count":"1"}]`: "[1].count must be an integer",
		`[{"count":1,"count":2}]`: "a member twice", `[{"Count":1}]`: "unknown member [0].Count", "[\"\xff\"]": "not valid UTF-8",
		`["\u0000"]`: "U+0000", strings.Repeat("[", 40) + strings.Repeat("]", 40): "nested too deeply",
	} {
		got, err := decode(in)
		if e, ok := errors.AsType[*management.Error](err); !ok || e.Status != 400 || !strings.Contains(e.Message, want) || got != nil {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}
