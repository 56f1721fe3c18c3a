package httpx

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// tlsServer starts a server on loopback and returns it with a pool of its
// certificate, which is for 127.0.0.1 and example.com.
func tlsServer(t *testing.T, configure func(*httptest.Server), h http.HandlerFunc) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes
	if configure != nil {
		configure(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, pool
}

func port(s *httptest.Server) string {
	_, p, _ := net.SplitHostPort(s.Listener.Addr().String())
	return p
}

func TestFetch(t *testing.T) {
	s, pool := tlsServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.Header.Get("Accept") != "application/jwk-set+json" || r.Header.Get("Cookie") != "" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		io.WriteString(w, strings.Repeat("x", maxFetched))
	})
	o := NewOutbound(OutboundConfig{InsecureAllow: loopback, RootCAs: pool})
	for range 2 { // the second request carries no cookie of the first answer
		got, err := o.Fetch(t.Context(), s.URL+"/keys", "application/jwk-set+json")
		if err != nil || len(got.Body) != maxFetched || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d bytes, %v, %v", len(got.Body), got.Header, err)
		}
	}
}

func TestPost(t *testing.T) {
	s, pool := tlsServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.PostFormValue("a") != "b&c" {
			t.Errorf("%s %v %v", r.Method, r.Header, r.PostForm)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	o := NewOutbound(OutboundConfig{InsecureAllow: loopback, RootCAs: pool})
	if err := o.Post(t.Context(), s.URL, url.Values{"a": {"b&c"}}); err != nil {
		t.Error(err)
	}
}

func TestOutboundRefusesURLs(t *testing.T) {
	o := NewOutbound(OutboundConfig{InsecureAllow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	o.cfg.resolve = func(context.Context, string) ([]netip.Addr, error) {
		t.Error("looked up")
		return nil, errors.New("no")
	}
	for _, raw := range []string{
		"", "x", "/x", "//a.example/", "http://a.example/", "HTTP://a.example/", "ftp://a.example/", "file:///etc/passwd", "https:", "https:a.example",
		"https:///x", "https://:443/", "https://user@a.example/", "https://user:secret@a.example/", "https://a.example:x/", "https://a b.example/",
		"javascript:alert(1)", "gopher://a.example/", "https://a.example/\r\nX: y", "unix:///var/run/x",
	} {
		if _, err := o.Fetch(t.Context(), raw, ""); !errors.Is(err, ErrForbiddenURL) {
			t.Errorf("%q: %v", raw, err)
		}
		if err := o.Post(t.Context(), raw, nil); !errors.Is(err, ErrForbiddenURL) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestIsPublic(t *testing.T) {
	for s, want := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "100.63.255.255": true, "100.128.0.0": true, "172.15.0.1": true, "172.32.0.1": true,
		"192.0.1.1": true, "198.17.0.1": true, "198.20.0.1": true, "223.255.255.255": true, "126.255.255.255": true, "128.0.0.1": true,
		"2606:4700::1111": true, "2a00::1": true, "2001:200::1": true, "2001:4860:4860::8888": true, "2003::1": true,

		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "100.127.255.255": false, "127.0.0.1": false,
		"127.255.255.254": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.0.0.1": false,
		"192.0.0.192": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.1.1": false, "198.18.0.1": false, "198.19.255.255": false,
		"198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "239.1.1.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::7f00:1": false, "::ffff:127.0.0.1": false, "::ffff:8.8.8.8": false, "64:ff9b::7f00:1": false,
		"64:ff9b::808:808": false, "64:ff9b:1::1": false, "100::1": false, "2001::1": false, "2001:0:7f00:1::": false, "2001:2::1": false,
		"2001:20::1": false, "2001:db8::1": false, "2002:7f00:1::1": false, "3fff::1": false, "4000::1": false, "5f00::1": false,
		"fc00::1": false, "fd00:ec2::254": false, "fe80::1": false, "fe80::1%eth0": false, "2606:4700::1%eth0": false, "fec0::1": false,
		"ff02::1": false, "ff0e::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if isPublic(netip.Addr{}) {
		t.Error("no address")
	}
}

// The address decides, whatever the spelling or the name.
func TestOutboundRefusesAddresses(t *testing.T) {
	hit := atomic.Int64{}
	s, pool := tlsServer(t, nil, func(http.ResponseWriter, *http.Request) { hit.Add(1) })
	names := map[string][]string{
		"loopback.example": {"127.0.0.1"}, "mapped.example": {"::ffff:127.0.0.1"}, "v6.example": {"::1"}, "nat64.example": {"64:ff9b::7f00:1"},
		"6to4.example": {"2002:7f00:1::"}, "private.example": {"10.0.0.1", "192.168.0.1"}, "unspecified.example": {"0.0.0.0"}, "none.example": {},
	}
	o := NewOutbound(OutboundConfig{RootCAs: pool, resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range names[host] {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}})
	hosts := []string{"127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::127.0.0.1]", "169.254.169.254", "[fe80::1%25lo]"}
	for name := range names {
		hosts = append(hosts, name)
	}
	for _, host := range hosts {
		if _, err := o.Fetch(t.Context(), "https://"+host+":"+port(s)+"/", ""); !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if hit.Load() != 0 {
		t.Error("a request arrived")
	}
}

// A name that answers otherwise the next time gains nothing: it is looked up once
// per connection, and the address that was checked is the one that is used.
func TestOutboundIsSafeFromRebinding(t *testing.T) {
	s, pool := tlsServer(t, nil, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	var lookups atomic.Int64
	o := NewOutbound(OutboundConfig{RootCAs: pool, resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		if lookups.Add(1) == 1 {
			return nil, errors.New("no such host yet")
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	if _, err := o.Fetch(t.Context(), "https://example.com:"+port(s)+"/", ""); err == nil || errors.Is(err, ErrForbiddenAddress) || lookups.Load() != 1 {
		t.Errorf("first: %v after %d lookups", err, lookups.Load())
	}
	if _, err := o.Fetch(t.Context(), "https://example.com:"+port(s)+"/", ""); !errors.Is(err, ErrForbiddenAddress) || lookups.Load() != 2 {
		t.Errorf("second: %v after %d lookups", err, lookups.Load())
	}
	// The socket itself is checked too, for a dialer that were given another address.
	if err := o.checkSocket(t.Context(), "tcp4", "127.0.0.1:443", nil); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("socket: %v", err)
	}
	if err := o.checkSocket(t.Context(), "tcp4", "not an address", nil); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("socket: %v", err)
	}
	if err := o.checkSocket(t.Context(), "tcp4", "8.8.8.8:443", nil); err != nil {
		t.Errorf("socket: %v", err)
	}
}

// The exemption is for what it names; a name with several addresses is reached at
// the one that is permitted, and its certificate still has to be the name's.
func TestOutboundExemption(t *testing.T) {
	s, pool := tlsServer(t, nil, func(http.ResponseWriter, *http.Request) {})
	o := NewOutbound(OutboundConfig{
		RootCAs: pool, InsecureAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		},
	})
	if _, err := o.Fetch(t.Context(), "https://example.com:"+port(s)+"/", ""); err != nil {
		t.Error(err)
	}
	if _, err := o.Fetch(t.Context(), "https://127.0.0.2:"+port(s)+"/", ""); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("beside the exemption: %v", err)
	}
	var wrongName x509.HostnameError
	if _, err := o.Fetch(t.Context(), "https://evil.invalid:"+port(s)+"/", ""); !errors.As(err, &wrongName) {
		t.Errorf("the certificate of another name: %v", err)
	}
	o = NewOutbound(OutboundConfig{InsecureAllow: loopback})
	var unknown x509.UnknownAuthorityError
	if _, err := o.Fetch(t.Context(), s.URL, ""); !errors.As(err, &unknown) {
		t.Errorf("an unknown authority: %v", err)
	}
}

func TestOutboundRefusesOldTLS(t *testing.T) {
	s, pool := tlsServer(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	}, func(http.ResponseWriter, *http.Request) {
		t.Error("a request arrived")
	})
	o := NewOutbound(OutboundConfig{InsecureAllow: loopback, RootCAs: pool})
	if _, err := o.Fetch(t.Context(), s.URL, ""); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestOutboundAnswers(t *testing.T) {
	var followed atomic.Int64
	s, pool := tlsServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/followed":
			followed.Add(1)
		case "/redirect":
			http.Redirect(w, r, "/followed", http.StatusFound)
		case "/again":
			http.Redirect(w, r, "/followed", http.StatusTemporaryRedirect)
		case "/refused":
			w.WriteHeader(http.StatusBadRequest)
		case "/failed":
			w.WriteHeader(http.StatusInternalServerError)
		case "/created":
			w.WriteHeader(http.StatusCreated)
		case "/long":
			w.Write(make([]byte, maxFetched+1))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 10<<20))
			z.Close()
		case "/header":
			w.Header().Set("X", strings.Repeat("x", 64<<10))
		}
	})
	o := NewOutbound(OutboundConfig{InsecureAllow: loopback, RootCAs: pool})
	for path, want := range map[string]int{"/redirect": 302, "/again": 307, "/refused": 400, "/failed": 500} {
		_, err := o.Fetch(t.Context(), s.URL+path, "")
		if got, ok := errors.AsType[*StatusError](err); !ok || got.Status != want {
			t.Errorf("Fetch %s: %v", path, err)
		}
		err = o.Post(t.Context(), s.URL+path, nil)
		if got, ok := errors.AsType[*StatusError](err); !ok || got.Status != want {
			t.Errorf("Post %s: %v", path, err)
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if _, err := o.Fetch(t.Context(), s.URL+"/created", ""); err == nil {
		t.Error("Fetch: 201 is no document")
	}
	if err := o.Post(t.Context(), s.URL+"/created", nil); err != nil {
		t.Errorf("Post: %v", err)
	}
	if got, err := o.Fetch(t.Context(), s.URL+"/long", ""); !errors.Is(err, ErrTooLarge) || got.Body != nil {
		t.Errorf("too long: %v", err)
	}
	if got, err := o.Fetch(t.Context(), s.URL+"/bomb", ""); err != nil || !bytes.HasPrefix(got.Body, []byte{0x1f, 0x8b}) {
		t.Errorf("a compressed body must stay compressed: %d bytes, %v", len(got.Body), err)
	}
	if _, err := o.Fetch(t.Context(), s.URL+"/header", ""); err == nil {
		t.Error("a header of 64 KiB was accepted")
	}
}

// The limit covers everything, the body included.
func TestOutboundGivesUp(t *testing.T) {
	release := make(chan struct{})
	s, pool := tlsServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	o := NewOutbound(OutboundConfig{InsecureAllow: loopback, RootCAs: pool})
	if o.client.Timeout != 5*time.Second {
		t.Errorf("limit: %v", o.client.Timeout)
	}
	o.client.Timeout = 50 * time.Millisecond
	if _, err := o.Fetch(t.Context(), s.URL, ""); err == nil {
		t.Error("no limit")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Fetch(ctx, s.URL, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A proxy of the environment would connect to what it likes.
func TestOutboundUsesNoProxy(t *testing.T) {
	if o := NewOutbound(OutboundConfig{}); o.client.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy is used")
	}
}

// What a library sends through the client is under the rules of all else.
func TestClientKeepsTheRules(t *testing.T) {
	asked := 0
	s, pool := tlsServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("User-Agent") != userAgent || r.Header.Get("Cookie") != "" {
			t.Errorf("%v", r.Header)
		}
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/large":
			io.WriteString(w, strings.Repeat("x", maxFetched+1))
		default:
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			io.WriteString(w, strings.Repeat("x", maxFetched))
		}
	})
	client := NewOutbound(OutboundConfig{InsecureAllow: loopback, RootCAs: pool}).Client()
	get := func(address string) (int, int, error) {
		res, err := client.Get(address)
		if err != nil {
			return 0, 0, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res.StatusCode, len(body), err
	}
	for range 2 { // the second request carries no cookie of the first answer
		if status, n, err := get(s.URL + "/"); status != 200 || n != maxFetched || err != nil {
			t.Errorf("%d, %d bytes, %v", status, n, err)
		}
	}
	if status, _, err := get(s.URL + "/redirect"); status != http.StatusFound || err != nil {
		t.Errorf("a redirect: %d, %v", status, err)
	}
	if _, n, err := get(s.URL + "/large"); !errors.Is(err, ErrTooLarge) || n > maxFetched {
		t.Errorf("a large answer: %d bytes, %v", n, err)
	}
	before := asked
	for _, address := range []string{"http://127.0.0.1:" + port(s) + "/", "https://user:secret@127.0.0.1:" + port(s) + "/", "https://10.0.0.1/"} {
		if _, _, err := get(address); !errors.Is(err, ErrForbiddenURL) && !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s: %v", address, err)
		}
	}
	inside := NewOutbound(OutboundConfig{RootCAs: pool}).Client()
	if _, err := inside.Post(s.URL+"/", "text/plain", strings.NewReader("x")); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("inside: %v", err)
	}
	if asked != before {
		t.Errorf("asked %d times", asked-before)
	}
}
