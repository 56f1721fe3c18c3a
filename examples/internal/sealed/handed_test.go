package sealed

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// handed sees every answer of the provider and remembers what it hands out.
type handed struct {
	mu     sync.Mutex
	values map[string]string // and what each is
}

func newHanded() *handed { return &handed{values: map[string]string{}} }

// shortest is the length of the shortest value that can be meant to be secret.
const shortest = 16

func (h *handed) add(what, value string) {
	if len(value) < shortest {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.values[value] = what
}

// logged keeps a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.text.Bytes())
}

var hiddenInput = regexp.MustCompile(`<input type="hidden"[^>]* name="([^"]*)" value="([^"]*)"`)

// RoundTrip implements http.RoundTripper.
func (h *handed) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	for _, c := range resp.Cookies() {
		h.add("cookie "+c.Name, c.Value)
	}
	if at, err := url.Parse(resp.Header.Get("Location")); err == nil {
		fragment, _ := url.ParseQuery(at.EscapedFragment())
		for _, params := range []url.Values{at.Query(), fragment} {
			for _, name := range []string{"code", "access_token", "id_token", "refresh_token"} {
				h.add(name+" of a redirect", params.Get(name))
			}
		}
	}
	for _, input := range hiddenInput.FindAllStringSubmatch(string(body), -1) {
		h.add("form field "+input[1], html.UnescapeString(input[2]))
	}
	var members any
	if json.Unmarshal(body, &members) == nil {
		h.members(members)
	}
	return resp, nil
}

// members remembers what JSON calls a token or a secret, at any depth.
func (h *handed) members(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			h.members(e)
		}
	case map[string]any:
		for name, e := range v {
			text, ok := e.(string)
			switch {
			case !ok:
				h.members(e)
			case name == "request_uri":
				h.add(name, text[strings.LastIndexByte(text, ':')+1:])
			case strings.HasPrefix(name, "token_endpoint"), strings.HasSuffix(name, "_type"), strings.HasSuffix(name, "_alg"):
			case strings.Contains(name, "token"), strings.Contains(name, "secret"):
				h.add(name, text)
			}
		}
	}
}

// needles returns the forms in which a store could keep a value: as it is, what it
// encodes, and both in the encodings that databases and JSON use.
func needles(value string) [][]byte {
	raws := [][]byte{[]byte(value)}
	// Of a sealed value a part is enough, and a JWT's signature.
	for _, part := range strings.Split(value, ".") {
		if decoded, err := base64.RawURLEncoding.DecodeString(part); err == nil && len(decoded) >= shortest && !strings.HasPrefix(part, "eyJ") {
			raws = append(raws, decoded)
			if part != value {
				raws = append(raws, []byte(part))
			}
		}
	}
	all := raws
	for _, raw := range raws {
		all = append(all,
			[]byte(hex.EncodeToString(raw)),
			[]byte(base64.StdEncoding.EncodeToString(raw)),
			[]byte(base64.RawURLEncoding.EncodeToString(raw)),
			[]byte(url.QueryEscape(string(raw))))
	}
	return all
}
