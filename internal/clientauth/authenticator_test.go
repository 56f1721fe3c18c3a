package clientauth

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const (
	issuer = "https://op.example/"
	secret = "0123456789abcdefghijABCDEFGHIJ0123456789abcdefghijABCDEFGHIJ0123"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// tenantOf returns the tenant that the clients of newAuthenticator belong to.
func tenantOf(t testing.TB, a *Authenticator) *tenant.Tenant {
	t.Helper()
	tn, err := a.Tenants.Tenant(context.Background(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	return tn
}

// newAuthenticator returns an authenticator over a store with these clients.
func newAuthenticator(t testing.TB, clients ...store.Client) *Authenticator {
	t.Helper()
	s := memstore.New()
	for _, c := range clients {
		if c.TenantID == "" {
			c.TenantID = tenant.DefaultID
		}
		if err := s.CreateClient(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	clock := func() time.Time { return now }
	tenants, err := tenant.New(tenant.Config{
		Stores: s.Stores(), Secrets: [][]byte{make([]byte, seal.MinSecret)}, Issuer: issuer, Now: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Authenticator{
		Clients: s, Tickets: s, Tenants: tenants, Now: clock,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func confidential(id, method string) store.Client {
	return store.Client{ID: id, TokenEndpointAuthMethod: method, SecretDigest: store.DigestOf(secret)}
}

// basic is the Authorization header of RFC 6749 §2.3.1.
func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// request is what a client sends.
type request struct {
	authorization []string
	form          string
}

func (q request) send(t testing.TB, a *Authenticator) (*store.Client, http.Header, error) {
	t.Helper()
	form, err := oauth.ParseQuery(q.form)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/oauth/token", nil)
	r.Header["Authorization"] = q.authorization
	w := httptest.NewRecorder()
	client, err := a.Authenticate(w, r, tenantOf(t, a), form)
	if (client == nil) == (err == nil) {
		t.Fatalf("client %v with error %v", client, err)
	}
	return client, w.Header(), err
}

func TestAuthenticates(t *testing.T) {
	odd := store.Client{ID: "odd client", TokenEndpointAuthMethod: MethodBasic, SecretDigest: store.DigestOf("s:e+c%r e/t=ü")}
	a := newAuthenticator(t, confidential("basic", MethodBasic), confidential("post", MethodPost), confidential("unsaid", ""),
		store.Client{ID: "public", TokenEndpointAuthMethod: MethodNone}, odd)
	for _, tt := range []struct {
		rule string
		request
		want string
	}{
		{"client_secret_basic", request{[]string{basic("basic", secret)}, ""}, "basic"},
		{"the scheme's case does not matter", request{[]string{strings.Replace(basic("basic", secret), "Basic", "bASIC", 1)}, ""}, "basic"},
		{"client_secret_post", request{nil, "client_id=post&client_secret=" + secret}, "post"},
		{"no registered method means client_secret_post", request{nil, "client_id=unsaid&client_secret=" + secret}, "unsaid"},
		{"a client_secret_post client may use Basic", request{[]string{basic("post", secret)}, ""}, "post"},
		{"a client_secret_basic client may use the body", request{nil, "client_id=basic&client_secret=" + secret}, "basic"},
		{"none", request{nil, "client_id=public"}, "public"},
		{"an empty client_secret is no client_secret", request{nil, "client_id=public&client_secret="}, "public"},
		{"both parts of Basic are form-decoded", request{[]string{basic("odd client", "s:e+c%r e/t=ü")}, ""}, "odd client"},
		{"client_id in the body may repeat that of Basic", request{[]string{basic("basic", secret)}, "client_id=basic"}, "basic"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			client, h, err := tt.send(t, a)
			if err != nil {
				t.Fatal(err)
			}
			if client.ID != tt.want {
				t.Errorf("client %q", client.ID)
			}
			if v := h.Values("WWW-Authenticate"); v != nil {
				t.Errorf("WWW-Authenticate %q", v)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	a := newAuthenticator(t, confidential("basic", MethodBasic), confidential("post", MethodPost),
		store.Client{ID: "public", TokenEndpointAuthMethod: MethodNone},
		// A secret left from an earlier registration must not count.
		store.Client{ID: "public-with-digest", TokenEndpointAuthMethod: MethodNone, SecretDigest: store.DigestOf(secret)},
		store.Client{ID: "no-secret", TokenEndpointAuthMethod: MethodBasic},
		store.Client{ID: "tls", TokenEndpointAuthMethod: "tls_client_auth", SecretDigest: store.DigestOf(secret)},
		store.Client{TenantID: "another", ID: "other-tenant", TokenEndpointAuthMethod: MethodPost, SecretDigest: store.DigestOf(secret)})
	raw := func(s string) []string { return []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(s))} }
	for _, tt := range []struct {
		rule string
		request
		code      string
		challenge bool
	}{
		{"two methods, even if they agree", request{[]string{basic("basic", secret)}, "client_id=basic&client_secret=" + secret}, oauth.CodeInvalidRequest, false},
		{"Basic and an assertion", request{[]string{basic("basic", secret)}, "client_assertion=x&client_assertion_type=y"}, oauth.CodeInvalidRequest, false},
		{"a secret and an assertion", request{nil, "client_id=post&client_secret=" + secret + "&client_assertion=x"}, oauth.CodeInvalidRequest, false},
		{"two Authorization headers", request{[]string{basic("basic", secret), basic("basic", secret)}, ""}, oauth.CodeInvalidRequest, false},
		{"client_id differs from that of Basic", request{[]string{basic("basic", secret)}, "client_id=post"}, oauth.CodeInvalidRequest, false},
		{"wrong secret by Basic", request{[]string{basic("basic", secret[1:])}, ""}, oauth.CodeInvalidClient, true},
		{"wrong secret in the body", request{nil, "client_id=post&client_secret=" + secret[1:]}, oauth.CodeInvalidClient, false},
		{"unknown client by Basic", request{[]string{basic("nobody", secret)}, ""}, oauth.CodeInvalidClient, true},
		{"unknown client in the body", request{nil, "client_id=nobody&client_secret=" + secret}, oauth.CodeInvalidClient, false},
		{"unknown public client", request{nil, "client_id=nobody"}, oauth.CodeInvalidClient, false},
		{"a client of another tenant", request{nil, "client_id=other-tenant&client_secret=" + secret}, oauth.CodeInvalidClient, false},
		{"an empty secret never matches", request{[]string{basic("no-secret", "")}, ""}, oauth.CodeInvalidClient, true},
		{"an empty secret never matches a real one", request{[]string{basic("basic", "")}, ""}, oauth.CodeInvalidClient, true},
		{"any secret for a client without one", request{[]string{basic("no-secret", secret)}, ""}, oauth.CodeInvalidClient, true},
		{"a public client with a secret", request{nil, "client_id=public&client_secret=x"}, oauth.CodeInvalidClient, false},
		{"a public client with the digest's secret", request{nil, "client_id=public-with-digest&client_secret=" + secret}, oauth.CodeInvalidClient, false},
		{"a public client by Basic", request{[]string{basic("public", "")}, ""}, oauth.CodeInvalidClient, true},
		{"a confidential client that only names itself", request{nil, "client_id=post"}, oauth.CodeInvalidClient, false},
		{"a method that is not supported", request{nil, "client_id=tls&client_secret=" + secret}, oauth.CodeInvalidClient, false},
		{"nothing at all", request{nil, ""}, oauth.CodeInvalidClient, false},
		{"a secret without a client", request{nil, "client_secret=" + secret}, oauth.CodeInvalidClient, false},
		{"another scheme", request{[]string{"Bearer abc"}, "client_id=public"}, oauth.CodeInvalidClient, true},
		{"an empty Authorization header", request{[]string{""}, "client_id=public"}, oauth.CodeInvalidClient, true},
		{"Basic that is not Base64", request{[]string{"Basic !!!"}, ""}, oauth.CodeInvalidClient, true},
		{"Basic with a line break", request{[]string{"Basic " + base64.StdEncoding.EncodeToString([]byte("basic:x"))[:4] + "\r\n"}, ""}, oauth.CodeInvalidClient, true},
		{"Basic without a colon", request{raw("basic"), ""}, oauth.CodeInvalidClient, true},
		{"Basic without a client", request{raw(":" + secret), ""}, oauth.CodeInvalidClient, true},
		{"Basic with a broken escape", request{raw("basic:%zz"), ""}, oauth.CodeInvalidClient, true},
		{"Basic that is not UTF-8", request{raw("basic:%ff"), ""}, oauth.CodeInvalidClient, true},
		{"an overlong Basic header", request{raw("basic:" + strings.Repeat("x", maxAuthorization)), ""}, oauth.CodeInvalidClient, true},
		{"an overlong secret", request{nil, "client_id=post&client_secret=" + strings.Repeat("x", maxSecret+1)}, oauth.CodeInvalidClient, false},
		{"a client identifier that no store should see", request{raw("a%00b:x"), ""}, oauth.CodeInvalidClient, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, h, err := tt.send(t, a)
			e, ok := errors.AsType[*oauth.Error](err)
			if !ok || e.Code != tt.code {
				t.Fatalf("error %v, want %s", err, tt.code)
			}
			wantStatus := map[string]int{oauth.CodeInvalidClient: 401, oauth.CodeInvalidRequest: 400}[tt.code]
			if e.Status != wantStatus || e.Description == "" {
				t.Errorf("status %d, description %q", e.Status, e.Description)
			}
			if got := h.Get("WWW-Authenticate"); strings.HasPrefix(got, "Basic realm=") != tt.challenge || !tt.challenge && got != "" {
				t.Errorf("WWW-Authenticate %q, want a challenge: %v", got, tt.challenge)
			}
		})
	}
}

func TestUnknownClientAndWrongSecretAnswerTheSame(t *testing.T) {
	a := newAuthenticator(t, confidential("post", MethodPost))
	_, unknownHeader, unknown := request{[]string{basic("nobody", "x")}, ""}.send(t, a)
	_, wrongHeader, wrong := request{[]string{basic("post", "x")}, ""}.send(t, a)
	answer := func(h http.Header, err error) string {
		w := httptest.NewRecorder()
		oauth.WriteError(w, err)
		return w.Body.String() + h.Get("WWW-Authenticate")
	}
	if got, want := answer(wrongHeader, wrong), answer(unknownHeader, unknown); got != want {
		t.Errorf("wrong secret: %s\nunknown client: %s", got, want)
	}
}

func TestRequireRegisteredMethod(t *testing.T) {
	a := newAuthenticator(t, confidential("basic", MethodBasic), confidential("post", MethodPost), confidential("unsaid", ""))
	a.RequireRegisteredMethod = true
	for _, tt := range []struct {
		rule string
		request
		ok bool
	}{
		{"Basic as registered", request{[]string{basic("basic", secret)}, ""}, true},
		{"the body as registered", request{nil, "client_id=post&client_secret=" + secret}, true},
		{"the body by default", request{nil, "client_id=unsaid&client_secret=" + secret}, true},
		{"the body instead of Basic", request{nil, "client_id=basic&client_secret=" + secret}, false},
		{"Basic instead of the body", request{[]string{basic("post", secret)}, ""}, false},
		{"Basic instead of the default", request{[]string{basic("unsaid", secret)}, ""}, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if _, _, err := tt.send(t, a); (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// brokenClients fails as a database does.
type brokenClients struct{ store.ClientStore }

var errBroken = errors.New("connection refused")

func (brokenClients) Client(context.Context, string, string) (store.Client, error) {
	return store.Client{}, errBroken
}

func TestSystemErrorIsNotTheClientsFault(t *testing.T) {
	a := newAuthenticator(t)
	a.Clients = brokenClients{}
	_, h, err := request{[]string{basic("basic", secret)}, ""}.send(t, a)
	if !errors.Is(err, errBroken) || !oauth.Internal(err) {
		t.Errorf("error %v", err)
	}
	if h.Get("WWW-Authenticate") != "" {
		t.Error("the client is asked to authenticate again")
	}
}

func TestStoreIsNotAskedForWhatNoClientIsCalled(t *testing.T) {
	a := newAuthenticator(t)
	a.Clients = brokenClients{}
	for _, id := range []string{"a\x00b", "a\nb", "ä", strings.Repeat("x", maxClientID+1)} {
		if _, _, err := (request{[]string{basic(id, secret)}, ""}).send(t, a); errors.Is(err, errBroken) || err == nil {
			t.Errorf("%.20q: %v", id, err)
		}
	}
}

func FuzzParseBasic(f *testing.F) {
	f.Add(basic("client", secret))
	f.Add("Basic ")
	f.Add("basic " + base64.StdEncoding.EncodeToString([]byte("a%3ab:c+d%20e")))
	f.Fuzz(func(t *testing.T, header string) {
		id, secret, err := parseBasic(header)
		if err != nil {
			if id != "" || secret != "" {
				t.Fatalf("an error with %q, %q", id, secret)
			}
			return
		}
		if id == "" {
			t.Fatal("no client and no error")
		}
		againID, againSecret, err := parseBasic(basic(id, secret))
		if err == nil && (againID != id || againSecret != secret) {
			t.Fatalf("%q, %q became %q, %q", id, secret, againID, againSecret)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	a := newAuthenticator(b, confidential("post", MethodPost))
	a.Logger = nil
	t := tenantOf(b, a)
	for _, bb := range []struct{ name, authorization, form string }{
		{"basic", basic("post", secret), ""},
		{"post", "", "client_id=post&client_secret=" + secret},
		{"unknown", "", "client_id=nobody&client_secret=" + secret},
	} {
		b.Run(bb.name, func(b *testing.B) {
			form, err := oauth.ParseQuery(bb.form)
			if err != nil {
				b.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, "/oauth/token", nil)
			if bb.authorization != "" {
				r.Header.Set("Authorization", bb.authorization)
			}
			w := httptest.NewRecorder()
			for b.Loop() {
				a.Authenticate(w, r, t, form)
			}
		})
	}
}
