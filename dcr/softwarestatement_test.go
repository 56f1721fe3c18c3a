package dcr

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const publisher = "https://publisher.example"

// issuerKey is a key of an issuer of software statements.
type issuerKey struct{ private *ecdsa.PrivateKey }

func newIssuerKey(t testing.TB) issuerKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issuerKey{key}
}

func (k issuerKey) jwks(t testing.TB) json.RawMessage {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.private.Public(), KeyID: "p1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// statement signs claims; nil removes one.
func (k issuerKey) statement(t testing.TB, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": publisher, "software_id": "app-1", "iat": start.Unix()}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return k.sign(t, jose.ES256, k.private, payload, nil)
}

func (k issuerKey) sign(t testing.TB, alg jose.SignatureAlgorithm, key any, payload []byte, header map[jose.HeaderKey]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": "p1"}}
	maps.Copy(options.ExtraHeaders, header)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func trusting(issuers ...SoftwareIssuer) func(*Config) {
	return func(c *Config) { c.SoftwareIssuers = issuers }
}

func stated(statement, members string) string {
	return strings.TrimSuffix(with(members), "}") + `,"software_statement":"` + statement + `"}`
}

// RFC 7591 §2.3: what a statement says takes precedence; §3.2.1: it comes back as it
// was.
func TestSoftwareStatementsTakePrecedence(t *testing.T) {
	key := newIssuerKey(t)
	f := newFixture(t, options{config: trusting(SoftwareIssuer{Issuer: publisher, JWKS: key.jwks(t)})})
	statement := key.statement(t, map[string]any{
		"client_name": "Stated", "redirect_uris": []string{"https://stated.example/cb"}, "logo_uri": "https://stated.example/logo.png",
		"jwks_uri": "https://stated.example/jwks", "contacts": []string{"a@stated.example"}, "software_version": "2",
		// What no statement can say.
		"client_id": "chosen", "client_secret": "chosen", "software_statement": "e30.e30.", "first_party": true, "third_party_security_mode": "permissive",
		"registration_access_token": "chosen", "unknown": map[string]any{"a": 1},
	})
	info, stored := f.register(stated(statement, `"client_name":"Own","logo_uri":"https://evil.example/logo.png","tos_uri":"https://client.example.com/tos",`+
		`"software_id":"app-2",`+jwks(ecKey)))
	want := store.Client{
		RegisteredFrom: "192.0.2.0/24",
		TenantID:       tenant.DefaultID, ID: info.ClientID, Name: "Stated", Dynamic: true, SecurityMode: store.ModeStrict, ApplicationType: "web",
		TokenEndpointAuthMethod: "client_secret_post", RedirectURIs: []string{"https://stated.example/cb"}, SecretDigest: stored.SecretDigest,
		Metadata: &store.ClientMetadata{
			LogoURI: "https://stated.example/logo.png", TOSURI: "https://client.example.com/tos", Contacts: []string{"a@stated.example"},
			SoftwareID: "app-1", SoftwareVersion: "2", JWKSURI: "https://stated.example/jwks", SoftwareStatement: statement,
		},
		Version: 1, CreatedAt: start,
	}
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("stored (-want +got)\n%s", diff)
	}
	if info.raw["software_statement"] != statement || info.ClientName != "Stated" || info.raw["software_id"] != "app-1" {
		t.Errorf("answer %v", info.raw)
	}
	// Without one registration goes on as before.
	if info, stored := f.register(with("")); stored.Metadata != nil || info.raw["software_statement"] != nil {
		t.Errorf("without: %+v", stored)
	}
}

// Where nobody is trusted a statement is a member like any that is not known.
func TestSoftwareStatementsWithoutTrust(t *testing.T) {
	key := newIssuerKey(t)
	for name, config := range map[string]func(*Config){
		"nobody":         nil,
		"another tenant": trusting(SoftwareIssuer{Issuer: publisher, JWKS: key.jwks(t), Tenants: []string{"other"}}),
		"it is required where somebody is": func(c *Config) {
			c.RequireSoftwareStatement = true
		},
	} {
		f := newFixture(t, options{config: config})
		for _, statement := range []string{`"` + key.statement(t, map[string]any{"client_name": "Stated"}) + `"`, `"garbage"`, `7`, `{}`} {
			info, stored := f.register(strings.TrimSuffix(with(""), "}") + `,"software_statement":` + statement + `}`)
			if info.raw["software_statement"] != nil || stored.Name != "" || stored.Metadata != nil {
				t.Errorf("%s: %v, %+v", name, info.raw, stored)
			}
		}
	}
}

func TestRefusedSoftwareStatements(t *testing.T) {
	key, other := newIssuerKey(t), newIssuerKey(t)
	published := "https://publisher.example/jwks"
	f := newFixture(t, options{config: trusting(
		SoftwareIssuer{Issuer: publisher, JWKS: key.jwks(t), Algorithms: []string{"ES256", "PS256"}, SoftwareIDs: []string{"app-1"}, RequiredClaims: []string{"software_id", "org_id"}},
		SoftwareIssuer{Issuer: "https://elsewhere.example", JWKS: other.jwks(t), Tenants: []string{"other"}},
		SoftwareIssuer{Issuer: "https://absent.example", JWKSURI: published},
		SoftwareIssuer{Issuer: "https://second.example", JWKS: other.jwks(t)},
	)})
	good := map[string]any{"org_id": "o"}
	claims := func(changes map[string]any) string {
		all := maps.Clone(good)
		maps.Copy(all, changes)
		return key.statement(t, all)
	}
	payload := []byte(`{"iss":"` + publisher + `","software_id":"app-1","org_id":"o"}`)
	valid := claims(nil)
	parts := strings.Split(valid, ".")
	encode := base64.RawURLEncoding.EncodeToString
	const invalid, unapproved = oauth.CodeInvalidSoftwareStatement, oauth.CodeUnapprovedSoftwareStatement
	for _, c := range []struct{ rule, statement, code, text string }{
		{"garbage", "garbage", invalid, "is not a signed JWT"},
		{"two parts", parts[0] + "." + parts[1], invalid, "is not a signed JWT"},
		{"payload is not base64", parts[0] + ".§." + parts[2], invalid, "is not a signed JWT"},
		{"payload is not JSON", parts[0] + "." + encode([]byte("x")) + "." + parts[2], invalid, "has no iss"},
		{"payload is an array", parts[0] + "." + encode([]byte("[]")) + "." + parts[2], invalid, "has no iss"},
		{"iss twice", parts[0] + "." + encode([]byte(`{"iss":"`+publisher+`","iss":"x"}`)) + "." + parts[2], invalid, "has no iss"},
		{"iss is no string", claims(map[string]any{"iss": 7}), invalid, "has no iss"},
		{"no iss", claims(map[string]any{"iss": nil}), invalid, "has no iss"},
		{"large", claims(map[string]any{"x": strings.Repeat("x", maxStatement)}), invalid, "is larger than 16 KiB"},
		{"unknown issuer", claims(map[string]any{"iss": "https://evil.example"}), unapproved, "is from an issuer that is not trusted"},
		{"issuer with a slash", claims(map[string]any{"iss": publisher + "/"}), unapproved, "is from an issuer that is not trusted"},
		{"issuer of another tenant", other.statement(t, map[string]any{"iss": "https://elsewhere.example"}), unapproved, "is from an issuer"},
		{"another issuer's key", other.statement(t, good), invalid, "has a signature that no key of its issuer verifies"},
		{"signed by one issuer, named another", claims(map[string]any{"iss": "https://second.example"}), invalid, "has a signature"},
		{"altered", parts[0] + "." + encode([]byte(`{"iss":"`+publisher+`","software_id":"app-1","org_id":"p"}`)) + "." + parts[2], invalid, "has a signature"},
		{"signature cut off", valid[:len(valid)-4], invalid, ""},
		{"no signature", parts[0] + "." + parts[1] + ".", invalid, ""},
		{"none", encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", invalid, "is not a JWT signed with an algorithm"},
		{"the public key as a secret", key.sign(t, jose.HS256, []byte(key.jwks(t)), payload, nil), invalid, "is not a JWT signed with an algorithm"},
		{"critical header", key.sign(t, jose.ES256, key.private, payload, map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}), invalid, "has critical header"},
		{"a key in the header", func() string {
			return other.sign(t, jose.ES256, other.private, payload, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: other.private.Public()}})
		}(), invalid, "has a signature"},
		{"expired", claims(map[string]any{"exp": start.Add(-time.Minute).Unix()}), invalid, "has expired"},
		{"not valid yet", claims(map[string]any{"nbf": start.Add(2 * time.Minute).Unix()}), invalid, "is not valid yet"},
		{"from the future", claims(map[string]any{"iat": start.Add(2 * time.Minute).Unix()}), invalid, "was issued in the future"},
		{"for another server", claims(map[string]any{"aud": "https://other.example"}), invalid, "is meant for another server"},
		{"lacks a claim", key.statement(t, nil), invalid, "lacks the claim org_id"},
		{"null for a claim", claims(map[string]any{"org_id": json.RawMessage("null")}), invalid, "lacks the claim org_id"},
		{"empty claim", claims(map[string]any{"software_id": ""}), invalid, "lacks the claim software_id"},
		{"an ID token", key.statement(t, map[string]any{"software_id": nil, "sub": "user", "aud": "https://login.example.com"}), invalid, "lacks the claim software_id"},
		{"not approved", claims(map[string]any{"software_id": "app-9"}), unapproved, "is for an application that is not approved"},
		{"a claim of the wrong type", claims(map[string]any{"redirect_uris": "https://a.example/"}), invalid, "has claims that cannot be registered: redirect_uris must be an array"},
		{"bad metadata", claims(map[string]any{"client_name": "a\nb"}), oauth.CodeInvalidClientMetadata, ""},
		{"bad redirect URI", claims(map[string]any{"redirect_uris": []string{"http://a.example/"}}), oauth.CodeInvalidRedirectURI, ""},
	} {
		w := f.post(stated(c.statement, ""))
		info := f.decode(w)
		text := c.text
		if text != "" {
			text = "software_statement " + text
		}
		if w.Code != 400 || info.Error != c.code || !strings.HasPrefix(info.ErrorDescription, text) {
			t.Errorf("%s: %d %s; want %s %q", c.rule, w.Code, w.Body, c.code, text)
		}
	}
	for members, code := range map[string]string{
		`"software_statement":7`:                            oauth.CodeInvalidClientMetadata,
		`"software_statement":{}`:                           oauth.CodeInvalidClientMetadata,
		`"software_statement":"a","software_statement":"a"`: oauth.CodeInvalidClientMetadata,
	} {
		if w := f.post(with(members)); w.Code != 400 || f.decode(w).Error != code {
			t.Errorf("%s: %d %s", members, w.Code, w.Body)
		}
	}
	// Keys that cannot be had say nothing about the statement.
	if w := f.post(stated(key.statement(t, map[string]any{"iss": "https://absent.example"}), "")); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("keys are not available: %d %s", w.Code, w.Body)
	}
	if n := len(f.clients()); n != 0 {
		t.Errorf("%d clients", n)
	}

	for rule, statement := range map[string]string{
		"good": valid, "audience": claims(map[string]any{"aud": []string{"x", "https://login.example.com"}}),
		"the endpoint as audience": claims(map[string]any{"aud": "https://login.example.com/oidc/register"}),
		"within the skew":          claims(map[string]any{"exp": start.Add(-59 * time.Second).Unix(), "iat": start.Add(time.Minute).Unix()}),
	} {
		if w := f.post(stated(statement, "")); w.Code != 201 {
			t.Errorf("%s: %d %s", rule, w.Code, w.Body)
		}
	}
}

