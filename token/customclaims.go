package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// ClaimsFunc adds custom claims to the tokens of one answer, or to an answer of
// userinfo. It runs after every check and before anything is consumed: an error or
// a panic fails the request with server_error, and the code or refresh token can be
// presented again. Only the members of the result that the answer has use for are
// looked at.
//
// The request waits for it. ctx ends when the client goes away or the time of the
// request is over; the function has to return then, and nothing is minted whatever
// it returns.
//
// Each name must be namespaced by a URI: absolute, http or https, with a host,
// such as https://example.com/roles. Any other is dropped and reported, so a
// custom claim can neither replace nor pretend to be a standard one. Values must
// be encodable as JSON; one that is not fails the request. An access token that
// gets larger than [Config].MaxAccessTokenSize fails it too.
type ClaimsFunc func(ctx context.Context, in ClaimsInput) (CustomClaims, error)

// ClaimsInput is what a [ClaimsFunc] sees: all of it true and allowed at the time,
// but for what the sender of the request wrote. Nothing in it may be modified.
type ClaimsInput struct {
	TenantID string
	// Request is what is answered: a request to the token endpoint or to userinfo,
	// or the one of the user's browser that ends in an authorization response. Its
	// body has been read. Credentials are in it, so that it does not belong in a log.
	Request *http.Request
	// GrantType is that of a token request, "implicit" for what an authorization
	// response carries, and empty for userinfo.
	GrantType string
	Client    *store.Client
	// Connection, User and Grant are nil for client_credentials. Grant is what the
	// user allowed the client at the API, now and before; Scope is that of the answer.
	Connection *store.Connection
	User       *store.User
	Grant      *store.Grant
	Scope      []string
	Audience   string // identifier of the API, empty for none
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

// customClaims runs the hook and encodes what the answer has use for. input is
// called if there is a hook: what only that reads is not read for nothing.
func (i *Issuer) customClaims(ctx context.Context, kinds claimKinds, input func() (ClaimsInput, error)) (customClaims, error) {
	if i.claims == nil || kinds == 0 {
		return customClaims{}, nil
	}
	in, err := input()
	if err != nil {
		return customClaims{}, err
	}
	out, err := i.callClaims(ctx, in)
	// Whatever a hook makes of the end of the request, it is none of its own errors.
	if ended := ctx.Err(); ended != nil {
		return customClaims{}, ended
	}
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

// callClaims turns a panic of the hook into an error: it must not take down more
// than the request, whose client is told as of any other failure.
func (i *Issuer) callClaims(ctx context.Context, in ClaimsInput) (out CustomClaims, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = CustomClaims{}, fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return i.claims(ctx, in)
}

// userClaimsInput returns the input for a token of a user. grant is read unless the
// caller has it. gone is the code of the oauth error if the grant is there no more.
func (i *Issuer) userClaimsInput(ctx context.Context, t *tenant.Tenant, in ClaimsInput, grantID, gone string, now time.Time) (ClaimsInput, error) {
	in.TenantID = t.ID()
	if in.Grant == nil {
		grant, err := i.stores.Grants.Grant(ctx, t.ID(), grantID, "", now)
		if errors.Is(err, store.ErrNotFound) {
			return ClaimsInput{}, oauth.WithCause(err, gone, "access was revoked")
		}
		if err != nil {
			return ClaimsInput{}, err
		}
		in.Grant = &grant
	}
	conn, err := i.connections.Connection(ctx, t, in.User.ConnectionID)
	if errors.Is(err, connection.ErrNotAllowed) {
		return ClaimsInput{}, oauth.WithCause(err, gone, "the user, the connection or the client is not allowed any more")
	}
	if err != nil {
		return ClaimsInput{}, err
	}
	in.Connection = &conn
	return in, nil
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
