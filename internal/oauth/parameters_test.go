package oauth

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseQuery(t *testing.T) {
	p, err := ParseQuery("scope=openid+email&state=a%20b&empty=&resource=https%3A%2F%2Fa&resource=&resource=https%3A%2F%2Fb&x=%C3%BC")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"scope": "openid email", "state": "a b", "empty": "", "absent": "", "x": "ü"} {
		if got := p.Get(name); got != want {
			t.Errorf("Get(%q) = %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff([]string{"https://a", "https://b"}, p.All("resource")); diff != "" {
		t.Errorf("RFC 8707 §2: resource may repeat, empty values do not count (-want +got)\n%s", diff)
	}
	if p.All("absent") != nil {
		t.Error("an absent parameter has values")
	}
	names := slices.Sorted(p.Names)
	if diff := cmp.Diff([]string{"empty", "resource", "scope", "state", "x"}, names); diff != "" {
		t.Errorf("Names (-want +got)\n%s", diff)
	}
	for range p.Names {
		break // must be honoured
	}
	if p, err := ParseQuery(""); err != nil || p.Get("x") != "" || p.Encode() != "" {
		t.Errorf("an empty query: %v, %v", p, err)
	}
}

func TestParseQueryRefuses(t *testing.T) {
	for _, c := range []struct{ rule, query, description string }{
		{"a repeated parameter", "state=a&scope=b&state=c", "the parameter state appears more than once"},
		{"a repeated parameter with equal values", "code=a&code=a", "the parameter code appears more than once"},
		{"a repeated parameter of which one is empty", "code=&code=a", "the parameter code appears more than once"},
		{"a repeated parameter in another spelling", "code=a&c%6fde=b", "the parameter code appears more than once"},
		{"a repeated unknown parameter is not named", "evil%3Cscript%3E=a&evil%3Cscript%3E=b", "a parameter appears more than once"},
		{"an invalid escape", "state=%zz", "the request parameters are not valid application/x-www-form-urlencoded"},
		{"an invalid escape in a parameter that nobody reads", "client_id=a&x=%", "the request parameters are not valid application/x-www-form-urlencoded"},
		{"a semicolon as separator", "a=b;c=d", "the request parameters are not valid application/x-www-form-urlencoded"},
		{"invalid UTF-8", "state=%ff", "the request parameters are not valid UTF-8 text"},
		{"invalid UTF-8 in a name", "%ff=x", "the request parameters are not valid UTF-8 text"},
		{"NUL", "state=a%00b", "the request parameters are not valid UTF-8 text"},
		{"invalid UTF-8 in a repeatable parameter", "resource=a&resource=%ff", "the request parameters are not valid UTF-8 text"},
		{"size", "state=" + strings.Repeat("x", MaxParameters), "the request parameters are larger than 65536 bytes"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p, err := ParseQuery(c.query)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != CodeInvalidRequest || e.Status != 400 || e.Description != c.description {
				t.Errorf("got %+v", err)
			}
			if p.values != nil {
				t.Error("an error came with parameters")
			}
		})
	}
}

func TestParametersSet(t *testing.T) {
	var p Parameters
	p.Set("b", "2")
	p.Set("a", "1 &")
	p.Set("c", "3")
	p.Set("c", "")
	if got := p.Encode(); got != "a=1+%26&b=2" {
		t.Errorf("got %q", got)
	}
}

func TestParseForm(t *testing.T) {
	form := func(method, contentType, body string) (Parameters, error) {
		r := httptest.NewRequest(method, "/token?client_id=query&grant_type=query", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		return ParseForm(httptest.NewRecorder(), r)
	}
	const urlencoded = "application/x-www-form-urlencoded"
	for _, ct := range []string{urlencoded, urlencoded + "; charset=utf-8", "Application/X-WWW-Form-URLEncoded"} {
		p, err := form("POST", ct, "grant_type=refresh_token")
		if err != nil || p.Get("grant_type") != "refresh_token" {
			t.Errorf("%s: %v, %v", ct, p, err)
		}
		if p.Get("client_id") != "" {
			t.Error("a parameter of the query was taken for one of the body")
		}
	}
	for _, c := range []struct {
		rule, method, contentType, body string
		status                          int
	}{
		{"GET", "GET", urlencoded, "", 405},
		{"PUT", "PUT", urlencoded, "a=b", 405},
		{"JSON", "POST", "application/json", "{}", 415},
		{"multipart", "POST", "multipart/form-data; boundary=x", "--x--", 415},
		{"no content type", "POST", "", "a=b", 415},
		{"broken content type", "POST", urlencoded + ";;=", "a=b", 415},
		{"size", "POST", urlencoded, "a=" + strings.Repeat("x", MaxParameters), 413},
		{"repeated parameter", "POST", urlencoded, "a=1&a=2", 400},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p, err := form(c.method, c.contentType, c.body)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != CodeInvalidRequest || e.Status != c.status || p.values != nil {
				t.Errorf("%v, %+v; want the status %d", p, err, c.status)
			}
		})
	}

	broken := httptest.NewRequest("POST", "/token", io.MultiReader(strings.NewReader("a=b"), failing{}))
	broken.Header.Set("Content-Type", urlencoded)
	if p, err := ParseForm(httptest.NewRecorder(), broken); AsError(err).Status != http.StatusBadRequest || p.values != nil {
		t.Errorf("a body that breaks off: %v, %v", p, err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{"a=b&c=d", "a=b&a=c", "resource=a&resource=b", "%zz", "a=%ff", "a;b", "a=%00", "=&=", "&&&"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p, err := ParseQuery(query)
		if err != nil {
			if p.values != nil {
				t.Fatalf("%q: an error came with parameters", query)
			}
			return
		}
		for name, values := range p.values {
			if len(values) > 1 && name != "resource" {
				t.Fatalf("%q: %q repeats", query, name)
			}
			for _, v := range append(values, name) {
				if !utf8.ValidString(v) || strings.Contains(v, "\x00") {
					t.Fatalf("%q: %q is not text", query, v)
				}
			}
		}
		again, err := ParseQuery(p.Encode())
		if err != nil || !maps.EqualFunc(p.values, again.values, slices.Equal) {
			t.Fatalf("%q does not survive Encode: %v", query, err)
		}
	})
}
