package authorize

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

//go:embed pages/*.html
var builtinPages embed.FS

// Page is what every page gets.
type Page struct {
	// Nonce belongs into the nonce attribute of every <style> and <script>; nothing
	// else may style or run.
	Nonce  string
	Tenant TenantInfo
}

func (p *Page) setNonce(nonce string) { p.Nonce = nonce }

// TenantInfo is what pages may show of the tenant.
type TenantInfo struct {
	Name         string // the friendly name, or the issuer's host
	PictureURL   string
	SupportEmail string
	SupportURL   string
}

// ClientInfo is what pages may show of the application. Everything that it says of
// itself is unverified unless FirstParty is set.
type ClientInfo struct {
	ID   string
	Name string // never empty
	// NameGiven is false if the application registered no name.
	NameGiven  bool
	FirstParty bool
	// LogoURL is empty unless Config.InsecureHotlinkLogos is set.
	LogoURL   string
	ClientURI string
	PolicyURI string
	TOSURI    string
	// RedirectHost is where the browser goes afterwards: a host, or a scheme for an
	// application on the device.
	RedirectHost string
	// Loopback says that RedirectHost is the user's own machine, where any program
	// may be listening; Private that it is a scheme that any application on the
	// device may claim.
	Loopback bool
	Private  bool
	// DocumentHost is where the application publishes who it is, at the URL that its ID
	// is: that it comes from there is proven. Empty for others.
	DocumentHost string
	// RegisteredAt is zero for applications that did not register themselves.
	RegisteredAt time.Time
}

// ConnectionInfo is a way to sign in.
type ConnectionInfo struct{ Name, Label string }

// LoginPage is the data of login.html. Its form posts transaction, username,
// password and, if there are several, connection to Action.
type LoginPage struct {
	Page
	Client      ClientInfo
	Action      string
	Transaction string
	Databases   []ConnectionInfo
	Hosts       []ConnectionInfo
	Selected    string // name of the connection chosen before
	Login       string // what was typed before, or the request's login_hint
	Failure     string
}

// ConsentPage is the data of consent.html. Its form posts transaction and
// decision (allow or deny) to Action.
type ConsentPage struct {
	Page
	Client      ClientInfo
	Action      string
	Transaction string
	User        string // how the user is known to themselves
	FirstTime   bool   // the user never allowed this application anything
	Changed     bool   // it calls itself or returns to something else than when the user allowed it
	API         string // name of the API, empty for none
	Scopes      []ScopeInfo
	// Offline says that the access lasts until the user withdraws it.
	Offline bool
}

// ScopeInfo is a permission that is asked for.
type ScopeInfo struct {
	Value, Description string
	// Claim says that Value is not a scope but a claim that the application asks for
	// by its name.
	Claim bool
}

// ErrorPage is the data of error.html.
type ErrorPage struct {
	Page
	Code        string
	Description string
}

// FormPostPage is the data of form_post.html.
type FormPostPage struct {
	Page
	Action     string
	Parameters []Parameter
}

// WebMessagePage is the data of web_message.html.
type WebMessagePage struct {
	Page
	Origin  string
	Message map[string]any
}

// pages holds the parsed templates by file name.
type pages struct {
	templates map[string]*template.Template
}

// parsePages parses the built-in pages and those that replace them. A page that
// does not parse is an error now, not when a user needs it.
func parsePages(replacements fs.FS) (*pages, error) {
	p := &pages{templates: map[string]*template.Template{}}
	layout, err := readPage(replacements, "layout.html")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"login.html", "consent.html", "error.html", "form_post.html", "web_message.html",
		"logout.html", "logged_out.html", "logout_error.html"} {
		text, err := readPage(replacements, name)
		if err != nil {
			return nil, err
		}
		t, err := template.New("layout.html").Parse(layout)
		if err == nil {
			t, err = t.New(name).Parse(text)
		}
		if err != nil {
			return nil, fmt.Errorf("authorize: page %s: %w", name, err)
		}
		p.templates[name] = t
	}
	return p, nil
}

func readPage(replacements fs.FS, name string) (string, error) {
	if replacements != nil {
		text, err := fs.ReadFile(replacements, name)
		if err == nil {
			return string(text), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("authorize: page %s: %w", name, err)
		}
	}
	text, err := builtinPages.ReadFile("pages/" + name)
	return string(text), err
}

