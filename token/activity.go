package token

import (
	"context"
	"errors"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

const (
	// usedEvery is how far LastUsedAt of a client may lag behind.
	usedEvery = time.Hour

	// surelyKept is for how long after its last use a client is certainly not swept:
	// package dcr refuses a shorter lifetime of unused clients.
	surelyKept = 24 * time.Hour
)

// Confirm makes sure that a client which registered itself stays, and returns it as
// it is stored now. It has to come before anything is granted that does not keep the
// client by itself: a sweep removes clients that nobody uses, and it goes by the
// record alone. The first time ends the client's provisional state. A client that
// was used within a day, or that the tenant created, costs nothing.
//
// The error is store.ErrNotFound if the client is gone; then nothing may be granted.
func (i *Issuer) Confirm(ctx context.Context, client *store.Client) (*store.Client, error) {
	const attempts = 4
	for range attempts {
		now := i.now()
		if !client.Dynamic || !client.Provisional() && now.Sub(client.LastUsedAt) < surelyKept {
			return client, nil
		}
		c, err := i.touch(ctx, client, now)
		if !errors.Is(err, store.ErrConflict) {
			return c, err
		}
		// Another request was first, or the cached record is older than another
		// node's. The failed write discarded it.
		fresh, err := i.stores.Clients.Client(ctx, client.TenantID, client.ID)
		if err != nil {
			return nil, err
		}
		client = &fresh
	}
	return nil, oauth.Unavailable(store.ErrConflict, time.Second)
}

// used notes that a client obtained tokens, at most once in usedEvery, so that
// clients in use can be told from those that are left over. It is bookkeeping:
// nothing that goes wrong here fails the request, and with another writer ahead the
// record is as good as written. Confirm has done before what must not fail.
func (i *Issuer) used(ctx context.Context, client *store.Client, now time.Time) {
	if !client.ConfirmedAt.IsZero() && now.Sub(client.LastUsedAt) < usedEvery {
		return
	}
	_, err := i.touch(ctx, client, now)
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
		i.logger.WarnContext(ctx, "client could not be marked as used", "tenant", client.TenantID, "client_id", client.ID, "err", err)
	}
}

// touch writes into the client's record that it is used now. A client that is known
// by its document alone has no record before.
func (i *Issuer) touch(ctx context.Context, client *store.Client, now time.Time) (*store.Client, error) {
	c := client.Clone() // the client is shared
	if c.ConfirmedAt.IsZero() {
		c.ConfirmedAt = now
	}
	c.LastUsedAt = now
	var err error
	if c.Document != nil && c.Version == 0 {
		c.CreatedAt = now
		if err = i.stores.Clients.CreateClient(ctx, c); errors.Is(err, store.ErrExists) {
			err = store.ErrConflict
		}
	} else {
		err = i.stores.Clients.UpdateClient(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	c.Version++
	return &c, nil
}
