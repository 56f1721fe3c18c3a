package dcr

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/tenant"
)

// requester is who asked for something; zero: the provider, or the host in Go.
type requester struct {
	actor   string
	address netip.Addr
}

// registrant returns who sent a request of a stranger or of whoever has a
// registration access token.
func (r *Registrar) registrant(req *http.Request) requester {
	return requester{audit.ActorRegistrant, httpx.ClientAddress(req, r.cfg.TrustedProxies)}
}

// emit sends an event to the host.
func (r *Registrar) emit(ctx context.Context, by requester, e audit.Event) {
	if r.cfg.Audit == nil {
		return
	}
	e.Time, e.Actor, e.Address = r.now(), by.actor, by.address
	r.cfg.Audit.Record(ctx, e)
}

// emitRefusal tells the host of a request that was answered with err.
func (r *Registrar) emitRefusal(req *http.Request, t *tenant.Tenant, err error) {
	if r.cfg.Audit == nil || t == nil {
		return
	}
	event := refusalEvent(err)
	event.TenantID = t.ID()
	switch req.Method {
	case http.MethodGet:
		event.Type = audit.ClientRead
	case http.MethodPut:
		event.Type = audit.ClientUpdate
	case http.MethodDelete:
		event.Type = audit.ClientDeletion
	default:
		event.Type = audit.ClientRegistration
	}
	if event.Type != audit.ClientRegistration {
		if id := clientIDIn(req); validDynamicID(id) { // what was named, by whoever it was
			event.ClientID = id
		}
	}
	r.emit(req.Context(), r.registrant(req), event)
}

// refusalEvent returns the event of something that ended with err.
func refusalEvent(err error) audit.Event {
	e := oauth.AsError(err)
	event := audit.Event{Outcome: audit.Refused, Code: e.Code}
	switch {
	case e.Status >= http.StatusInternalServerError:
		event.Outcome = audit.Failed // why is not for a stranger's eyes, nor for this
	case e.Status == http.StatusTooManyRequests:
		event.Outcome = audit.Limited
	}
	if event.Outcome != audit.Failed && e.Description != "" {
		event.Reasons = []string{withoutUserInfo(e.Description)}
	}
	if refused, ok := errors.AsType[*decidedError](err); ok {
		event.Reasons, event.Notes = append(event.Reasons, refused.decision.Reasons...), refused.decision.Notes
	}
	return event
}

// decidedError is the cause of a refusal by the host.
type decidedError struct{ decision Decision }

func (*decidedError) Error() string { return "refused by Config.Policy.Decide" }

// emitDocument tells the host what became of a document.
func (r *Registrar) emitDocument(ctx context.Context, key documentKey, m *metadata, err error) {
	if r.cfg.Audit == nil || ctx.Err() != nil {
		return
	}
	event := m.accepted(audit.ClientDocument)
	if err != nil {
		event = refusalEvent(err)
	}
	event.Type, event.TenantID, event.ClientID = audit.ClientDocument, key.tenant, key.url
	r.emit(ctx, requester{}, event)
}

// withoutUserInfo removes what may be a password from the URIs in a description: the
// answer goes to whoever sent it, an event to other people's eyes.
func withoutUserInfo(s string) string {
	scheme := strings.Index(s, "://")
	if scheme < 0 {
		return s
	}
	rest := s[scheme+len("://"):]
	if end := strings.IndexAny(rest, "/?#' "); end >= 0 {
		rest = rest[:end]
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		start := scheme + len("://")
		return s[:start] + "..." + s[start+at:]
	}
	return s
}

// narrow notes that something is registered as less than was asked for.
func (m *metadata) narrow(format string, args ...any) {
	m.narrowed = append(m.narrowed, oauth.AsError(oauth.Errorf("", format, args...)).Description)
}

// accepted returns the event of a registration, or a change of one, that succeeded.
func (m *metadata) accepted(what audit.Type) audit.Event {
	e := audit.Event{TenantID: m.client.TenantID, Type: what, Outcome: audit.Allowed, ClientID: m.client.ID}
	if len(m.narrowed) > 0 {
		e.Outcome = audit.Narrowed
	}
	e.Reasons, e.Notes = slices.Concat(m.narrowed, m.decided.Reasons), m.decided.Notes
	return e
}
