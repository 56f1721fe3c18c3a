package token

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"

	"github.com/opkit/opkit/store"
)

// ClaimsFunc adds custom claims to the tokens of one answer, or to an answer of
// userinfo. It runs after every check and before anything is consumed: an error
// fails the request with server_error, and the code or refresh token can be
// presented again. Only the members of the result that the answer has use for
// are looked at.
//
// Each name must be namespaced by a URI: absolute, http or https, with a host,
// such as https://example.com/roles. Any other is dropped and reported, so a
// custom claim can neither replace nor pretend to be a standard one. Values must
// be encodable as JSON; one that is not fails the request.
type ClaimsFunc func(ctx context.Context, in ClaimsInput) (CustomClaims, error)

// ClaimsInput is what a [ClaimsFunc] sees. Nothing in it may be modified.
type ClaimsInput struct {
	TenantID string
	Client   *store.Client
	User     *store.User // nil for client_credentials
	Scope    []string
	Audience string // identifier of the API, empty for none
}

// CustomClaims are claims by where they go. AccessToken has no effect on opaque
// access tokens: nobody but the provider can read them.
type CustomClaims struct {
	IDToken, AccessToken, UserInfo map[string]any
}

// claimKinds says which custom claims an answer has use for.
type claimKinds uint8

const (
	idTokenClaims claimKinds = 1 << iota
	accessTokenClaims
	userInfoClaims
)

// customClaims are custom claims as JSON objects, nil for none.
type customClaims struct{ idToken, accessToken, userInfo []byte }

// customClaims runs the hook and encodes what the answer has use for.
func (i *Issuer) customClaims(ctx context.Context, in ClaimsInput, kinds claimKinds) (customClaims, error) {
	if i.claims == nil || kinds == 0 {
		return customClaims{}, nil
	}
	out, err := i.claims(ctx, in)
	if err != nil {
		return customClaims{}, claimsError{err}
	}
	var c customClaims
	for _, of := range [...]struct {
		kind   claimKinds
		claims map[string]any
		to     *[]byte
	}{
		{idTokenClaims, out.IDToken, &c.idToken},
		{accessTokenClaims, out.AccessToken, &c.accessToken},
		{userInfoClaims, out.UserInfo, &c.userInfo},
	} {
		if kinds&of.kind == 0 {
			continue
		}
		if *of.to, err = i.encodeCustom(ctx, in, of.claims); err != nil {
			return customClaims{}, claimsError{err}
		}
	}
	return c, nil
}

// claimsError keeps the hook's error for the log and hides it from errors.As: an
// error of the host's own must not become the answer.
type claimsError struct{ cause error }

func (e claimsError) Error() string { return "token: claims hook: " + e.cause.Error() }

// encodeCustom returns the namespaced claims as a JSON object, nil for none.
func (i *Issuer) encodeCustom(ctx context.Context, in ClaimsInput, claims map[string]any) ([]byte, error) {
	kept, owned := claims, false
	for name := range claims {
		if namespaced(name) {
			continue
		}
		i.dropped.report(ctx, in, name)
		if !owned { // the map is the hook's
			kept, owned = make(map[string]any, len(claims)), true
			for name, value := range claims {
				if namespaced(name) {
					kept[name] = value
				}
			}
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	out, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return out, nil
}

// namespaced reports whether name is an absolute http or https URL with a host.
func namespaced(name string) bool {
	if !strings.HasPrefix(name, "https://") && !strings.HasPrefix(name, "http://") {
		return false
	}
	u, err := url.Parse(name)
	return err == nil && u.Hostname() != ""
}

// droppedClaims reports custom claims that were dropped.
type droppedClaims struct {
	hook   func(ctx context.Context, in ClaimsInput, name string)
	logger *slog.Logger

	mu   sync.Mutex
	seen map[string]bool
}

// maxReported bounds how many names the log reports: a hook that makes up names
// must not fill the memory.
const maxReported = 256

// report calls the hook, and logs each name once.
func (d *droppedClaims) report(ctx context.Context, in ClaimsInput, name string) {
	if d.hook != nil {
		d.hook(ctx, in, name)
	}
	d.mu.Lock()
	first := !d.seen[name] && len(d.seen) < maxReported
	if first {
		if d.seen == nil {
			d.seen = make(map[string]bool)
		}
		d.seen[name] = true
	}
	d.mu.Unlock()
	if first {
		d.logger.WarnContext(ctx, "custom claim dropped: its name is not namespaced by a URI",
			"tenant", in.TenantID, "client_id", in.Client.ID, "claim", name)
	}
}
