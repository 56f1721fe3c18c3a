package tenant_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/tenant"
)

func header(t testing.TB, token string) map[string]any {
	t.Helper()
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var h map[string]any
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	return h
}

func kid(t testing.TB, token string) string { return header(t, token)["kid"].(string) }

// Anybody's JOSE library must accept what the hand-assembled signature is.
func TestTokensHoldAgainstThePublishedKeys(t *testing.T) {
	d, _ := newDirectory(t, nil)
	set := jwks(t, d)
	for _, alg := range []string{"ES256", "RS256"} {
		for _, typ := range []string{"JWT", "at+jwt", "logout+jwt"} {
			for range 20 { // ECDSA integers are shorter now and then
				token, err := d.Sign(t.Context(), theTenant(t, d), alg, typ, []byte(`{"sub":"alice"}`))
				if err != nil {
					t.Fatal(err)
				}
				jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
				if err != nil {
					t.Fatal(err)
				}
				payload, err := jws.Verify(set)
				if err != nil || string(payload) != `{"sub":"alice"}` {
					t.Fatalf("%s %s: %s, %v", alg, typ, payload, err)
				}
				h := header(t, token)
				if len(h) != 3 || h["alg"] != alg || h["typ"] != typ || h["kid"] != kid(t, token) {
					t.Errorf("header %v", h)
				}
				got, err := d.Verify(t.Context(), theTenant(t, d), typ, token)
				if err != nil || string(got) != `{"sub":"alice"}` {
					t.Errorf("%s %s: %s, %v", alg, typ, got, err)
				}
				if alg == "RS256" {
					break
				}
			}
		}
	}
}

