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
	ID string
	// Name is never empty, on one line, and without characters that hide or change the
	// direction of text.
	Name string
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

// UpstreamButton is another provider to sign in at. IconURL is an https address that an
// administrator chose, or empty.
type UpstreamButton struct {
	ConnectionInfo
	IconURL string
}

// LoginPage is the data of login.html. Its form posts transaction, username,
// password and, if there are several, connection to Action. Hosts and Upstreams are
// buttons, which post transaction and connection.
type LoginPage struct {
	Page
	Client      ClientInfo
	Action      string
	Transaction string
	Databases   []ConnectionInfo
	Hosts       []ConnectionInfo
	Upstreams   []UpstreamButton
	// Realms says that an email address alone may be enough: the domains of some lead to
	// other providers. There may be no database then.
	Realms   bool
	Selected string // name of the connection chosen before
	Login    string // what was typed before, or the request's login_hint
	Failure  string
	Notice   string
	// Forgot says that a button with the name forgot, and any value, mails a link to
	// whoever forgot the password.
	Forgot bool
	// Signup says that a button with the name signup, and the value show, leads to the
	// page where people sign up.
	Signup bool
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
	for _, name := range []string{"login.html", "consent.html", "applications.html", "error.html", "form_post.html", "web_message.html",
		"logout.html", "logged_out.html", "logout_error.html",
		"reset_password.html", "verify_email.html", "link_error.html", "link_account.html", "signup.html", "signup_finish.html"} {
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

// clientInfo describes the application that a request proved.
func (a *Authorizer) clientInfo(q *request) ClientInfo {
	return a.describe(q.client, q.redirectURI)
}

// describe says what pages may show of an application that returns to redirectURI.
func (a *Authorizer) describe(c *store.Client, redirectURI string) ClientInfo {
	extra := c.Extra()
	info := ClientInfo{
		ID: c.ID, Name: shownName(c), NameGiven: c.Name != "", FirstParty: c.FirstParty,
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
	kind, _ := oauth.ClassifyRedirectURI(redirectURI) // it was registered, so it has a kind
	info.Loopback, info.Private = kind == oauth.RedirectLoopback, kind == oauth.RedirectPrivate
	info.RedirectHost = redirectHost(redirectURI)
	return info
}

// redirectHost says where a redirect URI leads: a host, or a scheme for an
// application on the device. Hosts are shown in ASCII, as they are registered: in
// another script one can look like another. In capitals they could, too.
func redirectHost(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return ""
	case u.Scheme == "https" || u.Scheme == "http":
		// The record of a client that did not come through package dcr may have any.
		return strings.TrimPrefix((&url.URL{Host: strings.ToLower(u.Host)}).String(), "//")
	}
	return u.Scheme + ":"
}

// shownName is what pages call an application.
func shownName(c *store.Client) string {
	return cmp.Or(oauth.ShownText(c.Name), "An application without a name")
}

func connectionInfo(c store.Connection) ConnectionInfo {
	return ConnectionInfo{Name: c.Name, Label: cmp.Or(c.DisplayName, c.Name)}
}
