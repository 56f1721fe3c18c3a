package token

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
)

// This file implements RFC 9701 (JWT Response for OAuth Token Introspection).

const (
	typIntrospection       = "token-introspection+jwt"
	mediaTypeIntrospection = "application/token-introspection+jwt"
)

// IntrospectionSigningAlgs lists the values of introspection_signed_response_alg
// that can be signed with, for metadata.
func IntrospectionSigningAlgs() []string { return []string{algRS256, algES256} }

// introspectionPayload is the claims set of RFC 9701 §5. It has no sub and no
// exp, so that nobody takes it for an access token.
type introspectionPayload struct {
	Issuer             string         `json:"iss"`
	Audience           string         `json:"aud"`
	IssuedAt           int64          `json:"iat"`
	TokenIntrospection *introspection `json:"token_introspection"`
}

// signIntrospection returns the answer as a JWT for the caller alone, encrypted if
// it registered that.
func (i *Issuer) signIntrospection(ctx context.Context, r *request, answer *introspection) (string, error) {
	const what = "introspection"
	extra := r.client.Extra()
	alg := cmp.Or(extra.IntrospectionSignedResponseAlg, algRS256) // RFC 9701 §6: the default
	if !slices.Contains(IntrospectionSigningAlgs(), alg) {
		return "", fmt.Errorf("token: the client registered %q for introspection, which is not supported", alg)
	}
	keys := jwtKeys{alg: alg}
	if err := i.encryptTo(ctx, r.client, &keys, what, extra.IntrospectionEncryptedResponseAlg, extra.IntrospectionEncryptedResponseEnc); err != nil {
		return "", err
	}
	payload, err := json.Marshal(introspectionPayload{
		Issuer: r.tenant.Issuer(), Audience: r.client.ID, IssuedAt: r.now.Unix(), TokenIntrospection: answer,
	})
	if err != nil {
		return "", err
	}
	return i.makeJWT(ctx, r.tenant, &keys, typIntrospection, payload)
}

// acceptsIntrospectionJWT reports whether a request asks for a JWT (RFC 9701 §4):
// the media type is in Accept by name, and not with a lower weight than
// application/json. A wildcard means JSON, which is what RFC 7662 promises.
func acceptsIntrospectionJWT(accept []string) bool {
	var asJWT, asJSON float64
	for _, header := range accept {
		for element := range strings.SplitSeq(header, ",") {
			mediaType, params, err := mime.ParseMediaType(element)
			if err != nil {
				continue
			}
			weight := 1.0 // RFC 9110 §12.4.2
			if q, ok := params["q"]; ok {
				if weight, err = strconv.ParseFloat(q, 64); err != nil || weight < 0 || weight > 1 {
					continue
				}
			}
			switch mediaType {
			case mediaTypeIntrospection:
				asJWT = max(asJWT, weight)
			case "application/json":
				asJSON = max(asJSON, weight)
			}
		}
	}
	return asJWT > 0 && asJWT >= asJSON
}
