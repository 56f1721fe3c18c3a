package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements initial access tokens (RFC 7591 §3, OpenID Connect Dynamic
// Client Registration §3).

const (
	// initialAccessKind separates these tickets from everything else that is used a
	// number of times.
	initialAccessKind = "initial-access-token"

	// UnlimitedUses as Uses of an [InitialAccessToken] lets it register any number of
	// applications.
	UnlimitedUses = -1

	defaultInitialAccessLifetime = 7 * 24 * time.Hour
	maxInitialAccessLifetime     = 366 * 24 * time.Hour
	maxInitialAccessUses         = 1_000_000

	// claims is how often a use is claimed anew while others claim theirs.
	claims = 32
)

// InitialAccessToken is a permission to register applications, for whoever holds
// its value.
type InitialAccessToken struct {
	TenantID string
	// ID is the digest of the value. It is no secret.
	ID store.Digest
	// Uses is how many applications may be registered from now on. When the token is
	// made, zero means one; [UnlimitedUses] sets no limit.
	Uses int
	// Policy is what those applications may be.
	Policy InitialAccessPolicy
	// ExpiresAt is at most a year ahead. When the token is made, zero means in seven
	// days.
	ExpiresAt time.Time
	CreatedAt time.Time
}

// initialAccess is the data of a ticket.
type initialAccess struct {
	Uses   int                 `json:"uses"`
	Policy InitialAccessPolicy `json:"policy"`
}

// errInitialAccess is the answer to every token that does not hold: which of the
// reasons it is, a stranger need not know.
var errInitialAccess = oauth.Errorf(oauth.CodeInvalidToken, "the initial access token is not valid, has expired, or was used up")

// CreateInitialAccessToken makes an initial access token and returns its value,
// which is not kept and cannot be had again. TenantID is required; ID and CreatedAt
// are set here.
//
// It lets its holder register even where the tenant's setting
// dynamic_client_registration_access asks for one, but not where the flag
// enable_dynamic_client_registration is off.
func (r *Registrar) CreateInitialAccessToken(ctx context.Context, t InitialAccessToken) (InitialAccessToken, string, error) {
	return r.createInitialAccessToken(ctx, requester{}, t)
}

func (r *Registrar) createInitialAccessToken(ctx context.Context, by requester, t InitialAccessToken) (InitialAccessToken, string, error) {
	if _, err := r.cfg.Tenants.Tenant(ctx, t.TenantID); err != nil {
		return InitialAccessToken{}, "", fmt.Errorf("dcr: tenant of the initial access token: %w", err)
	}
	if t.Uses == 0 {
		t.Uses = 1
	}
	t.CreatedAt = r.now()
	if t.ExpiresAt.IsZero() {
		t.ExpiresAt = t.CreatedAt.Add(defaultInitialAccessLifetime)
	}
	t.ExpiresAt = t.ExpiresAt.UTC().Truncate(time.Microsecond)
	switch {
	case t.Uses < UnlimitedUses || t.Uses > maxInitialAccessUses:
		return InitialAccessToken{}, "", &invalidAccess{"uses", fmt.Sprintf("must be from 1 to %d, or %d for any number", maxInitialAccessUses, UnlimitedUses)}
	case !t.ExpiresAt.After(t.CreatedAt) || t.ExpiresAt.Sub(t.CreatedAt) > maxInitialAccessLifetime:
		return InitialAccessToken{}, "", &invalidAccess{"the lifetime", "must be positive and at most 366 days"}
	}
	if err := t.Policy.validate(); err != nil {
		return InitialAccessToken{}, "", err
	}
	t.Policy = t.Policy.clone()
	data, err := json.Marshal(initialAccess{Uses: t.Uses, Policy: t.Policy})
	if err != nil {
		return InitialAccessToken{}, "", err
	}
	value := alphanumeric(secretLength)
	t.ID = store.DigestOf(value)
	err = r.cfg.Stores.Tickets.PutTicket(ctx, store.Ticket{
		TenantID: t.TenantID, Kind: initialAccessKind, ID: t.ID, Data: data, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
	}, t.CreatedAt)
	if err != nil {
		return InitialAccessToken{}, "", err
	}
	r.cfg.Logger.InfoContext(ctx, "initial access token created", "tenant", t.TenantID, "id", t.ID, "uses", t.Uses,
		"first_party", t.Policy.FirstParty, "expires_at", t.ExpiresAt)
	r.emit(ctx, by, audit.Event{TenantID: t.TenantID, Type: audit.InitialAccessTokenCreation, Outcome: audit.Allowed, Subject: t.ID.String()})
	return t, value, nil
}

// InitialAccessToken returns a token with the uses that are left. store.ErrNotFound:
// there is none, or it has expired. There is no list: tickets are found by who holds
// them.
func (r *Registrar) InitialAccessToken(ctx context.Context, tenant string, id store.Digest) (InitialAccessToken, error) {
	ticket, err := r.cfg.Stores.Tickets.Ticket(ctx, tenant, initialAccessKind, id, r.now())
	if errors.Is(err, store.ErrConsumed) {
		return InitialAccessToken{}, store.ErrNotFound
	}
	if err != nil {
		return InitialAccessToken{}, err
	}
	return initialAccessOf(&ticket)
}

func initialAccessOf(ticket *store.Ticket) (InitialAccessToken, error) {
	var data initialAccess
	if err := json.Unmarshal(ticket.Data, &data); err != nil {
		return InitialAccessToken{}, fmt.Errorf("dcr: initial access token %s: %w", ticket.ID, err)
	}
	return InitialAccessToken{
		TenantID: ticket.TenantID, ID: ticket.ID, Uses: data.Uses, Policy: data.Policy, ExpiresAt: ticket.ExpiresAt, CreatedAt: ticket.CreatedAt,
	}, nil
}

// DeleteInitialAccessToken makes a token worthless. The applications that were
// registered with it stay. Deleting what is absent is nil.
func (r *Registrar) DeleteInitialAccessToken(ctx context.Context, tenant string, id store.Digest) error {
	return r.deleteInitialAccess(ctx, requester{}, tenant, id)
}

func (r *Registrar) deleteInitialAccess(ctx context.Context, by requester, tenant string, id store.Digest) error {
	if err := r.cfg.Stores.Tickets.DeleteTicket(ctx, tenant, initialAccessKind, id); err != nil {
		return err
	}
	r.cfg.Logger.InfoContext(ctx, "initial access token deleted", "tenant", tenant, "id", id)
	r.emit(ctx, by, audit.Event{TenantID: tenant, Type: audit.InitialAccessTokenDeletion, Outcome: audit.Allowed, Subject: id.String()})
	return nil
}

// access returns the initial access token of a registration; nil if it has none and
// the tenant asks for none. Only the exact words open registration to everybody.
func (r *Registrar) access(req *http.Request, t *tenant.Tenant) (*InitialAccessToken, error) {
	value, err := oauth.BearerToken(req)
	if errors.Is(err, oauth.ErrNoToken) {
		switch t.Settings().DynamicClientRegistrationAccess {
		case "", store.AccessOpen:
			return nil, nil
		}
		return nil, oauth.WithCause(err, oauth.CodeInvalidToken, "registration needs an initial access token, as a bearer token in the Authorization header")
	}
	if err != nil {
		return nil, err
	}
	return r.presented(req.Context(), t.ID(), value)
}

// presented returns the token behind a value; errInitialAccess if it does not hold.
func (r *Registrar) presented(ctx context.Context, tenant, value string) (*InitialAccessToken, error) {
	if len(value) > maxToken {
		return nil, errInitialAccess
	}
	t, err := r.InitialAccessToken(ctx, tenant, store.DigestOf(value))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errInitialAccess
	case err != nil:
		return nil, err
	case t.Uses == 0:
		return nil, errInitialAccess
	}
	return &t, nil
}

