package httpx

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDocument(t *testing.T) {
	body := `{"issuer":"https://login.example.com"}`
	d := NewDocument("application/json", []byte(body), time.Hour)
	serve := func(method, ifNoneMatch string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/.well-known/openid-configuration", nil)
		if ifNoneMatch != "" {
			r.Header.Set("If-None-Match", ifNoneMatch)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		return w
	}
	w := serve("GET", "")
	etag := w.Header().Get("ETag")
	if w.Code != 200 || w.Body.String() != body || len(etag) < 10 {
		t.Fatalf("GET: %d %q, ETag %q", w.Code, w.Body, etag)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "public, max-age=3600",
		"Content-Length": strconv.Itoa(len(body)), "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("GET: %s: %q, want %q", name, got, want)
		}
	}
	if w := serve("HEAD", ""); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != strconv.Itoa(len(body)) || w.Header().Get("ETag") != etag {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}

	for _, match := range []string{etag, "W/" + etag, `"other", ` + etag, `"other",W/` + etag + `,"x"`, "*", " " + etag + " "} {
		for _, method := range []string{"GET", "HEAD"} {
			w := serve(method, match)
			if w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "" {
				t.Errorf("%s with If-None-Match %s: %d %q %v", method, match, w.Code, w.Body, w.Header())
			}
			if w.Header().Get("ETag") != etag || w.Header().Get("Cache-Control") == "" {
				t.Errorf("RFC 9110 §15.4.5: 304 without the validators: %v", w.Header())
			}
		}
	}
	for _, match := range []string{`"other"`, etag[1 : len(etag)-1], `"*"`, "w/" + etag, etag[:len(etag)-1], ","} {
		if w := serve("GET", match); w.Code != 200 || w.Body.String() != body {
			t.Errorf("If-None-Match %s: %d %q", match, w.Code, w.Body)
		}
	}

	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		w := serve(method, "")
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("ETag") != "" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}

	if other := NewDocument("application/json", []byte(body+" "), time.Hour); other.etag == etag {
		t.Error("another document has the same ETag")
	}
	if again := NewDocument("application/json", []byte(body), time.Minute); again.etag != etag {
		t.Error("the same document on another node has another ETag")
	}
	if string(d.Body()) != body {
		t.Errorf("Body: %q", d.Body())
	}
}

// What one response's handlers do to its header must not reach the next response.
func TestDocumentHeadersAreNotShared(t *testing.T) {
	d := NewDocument("application/json", []byte("{}"), time.Hour)
	for range 2 {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		for name := range w.Header() {
			if len(w.Header()[name]) != 1 {
				t.Errorf("%s: %q", name, w.Header()[name])
			}
			w.Header().Add(name, "x")
		}
	}
}

func TestDocumentOverHTTP(t *testing.T) {
	server := httptest.NewServer(NewDocument("application/json", []byte("{}"), time.Hour))
	defer server.Close()
	response, err := http.Head(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 || response.ContentLength != 2 {
		t.Errorf("HEAD: %d, length %d", response.StatusCode, response.ContentLength)
	}
}

func FuzzETagMatches(f *testing.F) {
	f.Add(`"a", W/"x"`)
	f.Add(`*`)
	f.Add(`"x`)
	f.Fuzz(func(t *testing.T, header string) {
		if etagMatches(header, `"x"`) && !strings.Contains(header, `"x"`) && !strings.Contains(header, "*") {
			t.Fatalf("If-None-Match %q matches", header)
		}
		if !etagMatches(header+`, "x"`, `"x"`) {
			t.Fatalf("If-None-Match %q hides the tag after it", header)
		}
	})
}