// render sends a page. It is executed before the first byte is sent.
func (p *pages) render(w http.ResponseWriter, status int, name string, data interface{ setNonce(string) }) {
	nonce := rand.Text()
	data.setNonce(nonce)
	var buf bytes.Buffer
	if err := p.templates[name].Execute(&buf, data); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	// Not no-referrer: browsers would send "Origin: null" with our own forms, which
	// those without Sec-Fetch-Site could not tell from another site's.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	// No form-action: browsers apply it to the redirect that follows a form, which
	// leads to the application.
	policy := "default-src 'none'; base-uri 'none'; img-src https: data:; style-src 'nonce-" + nonce + "'; script-src 'nonce-" + nonce + "'"
	if name == "web_message.html" {
		// The client embeds this page in a frame; it shows nothing to click.
		policy = "default-src 'none'; base-uri 'none'; script-src 'nonce-" + nonce + "'"
	} else {
		policy += "; frame-ancestors 'none'"
		h.Set("X-Frame-Options", "DENY")
	}
	if page, ok := data.(interface{ frameSources() []string }); ok && len(page.frameSources()) > 0 {
		policy += "; frame-src " + strings.Join(page.frameSources(), " ")
	}
	h.Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	w.Write(buf.Bytes())
}

func (a *Authorizer) showError(w http.ResponseWriter, t *tenant.Tenant, status int, code, description string) {
	a.pages.render(w, status, "error.html", &ErrorPage{Page: Page{Tenant: tenantInfo(t)}, Code: code, Description: description})
}

func (a *Authorizer) showConsent(w http.ResponseWriter, r *http.Request, q *request, s *signedIn, grant *store.Grant) {
	page := &ConsentPage{
		Page: Page{Tenant: tenantInfo(q.tenant)}, Client: a.clientInfo(q),
		Action: q.tenant.URL(a.cfg.Tenants.Endpoints().Consent),
		Transaction: a.seal(w, r, q, transaction{
			Step: stepConsent, SID: s.session.SID, AuthenticatedAt: s.session.AuthenticatedAt,
			Scope: q.consentScope(), Claims: q.consentClaims(), Revision: q.client.Revision,
		}),
		User:      cmp.Or(s.user.Email, s.user.Username, s.user.Profile.Name, s.user.ID),
		FirstTime: grant.ID == "", Changed: grant.ID != "" && grant.ClientRevision != q.client.Revision,
		Scopes: append(scopeInfo(q), claimInfo(q.consentClaims())...), Offline: q.offline,
	}
	if q.api != nil {
		page.API = cmp.Or(q.api.Name, q.api.Audience)
	}
	a.pages.render(w, http.StatusOK, "consent.html", page)
}

func tenantInfo(t *tenant.Tenant) TenantInfo {
	if t == nil {
		return TenantInfo{Name: "Sign-in"}
	}
	s := t.Settings()
	info := TenantInfo{Name: s.FriendlyName, PictureURL: s.PictureURL, SupportEmail: s.SupportEmail, SupportURL: s.SupportURL}
	if info.Name == "" {
		if u, err := url.Parse(t.Issuer()); err == nil {
			info.Name = u.Host
		}
	}
	return info
}

func (a *Authorizer) clientInfo(q *request) ClientInfo {
	c, extra := q.client, q.client.Extra()
	info := ClientInfo{
		ID: c.ID, Name: cmp.Or(c.Name, "An application without a name"), NameGiven: c.Name != "", FirstParty: c.FirstParty,
		ClientURI: extra.ClientURI, PolicyURI: extra.PolicyURI, TOSURI: extra.TOSURI,
	}
	if a.cfg.InsecureHotlinkLogos {
		info.LogoURL = extra.LogoURI
	}
	switch {
	case c.Document != nil:
		if u, err := url.Parse(c.ID); err == nil {
			info.DocumentHost = u.Host
		}
	case c.Dynamic:
		info.RegisteredAt = c.CreatedAt
	}
	kind, _ := oauth.ClassifyRedirectURI(q.redirectURI) // it was registered, so it has a kind
	info.Loopback, info.Private = kind == oauth.RedirectLoopback, kind == oauth.RedirectPrivate
	if u, err := url.Parse(q.redirectURI); err == nil {
		info.RedirectHost = u.Host
		if info.Private {
			info.RedirectHost = u.Scheme + ":"
		}
	}
	return info
}

func connectionInfo(c store.Connection) ConnectionInfo {
	return ConnectionInfo{Name: c.Name, Label: cmp.Or(c.DisplayName, c.Name)}
}

// standardScopes says what the scopes of OpenID Connect Core §5.4 disclose.
var standardScopes = map[string]string{
	oauth.ScopeOpenID:        "Know that you signed in, by an identifier",
	oauth.ScopeProfile:       "See your profile, such as your name and picture",
	oauth.ScopeEmail:         "See your email address",
	oauth.ScopeAddress:       "See your postal address",
	oauth.ScopePhone:         "See your phone number",
	oauth.ScopeOfflineAccess: "Keep this access while you are away",
}

func scopeInfo(q *request) []ScopeInfo {
	var out []ScopeInfo
	for _, value := range q.consentScope() {
		description := standardScopes[value]
		if q.api != nil {
			if i := slices.IndexFunc(q.api.Scopes, func(s store.APIScope) bool { return s.Value == value }); i >= 0 {
				description = q.api.Scopes[i].Description
			}
		}
		out = append(out, ScopeInfo{Value: value, Description: strings.TrimSpace(description)})
	}
	return out
}
