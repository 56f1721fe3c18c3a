package demoapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// verifyIDToken checks an ID token by the steps of OpenID Connect Core 1.0
// §3.1.3.7 and returns its claims.
func (a *App) verifyIDToken(ctx context.Context, m *metadata, clientID, nonce, raw string) (map[string]any, error) {
	// Step 7: the algorithm is the one that was registered; nothing was, so RS256.
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	var keys jose.JSONWebKeySet
	if _, err := a.getJSON(ctx, m.JWKSURI, "", &keys); err != nil {
		return nil, err
	}
	var standard struct {
		jwt.Claims
		Nonce string `json:"nonce"`
	}
	var all map[string]any
	if err := parsed.Claims(keys, &standard, &all); err != nil { // step 6
		return nil, err
	}
	// Steps 2, 3 and 9: issuer, audience, expiry.
	if err := standard.ValidateWithLeeway(jwt.Expected{
		Issuer: a.cfg.Issuer, AnyAudience: jwt.Audience{clientID}, Time: a.cfg.Now(),
	}, 10*time.Second); err != nil {
		return nil, err
	}
	if standard.Nonce != nonce { // step 11
		return nil, errors.New("the nonce is not the one that was sent")
	}
	return all, nil
}

// table lists claims in order, as they are shown.
func table(claims map[string]any) []claim {
	var rows []claim
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		value, ok := claims[name].(string)
		if number, isNumber := claims[name].(float64); isNumber {
			value, ok = fmt.Sprintf("%.0f", number), true
		}
		if !ok {
			text, err := json.Marshal(claims[name])
			if err != nil {
				continue
			}
			value = string(text)
		}
		rows = append(rows, claim{name, value})
	}
	return rows
}
