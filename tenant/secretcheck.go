package tenant

import (
	"context"
	"fmt"

	"github.com/opkit/opkit/store"
)

// checkedTenants bounds how many tenants are looked at when a program starts. A wrong
// secret opens nothing of any of them.
const checkedTenants = 100

// CheckSecrets returns an error if Config.Secrets do not open what the stores keep: keys
// that sign now or later, and the salts of pairwise subjects. It looks at the first 100
// tenants and writes nothing. A store without tenants has nothing to open.
//
// Without it a wrong secret shows when somebody signs in: it is never a reason to make
// other keys, because of several nodes only one may have it wrong.
func (d *Directory) CheckSecrets(ctx context.Context) error {
	tenants, err := d.cfg.Stores.Tenants.Tenants(ctx, store.Page{Limit: checkedTenants})
	if err != nil {
		return fmt.Errorf("tenant: reading tenants: %w", err)
	}
	for i := range tenants {
		if len(tenants[i].PairwiseSalt) > 0 {
			if _, err := d.openSalt(&tenants[i]); err != nil {
				return err
			}
		}
		set, err := d.loadKeys(ctx, tenants[i].ID, nil)
		if err != nil {
			return err
		}
		for _, k := range set.keys {
			if reached(k.until, d.now()) {
				continue // its public half is all that is needed
			}
			if _, _, err := d.unsealed(&k.record); err != nil {
				return fmt.Errorf("%w (tenant %q)", err, tenants[i].ID)
			}
		}
	}
	return nil
}
