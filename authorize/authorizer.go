package authorize

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// Config is what an Authorizer needs. Stores, Tenants, Connections, Tokens,
// ClientAuth and Secrets are required.
type Config struct {
	Stores      store.Stores
	Tenants     *tenant.Directory
	Connections *connection.Directory
	Tokens      *token.Issuer
	// Clients finds the clients that authorization requests name. Nil: Stores.Clients.
	Clients clientauth.ClientReader
	// ClientAuth authenticates the clients that push their requests.
	ClientAuth *clientauth.Authenticator
	// Secrets seal the transactions that travel through the browser. The first
	// one seals, all open.
	Secrets [][]byte

	// Pages replaces built-in pages: a file with the name of one is used in its
	// place. Nil: none is replaced.
	Pages fs.FS

	// InsecureHotlinkLogos shows logos from the addresses that clients registered.
	// The client's server then sees every visitor of the login page, and a logo
	// may imitate a name that the client could not register.
	InsecureHotlinkLogos bool

	// Mailer sends links to users. Nil: nobody can replace a forgotten password, and
	// addresses of who signs up are not verified.
	Mailer Mailer

	// SharedLimits counts sign-ups, mails and answers of other providers on all nodes
	// together, by tickets. By default each process counts what it sees.
	SharedLimits bool

	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Empty:
	// none; the peer's address counts.
	TrustedProxies []netip.Prefix

	// TransactionLifetime is how long a page may stay open. Zero: one hour.
	TransactionLifetime time.Duration

	// Outbound tells applications that a session has ended, and fetches their request
	// objects. Nil: one without exemptions.
	Outbound *httpx.Outbound

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Audit receives sign-ins and what users allow, see package audit, while requests
	// wait. Nil: nobody does.
	Audit audit.Sink

	// Logger receives internal errors. Nil: they are discarded.
	Logger *slog.Logger
}

// Authorizer serves the authorization endpoint and the pages behind it.
type Authorizer struct {
	cfg          Config
	pages        *pages
	transactions *seal.Box
	states       *seal.Box // of the browser, for session management
	crossOrigin  *http.CrossOriginProtection
	pushes       *ratelimit.Local
	accounts     limiter // sign-ups and forgotten passwords, by network
	mails        limiter // by address
	upstreams    limiter // answers of other providers, by network
	courier      *courier
	notifier     *notifier
	objects      *objectFetcher
}

