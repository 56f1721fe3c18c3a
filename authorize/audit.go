package authorize

import (
	"errors"
	"net/http"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/tenant"
)

// emit tells the host of something that a user did.
func (a *Authorizer) emit(r *http.Request, t *tenant.Tenant, e audit.Event) {
	if a.cfg.Audit == nil {
		return
	}
	e.Time, e.TenantID, e.Address = a.now(), t.ID(), httpx.ClientAddress(r, a.cfg.TrustedProxies)
	audit.Emit(r.Context(), a.cfg.Audit, e)
}

// emitFailedLogin tells the host of a login that failed. What was typed is not in it:
// it may be a password, in the wrong field.
func (a *Authorizer) emitFailedLogin(r *http.Request, q *request, connectionID string, err error) {
	e := audit.Event{Type: audit.SignIn, Outcome: audit.Failed, ClientID: q.client.ID, Subject: connectionID}
	_, locked := errors.AsType[*connection.LockedError](err)
	switch {
	case errors.Is(err, connection.ErrInvalidCredentials):
		e.Outcome, e.Reasons = audit.Refused, []string{"no such user, another password, or a blocked user"}
	case locked:
		e.Outcome, e.Reasons = audit.Limited, []string{"too many failed attempts"}
	case errors.Is(err, connection.ErrBusy):
		e.Outcome, e.Reasons = audit.Limited, []string{"too many passwords are being checked"}
	case errors.Is(err, connection.ErrNotAllowed):
		e.Outcome, e.Reasons = audit.Refused, []string{"the user may not use the application"}
	}
	a.emit(r, q.tenant, e)
}
