package main

import (
	"crypto/rand"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	sessionCookie  = "shop_session"
	sessionLasts   = 8 * time.Hour
	loginPath      = "/login"
	maxDestination = 8 << 10
)

// session is a browser in which a customer signed in.
type session struct {
	userID string
	since  time.Time
}

// shop is the program as it was before opkit: its pages and its session cookie.
type shop struct {
	base  string // its own address, without a slash at the end
	users *users

	mu       sync.Mutex
	sessions map[string]session
}

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

func newShop(base string, u *users) *shop {
	return &shop{base: base, users: u, sessions: map[string]session{}}
}

// routes are the shop's own. Forms of other sites cannot post to them.
func (s *shop) routes(mux *http.ServeMux) {
	own := http.NewCrossOriginProtection()
	mux.Handle("GET /{$}", own.Handler(http.HandlerFunc(s.home)))
	mux.Handle("GET "+loginPath, own.Handler(http.HandlerFunc(s.loginPage)))
	mux.Handle("POST "+loginPath, own.Handler(http.HandlerFunc(s.login)))
	mux.Handle("POST /logout", own.Handler(http.HandlerFunc(s.logout)))
	mux.Handle("GET /style.css", http.FileServerFS(mustSub()))
}

// signedIn returns the customer of a request's session.
func (s *shop) signedIn(r *http.Request) (user, time.Time, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return user{}, time.Time{}, false
	}
	s.mu.Lock()
	found, ok := s.sessions[cookie.Value]
	s.mu.Unlock()
	if !ok || time.Since(found.since) > sessionLasts {
		return user{}, time.Time{}, false
	}
	row, ok := s.users.byID(found.userID)
	return row, found.since, ok
}

func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	row, _, ok := s.signedIn(r)
	render(w, http.StatusOK, "home.html", map[string]any{"SignedIn": ok, "Name": row.name, "Orders": row.orders})
}

func (s *shop) loginPage(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	_, _, ok := s.signedIn(r)
	if ok && !query.Has("again") {
		http.Redirect(w, r, s.destination(query.Get("next")), http.StatusFound)
		return
	}
	render(w, http.StatusOK, "login.html", loginForm{Next: query.Get("next"), For: query.Get("for"), Email: query.Get("email")})
}

type loginForm struct{ Next, For, Email, Failure string }

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	form := loginForm{Next: r.PostFormValue("next"), For: r.PostFormValue("for"), Email: r.PostFormValue("email")}
	row, ok := s.users.login(form.Email, r.PostFormValue("password"))
	if !ok {
		form.Failure = "This email address and password do not belong together."
		render(w, http.StatusUnauthorized, "login.html", form)
		return
	}
	s.mu.Lock()
	if old, err := r.Cookie(sessionCookie); err == nil {
		delete(s.sessions, old.Value)
	}
	id := rand.Text() // a new one at every login: nobody can have planted it
	s.sessions[id] = session{userID: row.id, since: time.Now()}
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: id, Path: "/", HttpOnly: true,
		Secure: strings.HasPrefix(s.base, "https:"), SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, s.destination(form.Next), http.StatusSeeOther)
}

func (s *shop) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.sessions, cookie.Value)
		s.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// destination returns next if it is on this site, else the start page: a login
// page that sends the browser anywhere helps whoever phishes.
func (s *shop) destination(next string) string {
	u, err := url.Parse(next)
	if err != nil || len(next) > maxDestination || u.User != nil || u.Scheme+"://"+u.Host != s.base {
		return "/"
	}
	return u.String()
}
