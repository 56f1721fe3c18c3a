package demoapp

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config is what an application needs to know.
type Config struct {
	// Issuer is the provider. What it offers is read from its metadata.
	Issuer string
	// URL is where the application is reached, without a slash at the end.
	URL string
	// API is what the application calls for its user, with a token for Audience
	// and Scopes.
	API      string
	Audience string
	Scopes   []string
	// Client calls the provider and the API. Nil: http.DefaultClient.
	Client *http.Client
	// RegistrationFile keeps the registration between starts. Empty: every start
	// registers anew.
	RegistrationFile string
	Logger           *slog.Logger // nil: nothing is logged
	Now              func() time.Time
}

// App is the application.
type App struct {
	cfg     Config
	mux     *http.ServeMux
	pending pending

	mu           sync.Mutex
	metadata     *metadata
	registration *registration
}

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// New returns the application. It does not contact the provider before its first
// visitor signs in.
func New(cfg Config) (*App, error) {
	if cfg.Issuer == "" || cfg.URL == "" || cfg.API == "" {
		return nil, errors.New("demoapp: Config.Issuer, URL and API are required")
	}
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &App{cfg: cfg, mux: http.NewServeMux()}
	a.pending.now = cfg.Now
	static, err := fs.Sub(files, "pages")
	if err != nil {
		return nil, err
	}
	assets := http.FileServerFS(static)
	a.mux.HandleFunc("GET /{$}", a.home)
	a.mux.HandleFunc("POST /register", a.registerAgain)
	a.mux.HandleFunc("POST /signin/implicit", a.signInImplicit)
	a.mux.HandleFunc("GET "+implicitPath, a.implicitCallback)
	a.mux.HandleFunc("POST /signin/code", a.signInCode)
	a.mux.HandleFunc("GET "+codePath, a.codeCallback)
	a.mux.Handle("GET /style.css", assets)
	a.mux.Handle("GET /implicit.js", assets)
	return a, nil
}

// ServeHTTP serves the application's pages.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// The page script calls the provider's keys and the API, and nothing else.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "+
		"connect-src "+origin(a.cfg.Issuer)+" "+origin(a.cfg.API)+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	// The addresses of callbacks carry codes.
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	// Nobody else's page starts a sign-in here.
	http.NewCrossOriginProtection().Handler(a.mux).ServeHTTP(w, r)
}

type homePage struct {
	Provider   string
	Registered *registration
	Audience   string
	Scopes     []string
}

func (a *App) home(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	reg := a.known()
	a.mu.Unlock()
	a.render(w, http.StatusOK, "home.html", homePage{
		Provider: a.cfg.Issuer, Registered: reg, Audience: a.cfg.Audience, Scopes: a.cfg.Scopes,
	})
}

func (a *App) registerAgain(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.registration = nil
	err := a.forget()
	a.mu.Unlock()
	if err == nil {
		_, _, err = a.ready(r.Context())
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// problem is a failure that is explained to the user.
type problem struct {
	Title  string
	Detail string
	// Hint says what helps.
	Hint string
}

func (p *problem) Error() string { return p.Title + ": " + p.Detail }

func (a *App) fail(w http.ResponseWriter, r *http.Request, err error) {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		a.cfg.Logger.ErrorContext(r.Context(), "the demo application failed", "err", err)
		p = &problem{Title: "Something went wrong", Detail: err.Error()}
	}
	a.render(w, http.StatusBadGateway, "problem.html", p)
}

func (a *App) render(w http.ResponseWriter, status int, page string, data any) {
	var b strings.Builder
	if err := pages.ExecuteTemplate(&b, page, data); err != nil {
		a.cfg.Logger.Error("rendering failed", "page", page, "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprint(w, b.String())
}

func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
