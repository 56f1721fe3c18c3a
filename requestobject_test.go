package opkit_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// clientKeys are keys that clients of tests sign with.
var clientKeys = sync.OnceValue(func() map[jose.SignatureAlgorithm]jose.JSONWebKey {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[jose.SignatureAlgorithm]jose.JSONWebKey{
		jose.RS256: {Key: rsaKey, KeyID: "rsa"}, jose.PS256: {Key: rsaKey, KeyID: "rsa"},
		jose.ES256: {Key: ecKey, KeyID: "ec"}, jose.EdDSA: {Key: edKey, KeyID: "ed"},
	}
})

// publicJWKS returns the jwks member of a registration.
func publicJWKS(algs ...jose.SignatureAlgorithm) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for _, alg := range algs {
		key := clientKeys()[alg]
		set.Keys = append(set.Keys, key.Public())
	}
	return set
}

// signObject signs a payload with a client's key; header adds members.
func signObject(t testing.TB, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, payload []byte) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: header}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func compact(parts ...string) string {
	for i, p := range parts {
		parts[i] = base64.RawURLEncoding.EncodeToString([]byte(p))
	}
	return strings.Join(parts, ".")
}

func unsignedObject(t testing.TB, members map[string]any) string {
	t.Helper()
	return compact(`{"alg":"none"}`, string(marshal(t, members)), "")
}

// object returns the members of a request object that asks for a code, changed by
// name, value pairs; a nil value removes.
func (w *world) object(app registered, changes ...any) map[string]any {
	now := w.clock.now()
	o := map[string]any{
		"iss": app.id, "aud": w.issuer, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"client_id": app.id, "response_type": "code", "redirect_uri": app.redirectURI, "scope": "openid profile",
		"state": "inside", "nonce": "inside-nonce", "code_challenge": challenge(), "code_challenge_method": "S256",
	}
	for pair := range slices.Chunk(changes, 2) {
		if name := pair[0].(string); pair[1] == nil {
			delete(o, name)
		} else {
			o[name] = pair[1]
		}
	}
	return o
}

// sign signs a request object with the key for ES256.
func (w *world) sign(members map[string]any) string {
	w.t.Helper()
	key := clientKeys()[jose.ES256]
	return signObject(w.t, jose.ES256, key, nil, marshal(w.t, members))
}

// Values of the object win over those outside, of which only client_id and
// response_type have to be there.
func TestSignedRequestObject(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		for alg, key := range clientKeys() {
			for _, registered := range []any{string(alg), nil} {
				metadata := map[string]any{"jwks": publicJWKS(jose.RS256, jose.ES256, jose.EdDSA), "request_object_signing_alg": registered}
				app := w.register(metadata)
				header := map[jose.HeaderKey]any{"typ": "OAuth-AuthZ-Req+JWT"}
				object := signObject(t, alg, key, header, marshal(t, w.object(app)))
				b := newBrowser(t)
				res := b.finish(b.get(w.authorizeURL(app, "request", object, "redirect_uri", "https://evil.example/", "state", "outside", "nonce", "outside")))
				if !strings.HasPrefix(res.Header.Get("Location"), app.redirectURI+"?") {
					t.Fatalf("%s: %d %s", alg, res.StatusCode, text(res.body))
				}
				got := res.location(t)
				tokens := w.redeem(app, got.Get("code")).json(t)
				if got.Get("state") != "inside" || tokens["id_token"] == nil || claims(t, tokens["id_token"].(string))["nonce"] != "inside-nonce" {
					t.Errorf("%s: %v %v", alg, got, tokens)
				}
			}
		}
	})
}

