package connection

import (
	"context"
	"fmt"
	"strings"
)

// maxPassword bounds what is hashed. It is far beyond what people type and keeps
// a request from buying more work than another.
const maxPassword = 1 << 10

// passwords hashes and checks passwords, a bounded number at a time.
type passwords struct {
	params Argon2id
	dummy  argon2idHash
	legacy func(ctx context.Context, hash, password string) (bool, error)

	running chan struct{}
	waiting chan struct{}
}

func newPasswords(cfg Config) *passwords {
	return &passwords{
		params:  cfg.Argon2id,
		dummy:   dummyArgon2idHash(cfg.Argon2id),
		legacy:  cfg.LegacyPassword,
		running: make(chan struct{}, cfg.PasswordConcurrency),
		waiting: make(chan struct{}, cfg.PasswordQueue),
	}
}

// enter waits for a turn to compute and returns how to end it. ErrBusy: too many
// wait already. The context's error: it ended first.
func (p *passwords) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	leave = func() { <-p.running }
	select {
	case p.running <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case p.waiting <- struct{}{}:
		defer func() { <-p.waiting }()
	default:
		return nil, ErrBusy
	}
	select {
	case p.running <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hash returns the PHC string of a new hash. The caller has entered.
func (p *passwords) hash(password string) string {
	return newArgon2idHash(p.params, password).String()
}

// check reports whether password has the stored hash, and whether the hash should
// be replaced by a new one. An empty hash and one that cannot be read cost what a
// current hash costs; an older or foreign one costs what it costs. The caller has
// entered.
func (p *passwords) check(ctx context.Context, stored, password string) (ok, outdated bool, err error) {
	if stored != "" && !strings.HasPrefix(stored, argon2idPrefix) && p.legacy != nil {
		ok, err = p.legacy(ctx, stored, password)
		return ok && err == nil, true, err
	}
	if stored != "" && !strings.HasPrefix(stored, argon2idPrefix) {
		imported, err := parseImported(stored)
		if err != nil {
			p.dummy.matches(password)
			return false, false, fmt.Errorf("the stored hash %w, and Config.LegacyPassword is nil", err)
		}
		ok, err := imported.matches(password)
		return ok, true, err
	}
	h, err := parseArgon2id(stored)
	if err != nil {
		p.dummy.matches(password)
		if stored == "" {
			err = nil
		}
		return false, false, err
	}
	return h.matches(password), h.params.weakerThan(p.params), nil
}
