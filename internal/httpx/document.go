package httpx

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Document is a public document prepared once and served as it is: metadata,
// JWKS.
type Document struct {
	plain, compressed encoded // compressed has no body where it would save nothing
}

// encoded is a document in one content coding.
type encoded struct {
	body   []byte
	etag   string
	header http.Header
}

// minCompressed is about what fits into one packet together with its header.
const minCompressed = 1 << 10

// NewDocument prepares a document that caches may keep for maxAge. Clients that take
// gzip get that: net/http sends what has more than 4 KiB with its header in two writes,
// which cost more than everything else does.
func NewDocument(contentType string, body []byte, maxAge time.Duration) *Document {
	sum := sha256.Sum256(body)
	tag := base64.RawURLEncoding.EncodeToString(sum[:12])
	encode := func(body []byte, suffix string) encoded {
		etag := `"` + tag + suffix + `"`
		return encoded{body, etag, http.Header{
			"Content-Type":           {contentType},
			"Cache-Control":          {fmt.Sprintf("public, max-age=%d", int(maxAge.Seconds()))},
			"Content-Length":         {strconv.Itoa(len(body))},
			"Etag":                   {etag},
			"X-Content-Type-Options": nosniff,
		}}
	}
	d := &Document{plain: encode(body, "")}
	if len(body) >= minCompressed {
		// Nothing in the document is secret, so that its length may depend on it.
		d.compressed = encode(compress(body), "-gzip") // RFC 9110 §8.8.3.3: a tag of its own
		d.compressed.header.Set("Content-Encoding", "gzip")
	}
	return d
}

// compressors have 800 KiB each.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(body []byte) []byte {
	var out bytes.Buffer
	w := compressors.Get().(*gzip.Writer)
	defer compressors.Put(w)
	w.Reset(&out)
	w.Write(body) // a buffer takes everything
	w.Close()
	return out.Bytes()
}

// Body returns the document's bytes, which must not be changed.
func (d *Document) Body() []byte { return d.plain.body }

// ServeHTTP answers GET and HEAD, with 304 if the client has the document.
func (d *Document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !Allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	e, h := &d.plain, w.Header()
	if d.compressed.body != nil {
		h.Add("Vary", "Accept-Encoding") // to what a middleware of the host has set
		if acceptsGzip(r.Header["Accept-Encoding"]) {
			e = &d.compressed
		}
	}
	for name, v := range e.header {
		h[name] = v
	}
	if match := r.Header.Get("If-None-Match"); match != "" && etagMatches(match, e.etag) {
		delete(h, "Content-Length")
		delete(h, "Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(e.body)
	}
}

// acceptsGzip reports whether gzip is among the codings that a client names (RFC 9110
// §12.5.3). Who names none, or "*", gets what everybody can read.
func acceptsGzip(values []string) bool {
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			coding, parameter, weighted := strings.Cut(item, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			name, weight, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			return !weighted || strings.EqualFold(name, "q") && strings.Trim(weight, "0.") != ""
		}
	}
	return false
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
