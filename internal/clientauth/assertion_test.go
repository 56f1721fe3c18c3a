package clientauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// keys are made once: an RSA key takes long.
var keys = sync.OnceValue(func() (k struct {
	rsa, otherRSA *rsa.PrivateKey
	small         *rsa.PrivateKey
	ec, otherEC   *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.small, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.otherEC, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func jwks(t testing.TB, keys ...jose.JSONWebKey) json.RawMessage {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func public(id string, key crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{KeyID: id, Key: key.Public()}
}

// privateKeyClient registers private_key_jwt with an RSA, an EC and an Ed25519
// key.
func privateKeyClient(t testing.TB, id, alg string) store.Client {
	k := keys()
	return store.Client{ID: id, TokenEndpointAuthMethod: MethodPrivateKeyJWT, Metadata: &store.ClientMetadata{
		TokenEndpointAuthSigningAlg: alg,
		JWKS:                        jwks(t, public("rsa", k.rsa), public("ec", k.ec), public("ed", k.ed)),
	}}
}

// claimSet is what a correct client sends, with changes; a nil value removes a
// claim.
func claimSet(client, jti string, changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": client, "sub": client, "aud": issuer, "jti": jti,
		"iat": now.Unix(), "exp": now.Unix() + 60,
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, headers map[string]any, claims any) string {
	t.Helper()
	payload, ok := claims.(string)
	if !ok {
		encoded, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		payload = string(encoded)
	}
	options := &jose.SignerOptions{}
	for name, v := range headers {
		options.WithHeader(jose.HeaderKey(name), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// raw assembles a JWS from its parts as they are.
func raw(header, payload, signature string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(header)) + "." + enc([]byte(payload)) + "." + enc([]byte(signature))
}

func withAssertion(assertion string) request {
	return request{nil, url.Values{"client_assertion_type": {assertionType}, "client_assertion": {assertion}}.Encode()}
}

func TestAssertionAuthenticates(t *testing.T) {
	k := keys()
	a := newAuthenticator(t, privateKeyClient(t, "app", ""), privateKeyClient(t, "app-ps", "PS256"))
	for _, tt := range []struct {
		rule, client string
		alg          jose.SignatureAlgorithm
		key          any
		kid          string
		changes      map[string]any
	}{
		{"RS256", "app", jose.RS256, k.rsa, "rsa", nil},
		{"PS256", "app", jose.PS256, k.rsa, "rsa", nil},
		{"ES256", "app", jose.ES256, k.ec, "ec", nil},
		{"EdDSA", "app", jose.EdDSA, k.ed, "ed", nil},
		{"the registered algorithm", "app-ps", jose.PS256, k.rsa, "rsa", nil},
		{"no kid: every key that fits is tried", "app", jose.ES256, k.ec, "", nil},
		{"aud as an array of one", "app", jose.ES256, k.ec, "ec", map[string]any{"aud": []string{issuer}}},
		{"no iat", "app", jose.ES256, k.ec, "ec", map[string]any{"iat": nil}},
		{"a client whose clock is a little slow", "app", jose.ES256, k.ec, "ec", map[string]any{"exp": now.Unix() - 59}},
		{"a client whose clock is a little fast", "app", jose.ES256, k.ec, "ec", map[string]any{"iat": now.Unix() + 59, "nbf": now.Unix() + 59}},
		{"fractions of a second", "app", jose.ES256, k.ec, "ec", map[string]any{"exp": float64(now.Unix()) + 30.5}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			headers := map[string]any{}
			if tt.kid != "" {
				headers["kid"] = tt.kid
			}
			q := withAssertion(sign(t, tt.alg, tt.key, headers, claimSet(tt.client, tt.rule, tt.changes)))
			client, _, err := q.send(t, a)
			if err != nil {
				t.Fatal(err)
			}
			if client.ID != tt.client {
				t.Errorf("client %q", client.ID)
			}
		})
	}
}

func TestAssertionRefused(t *testing.T) {
	k := keys()
	noKeys := privateKeyClient(t, "no-keys", "")
	noKeys.Metadata = &store.ClientMetadata{JWKSURI: "https://app.example/jwks"}
	small := privateKeyClient(t, "small", "")
	small.Metadata.JWKS = jwks(t, public("rsa", k.small))
	encryption := privateKeyClient(t, "encryption", "")
	key := public("ec", k.ec)
	key.Use = "enc"
	encryption.Metadata.JWKS = jwks(t, key)
	pinned := privateKeyClient(t, "pinned", "")
	key = public("rsa", k.rsa)
	key.Algorithm = "PS256"
	pinned.Metadata.JWKS = jwks(t, key)
	symmetric := privateKeyClient(t, "symmetric", "")
	symmetric.Metadata.JWKS = jwks(t, jose.JSONWebKey{KeyID: "oct", Key: []byte(secret)})
	many := privateKeyClient(t, "many", "")
	var set []jose.JSONWebKey
	for range maxKeys + 1 {
		set = append(set, public("ec", k.ec))
	}
	many.Metadata.JWKS = jwks(t, set...)
	a := newAuthenticator(t, privateKeyClient(t, "app", ""), privateKeyClient(t, "app-es", "ES256"), privateKeyClient(t, "app-none", "none"),
		confidential("post", MethodPost), store.Client{ID: "public", TokenEndpointAuthMethod: MethodNone},
		noKeys, small, encryption, pinned, symmetric, many)
	a.Tickets = untouchable{t: t}

	good := func(client string) map[string]any { return claimSet(client, "x", nil) }
	es := func(changes map[string]any) request {
		return withAssertion(sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, claimSet("app", "x", changes)))
	}
	payload, err := json.Marshal(good("app"))
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, err := json.Marshal(public("rsa", k.rsa))
	if err != nil {
		t.Fatal(err)
	}
	valid := sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, good("app"))
	parts := strings.Split(valid, ".")
	form := func(assertion, kind, clientID string) request {
		return request{nil, url.Values{"client_assertion_type": {kind}, "client_assertion": {assertion}, "client_id": {clientID}}.Encode()}
	}

	for _, tt := range []struct {
		rule string
		request
		code string
	}{
		{"no client_assertion_type", form(valid, "", ""), oauth.CodeInvalidRequest},
		{"another client_assertion_type", form(valid, "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", ""), oauth.CodeInvalidRequest},
		{"no client_assertion", form("", assertionType, "app"), oauth.CodeInvalidRequest},
		{"client_id differs", form(valid, assertionType, "post"), oauth.CodeInvalidRequest},

		{"alg none", withAssertion(raw(`{"alg":"none"}`, string(payload), "")), ""},
		{"alg none, even if registered", withAssertion(raw(`{"alg":"none"}`, strings.ReplaceAll(string(payload), `"app"`, `"app-none"`), "")), ""},
		{"an RSA public key as an HMAC secret", withAssertion(sign(t, jose.HS256, []byte(rsaPublic), map[string]any{"kid": "rsa"}, good("app"))), ""},
		{"another algorithm than the registered one", withAssertion(sign(t, jose.RS256, k.rsa, map[string]any{"kid": "rsa"}, good("app-es"))), ""},
		{"another algorithm than the key's", withAssertion(sign(t, jose.RS256, k.rsa, map[string]any{"kid": "rsa"}, good("pinned"))), ""},
		{"a symmetric key in jwks", withAssertion(sign(t, jose.HS256, []byte(secret), map[string]any{"kid": "oct"}, good("symmetric"))), ""},
		{"a short RSA key", withAssertion(sign(t, jose.RS256, k.small, map[string]any{"kid": "rsa"}, good("small"))), ""},
		{"a key for encryption", withAssertion(sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, good("encryption"))), ""},
		{"too many keys", withAssertion(sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, good("many"))), ""},
		{"only a jwks_uri", withAssertion(sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, good("no-keys"))), ""},
		{"somebody else's key", withAssertion(sign(t, jose.ES256, k.otherEC, map[string]any{"kid": "ec"}, good("app"))), ""},
		{"a key that the header carries", withAssertion(sign(t, jose.ES256, k.otherEC, map[string]any{"jwk": public("ec", k.otherEC)}, good("app"))), ""},
		{"a key that the header points at", withAssertion(sign(t, jose.ES256, k.otherEC, map[string]any{"jku": "https://evil.example/jwks", "x5u": "https://evil.example/x"}, good("app"))), ""},
		{"the right key under another kid", withAssertion(sign(t, jose.ES256, k.ec, map[string]any{"kid": "rsa"}, good("app"))), ""},
		{"critical header parameters", withAssertion(sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec", "crit": []string{"b64"}, "b64": true}, good("app"))), ""},
		{"an altered payload", withAssertion(parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "60", "61", 1)+" ")) + "." + parts[2]), ""},
		{"no signature", withAssertion(parts[0] + "." + parts[1] + "."), ""},
		{"two parts", withAssertion(parts[0] + "." + parts[1]), ""},
		{"five parts", withAssertion(valid + ".x.y"), ""},
		{"too large", withAssertion(sign(t, jose.ES256, k.ec, nil, claimSet("app", "x", map[string]any{"pad": strings.Repeat("x", maxAssertion)}))), ""},
		{"not JSON", withAssertion(sign(t, jose.ES256, k.ec, nil, "nonsense")), ""},
		{"a repeated claim", withAssertion(sign(t, jose.ES256, k.ec, nil, strings.Replace(string(payload), `"sub"`, `"sub":"x","sub"`, 1))), ""},

		{"no iss", es(map[string]any{"iss": nil}), ""},
		{"another iss", es(map[string]any{"iss": "post"}), ""},
		{"no sub", es(map[string]any{"sub": nil}), ""},
		{"another sub", es(map[string]any{"sub": "post"}), ""},
		{"no aud", es(map[string]any{"aud": nil}), ""},
		{"another aud", es(map[string]any{"aud": "https://other.example/"}), ""},
		{"the issuer without its slash", es(map[string]any{"aud": strings.TrimSuffix(issuer, "/")}), ""},
		{"the token endpoint as aud", es(map[string]any{"aud": issuer + "oauth/token"}), ""},
		{"a further aud", es(map[string]any{"aud": []string{issuer, "https://other.example/"}}), ""},
		{"no exp", es(map[string]any{"exp": nil}), ""},
		{"expired", es(map[string]any{"exp": now.Unix() - 60}), ""},
		{"exp too far ahead", es(map[string]any{"exp": now.Unix() + 3600 + 61}), ""},
		{"exp beyond what fits", es(map[string]any{"exp": 1e300}), ""},
		{"exp as a string", es(map[string]any{"exp": "2030-01-01"}), ""},
		{"not valid yet", es(map[string]any{"nbf": now.Unix() + 61}), ""},
		{"issued in the future", es(map[string]any{"iat": now.Unix() + 61}), ""},
		{"no jti", es(map[string]any{"jti": nil}), ""},
		{"an overlong jti", es(map[string]any{"jti": strings.Repeat("x", maxJTI+1)}), ""},

		{"unknown client", withAssertion(sign(t, jose.ES256, k.ec, nil, good("nobody"))), ""},
		{"a client that registered a secret", withAssertion(sign(t, jose.HS256, []byte(secret), nil, good("post"))), ""},
		{"a public client", withAssertion(sign(t, jose.ES256, k.ec, nil, good("public"))), ""},
		{"a secret from a client that registered keys", request{nil, "client_id=app&client_secret=" + secret}, ""},
		{"nothing from a client that registered keys", request{nil, "client_id=app"}, ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			want := tt.code
			if want == "" {
				want = oauth.CodeInvalidClient
			}
			_, _, err := tt.send(t, a)
			if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

// untouchable fails the test if anything is written: strangers write nothing.
type untouchable struct {
	store.TicketStore
	t *testing.T
}

func (u untouchable) PutTicket(context.Context, store.Ticket, time.Time) error {
	u.t.Error("a failed authentication was written down")
	return nil
}

func TestAssertionIsUsedOnce(t *testing.T) {
	k := keys()
	a := newAuthenticator(t, privateKeyClient(t, "app", ""), privateKeyClient(t, "other", ""))
	current := now
	a.Now = func() time.Time { return current }
	assertion := func(client, jti string) request {
		return withAssertion(sign(t, jose.ES256, k.ec, nil, claimSet(client, jti, nil)))
	}
	accept := func(what string, q request) {
		t.Helper()
		if _, _, err := q.send(t, a); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuse := func(what string, q request) {
		t.Helper()
		_, _, err := q.send(t, a)
		if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeInvalidClient {
			t.Errorf("%s: %v", what, err)
		}
	}
	first := assertion("app", "1")
	// A ticket of another kind about the same thing is none of its business.
	if err := a.Tickets.PutTicket(context.Background(), store.Ticket{
		TenantID: tenant.DefaultID, Kind: "other-kind", ID: store.DigestOf("app\x001"), ExpiresAt: now.Add(time.Hour),
	}, now); err != nil {
		t.Fatal(err)
	}
	accept("the first use", first)
	refuse("the same assertion again", first)
	refuse("another assertion with the same jti", withAssertion(sign(t, jose.ES256, k.ec, nil, claimSet("app", "1", map[string]any{"exp": now.Unix() + 90}))))
	accept("the same jti of another client", assertion("other", "1"))
	accept("another jti", assertion("app", "2"))
	// Every moment at which it could still be accepted, it is known.
	for _, seconds := range []int64{59, 60, 119, 120, 121} {
		current = now.Add(time.Duration(seconds) * time.Second)
		refuse("the same assertion later", first)
	}
}

// recorder remembers the tickets that were put.
type recorder struct {
	store.TicketStore
	put []store.Ticket
}

func (r *recorder) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	r.put = append(r.put, t)
	return r.TicketStore.PutTicket(ctx, t, now)
}

// A store that lost its markers asks since when an assertion may have been in use: just
// before that moment it is refused whatever the store knows.
func TestMarkerSaysSinceWhenAnAssertionCanBeUsed(t *testing.T) {
	k := keys()
	for rule, changes := range map[string]map[string]any{
		"iat":             nil,
		"a fast clock":    {"iat": now.Unix() + 45, "exp": now.Unix() + 300},
		"nbf after iat":   {"iat": now.Unix() - 300, "nbf": now.Unix() - 10},
		"neither":         {"iat": nil, "exp": now.Unix() + 900},
		"nothing useful":  {"iat": 0, "nbf": 0, "exp": now.Unix() + 900},
		"exp far from it": {"iat": now.Unix() - 7200, "exp": now.Unix() + 1800},
	} {
		t.Run(rule, func(t *testing.T) {
			a := newAuthenticator(t, privateKeyClient(t, "app", ""))
			tickets := &recorder{TicketStore: a.Tickets}
			a.Tickets = tickets
			q := withAssertion(sign(t, jose.ES256, k.ec, nil, claimSet("app", rule, changes)))
			at := now
			a.Now = func() time.Time { return at }
			if _, _, err := q.send(t, a); err != nil {
				t.Fatal(err)
			}
			since := tickets.put[0].CreatedAt
			if len(tickets.put[0].Data) != 0 || since.After(now) {
				t.Errorf("the marker says %v and %q", since, tickets.put[0].Data)
			}
			for _, moment := range []struct {
				at   time.Time
				want bool
			}{{since.Add(-time.Second), false}, {since.Add(-time.Microsecond), false}, {since, true}} {
				a.Tickets, at = &recorder{TicketStore: memstore.New()}, moment.at
				if _, _, err := q.send(t, a); (err == nil) != moment.want {
					t.Errorf("%v after %v: %v", moment.at.Sub(since), since, err)
				}
			}
		})
	}
}

func TestConcurrentUsesOfAnAssertionHaveOneWinner(t *testing.T) {
	k := keys()
	a := newAuthenticator(t, privateKeyClient(t, "app", ""))
	a.Logger = nil
	tn := tenantOf(t, a)
	for round := range 50 {
		q := withAssertion(sign(t, jose.ES256, k.ec, nil, claimSet("app", strconv.Itoa(round), nil)))
		form, err := oauth.ParseQuery(q.form)
		if err != nil {
			t.Fatal(err)
		}
		var accepted atomic.Int32
		var group sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			group.Go(func() {
				<-start
				r := httptest.NewRequest(http.MethodPost, "/oauth/token", nil)
				if _, err := a.Authenticate(httptest.NewRecorder(), r, tn, form); err == nil {
					accepted.Add(1)
				}
			})
		}
		close(start)
		group.Wait()
		if n := accepted.Load(); n != 1 {
			t.Fatalf("round %d: %d of 8 were accepted", round, n)
		}
	}
}

func TestClientSecretJWT(t *testing.T) {
	box, err := seal.New("client-secret", make([]byte, seal.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	c := store.Client{ID: "app", TokenEndpointAuthMethod: MethodSecretJWT, SecretDigest: store.DigestOf(secret), SealedSecret: box.Seal([]byte(secret), tenant.DefaultID+"/app")}
	other := c
	other.ID = "other" // sealed for another client
	rs := c
	rs.ID, rs.Metadata = "rs", &store.ClientMetadata{TokenEndpointAuthSigningAlg: "RS256", JWKS: jwks(t, public("rsa", keys().rsa))}
	a := newAuthenticator(t, c, other, rs)
	a.Secrets = box
	if _, _, err := withAssertion(sign(t, jose.HS256, []byte(secret), nil, claimSet("app", "1", nil))).send(t, a); err != nil {
		t.Errorf("the right secret: %v", err)
	}
	for rule, q := range map[string]request{
		"the wrong secret":          withAssertion(sign(t, jose.HS256, []byte(secret[1:]+"x"), nil, claimSet("app", "2", nil))),
		"a longer MAC":              withAssertion(sign(t, jose.HS512, []byte(secret+secret), nil, claimSet("app", "3", nil))),
		"the secret itself":         {nil, "client_id=app&client_secret=" + secret},
		"a registered alg of RSA":   withAssertion(sign(t, jose.RS256, keys().rsa, nil, claimSet("rs", "4", nil))),
		"a registered alg, ignored": withAssertion(sign(t, jose.HS256, []byte(secret), nil, claimSet("rs", "5", nil))),
	} {
		_, _, err := q.send(t, a)
		if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeInvalidClient {
			t.Errorf("%s: %v", rule, err)
		}
	}
	if _, _, err := withAssertion(sign(t, jose.HS256, []byte(secret), nil, claimSet("other", "6", nil))).send(t, a); !errors.Is(err, seal.ErrOpen) || !oauth.Internal(err) {
		t.Errorf("a secret sealed for another client: %v", err)
	}
}

func TestTokenEndpointAudienceBySetting(t *testing.T) {
	k := keys()
	a := newAuthenticator(t, privateKeyClient(t, "app", ""))
	a.InsecureTokenEndpointAudience = true
	for aud, ok := range map[string]bool{issuer + "oauth/token": true, issuer: true, issuer + "userinfo": false, issuer + "oauth/token/": false} {
		_, _, err := withAssertion(sign(t, jose.ES256, k.ec, nil, claimSet("app", aud, map[string]any{"aud": aud}))).send(t, a)
		if (err == nil) != ok {
			t.Errorf("aud %s: %v", aud, err)
		}
	}
}

func FuzzAssertion(f *testing.F) {
	k := keys()
	a := newAuthenticator(f, privateKeyClient(f, "app", ""))
	a.Logger = nil
	tn := tenantOf(f, a)
	f.Add(sign(f, jose.ES256, k.otherEC, map[string]any{"kid": "ec"}, claimSet("app", "1", nil)))
	f.Add(raw(`{"alg":"none"}`, `{"iss":"app","sub":"app"}`, ""))
	f.Add("..")
	f.Fuzz(func(t *testing.T, assertion string) {
		if subject, err := assertionSubject(assertion); err != nil && subject != "" {
			t.Fatalf("an error with the subject %q", subject)
		}
		form := oauth.Parameters{}
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
		client, err := a.Authenticate(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil), tn, form)
		if err == nil || client != nil {
			t.Fatalf("accepted %q", assertion)
		}
		if oauth.Internal(err) {
			t.Fatalf("%q became the server's fault: %v", assertion, err)
		}
	})
}

// BenchmarkAssertion verifies a signature and asks the store; after the first
// round the answer is that the assertion was used.
func BenchmarkAssertion(b *testing.B) {
	k := keys()
	a := newAuthenticator(b, privateKeyClient(b, "app", ""))
	a.Logger = nil
	assertions := make([]oauth.Parameters, 256)
	for i := range assertions {
		assertions[i].Set("client_assertion_type", assertionType)
		assertions[i].Set("client_assertion", sign(b, jose.ES256, k.ec, nil, claimSet("app", strconv.Itoa(i), nil)))
	}
	r, t := httptest.NewRequest(http.MethodPost, "/oauth/token", nil), tenantOf(b, a)
	i := 0
	for b.Loop() {
		a.Authenticate(httptest.NewRecorder(), r, t, assertions[i%len(assertions)])
		i++
	}
}
