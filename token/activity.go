package token

import (
	"context"
	"errors"
	"time"

	"github.com/opkit/opkit/store"
)

// usedEvery is how far LastUsedAt of a client may lag behind.
const usedEvery = time.Hour

// used notes that client obtained tokens, at most once in usedEvery, so that
// clients in use can be told from those that are left over. confirm says that a
// user was involved: the first time ends the client's provisional state. It is
// bookkeeping: nothing that goes wrong here fails the request, and with another
// writer ahead the record is as good as written.
func (i *Issuer) used(ctx context.Context, client *store.Client, confirm bool, now time.Time) {
	confirm = confirm && client.ConfirmedAt.IsZero()
	if !confirm && now.Sub(client.LastUsedAt) < usedEvery {
		return
	}
	c := client.Clone() // the client is shared
	if confirm {
		c.ConfirmedAt = now
	}
	c.LastUsedAt = now
	err := i.stores.Clients.UpdateClient(ctx, c)
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
		i.logger.WarnContext(ctx, "client could not be marked as used", "tenant", client.TenantID, "client_id", client.ID, "err", err)
	}
}