// New validates cfg and parses the pages.
func New(cfg Config) (*Authorizer, error) {
	if err := cfg.Stores.Validate(); err != nil {
		return nil, err
	}
	if cfg.Tenants == nil || cfg.Connections == nil || cfg.Tokens == nil || cfg.ClientAuth == nil {
		return nil, errors.New("authorize: Config.Tenants, Config.Connections, Config.Tokens and Config.ClientAuth are required")
	}
	box, err := seal.New("login", cfg.Secrets...)
	if err != nil {
		return nil, err
	}
	states, err := seal.New("browser-state", cfg.Secrets...)
	if err != nil {
		return nil, err
	}
	parsed, err := parsePages(cfg.Pages)
	if err != nil {
		return nil, err
	}
	cfg.TransactionLifetime = cmp.Or(cfg.TransactionLifetime, time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clients == nil {
		cfg.Clients = cfg.Stores.Clients
	}
	if cfg.Outbound == nil {
		cfg.Outbound = httpx.NewOutbound(httpx.OutboundConfig{})
	}
	var shared store.TicketStore
	if cfg.SharedLimits {
		shared = cfg.Stores.Tickets
	}
	return &Authorizer{
		cfg: cfg, pages: parsed, transactions: box, states: states,
		crossOrigin: http.NewCrossOriginProtection(),
		pushes:      ratelimit.NewLocal(pushRate),
		accounts:    newLimiter(shared, "account-network", accountRate),
		mails:       newLimiter(shared, "mail-address", mailRate),
		upstreams:   newLimiter(shared, "upstream-network", upstreamRate),
		courier:     &courier{logger: cfg.Logger},
		notifier:    newNotifier(cfg.Tokens, cfg.Outbound, cfg.Logger),
		objects:     newObjectFetcher(cfg.Outbound, cfg.Now),
	}, nil
}

// now returns the time as it is stored: UTC, in microseconds.
func (a *Authorizer) now() time.Time {
	return a.cfg.Now().UTC().Truncate(time.Microsecond)
}

// ResponseTypes lists the response types that the authorization endpoint serves.
func ResponseTypes() []string {
	return []string{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token", "none"}
}

// ResponseModes lists the response modes that it serves.
func ResponseModes() []string {
	return []string{modeQuery, modeFragment, modeFormPost, modeWebMessage}
}

// Prompts lists the values of prompt that it understands.
func Prompts() []string { return []string{"none", "login", "consent", "select_account"} }

// resolve finds the tenant, or answers the request.
func (a *Authorizer) resolve(w http.ResponseWriter, r *http.Request) (*tenant.Tenant, bool) {
	t, err := a.cfg.Tenants.FromRequest(r)
	if err == nil {
		return t, true
	}
	if errors.Is(err, store.ErrNotFound) {
		http.NotFound(w, r)
		return nil, false
	}
	a.fail(w, r, nil, err)
	return nil, false
}

// Authorization serves the authorization endpoint, GET and POST (OpenID Connect
// Core §3.1.2.1).
func (a *Authorizer) Authorization() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := a.resolve(w, r)
		if !ok {
			return
		}
		params, err := readParameters(w, r, http.MethodGet, http.MethodHead, http.MethodPost)
		if err != nil {
			a.fail(w, r, t, err)
			return
		}
		if a.choseUpstream(w, r, t, params) {
			return
		}
		ctx := r.Context()
		if oauth.NamesDocument(params.Get("client_id")) { // the client may have to be fetched
			ctx = httpx.WithRequester(ctx, httpx.ClientAddress(r, a.cfg.TrustedProxies))
		}
		req, err := a.receive(ctx, t, params)
		if err != nil {
			a.refuse(w, r, req, err)
			return
		}
		a.begin(w, r, req)
	})
}

// readParameters returns the parameters of a request with one of the methods: from
// the form of a POST, else from the query.
func readParameters(w http.ResponseWriter, r *http.Request, methods ...string) (oauth.Parameters, error) {
	switch {
	case !slices.Contains(methods, r.Method):
		w.Header().Set("Allow", strings.Join(methods, ", "))
		return oauth.Parameters{}, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Status: http.StatusMethodNotAllowed,
			Description: "the method must be one of " + strings.Join(methods, ", "),
		}
	case r.Method == http.MethodPost:
		return oauth.ParseForm(w, r)
	}
	return oauth.ParseQuery(r.URL.RawQuery)
}

// begin answers a valid request: with the session that the browser has, or with
// a page.
func (a *Authorizer) begin(w http.ResponseWriter, r *http.Request, req *request) {
	ctx := r.Context()
	usable, err := a.usable(ctx, req)
	if err != nil {
		a.refuse(w, r, req, err)
		return
	}
	s, err := a.currentSession(w, r, req, usable)
	if err != nil {
		a.refuse(w, r, req, err)
		return
	}
	if s == nil {
		if req.prompt.none {
			a.refuse(w, r, req, errLoginRequired)
			return
		}
		if usable, err = a.reaching(req, usable); err != nil {
			a.refuse(w, r, req, err)
			return
		}
		if open := a.signupsAmong(req, usable); req.params.Get("screen_hint") == "signup" && len(open) > 0 && a.customPage(req) == "" {
			a.showSignup(w, r, req, open, signupState{email: req.loginHint})
			return
		}
		a.showLogin(w, r, req, usable, loginState{login: req.loginHint})
		return
	}
	a.proceed(w, r, req, s)
}
