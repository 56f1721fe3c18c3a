package authorize

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements OpenID Connect RP-Initiated Logout 1.0, and the older
// logout address that SDKs still use.

// logoutEntry is one of the addresses at which logging out begins.
type logoutEntry struct {
	step     string
	endpoint string
	parse    func(context.Context, *tenant.Tenant, oauth.Parameters) (*logoutRequest, error)
	// immediate reports whether the user need not be asked.
	immediate func(*http.Request, *logoutRequest, *store.Session) (bool, error)
}

// EndSession serves the end-session endpoint, GET and POST (RP-Initiated Logout
// §2), and the form of its confirmation page.
func (a *Authorizer) EndSession() http.Handler {
	return a.logoutHandler(&logoutEntry{
		step: stepLogout, endpoint: a.cfg.Tenants.Endpoints().EndSession, parse: a.parseLogout,
		immediate: func(r *http.Request, q *logoutRequest, s *store.Session) (bool, error) {
			return a.hints(r.Context(), q, s)
		},
	})
}

// LegacyLogout serves the older logout address: GET with client_id and returnTo,
// and the form of its confirmation page.
func (a *Authorizer) LegacyLogout() http.Handler {
	return a.logoutHandler(&logoutEntry{
		step: stepLegacyLogout, endpoint: a.cfg.Tenants.Endpoints().LegacyLogout, parse: a.parseLegacyLogout,
		immediate: func(r *http.Request, q *logoutRequest, _ *store.Session) (bool, error) {
			return q.client != nil && q.location != "" && isNavigation(r), nil
		},
	})
}

func (a *Authorizer) logoutHandler(entry *logoutEntry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := a.resolve(w, r)
		if !ok {
			return
		}
		// Not HEAD: what logs out is never asked for in passing.
		params, err := readParameters(w, r, http.MethodGet, http.MethodPost)
		if err != nil {
			a.failLogout(w, r, t, err)
			return
		}
		if sealed := params.Get("transaction"); sealed != "" && r.Method == http.MethodPost {
			a.confirmLogout(w, r, t, entry, sealed)
			return
		}
		q, err := entry.parse(r.Context(), t, params)
		if err != nil {
			a.failLogout(w, r, t, err)
			return
		}
		session, err := a.browserSession(r, t)
		if err != nil {
			a.failLogout(w, r, t, err)
			return
		}
		immediate := session == nil
		if !immediate {
			if immediate, err = entry.immediate(r, q, session); err != nil {
				a.failLogout(w, r, t, err)
				return
			}
		}
		if immediate {
			a.endSession(w, r, q, session)
			return
		}
		a.showLogout(w, r, entry, q, session)
	})
}

// confirmLogout answers the form of the confirmation page.
func (a *Authorizer) confirmLogout(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, entry *logoutEntry, sealed string) {
	// Requests of relying parties come from other sites; this form does not.
	if err := a.crossOrigin.Check(r); err != nil {
		a.failLogout(w, r, t, oauth.WithCause(err, oauth.CodeAccessDenied, "This form was sent from another site."))
		return
	}
	tx, params, expired, err := a.unseal(r, t, entry.step, sealed)
	if err != nil {
		a.failLogout(w, r, t, err)
		return
	}
	q, err := entry.parse(r.Context(), t, params)
	if err != nil {
		a.failLogout(w, r, t, err)
		return
	}
	session, err := a.browserSession(r, t)
	if err != nil {
		a.failLogout(w, r, t, err)
		return
	}
	if session != nil && (expired || session.SID != tx.SID) {
		// Signed in anew, perhaps as somebody else, since the page was shown.
		a.showLogout(w, r, entry, q, session)
		return
	}
	a.endSession(w, r, q, session)
}

// browserSession returns the session of the browser, nil if it has none.
func (a *Authorizer) browserSession(r *http.Request, t *tenant.Tenant) (*store.Session, error) {
	id := sessionDigest(r, t)
	if id.IsZero() {
		return nil, nil
	}
	s, err := a.cfg.Stores.Sessions.Session(r.Context(), t.ID(), id, a.now())
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// endSession ends the session, if there is one, and sends the browser on.
func (a *Authorizer) endSession(w http.ResponseWriter, r *http.Request, q *logoutRequest, session *store.Session) {
	var frames frames
	if session != nil {
		clients, err := a.closeSession(r.Context(), q.tenant, session)
		if err != nil {
			a.failLogout(w, r, q.tenant, err)
			return
		}
		frames = a.logoutFrames(r.Context(), q.tenant, session, clients)
	}
	a.forgetSession(w, r, q.tenant)
	if !sessionDigest(r, q.tenant).IsZero() {
		cookie := newCookie(q.tenant, sessionCookie, "")
		cookie.MaxAge = -1
		http.SetCookie(w, cookie)
	}
	if q.location != "" && len(frames.urls) == 0 {
		redirect(w, r, q.location)
		return
	}
	a.showLoggedOut(w, q, frames)
}

// closeSession deletes the session, revokes what it gave and has its clients told.
// It returns the clients.
func (a *Authorizer) closeSession(ctx context.Context, t *tenant.Tenant, session *store.Session) ([]store.Client, error) {
	clients, err := a.sessionClients(ctx, t, session)
	if err != nil {
		return nil, err
	}
	// Revoking comes first: if it fails, the session is still there and the user can
	// try again.
	if err := a.cfg.Tokens.RevokeSession(ctx, t, session.SID); err != nil {
		return nil, err
	}
	if err := a.cfg.Stores.Sessions.DeleteSession(ctx, t.ID(), session.ID); err != nil {
		return nil, err
	}
	a.notifier.sessionEnded(ctx, t, session, clients)
	return clients, nil
}

// sessionClients returns the clients that were served in the session and still
// exist.
func (a *Authorizer) sessionClients(ctx context.Context, t *tenant.Tenant, session *store.Session) ([]store.Client, error) {
	var out []store.Client
	for _, id := range session.ClientIDs {
		client, err := a.cfg.Stores.Clients.Client(ctx, t.ID(), id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, client)
	}
	return out, nil
}

// isNavigation reports whether the user went to the address, as far as the browser
// tells: a page that only embeds it, as an image or in a frame, or has it fetched
// in advance, must not log anybody out.
func isNavigation(r *http.Request) bool {
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		return false
	}
	destination := r.Header.Get("Sec-Fetch-Dest")
	return destination == "" || destination == "document"
}
