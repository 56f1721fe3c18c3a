package connection

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/tenant"
)

// This file implements OpenID Connect Core §3.1.3.7 (ID token validation) as a client.

const (
	// maxIDToken bounds the token in bytes.
	maxIDToken = 32 << 10
	// clockSkew is how far the upstream's clock may be off.
	clockSkew = 2 * time.Minute
	// maxIDTokenAge is how old a token may be that was issued for this very sign-in.
	maxIDTokenAge = 10 * time.Minute
	maxAMR        = 16
)

// idToken is what an ID token says, as far as it is checked.
type idToken struct {
	Issuer    string
	Subject   string
	Audience  []string
	Party     string // azp
	ExpiresAt time.Time
	IssuedAt  time.Time
	AuthTime  time.Time // zero if it does not say
	Nonce     string
	ATHash    string
	ACR       string
	AMR       []string
	// Claims are all of them.
	Claims map[string]json.RawMessage
}

// parseIDToken reads the payload of an ID token whose signature was verified. On error
// the result is zero.
func parseIDToken(payload []byte) (idToken, error) {
	var claims map[string]json.RawMessage
	if err := httpx.DecodeJSON(payload, &claims); err != nil {
		return idToken{}, errors.New("the ID token is not a JSON object with each member once")
	}
	t := idToken{Claims: claims}
	var expires, issued, authTime float64 // seconds; zero: none
	for _, claim := range []struct {
		name     string
		into     any
		required bool
	}{
		{"iss", &t.Issuer, true}, {"sub", &t.Subject, true}, {"exp", &expires, true}, {"iat", &issued, true},
		{"azp", &t.Party, false}, {"nonce", &t.Nonce, false}, {"auth_time", &authTime, false},
		{"at_hash", &t.ATHash, false}, {"acr", &t.ACR, false},
	} {
		raw, ok := claims[claim.name]
		if !ok || string(raw) == "null" {
			if claim.required {
				return idToken{}, errors.New("the ID token has no " + claim.name)
			}
			continue
		}
		if josejson.Unmarshal(raw, claim.into) != nil {
			return idToken{}, errors.New("the ID token has a claim of the wrong type: " + claim.name)
		}
	}
	for _, date := range []struct {
		name    string
		seconds float64
		into    *time.Time
	}{{"exp", expires, &t.ExpiresAt}, {"iat", issued, &t.IssuedAt}, {"auth_time", authTime, &t.AuthTime}} {
		if date.seconds == 0 && date.name == "auth_time" {
			continue
		}
		if !(date.seconds >= 1 && date.seconds < 1<<40) {
			return idToken{}, errors.New("the ID token has a date that cannot be one: " + date.name)
		}
		*date.into = time.Unix(int64(date.seconds), 0).UTC()
	}
	if raw := claims["aud"]; len(raw) > 0 && raw[0] == '"' {
		t.Audience = []string{""}
		if josejson.Unmarshal(raw, &t.Audience[0]) != nil {
			return idToken{}, errors.New("the ID token has an aud that is not text")
		}
	} else if josejson.Unmarshal(raw, &t.Audience) != nil {
		return idToken{}, errors.New("the ID token has an aud that is neither a string nor an array of strings")
	}
	// What does not look like methods is no reason to refuse the user.
	if josejson.Unmarshal(claims["amr"], &t.AMR) != nil || len(t.AMR) > maxAMR || slices.ContainsFunc(t.AMR, func(s string) bool { return !validSubject(s) }) {
		t.AMR = nil
	}
	return t, nil
}

