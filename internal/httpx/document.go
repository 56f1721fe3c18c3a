package httpx

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Document is a public document prepared once and served as it is: metadata,
// JWKS.
type Document struct {
	body   []byte
	etag   string
	header http.Header
}

// NewDocument prepares a document that caches may keep for maxAge.
func NewDocument(contentType string, body []byte, maxAge time.Duration) *Document {
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return &Document{body: body, etag: etag, header: http.Header{
		"Content-Type":           {contentType},
		"Cache-Control":          {fmt.Sprintf("public, max-age=%d", int(maxAge.Seconds()))},
		"Content-Length":         {strconv.Itoa(len(body))},
		"Etag":                   {etag},
		"X-Content-Type-Options": nosniff,
	}}
}

// Body returns the document's bytes, which must not be changed.
func (d *Document) Body() []byte { return d.body }

// ServeHTTP answers GET and HEAD, with 304 if the client has the document.
func (d *Document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !Allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	h := w.Header()
	for name, v := range d.header {
		h[name] = v
	}
	if match := r.Header.Get("If-None-Match"); match != "" && etagMatches(match, d.etag) {
		delete(h, "Content-Length")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(d.body)
	}
}

// etagMatches compares weakly, as RFC 9110 §13.1.2 asks.
func etagMatches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return true
		}
	}
	return false
}
