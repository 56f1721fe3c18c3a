package dcr

import (
	"errors"
	"net/http"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// InitialAccessTokens serves initial access tokens to administrators:
//
//	POST   /api/v2/initial-access-tokens        create:initial_access_tokens  201  the one answer with the value
//	GET    /api/v2/initial-access-tokens/{id}   read:initial_access_tokens    200  with the uses that are left
//	DELETE /api/v2/initial-access-tokens/{id}   delete:initial_access_tokens  204  also if there is none
//
// There is no list: note the identifier when the token is made.
//
// The handler may be mounted under any path that ends in the wildcard {id} or,
// without wildcards, where the last segment is "initial-access-tokens" or the
// identifier.
func (r *Registrar) InitialAccessTokens() http.Handler {
	guard := r.cfg.Tenants.Guard()
	return management.Resource{
		Name: initialAccessCollection,
		Collection: management.Methods{
			http.MethodPost: guard.Require(tenant.ScopeCreateInitialAccessTokens, r.postInitialAccessToken).Describe(management.Doc{
				Summary: "Make an initial access token",
				Body:    initialAccessBody{}, Status: http.StatusCreated,
				Answer: management.Object("InitialAccessToken", initialAccessView{}), Tagged: true,
			}),
		},
		One: management.Methods{
			http.MethodGet: guard.Require(tenant.ScopeReadInitialAccessTokens, r.getInitialAccessToken).Describe(management.Doc{
				Summary: "Read an initial access token",
				Answer:  management.Object("InitialAccessToken", initialAccessView{}), Tagged: true, Errors: []int{404},
			}),
			http.MethodDelete: guard.Require(tenant.ScopeDeleteInitialAccessTokens, r.deleteInitialAccessToken).Describe(management.Doc{
				Summary: "Delete an initial access token",
				Status:  http.StatusNoContent, Tagged: true, Errors: []int{404},
			}),
		},
	}
}

const initialAccessCollection = "initial-access-tokens"

func initialAccessID(req *http.Request) string {
	return management.PathID(req, initialAccessCollection)
}

var errInexistentAccess = management.Errorf(http.StatusNotFound, "inexistent_initial_access_token", "The initial access token does not exist, or has expired.")

// initialAccessView is an initial access token on the wire. token is there once.
type initialAccessView struct {
	ID        string              `json:"id"`
	Token     string              `json:"token,omitempty"`
	Uses      int                 `json:"uses"` // that are left
	Policy    InitialAccessPolicy `json:"policy"`
	CreatedAt time.Time           `json:"created_at"`
	ExpiresAt time.Time           `json:"expires_at"`
}

func viewInitialAccess(t *InitialAccessToken, value string) initialAccessView {
	return initialAccessView{ID: t.ID.String(), Token: value, Uses: t.Uses, Policy: t.Policy, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}
}

type initialAccessBody struct {
	Uses      *int                `json:"uses"`
	ExpiresIn *int64              `json:"expires_in"` // seconds
	Policy    InitialAccessPolicy `json:"policy"`
}

func (r *Registrar) postInitialAccessToken(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	body, err := management.Decode[initialAccessBody](w, req)
	if err != nil {
		return err
	}
	t := InitialAccessToken{TenantID: caller.TenantID, Policy: body.Policy}
	if body.Uses != nil {
		if t.Uses = *body.Uses; t.Uses == 0 { // which a default would turn into one
			return management.InvalidBody("uses must not be 0")
		}
	}
	if body.ExpiresIn != nil {
		if *body.ExpiresIn <= 0 || *body.ExpiresIn > int64(maxInitialAccessLifetime/time.Second) {
			return management.InvalidBody("expires_in must be a number of seconds from 1 to %d", int64(maxInitialAccessLifetime/time.Second))
		}
		t.ExpiresAt = r.now().Add(time.Duration(*body.ExpiresIn) * time.Second)
	}
	t, value, err := r.createInitialAccessToken(req.Context(), r.administrator(req, caller), t)
	if broken, ok := errors.AsType[*invalidAccess](err); ok {
		return management.InvalidBody("%s %s", broken.member, broken.rule)
	}
	if err != nil {
		return err
	}
	r.audit(req, caller, "initial access token created by an administrator", t.ID.String())
	return management.WriteRecord(w, req, http.StatusCreated, tagOfInitialAccess(&t), viewInitialAccess(&t, value))
}

func (r *Registrar) getInitialAccessToken(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	var id store.Digest
	if id.UnmarshalText([]byte(initialAccessID(req))) != nil {
		return errInexistentAccess
	}
	t, err := r.InitialAccessToken(req.Context(), caller.TenantID, id)
	if errors.Is(err, store.ErrNotFound) {
		return errInexistentAccess
	}
	if err != nil {
		return err
	}
	return management.WriteRecord(w, req, http.StatusOK, tagOfInitialAccess(&t), viewInitialAccess(&t, ""))
}

// tagOfInitialAccess needs no version: all that changes is shown.
func tagOfInitialAccess(t *InitialAccessToken) management.Tag {
	return management.TagOf(0, viewInitialAccess(t, ""))
}

func (r *Registrar) deleteInitialAccessToken(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	var id store.Digest
	if id.UnmarshalText([]byte(initialAccessID(req))) != nil {
		return errInexistentAccess
	}
	tickets, now := r.cfg.Stores.Tickets, r.now()
	var claimed store.Ticket
	if err := management.Claim(req, func() (InitialAccessToken, error) {
		var err error
		if claimed, err = tickets.Ticket(req.Context(), caller.TenantID, initialAccessKind, id, now); errors.Is(err, store.ErrConsumed) {
			err = store.ErrNotFound
		}
		if err != nil {
			return InitialAccessToken{}, err
		}
		return initialAccessOf(&claimed)
	}, tagOfInitialAccess, func(InitialAccessToken) error { return tickets.UpdateTicket(req.Context(), claimed, now) }); err != nil {
		return err
	}
	if err := r.deleteInitialAccess(req.Context(), r.administrator(req, caller), caller.TenantID, id); err != nil {
		return err
	}
	r.audit(req, caller, "initial access token deleted by an administrator", id.String())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// administrator returns who sent a request to the management API.
func (r *Registrar) administrator(req *http.Request, caller management.Caller) requester {
	return requester{caller.ClientID, httpx.ClientAddress(req, r.cfg.TrustedProxies)}
}

// audit records what an administrator did.
func (r *Registrar) audit(req *http.Request, caller management.Caller, what, id string) {
	r.cfg.Logger.InfoContext(req.Context(), what, "tenant", caller.TenantID, "client_id", caller.ClientID, "id", id)
}