// Without a registered algorithm, or with none, an object may come unsigned: it
// says no more than the query that it stands for.
func TestUnsignedRequestObject(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		for name, metadata := range map[string]map[string]any{
			"nothing registered": nil, "keys registered": {"jwks": publicJWKS(jose.ES256)}, "none registered": {"request_object_signing_alg": "none"},
		} {
			app := w.register(metadata)
			// OpenID Connect Core §6.1: iss and aud are for signed objects.
			object := unsignedObject(t, w.object(app, "iss", nil, "aud", nil, "exp", nil, "iat", nil, "nbf", nil, "client_id", nil))
			b := newBrowser(t)
			got := b.finish(b.get(w.authorizeURL(app, "request", object, "redirect_uri", "https://evil.example/"))).location(t)
			if got.Get("code") == "" || got.Get("state") != "inside" {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// RFC 9101 §5: with client_id and request alone, nothing outside counts. A client
// that signs every request is held to that even if response_type is outside.
func TestRequestObjectStandsAlone(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256)})
		signing := w.register(map[string]any{"jwks": publicJWKS(jose.ES256), "require_signed_request_object": true})
		outside := []string{"prompt", "none", "response_mode", "form_post", "redirect_uri", "https://evil.example/", "nonce", "outside"}

		b := newBrowser(t)
		got := b.finish(b.get(w.authorizeURL(app, append(outside, "response_type", "", "request", w.sign(w.object(app)))...))).location(t)
		if got.Get("code") == "" {
			t.Errorf("RFC 9101: %v", got)
		}
		b = newBrowser(t)
		got = b.finish(b.get(w.authorizeURL(signing, append(outside, "request", w.sign(w.object(signing)))...))).location(t)
		if got.Get("code") == "" {
			t.Errorf("a client that signs: %v", got)
		}
		// OpenID Connect Core §6.1: what the object leaves out is taken from outside.
		got = newBrowser(t).get(w.authorizeURL(app, "prompt", "none", "request", w.sign(w.object(app)))).location(t)
		if got.Get("error") != "login_required" {
			t.Errorf("prompt outside: %v", got)
		}
		// RFC 9126 §3: beside an object that is pushed nothing counts.
		b = newBrowser(t)
		got = b.finish(b.get(w.pushed(app, append(outside, "request", w.sign(w.object(app)))...))).location(t)
		if got.Get("code") == "" || got.Get("state") != "inside" {
			t.Errorf("pushed: %v", got)
		}
	})
}

func TestRequestsThatMustBeSigned(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(map[string]any{
			"jwks": publicJWKS(jose.ES256), "require_signed_request_object": true, "require_pushed_authorization_requests": true,
		})
		if res := w.push(app); res.StatusCode != 400 || res.json(t)["error"] != "invalid_request" {
			t.Errorf("plain, pushed: %d %s", res.StatusCode, res.body)
		}
		if res := w.push(app, "request", unsignedObject(t, w.object(app))); res.StatusCode != 400 || res.json(t)["error"] != "invalid_request_object" {
			t.Errorf("unsigned, pushed: %d %s", res.StatusCode, res.body)
		}
		b := newBrowser(t)
		for name, request := range map[string]string{"plain": w.authorizeURL(app), "signed, not pushed": w.authorizeURL(app, "request", w.sign(w.object(app)))} {
			if got := b.get(request).location(t); got.Get("error") != "invalid_request" {
				t.Errorf("%s: %v", name, got)
			}
		}
		if got := b.finish(b.get(w.pushed(app, "request", w.sign(w.object(app))))).location(t); got.Get("code") == "" {
			t.Errorf("signed and pushed: %v", got)
		}
	})
}

// The object is checked when it arrives: a user may take longer than it is valid.
func TestRequestObjectMayExpireWhileAPageIsOpen(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256), "require_signed_request_object": true})
	b := newBrowser(t)
	page := b.get(w.authorizeURL(app, "request", w.sign(w.object(app))))
	w.clock.advance(30 * time.Minute)
	if got := b.finish(page).location(t); got.Get("code") == "" {
		t.Errorf("%v", got)
	}
}

