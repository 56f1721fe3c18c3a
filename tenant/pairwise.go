package tenant

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/opkit/opkit/store"
)

// This file implements the computation of pairwise identifiers (OpenID Connect
// Core §8.1), which cannot be reversed and are the same on every node, after every
// restart and after every change of secrets.

// saltSize is the size of HMAC-SHA-256 keys.
const saltSize = 32

// Pairwise returns the identifier that a sector has in place of value: 43
// characters of base64url. use separates kinds of values ("sub", "sid").
//
// The key is the tenant's salt, which is made when the first identifier is needed
// and kept sealed in the tenant's record. It is not derived from the secrets in
// [Config], because those are replaced and identifiers never change.
func (d *Directory) Pairwise(ctx context.Context, t *Tenant, use, sector, value string) (string, error) {
	salt, err := d.saltOf(ctx, t)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, salt)
	for _, part := range [...]string{use, sector, value} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part))) // so that no two lists of parts read alike
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// saltOf returns the tenant's salt, made if there is none. What was opened once is
// kept for the life of the process.
func (d *Directory) saltOf(ctx context.Context, t *Tenant) ([]byte, error) {
	e := d.entry(t.ID())
	if salt := e.salt.Load(); salt != nil {
		return *salt, nil
	}
	salt, err := d.openSalt(&t.Record)
	if len(t.Record.PairwiseSalt) == 0 {
		salt, err = d.makeSalt(ctx, t.ID())
	}
	if err != nil {
		return nil, err
	}
	e.salt.Store(&salt)
	return salt, nil
}

// openSalt returns the salt of a record. One that cannot be opened is never
// replaced: every user would be somebody else to every application.
func (d *Directory) openSalt(record *store.Tenant) ([]byte, error) {
	salt, err := d.salts.Open(record.PairwiseSalt, record.ID)
	if err == nil && len(salt) != saltSize {
		err = errors.New("it has the wrong size")
	}
	if err != nil {
		return nil, fmt.Errorf("tenant: the pairwise salt of tenant %q cannot be used (was it sealed with another secret?): %w", record.ID, err)
	}
	return salt, nil
}

// makeSalt stores a salt, unless another node just has, and returns the one that
// the record has then. The compare-and-swap lets exactly one be the first.
func (d *Directory) makeSalt(ctx context.Context, id string) ([]byte, error) {
	const attempts = 8
	written := false
	for range attempts {
		t, err := d.Tenant(ctx, id)
		if err != nil {
			return nil, err
		}
		record := t.Record.Clone()
		if len(record.PairwiseSalt) > 0 {
			return d.openSalt(&record)
		}
		if written {
			return nil, fmt.Errorf("tenant: the store does not keep the PairwiseSalt of tenant %q", id)
		}
		salt := make([]byte, saltSize)
		rand.Read(salt)
		record.PairwiseSalt = d.salts.Seal(salt, record.ID)
		record.UpdatedAt = d.now()
		err = d.cfg.Stores.Tenants.UpdateTenant(ctx, record)
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, fmt.Errorf("tenant: storing the pairwise salt: %w", err)
		}
		// What counts is what is read back.
		written = err == nil
	}
	return nil, fmt.Errorf("tenant: storing the pairwise salt: %w", store.ErrConflict)
}

// resealSalt seals the salt of a record that was just read with the secret that
// seals now, so that a former secret can go. e is the tenant's entry, if it has one.
// It is housekeeping: whatever goes wrong fails nothing, and another node that was
// faster did the same.
func (d *Directory) resealSalt(ctx context.Context, e *entry, record *store.Tenant) {
	if len(record.PairwiseSalt) == 0 || d.salts.Current(record.PairwiseSalt, record.ID) {
		return
	}
	salt, err := d.openSalt(record)
	if err == nil {
		if e != nil { // while it can be opened: a node with a newer secret may be next to seal
			e.salt.Store(&salt)
		}
		changed := record.Clone()
		changed.PairwiseSalt = d.salts.Seal(salt, record.ID)
		err = d.cfg.Stores.Tenants.UpdateTenant(ctx, changed)
	}
	if err != nil && !errors.Is(err, store.ErrConflict) {
		d.cfg.Logger.WarnContext(ctx, "the pairwise salt was not sealed anew", "tenant", record.ID, "err", err)
	}
}