// claim takes one use of a token, by compare-and-swap: of concurrent registrations
// as many succeed as there are uses left.
func (r *Registrar) claim(ctx context.Context, t *InitialAccessToken) error {
	if t.Uses == UnlimitedUses {
		return nil
	}
	return r.changeUses(ctx, t, -1)
}

// giveBack returns a use that was claimed for a registration which then failed, if
// there is no client: an error of the store does not say so. It goes on when the
// request ends. What goes wrong costs a use and nothing else.
func (r *Registrar) giveBack(ctx context.Context, t *InitialAccessToken, client string) {
	if t.Uses == UnlimitedUses {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, err := r.uncached.Client(ctx, t.TenantID, client)
	if errors.Is(err, store.ErrNotFound) {
		err = r.changeUses(ctx, t, +1)
	} else if err == nil {
		err = errors.New("the client exists")
	}
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "a use of an initial access token was lost with a registration that failed",
			"tenant", t.TenantID, "id", t.ID, "client_id", client, "err", err)
	}
}

func (r *Registrar) changeUses(ctx context.Context, t *InitialAccessToken, by int) error {
	for range claims {
		now := r.now()
		ticket, err := r.cfg.Stores.Tickets.Ticket(ctx, t.TenantID, initialAccessKind, t.ID, now)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConsumed) {
			return errInitialAccess
		}
		if err != nil {
			return err
		}
		var data initialAccess
		if err := json.Unmarshal(ticket.Data, &data); err != nil {
			return fmt.Errorf("dcr: initial access token %s: %w", t.ID, err)
		}
		if data.Uses += by; data.Uses < 0 {
			return errInitialAccess
		}
		if ticket.Data, err = json.Marshal(data); err != nil {
			return err
		}
		switch err := r.cfg.Stores.Tickets.UpdateTicket(ctx, ticket, now); {
		case errors.Is(err, store.ErrConflict):
			continue
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConsumed):
			return errInitialAccess
		default:
			return err
		}
	}
	return oauth.Unavailable(store.ErrConflict, time.Second)
}