// Values keep their meaning whatever their JSON type is.
func TestTypesInARequestObject(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256)})
	b := newBrowser(t)
	w.authorizeIn(b, app)
	get := func(changes ...any) url.Values {
		return b.get(w.authorizeURL(app, "request", w.sign(w.object(app, append(changes, "prompt", "none")...)))).location(t)
	}
	w.clock.advance(time.Minute)
	if got := get("max_age", 10); got.Get("error") != "login_required" {
		t.Errorf("max_age as a number: %v", got)
	}
	if got := get("max_age", "10"); got.Get("error") != "login_required" {
		t.Errorf("max_age as a string: %v", got)
	}
	for name, value := range map[string]any{
		"max_age": 3600, "claims": map[string]any{"userinfo": map[string]any{"name": nil}}, "state": "", "extension": []any{map[string]any{"a": 1}},
		"other": true, "login_hint": json.RawMessage("null"), "jti": "x",
	} {
		if got := get(name, value); got.Get("code") == "" {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := get("resource", []string{"not absolute"}); got.Get("error") != "invalid_target" {
		t.Errorf("resource: %v", got)
	}
	for name, value := range map[string]any{"scope": []string{"openid"}, "nonce": map[string]any{}, "resource": []any{1}} {
		if got := get(name, value); got.Get("error") != "invalid_request_object" {
			t.Errorf("%s %v: %v", name, value, got)
		}
	}
	if got := get("registration", map[string]any{}); got.Get("error") != "registration_not_supported" {
		t.Errorf("registration: %v", got)
	}
}

// Nothing in an object that is refused is believed: the error goes where the
// parameters outside prove, or to nobody.
func TestRefusedRequestObjects(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256), "request_object_signing_alg": "ES256"})
		other := w.register(map[string]any{"jwks": publicJWKS(jose.EdDSA)})
		free := w.register(map[string]any{"jwks": publicJWKS(jose.ES256, jose.RS256)})
		unsigned := w.register(map[string]any{"request_object_signing_alg": "none"})
		keyless := w.register(nil)

		stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ecKey, rsaKey, edKey := clientKeys()[jose.ES256], clientKeys()[jose.RS256], clientKeys()[jose.EdDSA]
		publicDER, err := x509.MarshalPKIXPublicKey(rsaKey.Key.(*rsa.PrivateKey).Public())
		if err != nil {
			t.Fatal(err)
		}
		good := marshal(t, w.object(app))
		valid := w.sign(w.object(app))
		with := func(changes ...any) string { return w.sign(w.object(app, changes...)) }
		headed := func(header map[jose.HeaderKey]any) string { return signObject(t, jose.ES256, ecKey, header, good) }
		raw := func(payload string) string { return signObject(t, jose.ES256, ecKey, nil, []byte(payload)) }
		now := w.clock.now()

		for _, row := range []struct {
			name   string
			app    registered
			object string
		}{
			{"not a JWT", app, "x"},
			{"two parts", app, "e30.e30"},
			{"encrypted, no algorithm registered", app, w.encrypt(valid, "ECDH-ES", "A128CBC-HS256")},
			{"five parts", app, "e30.e30.e30.e30.e30"},
			{"empty parts", app, ".."},
			{"line break", app, valid[:10] + "\n" + valid[10:]},
			{"padding", app, strings.Replace(valid, ".", "=.", 1)},
			{"too large", app, valid + strings.Repeat("A", 16<<10)},
			{"signature cut off", app, valid[:strings.LastIndexByte(valid, '.')+1]},
			{"payload changed", app, strings.Split(valid, ".")[0] + "." + strings.Split(with("scope", "openid email"), ".")[1] + "." + strings.Split(valid, ".")[2]},
			{"foreign key", app, signObject(t, jose.ES256, stranger, nil, good)},
			{"foreign key with a registered kid", app, signObject(t, jose.ES256, jose.JSONWebKey{Key: stranger, KeyID: "ec"}, nil, good)},
			{"unknown kid", app, signObject(t, jose.ES256, jose.JSONWebKey{Key: ecKey.Key, KeyID: "new"}, nil, good)},
			{"foreign key in the header", app, signObject(t, jose.ES256, stranger, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: stranger.Public()}}, good)},
			{"registered key in the header", app, headed(map[jose.HeaderKey]any{"jwk": ecKey.Public()})},
			{"jku", app, headed(map[jose.HeaderKey]any{"jku": "https://evil.example/jwks.json"})},
			{"x5u", app, headed(map[jose.HeaderKey]any{"x5u": "https://evil.example/chain.pem"})},
			{"crit", app, compact(`{"alg":"ES256","crit":["exp"],"exp":1}`, string(good), "xx")},
			{"crit unsigned", unsigned, compact(`{"alg":"none","crit":["exp"]}`, string(marshal(t, w.object(unsigned))), "")},
			{"header with a member twice", unsigned, compact(`{"alg":"none","alg":"none"}`, string(marshal(t, w.object(unsigned))), "")},
			{"typ of an access token", app, headed(map[jose.HeaderKey]any{"typ": "at+jwt"})},
			{"none, ES256 registered", app, unsignedObject(t, w.object(app))},
			{"none in other letters", unsigned, compact(`{"alg":"None"}`, string(marshal(t, w.object(unsigned))), "")},
			{"none with a signature", unsigned, compact(`{"alg":"none"}`, string(marshal(t, w.object(unsigned))), "x")},
			{"no algorithm", unsigned, compact(`{}`, string(marshal(t, w.object(unsigned))), "")},
			{"signed, none registered", unsigned, w.sign(w.object(unsigned))},
			{"signed, no keys registered", keyless, w.sign(w.object(keyless))},
			{"RS256, ES256 registered", app, signObject(t, jose.RS256, rsaKey, nil, good)},
			{"HMAC with the public key", free, signObject(t, jose.HS256, publicDER, nil, marshal(t, w.object(free)))},
			{"HMAC with the client secret", free, signObject(t, jose.HS256, []byte(free.secret), nil, marshal(t, w.object(free)))},
			{"another client's object", app, signObject(t, jose.EdDSA, edKey, nil, marshal(t, w.object(other)))},
			{"another client's key", app, signObject(t, jose.EdDSA, edKey, nil, good)},
			{"iss of another client", app, with("iss", other.id)},
			{"no iss", app, with("iss", nil)},
			{"iss of this server", app, with("iss", w.issuer)},
			{"client_id of another client", app, with("client_id", other.id)},
			{"sub of the client", app, with("sub", app.id)},
			{"no aud", app, with("aud", nil)},
			{"aud elsewhere", app, with("aud", "https://other.example/")},
			{"aud without the issuer", app, with("aud", []string{"https://a.example/", "https://b.example/"})},
			{"aud with a slash more", app, with("aud", w.issuer+"/")},
			{"expired", app, with("exp", now.Add(-61*time.Second).Unix())},
			{"not valid yet", app, with("nbf", now.Add(90*time.Second).Unix())},
			{"issued in the future", app, with("iat", now.Add(90*time.Second).Unix())},
			{"unsigned with a foreign iss", unsigned, unsignedObject(t, w.object(unsigned, "iss", other.id))},
			{"unsigned with a foreign aud", unsigned, unsignedObject(t, w.object(unsigned, "aud", "https://other.example/"))},
			{"unsigned and expired", unsigned, unsignedObject(t, w.object(unsigned, "exp", 1))},
			{"request inside", app, with("request", valid)},
			{"request_uri inside", app, with("request_uri", "https://app.example.com/r.jwt")},
			{"pushed request inside", app, with("request_uri", pushedPrefix+"x")},
			{"other response_type", app, with("response_type", "id_token")},
			{"not JSON", app, raw("{")},
			{"JSON null", app, raw("null")},
			{"JSON array", app, raw("[]")},
			{"empty", app, raw("")},
			{"not UTF-8", app, raw("{\"state\":\"\xff\"}")},
			{"a member twice", app, raw(strings.Replace(string(good), "{", `{"scope":"openid",`, 1))},
			{"exp as text", app, with("exp", "tomorrow")},
			{"NUL in a value", app, with("state", "a\x00b")},
		} {
			b := newBrowser(t)
			res := b.get(w.authorizeURL(row.app, "request", row.object, "state", "outside"))
			if row.name == "too large" { // as a whole, before the object is looked at
				if res.Header.Get("Location") != "" || res.StatusCode != 400 {
					t.Errorf("%s: %d %v", row.name, res.StatusCode, res.Header)
				}
				continue
			}
			if !strings.HasPrefix(res.Header.Get("Location"), row.app.redirectURI+"?error=") {
				t.Errorf("%s: %d %s %s", row.name, res.StatusCode, res.Header.Get("Location"), text(res.body))
				continue
			}
			if got := res.location(t); got.Get("error") != "invalid_request_object" || got.Get("state") != "outside" || got.Get("iss") != w.issuer {
				t.Errorf("%s: %v", row.name, got)
			}
			res = b.get(w.authorizeURL(row.app, "request", row.object, "redirect_uri", "https://evil.example/"))
			if !refusedByPage(res, "invalid_request_object") {
				t.Errorf("%s, unproven: %d %s %s", row.name, res.StatusCode, res.Header.Get("Location"), text(res.body))
			}
			if res := w.push(row.app, "request", row.object); row.name != "other response_type" &&
				(res.StatusCode != 400 || res.json(t)["error"] != "invalid_request_object") {
				t.Errorf("%s, pushed: %d %s", row.name, res.StatusCode, res.body)
			}
		}
	})
}

