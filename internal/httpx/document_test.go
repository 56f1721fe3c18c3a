package httpx

import (
	"compress/gzip"
	"io"
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

	if other := NewDocument("application/json", []byte(body+" "), time.Hour); other.plain.etag == etag {
		t.Error("another document has the same ETag")
	}
	if again := NewDocument("application/json", []byte(body), time.Minute); again.plain.etag != etag {
		t.Error("the same document on another node has another ETag")
	}
	if string(d.Body()) != body {
		t.Errorf("Body: %q", d.Body())
	}
}

// A client that takes gzip gets it, with validators of its own; caches learn that there
// are two.
func TestDocumentIsCompressed(t *testing.T) {
	body := `{"scopes_supported":[` + strings.Repeat(`"openid",`, 300) + `""]}`
	d := NewDocument("application/json", []byte(body), time.Hour)
	serve := func(method, accept, ifNoneMatch string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/", nil)
		if accept != "" {
			r.Header.Set("Accept-Encoding", accept)
		}
		r.Header.Set("If-None-Match", ifNoneMatch)
		w := httptest.NewRecorder()
		w.Header().Set("Vary", "Origin")
		d.ServeHTTP(w, r)
		if vary := strings.Join(w.Header()["Vary"], ", "); vary != "Origin, Accept-Encoding" {
			t.Errorf("%s with %q: Vary %q", method, accept, vary)
		}
		return w
	}
	for accept, compressed := range map[string]bool{
		"": false, "identity": false, "*": false, "br": false, "gzip;q=0": false, "gzip; Q=0.000": false, "gzip;x=1": false, "xgzip": false, "br, gzip;q=0, *": false,
		"gzip": true, "GZIP": true, "gzip, deflate, br, zstd": true, "br;q=1.0, gzip;q=0.5": true, "deflate , gzip ; q=1": true,
	} {
		w := serve("GET", accept, "")
		got := w.Body.String()
		length := len(got)
		if encoding := w.Header().Get("Content-Encoding"); (encoding == "gzip") != compressed {
			t.Errorf("%q: Content-Encoding %q", accept, encoding)
			continue
		}
		if compressed {
			r, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if got = string(plain); length > len(body)/3 {
				t.Errorf("%q: %d bytes of %d", accept, length, len(body))
			}
		}
		if w.Code != 200 || got != body || w.Header().Get("Content-Length") != strconv.Itoa(length) {
			t.Errorf("%q: %d, %d bytes, Content-Length %s", accept, w.Code, length, w.Header().Get("Content-Length"))
		}
		etag := w.Header().Get("ETag")
		if strings.HasSuffix(etag, `-gzip"`) != compressed {
			t.Errorf("%q: the tag of the other coding: %s", accept, etag)
		}
		if w := serve("GET", accept, etag); w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("Content-Encoding") != "" || w.Header().Get("ETag") != etag {
			t.Errorf("%q with its ETag: %d %v", accept, w.Code, w.Header())
		}
		if w := serve("HEAD", accept, ""); w.Body.Len() != 0 || w.Header().Get("Content-Length") != strconv.Itoa(length) || w.Header().Get("ETag") != etag {
			t.Errorf("HEAD with %q: %v", accept, w.Header())
		}
	}
	if w := serve("GET", "gzip", d.plain.etag); w.Code != 200 {
		t.Errorf("the tag of the other coding: %d", w.Code)
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

func FuzzAcceptsGzip(f *testing.F) {
	f.Add("gzip, deflate, br")
	f.Add("gzip;q=0.5")
	f.Add("br;q=1, *")
	f.Fuzz(func(t *testing.T, header string) {
		if acceptsGzip([]string{header}) && !strings.Contains(strings.ToLower(header), "gzip") {
			t.Fatalf("Accept-Encoding %q", header)
		}
		if acceptsGzip([]string{"gzip;q=0, " + header}) {
			t.Fatalf("Accept-Encoding %q overrules what it follows", header)
		}
	})
}
