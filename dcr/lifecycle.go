package dcr

import (
	"cmp"
	"errors"
	"time"
)

// Lifecycle says how long applications that registered themselves are kept. Those
// that the tenant created stay until they are deleted.
//
// Such a registration is provisional until a user first allows the application
// something, or it first obtains a token for itself. There is no lifetime that ends
// the registration of an application in use.
type Lifecycle struct {
	// Provisional is how long a registration that nobody used is kept, at least ten
	// minutes. Zero: 24 hours. Negative: for ever.
	Provisional time.Duration

	// Unused is how long after its last use a confirmed application is kept, at least
	// 48 hours. One that a user allows something, or that an administrator gave a
	// client grant, is always kept. Zero: 180 days. Negative: for ever.
	Unused time.Duration

	// MaxProvisional is how many provisional applications a tenant may have. One more
	// takes the place of the oldest. The number is approximate: each node may be an
	// eighth above it. Zero: 100,000. Negative: no limit.
	MaxProvisional int

	// MinAge is what a provisional application is sure of, however many come after
	// it: the time in which a user can sign in. If none is older, registration
	// answers 429 until one is. Zero: ten minutes.
	MinAge time.Duration
}

const (
	defaultProvisional    = 24 * time.Hour
	defaultUnused         = 180 * 24 * time.Hour
	defaultMaxProvisional = 100_000
	defaultMinAge         = 10 * time.Minute

	// leastUnused leaves room for what package token saves writes with: LastUsedAt
	// lags behind, and a client that was used within a day is taken for granted.
	leastUnused = 48 * time.Hour
)

// resolved checks l and fills in the defaults.
func (l Lifecycle) resolved() (Lifecycle, error) {
	l.Provisional = cmp.Or(l.Provisional, defaultProvisional)
	l.Unused = cmp.Or(l.Unused, defaultUnused)
	l.MaxProvisional = cmp.Or(l.MaxProvisional, defaultMaxProvisional)
	l.MinAge = cmp.Or(l.MinAge, defaultMinAge)
	switch {
	case l.Provisional > 0 && l.Provisional < defaultMinAge:
		return Lifecycle{}, errors.New("dcr: Config.Lifecycle.Provisional is shorter than ten minutes")
	case l.Unused > 0 && l.Unused < leastUnused:
		return Lifecycle{}, errors.New("dcr: Config.Lifecycle.Unused is shorter than 48 hours")
	case l.MinAge < 0:
		return Lifecycle{}, errors.New("dcr: Config.Lifecycle.MinAge is negative")
	}
	return l, nil
}