// verifyIDToken checks the signature and the claims of an ID token, in the order of
// §3.1.3.7. The error wraps ErrUpstreamFailed or ErrUpstreamStale.
func (d *Directory) verifyIDToken(ctx context.Context, t *tenant.Tenant, o *upstreamOptions, server *upstreamServer, login UpstreamLogin, compact, accessToken string) (idToken, error) {
	if compact == "" || len(compact) > maxIDToken {
		return idToken{}, upstreamFailed("there is no ID token, or it has more than %d bytes", maxIDToken)
	}
	// Steps 6 to 8: an algorithm of the list, whatever the header says, and a key of the
	// issuer. None and those with the client's secret are never on the list.
	payload, err := d.upstreams.keys.VerifyPublished(ctx, t.ID(), server.JWKSURI, compact, o.algorithms())
	if err != nil {
		return idToken{}, upstreamFailed("the signature of the ID token: %w", err)
	}
	token, err := parseIDToken(payload)
	if err != nil {
		return idToken{}, upstreamFailed("%w", err)
	}
	now := d.now()
	switch {
	case !o.isIssuer(server, &token): // 2
		return idToken{}, upstreamFailed("the ID token is of another issuer: %q", token.Issuer)
	case !slices.Contains(token.Audience, o.ClientID): // 3
		return idToken{}, upstreamFailed("the ID token is for others: %q", token.Audience)
	case len(token.Audience) > 1 && token.Party == "": // 4
		return idToken{}, upstreamFailed("the ID token is for several, and has no azp")
	case token.Party != "" && token.Party != o.ClientID: // 5
		return idToken{}, upstreamFailed("the ID token was issued to another client: azp is %q", token.Party)
	case !now.Before(token.ExpiresAt.Add(clockSkew)): // 9
		return idToken{}, upstreamFailed("the ID token expired at %s, and it is %s", token.ExpiresAt, now)
	case token.IssuedAt.After(now.Add(clockSkew)): // 10
		return idToken{}, upstreamFailed("the ID token is from the future: %s, and it is %s", token.IssuedAt, now)
	case now.Sub(token.IssuedAt) > maxIDTokenAge+clockSkew:
		return idToken{}, upstreamFailed("the ID token is old: of %s, and it is %s", token.IssuedAt, now)
	case subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(login.nonce())) != 1: // 11
		return idToken{}, upstreamFailed("the ID token is not of this sign-in: the nonce differs")
	case token.AuthTime.After(now.Add(clockSkew)):
		return idToken{}, upstreamFailed("the ID token says that the user signed in in the future: %s", token.AuthTime)
	case login.MaxAge >= 0 && token.AuthTime.IsZero(): // 13
		return idToken{}, ErrUpstreamStale
	case login.MaxAge >= 0 && token.AuthTime.Before(login.Begun.Add(-login.MaxAge-clockSkew)):
		return idToken{}, ErrUpstreamStale
	case token.Subject == "" || !isText(token.Subject, maxUpstreamText):
		return idToken{}, upstreamFailed("the ID token has a sub that is empty or no text")
	case token.ATHash != "" && !matchesHash(compact, accessToken, token.ATHash): // §3.1.3.8
		return idToken{}, upstreamFailed("the access token is not the one of the ID token: at_hash differs")
	}
	if token.AuthTime.After(now) {
		token.AuthTime = now
	}
	return token, nil
}

// isIssuer compares the issuer byte by byte, unless the upstream has rules of its own.
func (o *upstreamOptions) isIssuer(server *upstreamServer, token *idToken) bool {
	if o.preset.issued != nil {
		return o.preset.issued(o, server, token)
	}
	return token.Issuer == server.Issuer
}

// matchesHash reports whether hash is that of value (§3.1.3.6). compact's algorithm
// says which function; the signature was verified.
func matchesHash(compact, value, hash string) bool {
	var header struct {
		Algorithm string `json:"alg"`
	}
	encoded, _, _ := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || josejson.Unmarshal(raw, &header) != nil {
		return false
	}
	var sum []byte
	if header.Algorithm == "EdDSA" { // with Ed25519, whose hash is SHA-512
		long := sha512.Sum512([]byte(value))
		sum = long[:]
	} else {
		short := sha256.Sum256([]byte(value))
		sum = short[:]
	}
	want := base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	return subtle.ConstantTimeCompare([]byte(want), []byte(hash)) == 1
}
