package dcr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

// UpdateClient changes a client of any kind, for an administrator. change gets a copy;
// it may be called again if somebody else changes the client at the same time, and an
// error of it ends the update. What it leaves is validated as in a registration, and
// an error names the member. Identifier, secrets, how the client came to be, and
// SecurityMode cannot be changed: the latter is fixed when a client is created.
//
// Blocked takes the client out of service on every path, at once on this node.
// FirstParty may be changed: from then on the tenant vouches for the application, whose
// users are not asked for consent where the API allows that, and which needs to be
// enabled for a connection instead of a domain connection. Users are asked again, where
// they are asked at all, if the application changed what they see of it.
//
// The secret that is returned is not empty if the client got a new one, because it
// had none, or because an algorithm needs one to be kept that is only known by its
// digest.
//
// store.ErrNotFound: there is no such client. store.ErrConflict: others keep changing
// it.
func (r *Registrar) UpdateClient(ctx context.Context, tenant, id string, change func(*store.Client) error) (store.Client, string, error) {
	c, secret, err := r.updateClient(ctx, requester{}, tenant, id, change)
	if err != nil {
		return store.Client{}, "", fmt.Errorf("dcr: changing client %s: %w", id, plain(err))
	}
	return c, secret, nil
}

// updateClient returns an [oauth.Error] for what the caller can mend.
func (r *Registrar) updateClient(ctx context.Context, by requester, tenant, id string, change func(*store.Client) error) (store.Client, string, error) {
	for range replacements {
		old, err := r.uncached.Client(ctx, tenant, id)
		if err != nil {
			return store.Client{}, "", err
		}
		changed := old.Clone()
		if err := change(&changed); err != nil {
			return store.Client{}, "", err
		}
		if changed.SecurityMode != old.SecurityMode && (old.FirstParty || cmp.Or(changed.SecurityMode, store.ModeStrict) != cmp.Or(old.SecurityMode, store.ModeStrict)) {
			return store.Client{}, "", invalid("third_party_security_mode", "third_party_security_mode cannot be changed")
		}
		changed.TenantID, changed.ID, changed.Dynamic = old.TenantID, old.ID, old.Dynamic
		m := metadataOf(&changed)
		m.issued = &issuedMembers{}
		sameScope := changed.Scope == old.Scope
		if sameScope {
			// It was checked when it was set. If an API was deleted since, the client must
			// not end up with no limit, nor be impossible to block.
			m.client.Scope = ""
		}
		if err := checkLoginPage(&m.client); err != nil {
			return store.Client{}, "", err
		}
		if err := r.validate(ctx, m); err != nil {
			return store.Client{}, "", err
		}
		if m.rare = !reflect.ValueOf(m.extra).IsZero(); subjectsOf(&old) != subjectsOf(&store.Client{RedirectURIs: m.client.RedirectURIs, Metadata: &m.extra}) {
			if err := r.checkSectorDocument(ctx, m); err != nil {
				return store.Client{}, "", err
			}
		}
		next, secret := r.replaced(&old, m, false)
		next.FirstParty, next.Blocked, next.Notes = m.client.FirstParty, m.client.Blocked, m.client.Notes
		next.LoginPage, next.RegisteredFrom = m.client.LoginPage, m.client.RegisteredFrom
		if sameScope {
			next.Scope = old.Scope
		}
		if old.Document != nil {
			decided := next.Client
			decided.FirstParty, decided.Blocked, decided.Notes = old.FirstParty, old.Blocked, old.Notes
			decided.LoginPage, decided.RegisteredFrom = old.LoginPage, old.RegisteredFrom
			if !reflect.DeepEqual(old, decided) {
				return store.Client{}, "", invalid("client_id", "client_id leads to a document that says what the application is; that cannot be changed here")
			}
		}
		if reflect.DeepEqual(old, next.Client) {
			return next.Client, "", nil
		}
		switch err := r.cfg.Stores.Clients.UpdateClient(ctx, next.Client); {
		case errors.Is(err, store.ErrConflict): // perhaps it was only noted as used
			continue
		case err != nil:
			return store.Client{}, "", err
		}
		r.cfg.Logger.InfoContext(ctx, "client changed", "tenant", tenant, "client_id", id, "first_party", next.FirstParty,
			"asks_consent_again", next.Revision != old.Revision)
		r.emit(ctx, by, audit.Event{TenantID: tenant, Type: audit.ClientUpdate, Outcome: audit.Allowed, ClientID: id})
		next.Version++
		return next.Client, secret, nil
	}
	return store.Client{}, "", store.ErrConflict
}
