package demoapp

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	cookieName   = "demoapp_signin"
	signInLasts  = 15 * time.Minute
	maxInFlight  = 1000
	cookiePrefix = "__Host-"
)

// signIn is a sign-in that was started and has not come back.
type signIn struct {
	State    string
	Nonce    string
	Verifier string // PKCE, code flow only
	expires  time.Time
}

// pending remembers sign-ins by a random value in the browser's cookie: whoever
// brings an answer has to be the browser that asked.
type pending struct {
	now func() time.Time
	mu  sync.Mutex
	all map[string]signIn
}

// begin remembers s and gives the browser its cookie.
func (p *pending) begin(w http.ResponseWriter, secure bool, s signIn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for id, old := range p.all {
		if len(p.all) >= maxInFlight || !old.expires.After(now) {
			delete(p.all, id)
		}
	}
	if p.all == nil {
		p.all = map[string]signIn{}
	}
	id := rand.Text()
	s.expires = now.Add(signInLasts)
	p.all[id] = s
	http.SetCookie(w, &http.Cookie{
		Name: name(secure), Value: id, Path: "/", Secure: secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, MaxAge: int(signInLasts.Seconds()),
	})
}

// end returns the browser's sign-in, once.
func (p *pending) end(r *http.Request, secure bool) (signIn, bool) {
	cookie, err := r.Cookie(name(secure))
	if err != nil {
		return signIn{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.all[cookie.Value]
	delete(p.all, cookie.Value)
	if !ok || !s.expires.After(p.now()) {
		return signIn{}, false
	}
	return s, true
}

// name of the cookie. With the prefix, which needs https, no other host and no
// http page can set it.
func name(secure bool) string {
	if secure {
		return cookiePrefix + cookieName
	}
	return cookieName
}

// secure reports whether the application is reached by https.
func (a *App) secure() bool { return strings.HasPrefix(a.cfg.URL, "https:") }

// notInFlight is what a callback says that nobody asked for.
func notInFlight() error {
	return &problem{
		Title:  "No sign-in is in progress",
		Detail: "This answer belongs to no sign-in that this browser started, or the page was loaded a second time.",
		Hint:   "Go back to the start and sign in again.",
	}
}
