package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"

	josejson "github.com/go-jose/go-jose/v4/json"
)

// MaxJSON is the largest JSON body that is read.
const MaxJSON = 64 << 10

// maxDepth bounds nesting before anything is decoded.
const maxDepth = 32

// BodyError says why a request body was not accepted. Reason is written for the
// caller.
type BodyError struct {
	Status int // 400, 413 or 415
	Reason string
}

func (e *BodyError) Error() string { return e.Reason }

// ReadJSON reads one JSON object of at most [MaxJSON] bytes into v. The content
// type must be application/json. Member names are compared exactly, a repeated
// member is an error, unknown ones are ignored. The error is a [*BodyError].
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := ReadBody(w, r)
	if err != nil {
		return err
	}
	return DecodeJSON(body, v)
}

// ReadBody reads a JSON body without decoding it.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, &BodyError{http.StatusUnsupportedMediaType, "the content type must be application/json"}
	}
	if r.ContentLength > MaxJSON {
		return nil, &BodyError{http.StatusRequestEntityTooLarge, "the request body is larger than 64 KiB"}
	}
	// A length that the client stated is allocated at once, but not believed: the
	// reader still decides where the body ends.
	buf := bytes.NewBuffer(make([]byte, 0, max(r.ContentLength, 0)+bytes.MinRead))
	if _, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, MaxJSON)); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, &BodyError{http.StatusRequestEntityTooLarge, "the request body is larger than 64 KiB"}
		}
		return nil, &BodyError{http.StatusBadRequest, "the request body could not be read"}
	}
	return buf.Bytes(), nil
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	ct, _, err := mime.ParseMediaType(contentType)
	return err == nil && ct == "application/json"
}

// DecodeJSON decodes one JSON object into v, a pointer, with the rules of
// [ReadJSON]. After an error what v points to is zero.
func DecodeJSON(body []byte, v any) error {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return &BodyError{http.StatusBadRequest, "the request body must be a JSON object"}
	}
	if !utf8.Valid(body) { // RFC 8259 §8.1; the decoder would replace the bytes
		return &BodyError{http.StatusBadRequest, "the request body is not valid UTF-8"}
	}
	if tooDeep(body) {
		return &BodyError{http.StatusBadRequest, "the request body is nested too deeply"}
	}
	// encoding/json matches member names without regard to case and lets the last
	// of two members win, so that a check and a use can see different values.
	if err := josejson.Unmarshal(body, v); err != nil {
		reflect.ValueOf(v).Elem().SetZero() // the decoder leaves what it got so far
		if te, ok := errors.AsType[*josejson.UnmarshalTypeError](err); ok {
			kind, _, _ := strings.Cut(te.Value, " ") // a number comes with its digits
			return &BodyError{http.StatusBadRequest, "the request body has a value of the type " + kind + " where another type is required"}
		}
		return &BodyError{http.StatusBadRequest, "the request body is not valid JSON, or has a member twice"}
	}
	return nil
}

// tooDeep counts brackets outside strings; the decoder itself recurses.
func tooDeep(body []byte) bool {
	depth, inString, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// WriteJSON sends v with the status. It is encoded before the first byte is
// sent; a v that cannot be encoded becomes a bare 500.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 64<<10 {
			buffers.Put(buf)
		}
	}()
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h["Content-Type"] = contentTypeJSON
	h["X-Content-Type-Options"] = nosniff
	if _, ok := h["Cache-Control"]; !ok {
		NoStore(h)
	}
	w.WriteHeader(status)
	w.Write(buf.Bytes())
}

// Shared header values: a slice per response is garbage on every request.
var (
	contentTypeJSON = []string{"application/json"}
	nosniff         = []string{"nosniff"}
	noStore         = []string{"no-store"}
	noCache         = []string{"no-cache"}
)

// NoStore forbids every cache to keep the response (RFC 6749 §5.1).
func NoStore(h http.Header) {
	h["Cache-Control"] = noStore
	h["Pragma"] = noCache
}
