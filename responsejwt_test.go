package opkit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// me asks userinfo.
func (w *world) me(accessToken string) *response {
	w.t.Helper()
	return w.sendJSON(http.MethodGet, w.endpoint.UserInfo, accessToken, "")
}

// verified returns the claims of a JWS that the provider, or who has the secret,
// signed with exactly that algorithm.
func (w *world) verified(compact, alg, secret string) map[string]any {
	w.t.Helper()
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		w.t.Fatalf("%s: %v", compact, err)
	}
	var key any = []byte(secret)
	if alg != "HS256" {
		keys := w.jwks().Key(jws.Signatures[0].Protected.KeyID)
		if len(keys) != 1 {
			w.t.Fatalf("kid %q is not published", jws.Signatures[0].Protected.KeyID)
		}
		key = keys[0].Key
	}
	payload, err := jws.Verify(key)
	if err != nil {
		w.t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(payload, &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// decrypted returns the content of a JWE to key, with exactly these algorithms.
func decrypted(t testing.TB, compact string, key jose.JSONWebKey, alg, enc, contentType string) string {
	t.Helper()
	jwe, err := jose.ParseEncryptedCompact(compact, []jose.KeyAlgorithm{jose.KeyAlgorithm(alg)}, []jose.ContentEncryption{jose.ContentEncryption(enc)})
	if err != nil {
		t.Fatalf("%q: %v", compact, err)
	}
	header := jwe.Header
	cty, _ := header.ExtraHeaders[jose.HeaderContentType].(string)
	if header.KeyID != key.KeyID || cty != contentType || header.ExtraHeaders["zip"] != nil {
		t.Errorf("header %+v", header)
	}
	payload, err := jwe.Decrypt(key.Key)
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// OpenID Connect Core §5.3.2.
func TestSignedUserInfo(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		for _, alg := range []string{"RS256", "ES256", "HS256"} {
			app := w.register(map[string]any{"userinfo_signed_response_alg": alg, "post_logout_redirect_uris": []string{afterLogout}})
			b := newBrowser(t)
			tokens := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)
			res := w.me(tokens["access_token"].(string))
			if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/jwt" || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%s: %d %v %s", alg, res.StatusCode, res.Header, res.body)
			}
			got := w.verified(res.body, alg, app.secret)
			if got["iss"] != w.issuer || got["aud"] != app.id || got["sub"] != w.user.ID || got["email"] != "ada@example.com" || got["nonce"] != nil || got["exp"] != nil {
				t.Errorf("%s: %v", alg, got)
			}
			// It is no ID token.
			if res := b.get(w.endSession("id_token_hint", res.body, "post_logout_redirect_uri", afterLogout)); res.StatusCode != http.StatusBadRequest || !w.signedIn(b, app) {
				t.Errorf("%s: as a hint: %d %s", alg, res.StatusCode, res.Header.Get("Location"))
			}
			// Errors stay as they are.
			if res := w.me("x"); res.StatusCode != http.StatusUnauthorized || res.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %d %s", alg, res.StatusCode, res.body)
			}
		}
		plain := w.register(nil)
		res := w.me(w.redeem(plain, w.authorize(plain).Get("code")).json(t)["access_token"].(string))
		if got := res.json(t); res.Header.Get("Content-Type") != "application/json" || got["iss"] != nil || got["aud"] != nil {
			t.Errorf("unsigned: %v", got)
		}
	})
}

