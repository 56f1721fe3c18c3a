package authorize

import (
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements OpenID Connect Session Management 1.0. A cookie that
// scripts can read says which session the browser has; session_state is a salted
// hash of it; the page that applications embed computes the hash again and compares.
//
// The cookie's value is the session's sid, or nothing for a browser that is signed
// out, sealed: to everybody else it is a random value. Whoever could compute what a
// signed-out browser has could ask, from any page, whether somebody is signed in.

// stateCookie is the name of the cookie with the browser's state.
const stateCookie = "opkit_state"

// checkSessionMaxAge is how long the page may be kept: it only changes with opkit.
const checkSessionMaxAge = time.Hour

//go:embed check_session.js
var checkSessionScript string

// checkSessionPolicy allows nothing but the script. Applications embed the page, so
// that there is neither frame-ancestors nor X-Frame-Options; it shows nothing to click.
var checkSessionPolicy = func() string {
	sum := sha256.Sum256([]byte(checkSessionScript))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// CheckSession serves the page that applications embed to learn whether the
// session has changed (Session Management §3.2).
func (a *Authorizer) CheckSession() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := a.resolve(w, r)
		if !ok {
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", checkSessionPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		checkSessionPage(t).ServeHTTP(w, r)
	})
}

// checkSessionPage returns the tenant's page, which differs in the cookie's name
// only. That name has nothing to escape.
func checkSessionPage(t *tenant.Tenant) *httpx.Document {
	page := "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Session</title>\n</head>\n<body>\n" +
		`<script id="check" data-cookie="` + cookieName(t, stateCookie) + `">` + checkSessionScript + "</script>\n</body>\n</html>\n"
	return httpx.NewDocument("text/html; charset=utf-8", []byte(page), checkSessionMaxAge)
}

// managesSessions reports whether the feature is on.
func (a *Authorizer) managesSessions() bool {
	return a.cfg.Tenants.Endpoints().CheckSession != tenant.NotMounted
}

// noteSession remembers which session answers the request, nil for none, and keeps
// the browser's state in line with it. A value that says the same is left alone,
// because every other one makes all applications ask again.
func (a *Authorizer) noteSession(w http.ResponseWriter, r *http.Request, q *request, s *store.Session) {
	if !a.managesSessions() {
		return
	}
	current := q.browserState // set before in this response
	if !q.sessionKnown {
		current = browserStateOf(r, q.tenant)
	}
	q.sessionKnown, q.browserState = true, a.keepBrowserState(w, q.tenant, current, s)
}

// browserStateOf returns the state that the browser has, empty for none.
func browserStateOf(r *http.Request, t *tenant.Tenant) string {
	c, err := r.Cookie(cookieName(t, stateCookie))
	if err != nil {
		return ""
	}
	return c.Value
}

// keepBrowserState returns the state that the browser has after this response, and
// sets the cookie if it is not the current one. It is empty for a browser that is
// not signed in and never was.
func (a *Authorizer) keepBrowserState(w http.ResponseWriter, t *tenant.Tenant, current string, s *store.Session) string {
	sid := ""
	if s != nil {
		sid = s.SID
	}
	if current == "" && sid == "" {
		return ""
	}
	if known, err := a.states.OpenString(current, t.ID()); err == nil && string(known) == sid {
		return current
	}
	return a.setBrowserState(w, t, sid)
}

// setBrowserState gives the browser a state. That of a session is always the same,
// so that responses which cross do not undo each other.
func (a *Authorizer) setBrowserState(w http.ResponseWriter, t *tenant.Tenant, sid string) string {
	value := a.states.SealString(nil, t.ID())
	if sid != "" {
		value = a.states.SealDeterministicString([]byte(sid), t.ID())
	}
	c := newCookie(t, stateCookie, value)
	c.HttpOnly = false // §3.2: the page's script reads it
	c.MaxAge = int(hours(t.Settings().SessionLifetime, defaultSessionLifetime) / time.Second)
	http.SetCookie(w, c)
	return value
}

// forgetSession makes the browser's state that of one that is signed out.
func (a *Authorizer) forgetSession(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	if a.managesSessions() {
		a.keepBrowserState(w, t, browserStateOf(r, t), nil)
	}
}

// sessionState returns the session_state of an authorization response (§2), empty
// if it has none. Errors of silent requests have one too (§3.2), but only for
// clients that may know about the user: with it anybody could watch, from a hidden
// frame, when somebody signs in.
func (a *Authorizer) sessionState(w http.ResponseWriter, q *request, failed bool) string {
	switch {
	case !q.sessionKnown || !q.scope.Has(oauth.ScopeOpenID) && !q.responseType.Has(oauth.ResponseIDToken):
		return ""
	case failed && (!q.prompt.none || !q.client.FirstParty && !q.allowedBefore):
		return ""
	}
	origin := webOrigin(q.redirectURI)
	if origin == "" {
		return "" // no page of an application on the device could ask
	}
	if q.browserState == "" {
		q.browserState = a.setBrowserState(w, q.tenant, "")
	}
	var salt [16]byte
	rand.Read(salt[:])
	return sessionStateOf(q.client.ID, origin, q.browserState, base64.RawURLEncoding.EncodeToString(salt[:]))
}

// sessionStateOf is what the page's script computes.
func sessionStateOf(clientID, origin, browserState, salt string) string {
	sum := sha256.Sum256([]byte(clientID + " " + origin + " " + browserState + " " + salt))
	return hex.EncodeToString(sum[:]) + "." + salt
}

// webOrigin returns the origin of a URI as browsers write it (RFC 6454 §6.2), empty
// if it has none.
func webOrigin(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		if addr, err := netip.ParseAddr(host); err == nil {
			host = addr.String()
		}
		host = "[" + host + "]"
	}
	port := u.Port()
	if port == "" || port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		return u.Scheme + "://" + host
	}
	return u.Scheme + "://" + host + ":" + port
}
