package httpx

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAllow(t *testing.T) {
	for _, c := range []struct {
		method string
		want   bool
	}{{"GET", true}, {"POST", true}, {"PUT", false}, {"get", false}, {"HEAD", false}} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.Method = c.method
		if got := Allow(w, r, "GET", "POST"); got != c.want {
			t.Errorf("%s: %v", c.method, got)
		}
		if !c.want && (w.Code != 405 || w.Header().Get("Allow") != "GET, POST") {
			t.Errorf("RFC 9110 §15.5.6: %s: %d, Allow %q", c.method, w.Code, w.Header().Get("Allow"))
		}
		if c.want && w.Header().Get("Allow") != "" {
			t.Errorf("%s: Allow %q", c.method, w.Header().Get("Allow"))
		}
	}
}

func TestCORS(t *testing.T) {
	called := 0
	h := CORS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called++
		http.Error(w, "refused", http.StatusBadRequest)
	}), "GET", "POST")
	serve := func(method string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/oidc/register", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}

	w := serve("POST", "Origin", "https://app.example")
	if w.Code != 400 || called != 1 {
		t.Fatalf("POST: %d, called %d times", w.Code, called)
	}
	if w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Error("an error lacks Access-Control-Allow-Origin")
	}
	for _, name := range []string{"WWW-Authenticate", "DPoP-Nonce", "Retry-After"} {
		if !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not exposed", name)
		}
	}

	w = serve("OPTIONS", "Origin", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
	if w.Code != 204 || called != 1 || w.Body.Len() != 0 {
		t.Errorf("preflight: %d %q, called %d times", w.Code, w.Body, called)
	}
	if got := w.Header().Get("Access-Control-Allow-Methods"); got != "GET, POST, OPTIONS" {
		t.Errorf("methods: %q", got)
	}
	allowed := strings.Split(strings.ToLower(w.Header().Get("Access-Control-Allow-Headers")), ", ")
	for _, name := range []string{"content-type", "authorization", "auth0-client", "mcp-protocol-version", "dpop", "*"} {
		if !slices.Contains(allowed, name) {
			t.Errorf("a preflight for %s fails", name)
		}
	}
	for _, w := range []*httptest.ResponseRecorder{w, serve("POST", "Origin", "https://app.example", "Cookie", "s=1")} {
		if _, ok := w.Header()["Access-Control-Allow-Credentials"]; ok {
			t.Error("credentials are allowed")
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "*" {
			t.Errorf("origin %q", got)
		}
	}
}

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:aaaa::/48"), netip.MustParsePrefix("::1/128")}
	for _, c := range []struct {
		rule, remote string
		forwarded    []string
		want         string // empty: unknown
	}{
		{"the peer", "198.51.100.7:1234", nil, "198.51.100.7"},
		{"an IPv6 peer", "[2001:db8::7]:1234", nil, "2001:db8::7"},
		{"an IPv6 peer with a zone", "[fe80::1%eth0]:1234", nil, "fe80::1"},
		{"an IPv4-mapped peer", "[::ffff:198.51.100.7]:1234", nil, "198.51.100.7"},
		{"a peer without a port", "198.51.100.7", nil, "198.51.100.7"},
		{"no peer", "", nil, ""},
		{"a socket", "@", []string{"203.0.113.9"}, ""},
		{"a peer that is no proxy is not believed", "198.51.100.7:1", []string{"203.0.113.9"}, "198.51.100.7"},

		{"a proxy's report", "10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"an IPv4-mapped proxy", "[::ffff:10.0.0.1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"an IPv6 proxy", "[2001:db8:aaaa::1]:1", []string{"2001:db8::9"}, "2001:db8::9"},
		{"a report with a port", "10.0.0.1:1", []string{"203.0.113.9:5555"}, "203.0.113.9"},
		{"a report in brackets", "10.0.0.1:1", []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"a report in brackets with a port", "10.0.0.1:1", []string{"[2001:db8::9]:443"}, "2001:db8::9"},
		{"a proxy without a report", "10.0.0.1:1", nil, "10.0.0.1"},
		{"an empty report", "10.0.0.1:1", []string{""}, "10.0.0.1"},

		{"what the client wrote itself", "10.0.0.1:1", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"what the client wrote in another line", "10.0.0.1:1", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		{"a client that claims to be a proxy", "10.0.0.1:1", []string{"1.2.3.4, 10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.1:1", []string{"1.2.3.4, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"proxies only", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"garbage left of the client", "10.0.0.1:1", []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		{"garbage in the client's place", "10.0.0.1:1", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"garbage behind a proxy", "10.0.0.1:1", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"an empty hop", "10.0.0.1:1", []string{"203.0.113.9, "}, "10.0.0.1"},
		{"a name is no address", "10.0.0.1:1", []string{"localhost"}, "10.0.0.1"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.remote
			r.Header["X-Forwarded-For"] = c.forwarded
			got := ClientAddress(r, trusted)
			if c.want == "" && got.IsValid() || c.want != "" && got != netip.MustParseAddr(c.want) {
				t.Errorf("got %v, want %q", got, c.want)
			}
			if peer := ClientAddress(r, nil); peer != parseAddr(c.remote) {
				t.Errorf("without trusted proxies: %v", peer)
			}
		})
	}
}

// Whatever the header says, an address that no trusted proxy wrote is not taken.
func FuzzClientAddress(f *testing.F) {
	f.Add("198.51.100.7:1", "203.0.113.9")
	f.Add("10.0.0.1:1", "1.2.3.4, 10.0.0.2")
	f.Add("[::1]:1", "x,,[::]")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, remote, forged string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = remote, []string{forged}
		peer := parseAddr(remote)
		if got := ClientAddress(r, trusted); !contains(trusted, peer) && got != peer {
			t.Fatalf("peer %q, X-Forwarded-For %q: %v", remote, forged, got)
		}
		r.RemoteAddr, r.Header["X-Forwarded-For"] = "10.0.0.1:1", []string{forged + ",203.0.113.9"}
		if got := ClientAddress(r, trusted); got != netip.MustParseAddr("203.0.113.9") {
			t.Fatalf("X-Forwarded-For %q moved the client to %v", forged, got)
		}
	})
}
