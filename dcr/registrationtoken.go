package dcr

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements the registration access token of RFC 7592 §3.

const (
	// previousTokenGrace is how long a registration access token is accepted after it
	// was replaced.
	previousTokenGrace = time.Minute

	// maxToken bounds what is looked at as a token.
	maxToken = 512
)

// errNotManaged is the answer to a wrong token, for a client that exists and for
// one that does not.
var errNotManaged = oauth.Errorf(oauth.CodeInvalidToken, "the registration access token is not that of this application, or was replaced")

// managedClient is a client with a registration access token.
type managedClient struct{ store.Client }

// configurationURL returns what a client's identifier is appended to after a slash.
// It is empty if clients of t do not manage themselves.
func (r *Registrar) configurationURL(t *tenant.Tenant) string {
	flags := t.Settings().Flags
	if !flags.EnableDynamicClientRegistration || !flags.EnableDynamicClientManagement {
		return ""
	}
	return t.URL(r.cfg.Tenants.Endpoints().ClientConfiguration)
}

// managed returns the client whose registration access token was presented. retry
// says that it is the one before, within the time in which it is still accepted.
// The record is as the store has it now: a token that another node has replaced
// must not live as long as a cache.
func (r *Registrar) managed(ctx context.Context, t *tenant.Tenant, id, presented string) (c *store.Client, retry bool, err error) {
	var client store.Client
	if validDynamicID(id) {
		if client, err = r.uncached.Client(ctx, t.ID(), id); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, false, err
		}
	}
	// The same work whether or not the client exists or has a token; nothing matches
	// a zero digest.
	var registration store.ClientRegistration
	if client.Registration != nil {
		registration = *client.Registration
	}
	if len(presented) > maxToken {
		presented = ""
	}
	current := registration.TokenDigest.Matches(presented)
	previous := registration.PreviousTokenDigest.Matches(presented)
	switch {
	case current:
		return &client, false, nil
	case previous && r.now().Before(registration.PreviousTokenUntil):
		return &client, true, nil
	}
	return nil, false, errNotManaged
}

// validDynamicID reports whether id can be that of a client that registered itself.
func validDynamicID(id string) bool {
	if id == "" || len(id) > len(strictPrefix)+idLength {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '_':
		default:
			return false
		}
	}
	return true
}

// issueToken gives c the next registration access token and returns it. The token
// that was presented stays good for a while. A retry does not prolong that.
func (c *managedClient) issueToken(presented string, retry, issuedSecret bool, now time.Time) string {
	token := alphanumeric(secretLength)
	registration := &store.ClientRegistration{}
	if c.Registration != nil {
		*registration = *c.Registration
	}
	registration.TokenDigest = store.DigestOf(token)
	registration.IssuedSecret = issuedSecret
	if presented != "" && !retry {
		registration.PreviousTokenDigest = store.DigestOf(presented)
		registration.PreviousTokenUntil = now.Add(previousTokenGrace)
	}
	c.Registration = registration
	return token
}

// managedInformation is what the registrant of a client is told.
func (r *Registrar) managedInformation(t *tenant.Tenant, c *store.Client, secret, scope, token string) clientInformation {
	info := newClientInformation(c, secret, scope)
	info.RegistrationAccessToken = token
	info.RegistrationClientURI = r.configurationURL(t) + "/" + c.ID
	return info
}

// refuse answers a request with err. t is nil if there is no tenant.
func (r *Registrar) refuse(w http.ResponseWriter, req *http.Request, t *tenant.Tenant, err error) {
	r.emitRefusal(req, t, err)
	e := oauth.AsError(err)
	switch {
	case e.Status >= 500:
		r.cfg.Logger.ErrorContext(req.Context(), "dcr: request failed", "method", req.Method, "err", err)
	case e.Status == http.StatusUnauthorized, e.Code == oauth.CodeInvalidRequest && e.Status == http.StatusBadRequest && req.Header.Get("Authorization") != "":
		// RFC 6750 §3: also where the credentials are malformed.
		w.Header().Set("WWW-Authenticate", oauth.BearerChallenge(t.Issuer(), err, ""))
	}
	oauth.WriteError(w, err)
}

// showsOtherwise reports whether users who allowed old something were shown another
// application than next, or are sent to other places: then they have to be asked
// again. Keys, algorithms and what may be asked for are not among it.
func showsOtherwise(old, next *store.Client) bool {
	a, b := old.Extra(), next.Extra()
	if old.Name != next.Name || old.ApplicationType != next.ApplicationType ||
		a.ClientURI != b.ClientURI || a.LogoURI != b.LogoURI || a.PolicyURI != b.PolicyURI || a.TOSURI != b.TOSURI {
		return true
	}
	return slices.ContainsFunc(next.RedirectURIs, func(uri string) bool { return !slices.Contains(old.RedirectURIs, uri) })
}