// Everything that a client can have encrypted, with every algorithm that is
// advertised.
func TestEncryptedResponses(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	metadata := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
	list := func(name string) []string {
		var out []string
		for _, v := range metadata[name].([]any) {
			out = append(out, v.(string))
		}
		return out
	}
	algs, encs := list("id_token_encryption_alg_values_supported"), list("id_token_encryption_enc_values_supported")
	for _, kind := range []string{"userinfo", "introspection"} {
		if !slices.Equal(list(kind+"_encryption_alg_values_supported"), algs) || !slices.Equal(list(kind+"_encryption_enc_values_supported"), encs) {
			t.Errorf("%s is encrypted otherwise", kind)
		}
	}
	keys := map[string]jose.JSONWebKey{"R": clientKeys()[jose.RS256], "E": clientKeys()[jose.ES256]}
	for i, alg := range algs {
		for j, enc := range encs {
			if i > 0 && j > 0 && i != j { // each of both, and a few pairs
				continue
			}
			request := map[string]any{
				"jwks": publicJWKS(jose.RS256, jose.EdDSA, jose.ES256), "id_token_signed_response_alg": "ES256", "introspection_signed_response_alg": "ES256",
				"userinfo_encrypted_response_alg": alg, "userinfo_encrypted_response_enc": enc,
				"id_token_encrypted_response_alg": alg, "id_token_encrypted_response_enc": enc,
				"introspection_encrypted_response_alg": alg, "introspection_encrypted_response_enc": enc,
			}
			if j == 0 {
				delete(request, "id_token_encrypted_response_enc") // the default
			}
			if j == 1 {
				request["userinfo_signed_response_alg"] = "ES256"
			}
			app, key := w.register(request), keys[alg[:1]]
			tokens := w.redeem(app, w.authorize(app).Get("code")).json(t)
			idToken := w.verified(decrypted(t, tokens["id_token"].(string), key, alg, enc, "JWT"), "ES256", "")
			if idToken["aud"] != app.id || idToken["nonce"] != "n-0S6_WzA2Mj" {
				t.Errorf("%s, %s: %v", alg, enc, idToken)
			}
			res := w.me(tokens["access_token"].(string))
			var userInfo map[string]any
			if j == 1 {
				userInfo = w.verified(decrypted(t, res.body, key, alg, enc, "JWT"), "ES256", "")
			} else if err := json.Unmarshal([]byte(decrypted(t, res.body, key, alg, enc, "")), &userInfo); err != nil {
				t.Fatal(err)
			}
			if res.Header.Get("Content-Type") != "application/jwt" || userInfo["sub"] != idToken["sub"] || (userInfo["aud"] == app.id) != (j == 1) {
				t.Errorf("%s, %s: %v", alg, enc, userInfo)
			}
			req, err := http.NewRequest(http.MethodPost, w.endpoint.Introspection, strings.NewReader(url.Values{
				"client_id": {app.id}, "client_secret": {app.secret}, "token": {tokens["access_token"].(string)},
			}.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Accept", "application/token-introspection+jwt")
			answer := w.verified(decrypted(t, newBrowser(t).do(req).body, key, alg, enc, "JWT"), "ES256", "")
			if about, _ := answer["token_introspection"].(map[string]any); about["active"] != true || answer["aud"] != app.id {
				t.Errorf("%s, %s: %v", alg, enc, answer)
			}
			if i == 0 && j == 0 {
				front := w.authorize(app, "response_type", "id_token token")
				inner := decrypted(t, front.Get("id_token"), key, alg, enc, "JWT")
				w.verified(inner, "ES256", "")
				// What was encrypted to the client only the client can open: it gives back what
				// was inside.
				b := newBrowser(t)
				w.authorizeIn(b, app)
				if got := b.get(w.authorizeURL(app, "prompt", "none", "id_token_hint", tokens["id_token"].(string))).location(t); got.Get("error") != "login_required" {
					t.Errorf("an encrypted hint: %v", got)
				}
				if got := b.get(w.authorizeURL(app, "prompt", "none", "id_token_hint", inner)).location(t); got.Get("code") == "" {
					t.Errorf("a hint: %v", got)
				}
			}
		}
	}
}

// Keys at a jwks_uri are encrypted to, new ones too. Without one nothing is minted
// and nothing used up.
func TestEncryptionToPublishedKeys(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		s := newSite(t)
		w := newWorld(t, options{mount: mount, config: outboundTo(s.Server, "127.0.0.0/8")})
		app := w.register(map[string]any{
			"jwks_uri": s.URL + "/jwks", "id_token_encrypted_response_alg": "ECDH-ES", "id_token_encrypted_response_enc": "A256GCM",
			"userinfo_encrypted_response_alg": "ECDH-ES",
		})
		code := w.authorize(app).Get("code")
		res := w.redeem(app, code)
		if res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_request" || strings.Contains(res.body, s.URL) {
			t.Fatalf("without keys: %d %s", res.StatusCode, res.body)
		}
		first := newEncryptionKey(t, "first")
		s.publish(t, clientKeys()[jose.RS256], first)
		w.clock.advance(30 * time.Second)
		res = w.redeem(app, code)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("the code was used up: %d %s", res.StatusCode, res.body)
		}
		tokens := res.json(t)
		inner := decrypted(t, tokens["id_token"].(string), first, "ECDH-ES", "A256GCM", "JWT")
		if got := w.verified(inner, "RS256", ""); got["aud"] != app.id {
			t.Errorf("%v", got)
		}
		// The keys change, and the old kind of key is gone.
		second := newEncryptionKey(t, "second")
		s.publish(t, second)
		w.clock.advance(10 * time.Minute)
		refreshed := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)).json(t)
		decrypted(t, refreshed["id_token"].(string), second, "ECDH-ES", "A256GCM", "JWT")
		s.publish(t, clientKeys()[jose.RS256])
		w.clock.advance(10 * time.Minute)
		if res := w.me(refreshed["access_token"].(string)); res.StatusCode != http.StatusBadRequest || strings.Contains(res.body, "ada@") {
			t.Errorf("userinfo without a key: %d %s", res.StatusCode, res.body)
		}
	})
}