// What an object asks for is checked like any other request.
func TestRequestObjectIsARequest(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256)})
		b := newBrowser(t)
		if res := b.get(w.authorizeURL(app, "request", w.sign(w.object(app, "redirect_uri", "https://evil.example/")))); !refusedByPage(res, "invalid_request") {
			t.Errorf("redirect_uri inside: %d %s", res.StatusCode, res.Header.Get("Location"))
		}
		if got := b.get(w.authorizeURL(app, "request", w.sign(w.object(app, "code_challenge", "short")))).location(t); got.Get("error") != "invalid_request" || got.Get("state") != "inside" {
			t.Errorf("code_challenge inside: %v", got)
		}
		if res := b.get(w.authorizeURL(app, "client_id", "unknown", "request", w.sign(w.object(app)))); !refusedByPage(res, "invalid_client") {
			t.Errorf("unknown client: %d %s", res.StatusCode, res.Header.Get("Location"))
		}
		if res := b.get(w.authorizeURL(app, "client_id", "", "request", w.sign(w.object(app)))); !refusedByPage(res, "invalid_request") {
			t.Errorf("client_id inside alone: %d %s", res.StatusCode, res.Header.Get("Location"))
		}
		if got := b.get(w.authorizeURL(app, "request_uri", "https://app.example.com/r.jwt")).location(t); got.Get("error") != "invalid_request_uri" {
			t.Errorf("request_uri: %v", got)
		}
		if got := b.get(w.authorizeURL(app, "request", w.sign(w.object(app)), "request_uri", "https://app.example.com/r.jwt")).location(t); got.Get("error") != "invalid_request" {
			t.Errorf("request and request_uri: %v", got)
		}
	})
}

// An object for one tenant or a client assertion means nothing elsewhere.
func TestRequestObjectIsNoClientAssertion(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256), "token_endpoint_auth_method": "private_key_jwt"})
	assertion := w.object(app, "jti", "1")
	res := newBrowser(t).post(w.endpoint.PushedAuthorizationRequest, url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {w.sign(assertion)},
		"request": {w.sign(w.object(app))},
	})
	if res.StatusCode != 401 || res.json(t)["error"] != "invalid_client" {
		t.Errorf("an object as an assertion: %d %s", res.StatusCode, res.body)
	}
	maps.Copy(assertion, map[string]any{"sub": app.id})
	res = newBrowser(t).post(w.endpoint.PushedAuthorizationRequest, url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {w.sign(assertion)},
		"request": {w.sign(w.object(app))},
	})
	if res.StatusCode != 201 {
		t.Errorf("an assertion and an object: %d %s", res.StatusCode, res.body)
	}
}