func TestSignRefusesWhatItDoesNotKnow(t *testing.T) {
	d, stores := newDirectory(t, nil)
	for _, c := range []struct{ alg, typ string }{
		{"none", "JWT"}, {"HS256", "JWT"}, {"", "JWT"}, {"es256", "JWT"}, {"PS256", "JWT"},
		{"ES256", ""}, {"ES256", `JWT","alg":"none`}, {"ES256", "J\nWT"},
	} {
		if token, err := d.Sign(t.Context(), theTenant(t, d), c.alg, c.typ, []byte(`{}`)); err == nil || token != "" {
			t.Errorf("%q %q: %s", c.alg, c.typ, token)
		}
	}
	if n := len(records(t, stores)); n != 0 {
		t.Errorf("%d keys were made", n)
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	d, _ := newDirectory(t, nil)
	tn := theTenant(t, d)
	es, rs := sign(t, d, "ES256"), sign(t, d, "RS256")
	esKid, rsKid := kid(t, es), kid(t, rs)
	const claims = `{"sub":"mallory"}`
	parts := strings.Split(es, ".")

	var rsaPublic *rsa.PublicKey
	for _, k := range jwks(t, d).Keys {
		if key, ok := k.Key.(*rsa.PublicKey); ok {
			rsaPublic = key
		}
	}
	der, err := x509.MarshalPKIXPublicKey(rsaPublic)
	if err != nil {
		t.Fatal(err)
	}
	hs := func(header string, key []byte) string {
		input, _, _ := strings.Cut(forge(header, claims, []byte{0}), ".AA")
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	// A token that is right in every way but for whose key it is.
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	theirs := func(options *jose.SignerOptions) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: own}, options.WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	withKid := func(extra map[jose.HeaderKey]any) *jose.SignerOptions {
		o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": esKid}}
		for name, v := range extra {
			o.ExtraHeaders[name] = v
		}
		return o
	}
	zeros := make([]byte, 64)
	last := es[len(es)-1]

	for name, token := range map[string]string{
		"empty":                         "",
		"one part":                      "a",
		"two parts":                     parts[0] + "." + parts[1],
		"four parts":                    es + ".",
		"JSON serialization":            `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"detached payload":              parts[0] + ".." + parts[2],
		"alg none":                      forge(`{"alg":"none","typ":"JWT","kid":"`+esKid+`"}`, claims, nil),
		"alg none without kid":          forge(`{"alg":"none","typ":"JWT"}`, claims, nil),
		"alg None":                      forge(`{"alg":"None","typ":"JWT","kid":"`+esKid+`"}`, claims, nil),
		"no alg":                        forge(`{"typ":"JWT","kid":"`+esKid+`"}`, claims, zeros),
		"HMAC with the public key, PEM": hs(`{"alg":"HS256","typ":"JWT","kid":"`+rsKid+`"}`, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HMAC with the public key, DER": hs(`{"alg":"HS256","typ":"JWT","kid":"`+rsKid+`"}`, der),
		"HMAC with the modulus":         hs(`{"alg":"HS256","typ":"JWT","kid":"`+rsKid+`"}`, rsaPublic.N.Bytes()),
		"alg of another key":            forge(`{"alg":"RS256","typ":"JWT","kid":"`+esKid+`"}`, claims, make([]byte, 256)),
		"PS256 with an RS256 key":       forge(`{"alg":"PS256","typ":"JWT","kid":"`+rsKid+`"}`, claims, make([]byte, 256)),
		"all-zero signature":            forge(`{"alg":"ES256","typ":"JWT","kid":"`+esKid+`"}`, claims, zeros),
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"unknown kid":                   theirs(&jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": "x"}}),
		"no kid":                        theirs(&jose.SignerOptions{}),
		"kid of ours, key of theirs":    theirs(withKid(nil)),
		"jwk":                           theirs(&jose.SignerOptions{EmbedJWK: true}),
		"jwk and kid":                   theirs(&jose.SignerOptions{EmbedJWK: true, ExtraHeaders: map[jose.HeaderKey]any{"kid": esKid}}),
		"jku":                           theirs(withKid(map[jose.HeaderKey]any{"jku": "https://evil.test/jwks.json"})),
		"x5u":                           theirs(withKid(map[jose.HeaderKey]any{"x5u": "https://evil.test/cert.pem"})),
		"crit":                          forge(`{"alg":"ES256","typ":"JWT","kid":"`+esKid+`","crit":["exp"],"exp":1}`, claims, zeros),
		"b64 false":                     forge(`{"alg":"ES256","typ":"JWT","kid":"`+esKid+`","b64":false,"crit":["b64"]}`, claims, zeros),
		"zip":                           forge(`{"alg":"ES256","typ":"JWT","kid":"`+esKid+`","zip":"DEF"}`, claims, zeros),
		"kid twice":                     forge(`{"alg":"ES256","typ":"JWT","kid":"x","kid":"`+esKid+`"}`, claims, zeros),
		"other order":                   forge(`{"typ":"JWT","alg":"ES256","kid":"`+esKid+`"}`, claims, zeros),
		"other payload":                 parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + parts[2],
		"header of the other key":       strings.Split(rs, ".")[0] + "." + parts[1] + "." + parts[2],
		"cut":                           es[:len(es)-1],
		"padding":                       es + "==",
		"line break":                    parts[0] + "." + parts[1] + "\n." + parts[2],
		"space":                         " " + es,
		"stray bits":                    es[:len(es)-1] + string(last+1), // the last of 86 characters has two bits that count
		"standard alphabet":             strings.NewReplacer("-", "+", "_", "/").Replace(es) + "+",
		"too long":                      parts[0] + "." + strings.Repeat("A", 20<<10) + "." + parts[2],
	} {
		payload, err := d.Verify(t.Context(), tn, "JWT", token)
		if !errors.Is(err, tenant.ErrInvalidToken) || payload != nil {
			t.Errorf("%s: %s, %v", name, payload, err)
		}
		// Whatever is too long is refused before anything is decoded.
		if name == "too long" && !strings.Contains(err.Error(), "too long") {
			t.Error(err)
		}
	}
}

// RFC 8725 §3.11: an ID token must not pass for an access token.
func TestTypKeepsKindsOfTokensApart(t *testing.T) {
	d, _ := newDirectory(t, nil)
	tn := theTenant(t, d)
	id, err := d.Sign(t.Context(), tn, "ES256", "JWT", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"at+jwt", "jwt", "", "application/JWT"} {
		if payload, err := d.Verify(t.Context(), tn, typ, id); !errors.Is(err, tenant.ErrInvalidToken) || payload != nil {
			t.Errorf("typ %q: %s, %v", typ, payload, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	d, _ := newDirectory(f, nil)
	tn := theTenant(f, d)
	good := sign(f, d, "ES256")
	esKid := kid(f, good)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(unknownKid("x"))
	f.Add(unknownKid(esKid))
	f.Add(forge(`{"alg":"none","typ":"JWT","kid":"`+esKid+`"}`, `{}`, nil))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		payload, err := d.Verify(t.Context(), tn, "JWT", token)
		switch {
		case err == nil && token != good:
			t.Errorf("accepted %q: %s", token, payload)
		case err != nil && payload != nil:
			t.Errorf("a payload came with the error %v", err)
		case err != nil && !errors.Is(err, tenant.ErrInvalidToken):
			t.Errorf("a system error: %v", err)
		}
	})
}
