package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is what a [Console] needs. All members but Path, Management, Token,
// LoginCallback, Now and Logger are required.
type Config struct {
	// Provider serves the management API and the token endpoint: the opkit.Provider, or
	// a mux that has it.
	Provider http.Handler
	// Issuer is the tenant's issuer identifier. Requests to Provider are made as if they
	// came to it.
	Issuer string
	// Management and Token are the URLs of the management API and of the token endpoint.
	// Empty: /api/v2 and /oauth/token below the issuer.
	Management, Token string
	// LoginCallback is the address to which other providers send users back, which is
	// shown for those to register. Empty: /login/callback below the issuer.
	LoginCallback string

	// ClientID and ClientSecret are those of a first-party client with the grant type
	// client_credentials and a client grant for the management API. The scopes of that
	// grant bound what the console can do, whoever the visitor is.
	ClientID, ClientSecret string

	// Admit decides who may enter. It returns the visitor, or false after it has
	// answered the request itself: with the way to a login page, for instance. It gets
	// every request below Path, so that it may serve addresses of its own, such as the
	// one to which a login returns.
	Admit func(w http.ResponseWriter, r *http.Request) (Visitor, bool)

	// Path is where the console is, as browsers see it. Empty: /console.
	Path string

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives failures. Nil: they are discarded.
	Logger *slog.Logger
}

// Visitor is an administrator who may enter.
type Visitor struct {
	// Name is how pages call them.
	Name string
	// Scopes are those of the management API that they may use: "read:clients". None:
	// they see that they may see nothing.
	Scopes []string
}

func (v *Visitor) may(scope string) bool { return slices.Contains(v.Scopes, scope) }

// Console is an [http.Handler] for everything below Config.Path. It is safe for
// concurrent use.
type Console struct {
	cfg   Config
	api   *api
	mux   *http.ServeMux
	pages map[string]*template.Template
}

//go:embed pages
var files embed.FS

// New checks cfg. It calls nothing and starts no goroutine.
func New(cfg Config) (*Console, error) {
	for _, required := range []struct {
		name    string
		missing bool
	}{
		{"Provider", cfg.Provider == nil}, {"Issuer", cfg.Issuer == ""}, {"ClientID", cfg.ClientID == ""},
		{"ClientSecret", cfg.ClientSecret == ""}, {"Admit", cfg.Admit == nil},
	} {
		if required.missing {
			return nil, errors.New("console: Config." + required.name + " is required")
		}
	}
	base := strings.TrimSuffix(cfg.Issuer, "/")
	if cfg.Management == "" {
		cfg.Management = base + "/api/v2"
	}
	if cfg.Token == "" {
		cfg.Token = base + "/oauth/token"
	}
	if cfg.LoginCallback == "" {
		cfg.LoginCallback = base + "/login/callback"
	}
	for _, address := range []struct{ name, value string }{
		{"Issuer", cfg.Issuer}, {"Management", cfg.Management}, {"Token", cfg.Token}, {"LoginCallback", cfg.LoginCallback},
	} {
		if u, err := url.Parse(address.value); err != nil || u.Host == "" {
			return nil, fmt.Errorf("console: Config.%s %q is not an absolute URL", address.name, address.value)
		}
	}
	if cfg.Path == "" {
		cfg.Path = "/console"
	}
	cfg.Path = strings.TrimSuffix(cfg.Path, "/")
	if !strings.HasPrefix(cfg.Path, "/") || strings.ContainsAny(cfg.Path, "?#{} ") {
		return nil, fmt.Errorf("console: Config.Path %q is not a path", cfg.Path)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Console{cfg: cfg, api: newAPI(&cfg), pages: map[string]*template.Template{}}
	for _, name := range []string{"home", "settings", "connections", "connection", "applications", "application", "apis", "keys", "events", "message"} {
		page, err := template.New(name+".html").Funcs(template.FuncMap{"path": c.path, "when": when}).ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("console: page %s: %w", name, err)
		}
		c.pages[name] = page
	}
	c.mux = http.NewServeMux()
	c.mux.HandleFunc("GET "+cfg.Path+"/style.css", c.style)
	for pattern, h := range map[string]handler{
		"GET /{$}":                       c.home,
		"GET /settings":                  c.settings,
		"POST /settings":                 c.saveSettings,
		"GET /connections":               c.connections,
		"POST /connections":              c.promote,
		"GET /connections/one":           c.connection,
		"POST /connections/one":          c.enableForApplication,
		"GET /applications":              c.applications,
		"GET /applications/one":          c.application,
		"POST /applications/one":         c.changeApplication,
		"POST /applications/connections": c.enableConnection,
		"GET /apis":                      c.apis,
		"POST /apis":                     c.saveDefaults,
		"POST /apis/consent":             c.saveConsent,
		"GET /events":                    c.events,
		"GET /keys":                      c.keys,
		"POST /keys":                     c.changeKeys,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		c.mux.Handle(method+" "+cfg.Path+path, c.page(h))
	}
	c.mux.Handle(cfg.Path+"/", c.page(func(*visit) error { return errNoPage }))
	return c, nil
}

// path returns the address of a page of the console.
func (c *Console) path(page string) string { return c.cfg.Path + page }

