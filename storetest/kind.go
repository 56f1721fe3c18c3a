package storetest

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/opkit/opkit/store"
)

// kind tells the checks that all records have in common how to handle one type
// of record. Functions that take now pass it on where the store's method has it.
type kind[S, R any] struct {
	// noun names the record in messages.
	noun string
	// global says that the records have no tenant.
	global bool
	// prefix tells the checks apart from those of another kind of the same store.
	prefix string
	// decisive says that security hangs on which of several concurrent calls wins:
	// races run at full length.
	decisive bool

	// identify makes r valid and unique: it sets the tenant and the identifier,
	// whatever else has to differ from record to record, and what only the store
	// may set.
	identify func(r *R, tenant, id string)
	// alter changes what identify set beside the tenant and the identifier, for
	// updates. Nil: nothing.
	alter func(r *R)
	// listed returns the identifier by which lists are ordered.
	listed func(r R) string
	// version points to the Version. Nil: there is none.
	version func(r *R) *int64
	// fixed names the fields that an update keeps.
	fixed []string

	create func(ctx context.Context, s S, r R, now time.Time) error
	// taken is the error of a create whose identifier is taken.
	taken  error
	get    func(ctx context.Context, s S, tenant, id string, now time.Time) (R, error)
	update func(ctx context.Context, s S, r R, now time.Time) error // nil: there is none
	remove func(ctx context.Context, s S, tenant, id string) error  // nil: there is none

	// finders are the other ways to read one record.
	finders []finder[S, R]
	// lists are the ways to list a tenant's records. Each lists all that identify
	// made.
	lists []lister[S, R]
	// uniques are the values that two records of a tenant must not share.
	uniques []unique[R]

	// expire sets the time of expiry. Nil: records do not expire.
	expire func(r *R, at time.Time)
	// collect removes expired records.
	collect func(ctx context.Context, s S, now time.Time, limit int) (int, error)
	// spent are the calls that find nothing once the record has expired.
	spent func(s S, r R, now time.Time) []call

	// calls are calls of all methods that could read or change r, for checks that
	// they do not.
	calls func(s S, r R) []call
}

type finder[S, R any] struct {
	name string
	find func(ctx context.Context, s S, like R) (R, error)
}

type lister[S, R any] struct {
	name string
	list func(ctx context.Context, s S, tenant string, page store.Page, now time.Time) ([]R, error)
}

type unique[R any] struct {
	name string
	// set makes v the record's value. other does the same for the record that
	// comes second; nil means set.
	set, other func(r *R, v string)
	// fixed says that an update keeps the value.
	fixed bool
}

func (u unique[R]) second(r *R, v string) {
	if u.other != nil {
		u.other(r, v)
		return
	}
	u.set(r, v)
}

// call is a named call of a method.
type call struct {
	method string
	do     func(ctx context.Context) error
}

// record returns a valid record with every field set.
func (k kind[S, R]) record(tenant, id string) R { return k.recordOf(1, tenant, id) }

// recordOf is record with a seed.
func (k kind[S, R]) recordOf(seed int, tenant, id string) R {
	r := full[R](seed)
	k.identify(&r, tenant, id)
	return r
}

// changed returns what an update of that record may try to store: nearly every
// field differs.
func (k kind[S, R]) changed(tenant, id string) R {
	r := k.recordOf(2, tenant, id)
	if k.alter != nil {
		k.alter(&r)
	}
	return r
}

// updated returns how a record is read after an update with next.
func (k kind[S, R]) updated(old, next R, version int64) R {
	from, to := reflect.ValueOf(old), reflect.ValueOf(&next).Elem()
	for _, name := range k.fixed {
		to.FieldByName(name).Set(from.FieldByName(name))
	}
	return k.versioned(next, version)
}

// versioned returns r as it is read after a create or a number of updates.
func (k kind[S, R]) versioned(r R, version int64) R {
	if k.version != nil {
		*k.version(&r) = version
	}
	return r
}

// put stores r, which has to succeed, and returns what is expected to be read.
func (k kind[S, R]) put(ctx context.Context, e *env[S], s S, r R) R {
	e.ok(k.create(ctx, s, r, base), "creating %s", k.noun)
	return k.versioned(r, 1)
}

// expect demands that reading the record gives want, in every way there is.
func (k kind[S, R]) expect(ctx context.Context, e *env[S], s S, want R, tenant, id string) {
	got, err := k.get(ctx, s, tenant, id, base)
	e.ok(err, "reading %s %.40q of tenant %.40q", k.noun, id, tenant)
	e.same(want, got, "%s %.40q of tenant %.40q", k.noun, id, tenant)
	for _, f := range k.finders {
		got, err := f.find(ctx, s, want)
		e.ok(err, "%s of %s %.40q of tenant %.40q", f.name, k.noun, id, tenant)
		e.same(want, got, "%s %.40q of tenant %.40q from %s", k.noun, id, tenant, f.name)
	}
	for _, l := range k.lists {
		got := k.all(ctx, e, s, l, tenant)
		i := slices.IndexFunc(got, func(r R) bool { return k.listed(r) == k.listed(want) })
		if i < 0 {
			e.fail("%s %.40q of tenant %.40q is missing in %s", k.noun, id, tenant, l.name)
		}
		e.same(want, got[i], "%s %.40q of tenant %.40q from %s", k.noun, id, tenant, l.name)
	}
}

// absent demands that the record is found in no way.
func (k kind[S, R]) absent(ctx context.Context, e *env[S], s S, like R, tenant, id string) {
	_, err := k.get(ctx, s, tenant, id, base)
	e.is(err, store.ErrNotFound, "reading %s %.40q of tenant %.40q", k.noun, id, tenant)
	for _, f := range k.finders {
		_, err := f.find(ctx, s, like)
		e.is(err, store.ErrNotFound, "%s of %s %.40q of tenant %.40q", f.name, k.noun, id, tenant)
	}
	for _, l := range k.lists {
		for _, r := range k.all(ctx, e, s, l, tenant) {
			if k.listed(r) == k.listed(like) {
				e.fail("%s of tenant %.40q has %s %q, which should be absent", l.name, tenant, k.noun, id)
			}
		}
	}
}

// all returns everything that l lists for a tenant, at most a page.
func (k kind[S, R]) all(ctx context.Context, e *env[S], s S, l lister[S, R], tenant string) []R {
	got, err := l.list(ctx, s, tenant, store.Page{}, base)
	e.ok(err, "%s of tenant %.40q", l.name, tenant)
	return got
}

// rounds bounds the races of this kind: see contest.
func (k kind[S, R]) rounds() (rounds int, limit time.Duration) {
	if k.decisive {
		return 2000, 2 * time.Second
	}
	return 200, 500 * time.Millisecond
}

// common returns the checks that apply to all records.
func (k kind[S, R]) common() []check[S] {
	checks := slices.Concat(
		k.recordChecks(),
		k.isolationChecks(),
		k.cancellationChecks(),
		k.interruptionChecks(),
		k.versionChecks(),
		k.uniqueChecks(),
		k.listChecks(),
		k.expiryChecks(),
		k.handleChecks(),
	)
	for i := range checks {
		checks[i].name = k.prefix + checks[i].name
		checks[i].explanation = k.noun + ": " + checks[i].explanation
	}
	return checks
}
