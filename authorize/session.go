package authorize

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// Default lifetimes of a session, in hours as the tenant's settings have them.
const (
	defaultSessionLifetime     = 168
	defaultIdleSessionLifetime = 72
)

// signedIn is a session together with its user, who was admitted for the request
// at hand.
type signedIn struct {
	session store.Session
	user    store.User
	begun   bool // by this request
}

// A session's cookie carries a random value; the store knows its digest. The
// cookie outlives the browser process, as long as the session may.
const (
	sessionCookie = "opkit_session"
	browserCookie = "opkit_browser"
)

// cookieName returns the name of a cookie of the tenant. Tenants may share a host,
// so that a path cannot keep their cookies apart.
func cookieName(t *tenant.Tenant, name string) string {
	if t.ID() != tenant.DefaultID {
		name += "_" + t.ID()
	}
	if secure(t) {
		return "__Host-" + name // RFC 6265bis §4.1.3.2: this host only, over https only
	}
	return name
}

func secure(t *tenant.Tenant) bool { return strings.HasPrefix(t.Issuer(), "https://") }

// newCookie returns a cookie of the tenant. Cookies are needed in a client's
// silent iframe (prompt=none), hence SameSite=None; browsers drop that without
// Secure, so that an http issuer on loopback gets Lax. What the cookies alone
// authorize is nothing: every POST carries a sealed transaction too.
func newCookie(t *tenant.Tenant, name, value string) *http.Cookie {
	c := &http.Cookie{Name: cookieName(t, name), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if secure(t) {
		c.Secure, c.SameSite = true, http.SameSiteNoneMode
	}
	return c
}

func randomValue() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// sessionDigest returns the digest of the session cookie, zero if there is none.
func sessionDigest(r *http.Request, t *tenant.Tenant) store.Digest {
	c, err := r.Cookie(cookieName(t, sessionCookie))
	if err != nil || c.Value == "" {
		return store.Digest{}
	}
	return store.DigestOf(c.Value)
}

// currentSession returns the browser's session if it serves the request: it is
// alive, its connection is one of usable, the proof is fresh and good enough, and the
// user is still admitted. Nil without an error means that the user has to sign in.
func (a *Authorizer) currentSession(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection) (*signedIn, error) {
	ctx, now := r.Context(), a.now()
	var session *store.Session
	if id := sessionDigest(r, q.tenant); !id.IsZero() {
		s, err := a.cfg.Stores.Sessions.Session(ctx, q.tenant.ID(), id, now)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			session = &s
		}
	}
	session, err := a.followHost(w, r, q, usable, session)
	if err != nil {
		return nil, err
	}
	a.noteSession(w, r, q, session)
	if session == nil {
		return nil, nil
	}
	if q.prompt.login || !slices.ContainsFunc(usable, func(c store.Connection) bool { return c.ID == session.ConnectionID }) {
		return nil, nil
	}
	if q.maxAge >= 0 && (now.Sub(session.AuthenticatedAt) > q.maxAge || !provesAge(session)) {
		return nil, nil
	}
	if !a.meetsACR(q, session.ACR) {
		return nil, nil
	}
	if allowed, err := a.allowsUser(ctx, q, session.UserID); err != nil || !allowed {
		return nil, err
	}
	return a.admit(ctx, q, *session)
}