// ServeHTTP serves the console. A request whose path lacks Config.Path, because a
// prefix was stripped, is taken to be below it.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == c.cfg.Path || path == "": // the address without a slash
		http.Redirect(w, r, c.cfg.Path+"/", http.StatusMovedPermanently)
		return
	case !strings.HasPrefix(path, c.cfg.Path+"/"):
		below := r.Clone(r.Context())
		below.URL.Path, below.URL.RawPath = c.cfg.Path+"/"+strings.TrimPrefix(path, "/"), ""
		r = below
	}
	c.mux.ServeHTTP(w, r)
}

// visit is one request of a visitor who was let in.
type visit struct {
	c       *Console
	w       http.ResponseWriter
	r       *http.Request
	visitor Visitor
}

// handler answers a visit or returns an error, which becomes a page. A [failure] is
// shown as it is.
type handler func(*visit) error

// failure is an error in words for the visitor.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

var errNoPage = &failure{http.StatusNotFound, "There is no such page."}

// page admits a visitor and runs h.
func (c *Console) page(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("Cache-Control", "no-store")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Frame-Options", "DENY")
		v := &visit{c: c, w: w, r: r}
		if !sameOrigin(r) {
			v.fail(&failure{http.StatusForbidden, "This form was not sent by the console itself. Open the page anew and try again."})
			return
		}
		visitor, ok := c.cfg.Admit(w, r)
		if !ok {
			return
		}
		v.visitor = visitor
		if err := h(v); err != nil {
			v.fail(err)
		}
	})
}

// sameOrigin reports whether a request that changes something comes from a page of the
// console's own origin. Every browser says so with a POST; who says nothing is not one.
func sameOrigin(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin":
		return true
	case "":
		u, err := url.Parse(r.Header.Get("Origin"))
		return err == nil && u.Host != "" && u.Host == r.Host
	}
	return false
}

// fail shows an error as a page.
func (v *visit) fail(err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		v.c.cfg.Logger.ErrorContext(v.r.Context(), "console: request failed", "path", v.r.URL.Path, "err", err)
		f = &failure{http.StatusInternalServerError, "Something went wrong. It has been logged."}
	}
	if err := v.render("message", f.status, "Not possible", f.text); err != nil {
		v.c.cfg.Logger.ErrorContext(v.r.Context(), "console: page failed", "err", err)
		http.Error(v.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// frame is what every page gets.
type frame struct {
	Title   string
	Visitor Visitor
	Links   []link
	// Done says what the form before this page did.
	Done string
	Data any
}

// link is an entry of the navigation.
type link struct {
	Text, Page string
	Here       bool
}

// sections are the pages of the navigation, with the scope that each needs.
var sections = []struct{ text, page, scope string }{
	{"Overview", "/", ""},
	{"Applications", "/applications", "read:clients"},
	{"Connections", "/connections", "read:connections"},
	{"APIs", "/apis", "read:resource_servers"},
	{"Signing keys", "/keys", "read:signing_keys"},
	{"Events", "/events", "read:logs"},
	{"Settings", "/settings", "read:tenant_settings"},
}

// done are the notes that a page may show after a form was answered. Addresses carry
// their names, not texts that others could choose.
var done = map[string]string{
	"settings":    "The settings were saved.",
	"promoted":    "The connection is a domain connection now: third-party applications may use it.",
	"demoted":     "The connection is no domain connection any more: third-party applications may not use it.",
	"first-party": "The application is first party now.",
	"third-party": "The application is third party now.",
	"blocked":     "The application is blocked: nothing is served to it.",
	"unblocked":   "The application is no longer blocked.",
	"forgotten":   "Where the application registered from was removed.",
	"deleted":     "The application was deleted, with everything that it held.",
	"enabled":     "The application may use the connection now.",
	"disabled":    "The application may not use the connection any more.",
	"defaults":    "The permissions of third-party applications were saved.",
	"consent":     "Whether users are asked for consent was saved.",
	"rotated":     "The next keys are published. They sign once everybody knows them.",
	"revoked":     "The key was revoked. Everything that it signed is refused.",
}

// render writes a page. Nothing is written if it fails.
func (v *visit) render(name string, status int, title string, data any) error {
	f := frame{Title: title, Visitor: v.visitor, Done: done[v.r.URL.Query().Get("done")], Data: data}
	for _, s := range sections {
		if s.scope == "" || v.visitor.may(s.scope) {
			here := v.r.URL.Path == v.c.path(s.page) || s.page != "/" && strings.HasPrefix(v.r.URL.Path, v.c.path(s.page)+"/")
			f.Links = append(f.Links, link{s.text, s.page, here})
		}
	}
	var out bytes.Buffer
	if err := v.c.pages[name].ExecuteTemplate(&out, name+".html", f); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, err := out.WriteTo(v.w)
	return err
}

// redirect ends a form: the page that follows can be loaded again.
func (v *visit) redirect(page, note string) error {
	separator := "?"
	if strings.Contains(page, "?") {
		separator = "&"
	}
	http.Redirect(v.w, v.r, v.c.path(page)+separator+"done="+note, http.StatusSeeOther)
	return nil
}

// form returns the fields of a form of reasonable size.
func (v *visit) form() (url.Values, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, 64<<10)
	if err := v.r.ParseForm(); err != nil {
		return nil, &failure{http.StatusBadRequest, "The form could not be read."}
	}
	return v.r.PostForm, nil
}

func (c *Console) style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=3600")
	http.ServeFileFS(w, r, files, "pages/style.css")
}

// when is how pages write a time.
func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2 Jan 2006, 15:04 MST")
}