func newEncryptionKey(t testing.TB, kid string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: kid, Use: "enc"}
}

// Back-Channel Logout §2.4: with the keys and algorithms of ID tokens.
func TestEncryptedLogoutToken(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		server, received := receiver(t)
		w := newWorld(t, options{mount: mount, config: outboundTo(server, "127.0.0.0/8")})
		b := newBrowser(t)
		_, tokens := w.loggedIn(b, map[string]any{
			"jwks": publicJWKS(jose.RS256), "id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A128GCM",
			"backchannel_logout_uri": server.URL + "/bye",
		})
		inner := decrypted(t, tokens["id_token"].(string), clientKeys()[jose.RS256], "RSA-OAEP-256", "A128GCM", "JWT")
		b.get(w.endSession("id_token_hint", inner))
		token := (<-received).Get("logout_token")
		got := w.verified(decrypted(t, token, clientKeys()[jose.RS256], "RSA-OAEP-256", "A128GCM", "JWT"), "RS256", "")
		if got["events"] == nil || got["sub"] != w.user.ID {
			t.Errorf("%v", got)
		}
	})
}

// What the metadata lists can be registered, and the rest cannot.
func TestAdvertisedAlgorithmsCanBeRegistered(t *testing.T) {
	w := newWorld(t, options{permissive: true, config: insecureUnsigned})
	metadata := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
	every := []string{
		"none", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
		"RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512", "A128KW", "A192KW", "A256KW", "dir",
		"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW", "A128GCMKW", "PBES2-HS256+A128KW",
		"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM",
	}
	for member, list := range map[string]string{
		"id_token_signed_response_alg":         "id_token_signing_alg_values_supported",
		"id_token_encrypted_response_alg":      "id_token_encryption_alg_values_supported",
		"id_token_encrypted_response_enc":      "id_token_encryption_enc_values_supported",
		"userinfo_signed_response_alg":         "userinfo_signing_alg_values_supported",
		"userinfo_encrypted_response_alg":      "userinfo_encryption_alg_values_supported",
		"userinfo_encrypted_response_enc":      "userinfo_encryption_enc_values_supported",
		"introspection_signed_response_alg":    "introspection_signing_alg_values_supported",
		"introspection_encrypted_response_alg": "introspection_encryption_alg_values_supported",
		"introspection_encrypted_response_enc": "introspection_encryption_enc_values_supported",
		"request_object_signing_alg":           "request_object_signing_alg_values_supported",
		"request_object_encryption_alg":        "request_object_encryption_alg_values_supported",
		"request_object_encryption_enc":        "request_object_encryption_enc_values_supported",
	} {
		advertised, _ := metadata[list].([]any)
		if len(advertised) == 0 {
			t.Errorf("%s is not advertised", list)
		}
		for _, alg := range every {
			request := map[string]any{
				"client_name": "x", "redirect_uris": []string{appRedirectURI}, "response_types": []string{"code"},
				"jwks": publicJWKS(jose.RS256, jose.ES256, jose.EdDSA), member: alg,
			}
			if name, ok := strings.CutSuffix(member, "_enc"); ok {
				request[name+"_alg"] = "ECDH-ES"
			}
			res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", string(marshal(t, request)))
			if registered := res.StatusCode == http.StatusCreated; registered != slices.Contains(advertised, any(alg)) || registered && res.json(t)[member] != alg {
				t.Errorf("%s %s: %d %s, advertised %v", member, alg, res.StatusCode, res.body, advertised)
			}
		}
	}
}
