package storetest

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opkit/opkit/store"
)

// owner is a tenant and an identifier in it.
type owner struct{ tenant, id string }

// hostile are tenants and identifiers that a store confuses if it joins them,
// folds them, trims them, normalises them, cuts them or interprets them.
var hostile = func() []owner {
	long := strings.Repeat("x", 511)
	owners := []owner{
		{"a", "b"}, {"b", "a"}, {"ab", ""}, {"a", "a"}, {"aa", "b"}, {"a", "ab"},
		{"A", "b"}, {"a", "B"}, {"a ", "b"}, {"a", "b "}, {" a", "b"}, {"a", " b"},
		{"a%", "b"}, {"a", "%"}, {"_", "b"}, {"a", "_"}, {"%", "%"}, {"a", "b%"}, {"a*", "b"}, {"a?", "b"},
		{"a'", "b"}, {"a", "b'"}, {"a' OR '1'='1", "b"}, {`a"`, "b"}, {`a\`, "b"}, {`a\'`, "b"}, {"a;--", "b"},
		{"é", "b"}, {"e\u0301", "b"}, {"E\u0301", "b"}, {"a", "é"}, {"a", "e\u0301"}, {"ß", "b"}, {"ss", "b"},
		{"i", "I"}, {"ı", "İ"}, {"a\u200b", "b"}, {"\u0430", "b"}, {"a", "🔑"}, {"a", "\U0001F511\ufe0f"},
		{"1", "2"}, {"01", "2"}, {"1", "02"}, {"null", "null"}, {"NULL", "0"}, {"true", "1e3"}, {"{}", "[]"},
		{"a", long + "y"}, {"a", long + "z"}, {long + "y", "b"}, {long + "z", "b"},
		{"a\xff", "b"}, {"a", "b\xfe"},
	}
	for _, separator := range []string{"\x00", "/", ":", "|", ".", "-", "#", ",", " ", "\n", "\x1f"} {
		owners = append(owners,
			owner{"p" + separator + "q", "r"},
			owner{"p", "q" + separator + "r"},
			owner{"p" + separator, "q" + separator + "r"},
			owner{"p", separator + "q" + separator + "r"})
	}
	return slices.DeleteFunc(owners, func(o owner) bool { return o.id == "" })
}()

// refusable reports whether a store may refuse to keep the record with an error
// of its own: databases do not take every string for a text.
func (o owner) refusable() bool {
	both := o.tenant + o.id
	return strings.ContainsRune(both, 0) || !utf8.ValidString(both)
}

func (k kind[S, R]) isolationChecks() []check[S] {
	checks := []check[S]{{
		name: "hostile-identifiers", rule: ruleTenants,
		explanation: "Tenants and identifiers that are easily confused (separators, case, blanks, wildcards, quotes, " +
			"Unicode forms, 512 bytes) are all different records.",
		run: k.checkHostile,
	}}
	if !k.global {
		checks = append(checks, check[S]{
			name: "tenants", rule: ruleTenants,
			explanation: "A record is not found, listed, changed or deleted through another tenant, " +
				"which may have one with the same identifier.",
			run: k.checkTenants,
		})
	}
	return checks
}

func (k kind[S, R]) checkHostile(ctx context.Context, s S, e *env[S]) {
	type entry struct {
		owner
		want R
	}
	var entries []entry
	seen := make(map[owner]bool)
	for _, o := range hostile {
		if k.global {
			o.tenant = ""
		}
		if seen[o] {
			continue
		}
		seen[o] = true
		r := k.record(o.tenant, o.id)
		if err := k.create(ctx, s, r, base); err != nil {
			if o.refusable() && sentinel(err) == nil {
				continue
			}
			e.fail("creating %s %.40q of tenant %.40q: %w", k.noun, o.id, o.tenant, err)
		}
		entries = append(entries, entry{o, k.versioned(r, 1)})
	}
	for _, it := range entries {
		k.expect(ctx, e, s, it.want, it.tenant, it.id)
	}
	for _, l := range k.lists {
		for _, it := range entries {
			want := 0
			for _, other := range entries {
				if other.tenant == it.tenant {
					want++
				}
			}
			if got := len(k.all(ctx, e, s, l, it.tenant)); got != want {
				e.fail("%s of tenant %.40q has %d records, want %d", l.name, it.tenant, got, want)
			}
		}
	}
	if k.remove == nil {
		return
	}
	// Each other record goes; the rest must not go with it.
	for i := 0; i < len(entries); i += 2 {
		e.ok(k.remove(ctx, s, entries[i].tenant, entries[i].id), "deleting %s %.40q of tenant %.40q", k.noun, entries[i].id, entries[i].tenant)
	}
	for i, it := range entries {
		if i%2 == 0 {
			k.absent(ctx, e, s, it.want, it.tenant, it.id)
		} else {
			k.expect(ctx, e, s, it.want, it.tenant, it.id)
		}
	}
}

func (k kind[S, R]) checkTenants(ctx context.Context, s S, e *env[S]) {
	mine := k.put(ctx, e, s, k.record("mine", "a"))
	foreign := k.versioned(k.record("other", "a"), 1)
	k.absent(ctx, e, s, foreign, "other", "a")
	for _, l := range k.lists {
		if got := k.all(ctx, e, s, l, "other"); len(got) != 0 {
			e.fail("%s of a tenant without any has %d records", l.name, len(got))
		}
	}
	if k.update != nil {
		e.is(k.update(ctx, s, foreign, base), store.ErrNotFound, "updating %s of another tenant", k.noun)
	}
	if k.remove != nil {
		e.ok(k.remove(ctx, s, "other", "a"), "deleting %s of another tenant", k.noun)
	}
	k.expect(ctx, e, s, mine, "mine", "a")
	k.absent(ctx, e, s, foreign, "other", "a")

	// Everything but the tenant is the same, unique values too.
	foreign = k.put(ctx, e, s, foreign)
	k.expect(ctx, e, s, mine, "mine", "a")
	k.expect(ctx, e, s, foreign, "other", "a")
	if k.update != nil {
		changed := k.versioned(k.changed("other", "a"), 1)
		e.ok(k.update(ctx, s, changed, base), "updating %s", k.noun)
		k.expect(ctx, e, s, mine, "mine", "a")
		k.expect(ctx, e, s, k.updated(foreign, changed, 2), "other", "a")
	}
	if k.remove != nil {
		e.ok(k.remove(ctx, s, "other", "a"), "deleting %s", k.noun)
		k.expect(ctx, e, s, mine, "mine", "a")
		k.absent(ctx, e, s, foreign, "other", "a")
	}
}