// admit returns the session with its user, nil if the user may not be served.
func (a *Authorizer) admit(ctx context.Context, q *request, session store.Session) (*signedIn, error) {
	var user store.User
	var err error
	if q.account {
		user, err = a.cfg.Connections.AdmitUser(ctx, q.tenant, session.ConnectionID, session.UserID)
	} else {
		user, err = a.cfg.Connections.Admit(ctx, q.tenant, q.client, session.ConnectionID, session.UserID)
	}
	if errors.Is(err, connection.ErrNotAllowed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &signedIn{session: session, user: user}, nil
}

// proof is how and when a user proved who they are.
type proof struct {
	connectionID string
	userID       string
	at           time.Time
	amr          []string
	acr          string
}

// startSession begins a session after a login and ends the one that the browser
// had: the identifier changes, so that a value planted before the login is worth
// nothing after it. For a user who only signed in again sid and clients stay, so
// that logging out reaches the applications of before; for another one the first
// user is logged out.
func (a *Authorizer) startSession(w http.ResponseWriter, r *http.Request, q *request, p proof) (store.Session, error) {
	ctx, now := r.Context(), a.now()
	old, err := a.browserSession(r, q.tenant)
	if err != nil {
		return store.Session{}, err
	}
	value := randomValue()
	s := store.Session{
		TenantID: q.tenant.ID(), ID: store.DigestOf(value), SID: rand.Text(),
		UserID: p.userID, ConnectionID: p.connectionID, AMR: p.amr, ACR: p.acr,
		Version: 1, AuthenticatedAt: p.at, CreatedAt: now,
	}
	again := old != nil && old.UserID == p.userID
	if again {
		s.SID = old.SID
		s.ClientIDs = slices.Clone(old.ClientIDs)
	}
	if !q.account && !slices.Contains(s.ClientIDs, q.client.ID) {
		s.ClientIDs = append(s.ClientIDs, q.client.ID)
	}
	s.ExpiresAt = sessionExpiry(q.tenant, &s, now)
	if err := a.cfg.Stores.Sessions.CreateSession(ctx, s); err != nil {
		return store.Session{}, err
	}
	if again {
		err = a.cfg.Stores.Sessions.DeleteSession(ctx, q.tenant.ID(), old.ID)
	} else if old != nil {
		_, err = a.closeSession(ctx, q.tenant, old)
	}
	if err != nil {
		return store.Session{}, err
	}
	cookie := newCookie(q.tenant, sessionCookie, value)
	cookie.MaxAge = int(hours(q.tenant.Settings().SessionLifetime, defaultSessionLifetime) / time.Second)
	http.SetCookie(w, cookie)
	a.noteSession(w, r, q, &s)
	a.emit(r, q.tenant, audit.Event{Type: audit.SignIn, Outcome: audit.Allowed, ClientID: q.client.ID, UserID: p.userID, Subject: p.connectionID})
	return s, nil
}

// sessionExpiry is the idle lifetime from now, within the absolute one.
func sessionExpiry(t *tenant.Tenant, s *store.Session, now time.Time) time.Time {
	idle := now.Add(hours(t.Settings().IdleSessionLifetime, defaultIdleSessionLifetime))
	absolute := s.CreatedAt.Add(hours(t.Settings().SessionLifetime, defaultSessionLifetime))
	if idle.Before(absolute) {
		return idle
	}
	return absolute
}

func hours(set, fallback float64) time.Duration {
	if set <= 0 {
		set = fallback
	}
	return time.Duration(set * float64(time.Hour)).Truncate(time.Second)
}

// touchSession records that a client was served in the session, which logging out
// needs, and moves its expiry, at most once an hour.
func (a *Authorizer) touchSession(ctx context.Context, q *request, s store.Session) error {
	for range 3 {
		now := a.now()
		expiry := sessionExpiry(q.tenant, &s, now)
		known := slices.Contains(s.ClientIDs, q.client.ID)
		if known && expiry.Sub(s.ExpiresAt) < time.Hour {
			return nil
		}
		if !known {
			s.ClientIDs = append(slices.Clone(s.ClientIDs), q.client.ID)
		}
		s.ExpiresAt = expiry
		err := a.cfg.Stores.Sessions.UpdateSession(ctx, s, now)
		if errors.Is(err, store.ErrConflict) {
			// Another client of the same browser was faster.
			s, err = a.cfg.Stores.Sessions.Session(ctx, s.TenantID, s.ID, now)
			if err == nil {
				continue
			}
		}
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	return oauth.Unavailable(store.ErrConflict, time.Second)
}

// hintedSubject returns the subject of an ID token that this provider issued to
// the client, however old, or a value that is no user's.
func (a *Authorizer) hintedSubject(ctx context.Context, q *request, hint string) (string, error) {
	h, err := a.cfg.Tokens.Hint(ctx, q.tenant, hint)
	if errors.Is(err, token.ErrInvalidHint) || err == nil && (h.ClientID != q.client.ID || h.Subject == "") {
		return "\x00", nil
	}
	return h.Subject, err
}

// usable returns the connections that the client may use: the one that the request
// prefers, if it is among them.
func (a *Authorizer) usable(ctx context.Context, q *request) ([]store.Connection, error) {
	usable, err := a.allUsable(ctx, q)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(usable, func(c store.Connection) bool { return c.Name == q.connection }); i >= 0 {
		return usable[i : i+1], nil
	}
	return usable, nil
}

// allUsable returns all connections that the client may use.
func (a *Authorizer) allUsable(ctx context.Context, q *request) ([]store.Connection, error) {
	if q.account {
		return a.cfg.Connections.Offered(ctx, q.tenant)
	}
	usable, err := a.cfg.Connections.Usable(ctx, q.tenant, q.client)
	if errors.Is(err, connection.ErrNotAllowed) {
		return nil, oauth.WithCause(err, oauth.CodeUnauthorizedClient, notServed(q.client))
	}
	return usable, err
}

// notServed says why a client is not served whatever it asks for.
func notServed(c *store.Client) string {
	if c.Blocked {
		return "the application is blocked"
	}
	return "dynamic registration is switched off for this tenant"
}
