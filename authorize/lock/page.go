package lock

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// placeholder is what the page has where its configuration goes.
const placeholder = "@@config@@"

// Config is what a login page is about. The page passes most of it on to Lock.
type Config struct {
	ClientID string `json:"clientID"`
	// Domain is where Lock finds the endpoints: it puts https:// in front of it.
	Domain      string `json:"auth0Domain"`
	CallbackURL string `json:"callbackURL"`
	// CallbackOnLocationHash says that the response goes into the fragment.
	CallbackOnLocationHash bool   `json:"callbackOnLocationHash"`
	IsThirdPartyClient     bool   `json:"isThirdPartyClient"`
	Dict                   Dict   `json:"dict"`
	Prompt                 string `json:"prompt,omitempty"`
	// Connection is the name of the only connection to offer. Empty: all.
	Connection string `json:"connection,omitempty"`
	// AssetsURL stays empty: Lock would take it for the address of the tenant's
	// information, word for word.
	AssetsURL       string            `json:"assetsUrl"`
	InternalOptions InternalOptions   `json:"internalOptions"`
	ExtraParams     map[string]string `json:"extraParams"`
	// AuthorizationServer says who issues tokens. Pages pass it on as the override
	// __token_issuer.
	AuthorizationServer AuthorizationServer `json:"authorizationServer"`
}

// AuthorizationServer is the provider as tokens name it.
type AuthorizationServer struct {
	Issuer string `json:"issuer"`
}

// Dict is what the page shows.
type Dict struct {
	SignIn struct {
		Title string `json:"title"`
	} `json:"signin"`
}

// InternalOptions is what Lock sends back with a login.
type InternalOptions struct {
	Protocol     string `json:"protocol"` // oauth2
	ResponseType string `json:"response_type"`
	Scope        string `json:"scope,omitempty"`
	Nonce        string `json:"nonce,omitempty"`
	// State is the sealed login transaction, not the state of the application. CSRF
	// and IntState are kept in it.
	State    string `json:"state"`
	CSRF     string `json:"_csrf"`
	IntState string `json:"_intstate"`
}

// Page is a custom login page, ready to be sent.
type Page struct{ html string }

// Render puts the configuration into a page. Lines end as browsers read them, so
// that hashes of scripts agree.
func Render(html string, cfg *Config) Page {
	plain, err := json.Marshal(cfg)
	if err != nil {
		panic(err) // strings and booleans always encode
	}
	html = strings.ReplaceAll(html, placeholder, base64.StdEncoding.EncodeToString(plain))
	html = strings.ReplaceAll(html, "\r\n", "\n")
	return Page{strings.ReplaceAll(html, "\r", "\n")}
}

// HTML returns the page.
func (p Page) HTML() string { return p.html }

// Policy returns the content security policy with which the page works as it was
// written: a nonce would have to be written into it, hashes do not.
//
// There is no form-action: browsers apply it to the redirects that follow a form,
// and where those end is up to the application.
func (p Page) Policy() string {
	scripts := []string{"'self'"}
	add := func(source string) {
		if source != "" && !slices.Contains(scripts, source) {
			scripts = append(scripts, source)
		}
	}
	for _, s := range scriptsOf(p.html) {
		if s.file {
			add(sourceOf(s.src))
			continue
		}
		sum := sha256.Sum256([]byte(s.text))
		add("'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	var origins strings.Builder
	for _, source := range scripts[1:] {
		if !strings.HasPrefix(source, "'") {
			origins.WriteString(" " + source)
		}
	}
	return "default-src 'none'; base-uri 'none'; frame-ancestors 'none'" +
		"; script-src " + strings.Join(scripts, " ") +
		"; connect-src 'self'" + origins.String() +
		"; style-src 'self' 'unsafe-inline' https:; img-src 'self' https: data:; font-src 'self' https: data:"
}

// sourceOf returns the origin of a script's address as a source expression, empty
// for the page's own and for what has none.
func sourceOf(src string) string {
	u, err := url.Parse(strings.TrimSpace(src))
	if err != nil || u.Host == "" || !plainHost(u.Host) {
		return ""
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		return "https://" + u.Host
	case "":
		return u.Host // of the page's own scheme
	}
	return ""
}

// plainHost reports whether a host can stand in a policy.
func plainHost(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-:[]", r))
	})
}
