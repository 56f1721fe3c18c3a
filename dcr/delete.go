package dcr

import (
	"context"
	"fmt"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

// deletionTimeout bounds a deletion, which goes on when its request ends.
const deletionTimeout = time.Minute

// DeleteClient removes a client with everything that it holds: what users allowed
// it, every token under that, and its client grants. It is the one way in which
// clients go that hold something, whoever decided it; [Registrar.Sweep] removes
// those that hold nothing.
//
// It takes several store calls, so ordered that tokens die first and the client's
// record, by which a deletion can be asked for again, goes before nothing but
// leftovers. Whatever the call at which it fails, no token that existed before is
// usable, and calling it again continues. A client that does not exist is no
// error: what is left of it is removed.
//
// What is sealed rather than stored (codes, refresh tokens, sign-ins under way)
// and tickets (pushed requests) name the client or a grant that are gone, and are
// worth nothing. JWT access tokens that an API verifies by itself live until they
// expire; introspection says at once that they are dead. Another node may know the
// client for as long as its cache allows, which revives nothing.
func (r *Registrar) DeleteClient(ctx context.Context, tenant, id string) error {
	return r.removeClient(ctx, requester{}, tenant, id)
}

func (r *Registrar) removeClient(ctx context.Context, by requester, tenant, id string) error {
	// Whoever is being removed does not get to stop it halfway by hanging up.
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deletionTimeout)
	defer cancel()
	if err := r.revokeAll(ctx, tenant, id); err != nil {
		return fmt.Errorf("dcr: deleting client %s: %w", id, err)
	}
	if err := r.cfg.Stores.Clients.DeleteClient(ctx, tenant, id); err != nil {
		return fmt.Errorf("dcr: deleting client %s: %w", id, err)
	}
	// What a user consented to while this went on.
	if err := r.deleteGrants(ctx, tenant, id); err != nil {
		return fmt.Errorf("dcr: deleting what is left of client %s: %w", id, err)
	}
	r.cfg.Logger.InfoContext(ctx, "client deleted", "tenant", tenant, "client_id", id)
	r.emit(ctx, by, audit.Event{TenantID: tenant, Type: audit.ClientDeletion, Outcome: audit.Allowed, ClientID: id})
	return nil
}

// revokeAll takes from a client, which may be gone, what users and administrators
// gave it. All of its tokens die in the first call, however many there are.
func (r *Registrar) revokeAll(ctx context.Context, tenant, client string) error {
	if client == "" {
		return nil // an empty filter would select more than one client's
	}
	now := r.now()
	// A family lives as long as the tokens in it, which revoking never shortens.
	if _, err := r.cfg.Stores.Grants.RevokeFamilies(ctx, tenant, store.FamilyFilter{ClientID: client}, now, now); err != nil {
		return err
	}
	if err := r.deleteGrants(ctx, tenant, client); err != nil {
		return err
	}
	return r.deleteClientGrants(ctx, tenant, client)
}

// deleteGrants deletes what users allowed the client, page by page: it never holds
// a store for long.
func (r *Registrar) deleteGrants(ctx context.Context, tenant, client string) error {
	if client == "" {
		return nil
	}
	page := store.Page{}
	for {
		grants, err := r.cfg.Stores.Grants.Grants(ctx, tenant, store.GrantFilter{ClientID: client}, page)
		if err != nil {
			return err
		}
		for i := range grants {
			if err := r.cfg.Stores.Grants.DeleteGrant(ctx, tenant, grants[i].ID); err != nil {
				return err
			}
		}
		if len(grants) < page.Size() {
			return nil
		}
		page.After = grants[len(grants)-1].ID
	}
}

// deleteClientGrants deletes what administrators allowed the client. The default
// of third-party clients is not one client's.
func (r *Registrar) deleteClientGrants(ctx context.Context, tenant, client string) error {
	if client == store.DefaultForThirdParty {
		return nil
	}
	page := store.Page{}
	for {
		grants, err := r.cfg.Stores.ClientGrants.ClientGrants(ctx, tenant, page)
		if err != nil {
			return err
		}
		for i := range grants {
			if grants[i].ClientID != client {
				continue
			}
			if err := r.cfg.Stores.ClientGrants.DeleteClientGrant(ctx, tenant, grants[i].ID); err != nil {
				return err
			}
		}
		if len(grants) < page.Size() {
			return nil
		}
		page.After = grants[len(grants)-1].ID
	}
}

// now returns the time as stores keep it.
func (r *Registrar) now() time.Time { return r.cfg.Now().UTC().Truncate(time.Microsecond) }
