package dcr

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Config is what a [Registrar] needs. Stores, Tenants and Secrets are required.
type Config struct {
	// Stores keeps clients (Clients) and what goes with them when they are deleted
	// (Grants, ClientGrants), initial access tokens (Tickets), and knows the scopes
	// that exist (APIs). Without a ClientSweeper, which needs Tenants, registrations
	// are kept for ever.
	Stores store.Stores

	// UncachedClients is Stores.Clients without a cache, which registration access
	// tokens are checked against: one that another node has replaced or revoked is
	// dead at once. Nil: Stores.Clients.
	UncachedClients store.ClientStore

	// Tenants finds the tenant of a request and its settings.
	Tenants *tenant.Directory

	// Secrets seal client secrets where an algorithm needs the secret itself. The
	// first one seals. Each has at least 32 bytes.
	Secrets [][]byte

	// Outbound fetches sector_identifier_uri and client ID metadata documents. Nil: one
	// without exemptions.
	Outbound *httpx.Outbound

	// Redirects says which redirect URIs may be registered.
	Redirects RedirectPolicy

	// InsecureUnsignedIDTokens accepts id_token_signed_response_alg none from
	// applications whose ID tokens come from the token endpoint alone (OpenID Connect
	// Core §2). Strict ones that register themselves never may.
	InsecureUnsignedIDTokens bool

	// SoftwareIssuers are the issuers of software statements that are trusted. Empty:
	// statements are ignored.
	SoftwareIssuers []SoftwareIssuer

	// RequireSoftwareStatement refuses registrations, and client ID metadata documents,
	// without a software statement at tenants that trust an issuer.
	RequireSoftwareStatement bool

	// Policy narrows what applications may be that nobody set up.
	Policy Policy

	// Documents says which client ID metadata documents are accepted.
	Documents DocumentPolicy

	// ReusePublicClients answers an application without a secret that registers again,
	// with the same metadata at the same tenant, with the client that it has. It holds
	// where applications do not manage their registration. Such answers have no
	// client_id_issued_at, so that nobody learns whether somebody was there before.
	ReusePublicClients bool

	// Limiter decides which attempts to register go ahead. Nil: a limiter of this
	// process with the rate of Rate.
	Limiter Limiter

	// Rate is the rate of the default limiter. It is not used if Limiter is set.
	Rate Rate

	// Lifecycle says how long registrations are kept.
	Lifecycle Lifecycle

	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Empty:
	// none; the peer's address counts.
	TrustedProxies []netip.Prefix

	// Audit receives every decision about a client, see package audit, while the request
	// waits. Nil: nobody does.
	Audit audit.Sink

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// Logger receives internal errors and warnings. Nil: they are discarded.
	Logger *slog.Logger
}

// RedirectPolicy says which redirect URIs may be registered. The zero value
// accepts https, http on a loopback host from native and public applications,
// private-use schemes with a dot, and those without a dot from native and public
// applications. Nothing else can be accepted.
type RedirectPolicy struct {
	// RefuseLocalhost refuses http://localhost: the name is resolved, so it can
	// lead elsewhere (RFC 8252 §8.3). 127.0.0.1 and [::1] remain.
	RefuseLocalhost bool

	// RefuseUndottedSchemes refuses private-use schemes that are not a reversed
	// domain name (RFC 8252 §7.1), such as myapp://. They are easily taken by
	// another application on the device, but in wide use.
	RefuseUndottedSchemes bool

	// InsecureWebLoopback accepts http on a loopback host from applications that
	// say they are web applications: whatever listens there on the user's machine
	// gets the code.
	InsecureWebLoopback bool
}

// Registrar creates clients. It is safe for concurrent use.
type Registrar struct {
	cfg      Config
	limiter  Limiter
	secrets  *seal.Box
	sectors  *sectorFetcher
	software *softwareIssuers
	uncached store.ClientStore

	lifecycle Lifecycle
	sweeper   sweeper
	ceiling   ceiling
	resealing resealing

	documents *documentCache
	revisions *seal.Box

	identifiers *seal.Box

	warnProxy, warnSweeper sync.Once
}

// New checks cfg. It reads and writes no store and starts no goroutine.
func New(cfg Config) (*Registrar, error) {
	switch {
	case cfg.Stores.Clients == nil, cfg.Stores.APIs == nil, cfg.Stores.Grants == nil, cfg.Stores.ClientGrants == nil,
		cfg.Stores.Tickets == nil:
		return nil, errors.New("dcr: Config.Stores needs Clients, APIs, Grants, ClientGrants and Tickets")
	case cfg.Stores.ClientSweeper != nil && cfg.Stores.Tenants == nil:
		return nil, errors.New("dcr: Config.Stores.ClientSweeper needs Tenants")
	case cfg.Tenants == nil:
		return nil, errors.New("dcr: Config.Tenants is required")
	}
	if err := tenant.CheckRegistrationRules(&cfg.Policy.Rules); err != nil {
		return nil, fmt.Errorf("dcr: Config.Policy.Rules: %w", err)
	}
	lifecycle, err := cfg.Lifecycle.resolved()
	if err != nil {
		return nil, err
	}
	secrets, err := seal.New("client-secret", cfg.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("dcr: Config.Secrets: %w", err)
	}
	revisions, err := seal.New("client-document", cfg.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("dcr: Config.Secrets: %w", err)
	}
	identifiers, err := seal.New("client-identifier", cfg.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("dcr: Config.Secrets: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Outbound == nil {
		cfg.Outbound = httpx.NewOutbound(httpx.OutboundConfig{})
	}
	r := &Registrar{
		cfg: cfg, limiter: cfg.Limiter, secrets: secrets, uncached: cfg.UncachedClients,
		sectors: newSectorFetcher(cfg.Outbound, cfg.Now), lifecycle: lifecycle, revisions: revisions, identifiers: identifiers,
	}
	r.documents = &documentCache{
		fetcher: newDocumentFetcher(cfg.Outbound, r.now, cfg.Logger), parse: r.parseDocument, tenants: map[string]*tenantDocuments{},
	}
	r.sweeper.unused = make(map[string]store.IdlePage)
	r.ceiling.tenants = make(map[string]*population)
	if r.software, err = newSoftwareIssuers(&cfg); err != nil {
		return nil, err
	}
	if r.uncached == nil {
		r.uncached = cfg.Stores.Clients
	}
	if r.limiter == nil {
		if r.limiter, err = newLocalLimiter(cfg.Rate, cfg.Now); err != nil {
			return nil, fmt.Errorf("dcr: Config.%w", err)
		}
	}
	return r, nil
}
