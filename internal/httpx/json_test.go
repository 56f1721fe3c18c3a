package httpx

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Name   string          `json:"name"`
	Count  int             `json:"count"`
	List   []string        `json:"list"`
	Nested json.RawMessage `json:"nested"`
}

func post(contentType string, body io.Reader) *http.Request {
	r := httptest.NewRequest("POST", "/", body)
	r.Header.Set("Content-Type", contentType)
	return r
}

func TestReadJSON(t *testing.T) {
	for _, ct := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON", " application/json"} {
		var got sample
		body := " \r\n\t{\"name\":\"a\\u00fc\",\"count\":2,\"list\":[\"x\"],\"unknown\":{\"name\":1},\"NAME\":\"ignored\"}\n"
		if err := ReadJSON(httptest.NewRecorder(), post(ct, strings.NewReader(body)), &got); err != nil {
			t.Fatalf("%s: %v", ct, err)
		}
		if diff := cmp.Diff(sample{Name: "aü", Count: 2, List: []string{"x"}}, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", ct, diff)
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	const ct = "application/json"
	long := `{"name":"` + strings.Repeat("x", MaxJSON) + `"}`
	deep := func(n int) string {
		return `{"unknown":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`
	}
	for _, c := range []struct {
		rule, contentType, body string
		status                  int
		reason                  string
	}{
		{"no content type", "", `{}`, 415, "the content type must be application/json"},
		{"form", "application/x-www-form-urlencoded", `{}`, 415, "the content type must be application/json"},
		{"text", "text/plain", `{}`, 415, "the content type must be application/json"},
		{"another JSON type", "application/jwk+json", `{}`, 415, "the content type must be application/json"},
		{"prefix of the type", "application/jsonp", `{}`, 415, "the content type must be application/json"},
		{"broken parameters", "application/json; charset", `{}`, 415, "the content type must be application/json"},
		{"size", ct, long, 413, "the request body is larger than 64 KiB"},
		{"empty", ct, "", 400, "the request body must be a JSON object"},
		{"white space", ct, "\n ", 400, "the request body must be a JSON object"},
		{"null", ct, "null", 400, "the request body must be a JSON object"},
		{"array", ct, "[{}]", 400, "the request body must be a JSON object"},
		{"string", ct, `"{}"`, 400, "the request body must be a JSON object"},
		{"byte order mark", ct, "\ufeff{}", 400, "the request body must be a JSON object"},
		{"form feed", ct, "\f{}", 400, "the request body must be a JSON object"},
		{"invalid UTF-8", ct, "{\"name\":\"\xff\"}", 400, "the request body is not valid UTF-8"},
		{"invalid UTF-8 in a name", ct, "{\"\xc3\":1}", 400, "the request body is not valid UTF-8"},
		{"cut off", ct, `{"name":"a"`, 400, "the request body is not valid JSON, or has a member twice"},
		{"trailing data", ct, `{}{}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"trailing bracket", ct, `{}}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"trailing comma", ct, `{"name":"a",}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"comment", ct, `{/*x*/}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"single quotes", ct, `{'name':'a'}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"control character in a string", ct, "{\"name\":\"a\nb\"}", 400, "the request body is not valid JSON, or has a member twice"},
		{"member twice", ct, `{"name":"a","name":"b"}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"member twice in another spelling", ct, `{"name":"a","n\u0061me":"b"}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"unknown member twice", ct, `{"evil":1,"evil":2}`, 400, "the request body is not valid JSON, or has a member twice"},
		{"wrong type", ct, `{"name":["a"]}`, 400, "the request body has a value of the type array where another type is required"},
		{"object for a string", ct, `{"name":{}}`, 400, "the request body has a value of the type object where another type is required"},
		{"a number is not repeated", ct, `{"name":123456789}`, 400, "the request body has a value of the type number where another type is required"},
		{"a number that does not fit", ct, `{"count":99999999999999999999}`, 400, "the request body has a value of the type number where another type is required"},
		{"nested too deeply", ct, deep(maxDepth + 1), 400, "the request body is nested too deeply"},
		{"nested as deeply as fits", ct, strings.Repeat(`{"a":`, 10900) + "1" + strings.Repeat("}", 10900), 400, "the request body is nested too deeply"},
		{"brackets that never close", ct, strings.Repeat("[", 100), 400, "the request body must be a JSON object"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got := sample{Name: "before"}
			err := ReadJSON(httptest.NewRecorder(), post(c.contentType, strings.NewReader(c.body)), &got)
			be, ok := errors.AsType[*BodyError](err)
			if !ok || be.Status != c.status || be.Reason != c.reason {
				t.Fatalf("got %#v", err)
			}
			if got.List != nil || got.Count != 0 || (got.Name != "before" && got.Name != "") {
				t.Errorf("an error came with %+v", got)
			}
			if err.Error() != be.Reason {
				t.Errorf("Error() = %q", err)
			}
		})
	}

	var any sample
	if err := DecodeJSON([]byte(deep(maxDepth)), &any); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if err := DecodeJSON([]byte(`{"name":"`+strings.Repeat("[", 99)+`\"{"}`), &any); err != nil {
		t.Errorf("brackets in a string are not nesting: %v", err)
	}
}

func TestReadBodyLimit(t *testing.T) {
	exact := strings.Repeat(" ", MaxJSON)
	for _, c := range []struct {
		rule   string
		body   io.Reader
		length int64
		status int
	}{
		{"exactly the limit", strings.NewReader(exact), MaxJSON, 0},
		{"one more", strings.NewReader(exact + " "), MaxJSON + 1, 413},
		{"one more of unknown length", io.MultiReader(strings.NewReader(exact + " ")), -1, 413},
		{"exactly the limit of unknown length", io.MultiReader(strings.NewReader(exact)), -1, 0},
		{"a length that is too small", io.MultiReader(strings.NewReader(exact)), 2, 0},
		{"a length that is a lie", io.MultiReader(strings.NewReader("{}")), MaxJSON, 0},
		{"a length that is absurd", io.MultiReader(strings.NewReader("{}")), math.MaxInt64, 413},
		{"a body that breaks off", io.MultiReader(strings.NewReader("{"), failing{}), -1, 400},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := post("application/json", c.body)
			r.ContentLength = c.length
			body, err := ReadBody(httptest.NewRecorder(), r)
			if c.status == 0 {
				if err != nil || len(body) != MaxJSON && string(body) != "{}" {
					t.Errorf("%d bytes, %v", len(body), err)
				}
				return
			}
			be, ok := errors.AsType[*BodyError](err)
			if !ok || be.Status != c.status || body != nil {
				t.Errorf("%d bytes, %v", len(body), err)
			}
			if strings.Contains(err.Error(), "reset") {
				t.Errorf("the cause is in the text: %v", err)
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

func TestWriteJSON(t *testing.T) {
	w := httptest.NewRecorder()
	WriteJSON(w, 201, map[string]any{"uri": "https://a.example/?x=1&y=<2>"})
	if got := w.Body.String(); w.Code != 201 || got != "{\"uri\":\"https://a.example/?x=1&y=<2>\"}\n" {
		t.Errorf("%d %q", w.Code, got)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}

	w = httptest.NewRecorder()
	w.Header().Set("Cache-Control", "public, max-age=60")
	WriteJSON(w, 200, struct{}{})
	if got := w.Header().Get("Cache-Control"); got != "public, max-age=60" || w.Header().Get("Pragma") != "" {
		t.Errorf("the caller's Cache-Control is replaced by %q", got)
	}

	w = httptest.NewRecorder()
	WriteJSON(w, 200, math.NaN())
	if w.Code != 500 || strings.Contains(w.Body.String(), "NaN") {
		t.Errorf("what cannot be encoded: %d %q", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	WriteJSON(w, 200, "next")
	if w.Body.String() != "\"next\"\n" {
		t.Errorf("a failed answer leaves %q in the next one", w.Body)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","count":1,"list":["x"],"nested":{"a":[1]}}`, `{"name":"a","name":"b"}`, `{"NAME":1}`, `{"count":1e9}`,
		`{"name":"\ud800"}`, "{\"name\":\"\xff\"}", `{}x`, `[[[[`, `{"nested":{"a":1,"a":2}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got sample
		err := DecodeJSON(body, &got)
		if err != nil {
			if _, ok := errors.AsType[*BodyError](err); !ok {
				t.Fatalf("%q: %T %v", body, err, err)
			}
			if diff := cmp.Diff(sample{}, got); diff != "" {
				t.Fatalf("%q: an error came with a value\n%s", body, diff)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatalf("%q accepted: %v", body, err)
		}
		if raw, ok := members["name"]; ok && string(raw) != "null" {
			var name string
			if err := json.Unmarshal(raw, &name); err != nil || name != got.Name {
				t.Fatalf("%q: name is %q, decoded %q", body, name, got.Name)
			}
		}
	})
}
