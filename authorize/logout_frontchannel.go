package authorize

import (
	"context"
	"net/url"
	"slices"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements OpenID Connect Front-Channel Logout 1.0.

// frames are what the page loads, and the origins that it may load from.
type frames struct{ urls, origins []string }

// logoutFrames returns the frames for the clients of a session that ended. iss and
// sid are always added: one client may have several sessions in one browser, and
// without them any page could log its user out (§2, §4).
func (a *Authorizer) logoutFrames(ctx context.Context, t *tenant.Tenant, session *store.Session, clients []store.Client) frames {
	var f frames
	for i := range clients {
		uri := clients[i].Extra().FrontchannelLogoutURI
		if uri == "" {
			continue
		}
		kind, err := oauth.ClassifyRedirectURI(uri)
		u, parseErr := url.Parse(uri)
		if err != nil || parseErr != nil || kind != oauth.RedirectWeb && kind != oauth.RedirectLoopback {
			continue // written past the rules of the registration
		}
		sid, err := a.cfg.Tokens.SessionID(ctx, t, &clients[i], session.SID)
		if err != nil { // the session has ended all the same
			a.cfg.Logger.ErrorContext(ctx, "a client could not be told that a session has ended", "tenant", t.ID(), "client_id", clients[i].ID, "err", err)
			continue
		}
		f.urls = append(f.urls, withQuery(uri, encode([]Parameter{{"iss", t.Issuer()}, {"sid", sid}})))
		if origin := u.Scheme + "://" + u.Host; !slices.Contains(f.origins, origin) {
			f.origins = append(f.origins, origin)
		}
	}
	return f
}