func TestRequiredSoftwareStatements(t *testing.T) {
	key := newIssuerKey(t)
	f := newFixture(t, options{settings: manageable, config: func(c *Config) {
		trusting(SoftwareIssuer{Issuer: publisher, JWKS: key.jwks(t)})(c)
		c.RequireSoftwareStatement = true
	}})
	for _, members := range []string{``, `"software_statement":""`, `"software_statement":null`} {
		if w := f.post(with(members)); w.Code != 400 || f.decode(w).Error != oauth.CodeInvalidSoftwareStatement || len(f.clients()) > 0 {
			t.Errorf("%s: %d %s", members, w.Code, w.Body)
		}
	}
	f.managed(stated(key.statement(t, nil), ""))
}

// What an issuer said of an application, the application cannot take back.
func TestReplacementsKeepTheStatement(t *testing.T) {
	key := newIssuerKey(t)
	f := newFixture(t, options{settings: manageable, config: trusting(SoftwareIssuer{Issuer: publisher, JWKS: key.jwks(t)})})
	statement := key.statement(t, map[string]any{"client_name": "Stated"})
	info := f.managed(stated(statement, ""))
	for name, members := range map[string]string{
		"without": `"client_name":"Own"`, "with another's": `"software_statement":"` + newIssuerKey(t).statement(t, nil) + `"`,
	} {
		if w := f.configure("PUT", info.ClientID, info.RegistrationAccessToken, f.replacement(info.ClientID, members)); w.Code != 400 ||
			f.decode(w).Error != oauth.CodeInvalidSoftwareStatement || f.client(info.ClientID).Version != 1 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	// Its claims stand, and cannot stand in for what proves the client.
	next := key.statement(t, map[string]any{"client_name": "Stated anew", "client_id": "other"})
	answer, stored := f.put(info.ClientID, info.RegistrationAccessToken, `"client_name":"Own","software_statement":"`+next+`"`)
	if stored.Name != "Stated anew" || stored.Extra().SoftwareStatement != next || answer.raw["software_statement"] != next || stored.Revision != 1 {
		t.Errorf("%+v", stored)
	}
	forged := key.statement(t, map[string]any{"client_id": info.ClientID})
	if w := f.configure("PUT", info.ClientID, answer.RegistrationAccessToken, stated(forged, "")); w.Code != 400 || f.decode(w).Error != "invalid_client_metadata" {
		t.Errorf("client_id in the statement alone: %d %s", w.Code, w.Body)
	}
	// What was answered can be sent back.
	w := f.configure("GET", info.ClientID, answer.RegistrationAccessToken, "")
	if w := f.configure("PUT", info.ClientID, answer.RegistrationAccessToken, w.Body.String()); w.Code != 200 {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
}

func TestNewChecksSoftwareIssuers(t *testing.T) {
	key := newIssuerKey(t)
	good := newFixture(t, options{}).registrar.cfg
	for want, issuer := range map[string]SoftwareIssuer{
		"Issuer is required":                       {JWKS: key.jwks(t)},
		"one of JWKS and JWKSURI is required":      {Issuer: publisher},
		"[0]: one of JWKS and JWKSURI is required": {Issuer: publisher, JWKS: key.jwks(t), JWKSURI: "https://a.example/"},
		"JWKSURI":                           {Issuer: publisher, JWKSURI: "http://a.example/"},
		"JWKS is not a JSON Web Key Set":    {Issuer: publisher, JWKS: json.RawMessage(`x`)},
		"JWKS has private or symmetric key": {Issuer: publisher, JWKS: json.RawMessage(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)},
		"JWKS has no key that can verify":   {Issuer: publisher, JWKS: json.RawMessage(`{"keys":[` + strings.Replace(ecKey, `"kid"`, `"use":"enc","kid"`, 1) + `]}`)},
		`Algorithms: "HS256"`:               {Issuer: publisher, JWKS: key.jwks(t), Algorithms: []string{"HS256"}},
		`Algorithms: "none"`:                {Issuer: publisher, JWKS: key.jwks(t), Algorithms: []string{"none"}},
	} {
		cfg := good
		cfg.SoftwareIssuers = []SoftwareIssuer{issuer}
		if r, err := New(cfg); r != nil || err == nil || !strings.Contains(err.Error(), "dcr: Config.SoftwareIssuers[0]: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// An error comes without claims, and is one for the client.
func FuzzSoftwareStatement(f *testing.F) {
	key := newIssuerKey(f)
	x := newFixture(f, options{config: trusting(SoftwareIssuer{Issuer: publisher, JWKS: key.jwks(f)})})
	tn, err := x.registrar.cfg.Tenants.Tenant(f.Context(), tenant.DefaultID)
	if err != nil {
		f.Fatal(err)
	}
	valid := key.statement(f, nil)
	parts := strings.Split(valid, ".")
	f.Add(valid)
	f.Add("")
	f.Add("..")
	f.Add(parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+publisher+`","software_id":"x","aud":[1]}`)) + "." + parts[2])
	f.Fuzz(func(t *testing.T, statement string) {
		payload, err := x.registrar.software.verify(t.Context(), tn, statement, "")
		if err == nil {
			if statement != valid {
				t.Fatalf("accepted %q", statement)
			}
			return
		}
		if payload != nil || oauth.Internal(err) {
			t.Fatalf("%q, %v", payload, err)
		}
	})
}
