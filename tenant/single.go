package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/opkit/opkit/store"
)

// follow makes sure that the record of the single tenant exists and has the
// configured issuer. record and err are what the store answered.
func (d *Directory) follow(ctx context.Context, record store.Tenant, err error) (store.Tenant, error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		if record, err = d.createSingle(ctx); err != nil {
			return store.Tenant{}, err
		}
	case err != nil:
		return store.Tenant{}, err
	}
	if record.Issuer == d.cfg.Issuer {
		return record, nil
	}
	return d.adoptIssuer(ctx, record)
}

func (d *Directory) createSingle(ctx context.Context) (store.Tenant, error) {
	now := d.now()
	record := store.Tenant{
		ID: DefaultID, Issuer: d.cfg.Issuer, Settings: d.cfg.Settings, Version: 1, CreatedAt: now, UpdatedAt: now,
	}.Clone()
	err := d.cfg.Stores.Tenants.CreateTenant(ctx, record)
	if errors.Is(err, store.ErrExists) { // another node, or another request, was first
		record, err = d.cfg.Stores.Tenants.Tenant(ctx, DefaultID)
	}
	if err != nil {
		return store.Tenant{}, fmt.Errorf("tenant: creating the record of the single tenant: %w", err)
	}
	return record, nil
}

// adoptIssuer writes the configured issuer into the record. A process does so
// once: while nodes with different configurations run side by side, as during a
// move to another host, each serves its own issuer and they do not take turns
// overwriting the record.
func (d *Directory) adoptIssuer(ctx context.Context, record store.Tenant) (store.Tenant, error) {
	const attempts = 4
	for range attempts {
		if d.adopted.Load() || record.Issuer == d.cfg.Issuer {
			break
		}
		was := record.Issuer
		record.Issuer = d.cfg.Issuer
		record.UpdatedAt = d.now()
		err := d.cfg.Stores.Tenants.UpdateTenant(ctx, record)
		if err == nil {
			record.Version++
			d.adopted.Store(true)
			d.cfg.Logger.WarnContext(ctx, "the issuer changed; tokens of the former issuer are no longer accepted",
				"tenant", DefaultID, "from", was, "to", record.Issuer)
			break
		}
		if !errors.Is(err, store.ErrConflict) {
			return store.Tenant{}, fmt.Errorf("tenant: changing the issuer of the single tenant: %w", err)
		}
		if record, err = d.cfg.Stores.Tenants.Tenant(ctx, DefaultID); err != nil {
			return store.Tenant{}, err
		}
	}
	// Lost every race, or another process adopted another issuer: the
	// configuration of this process counts here, and the next request tries again.
	record.Issuer = d.cfg.Issuer
	return record, nil
}
