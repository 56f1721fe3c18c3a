package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// ListedFamilies is what [RunFamilyLister] checks: families, and what lists them.
type ListedFamilies interface {
	store.GrantFamilyStore
	store.FamilyLister
}

// RunFamilyLister checks a [store.FamilyLister] together with the
// [store.GrantFamilyStore] whose families it lists.
func RunFamilyLister(t *testing.T, newStore func(t *testing.T) ListedFamilies, opts *Options[ListedFamilies]) {
	runAll(t, familyListerChecks(), newStore, opts)
}

type listerEnv = env[ListedFamilies]

func familyListerChecks() []check[ListedFamilies] {
	return []check[ListedFamilies]{
		{
			name: "user", rule: ruleMethod,
			explanation: "UserFamilies lists the families of one user, compared exactly, every field as it is stored, also after a rotation.",
			run:         checkFamiliesOfUser,
		},
		{
			name: "tenants", rule: ruleTenants,
			explanation: "A user of the same name in another tenant has other families.",
			run: func(ctx context.Context, s ListedFamilies, e *listerEnv) {
				mine, theirs := putFamily(ctx, e, s, "t", "a", "user"), putFamily(ctx, e, s, "T", "a", "user")
				e.same([]store.Family{mine}, familiesOf(ctx, e, s, "t", "user", base), "the families in one tenant")
				e.same([]store.Family{theirs}, familiesOf(ctx, e, s, "T", "user", base), "the families in another tenant")
			},
		},
		{
			name: "dead", rule: ruleExpired,
			explanation: "What was revoked, alone, with others or with its grant, and what has expired, is not listed.",
			run:         checkDeadFamilies,
		},
		{
			name: "lister-pages", rule: ruleLists,
			explanation: "Pages of any size, in bytewise order, bring every family once, while others are revoked.",
			run:         checkFamilyPages,
		},
		{
			name: "lister-copies", rule: ruleCopies,
			explanation: "What a caller does to a family from UserFamilies changes nothing.",
			run: func(ctx context.Context, s ListedFamilies, e *listerEnv) {
				want := []store.Family{putFamily(ctx, e, s, "t", "a", "user")}
				got := familiesOf(ctx, e, s, "t", "user", base)
				e.same(want, got, "UserFamilies")
				scribble(&got)
				e.same(want, familiesOf(ctx, e, s, "t", "user", base), "UserFamilies after its result was changed")
			},
		},
		{
			name: "lister-cancelled", rule: ruleContext,
			explanation: "Called with a context that is cancelled, UserFamilies returns the context's error.",
			run: func(ctx context.Context, s ListedFamilies, e *listerEnv) {
				f := putFamily(ctx, e, s, "t", "a", "user")
				cancelled, cancel := context.WithCancel(ctx)
				cancel()
				for _, call := range familyListerCalls(s, f) {
					if err := call.do(cancelled); !errors.Is(err, context.Canceled) {
						e.fail("%s: error is %v, want %v", call.method, err, cancelled.Err())
					}
				}
			},
		},
		{
			name: "lister-second-handle", rule: ruleHandles, needs: secondHandle,
			explanation: "What is started, rotated and revoked through one handle is so in the list of the other at once.",
			run:         checkFamiliesSecondHandle,
		},
	}
}

func familyListerCalls(s store.FamilyLister, f store.Family) []call {
	return []call{{"UserFamilies", func(ctx context.Context) error {
		_, err := s.UserFamilies(ctx, f.TenantID, f.UserID, store.Page{}, base)
		return err
	}}}
}

func putFamily(ctx context.Context, e *listerEnv, s ListedFamilies, tenant, id, user string) store.Family {
	f := families.record(tenant, id)
	f.UserID, f.ExpiresAt = user, base.AddDate(0, 1, 0)
	e.ok(families.create(ctx, s, f, base), "starting family %q", id)
	return f
}

func familiesOf(ctx context.Context, e *listerEnv, s store.FamilyLister, tenant, user string, now time.Time) []store.Family {
	got, err := s.UserFamilies(ctx, tenant, user, store.Page{}, now)
	e.ok(err, "UserFamilies of %q", user)
	return got
}

func checkFamiliesOfUser(ctx context.Context, s ListedFamilies, e *listerEnv) {
	want := make(map[string][]store.Family)
	for i, user := range append(slices.Clone(lookalikes), lookalikes...) {
		want[user] = append(want[user], putFamily(ctx, e, s, "t", fmt.Sprintf("%03d", i), user))
	}
	online := families.record("t", "online")
	online.Offline, online.UserID = false, "online"
	e.ok(families.create(ctx, s, online, base), "starting a family without refresh tokens")
	want["online"] = []store.Family{online}
	rotated, err := s.RotateFamily(ctx, "t", "000", 0, base.AddDate(0, 2, 0), base)
	e.ok(err, "RotateFamily")
	want[lookalikes[0]][0] = rotated
	for user, families := range want {
		e.same(families, familiesOf(ctx, e, s, "t", user, base), "UserFamilies of %q", user)
	}
	for _, user := range []string{"", "nobody", "%"} {
		if _, known := want[user]; !known {
			e.same([]store.Family(nil), familiesOf(ctx, e, s, "t", user, base), "UserFamilies of %q", user)
		}
	}
}

func checkDeadFamilies(ctx context.Context, s ListedFamilies, e *listerEnv) {
	var all []store.Family
	for i := range 4 {
		all = append(all, putFamily(ctx, e, s, "t", fmt.Sprint(i), "user"))
	}
	far := base.AddDate(1, 0, 0)
	e.ok(s.RevokeFamily(ctx, "t", "0", far, base), "RevokeFamily")
	e.same(all[1:], familiesOf(ctx, e, s, "t", "user", base), "UserFamilies after one was revoked")
	e.same(all[1:], familiesOf(ctx, e, s, "t", "user", all[1].ExpiresAt.Add(-time.Microsecond)), "UserFamilies just before they expire")
	e.same([]store.Family(nil), familiesOf(ctx, e, s, "t", "user", all[1].ExpiresAt), "UserFamilies when they expire")
	_, err := s.RevokeFamilies(ctx, "t", store.FamilyFilter{SID: all[2].SID}, far, base)
	e.ok(err, "RevokeFamilies")
	e.same([]store.Family(nil), familiesOf(ctx, e, s, "t", "user", base), "UserFamilies after all of their session were revoked")
	putFamily(ctx, e, s, "t", "more", "user")
	e.ok(s.DeleteGrant(ctx, "t", all[0].GrantID), "DeleteGrant")
	e.same([]store.Family(nil), familiesOf(ctx, e, s, "t", "user", base), "UserFamilies after their grant was revoked")
}

func checkFamilyPages(ctx context.Context, s ListedFamilies, e *listerEnv) {
	var want []store.Family
	for _, id := range scattered {
		want = append(want, putFamily(ctx, e, s, "t", id, "user"))
		putFamily(ctx, e, s, "t", id+"'s other", "other")
	}
	slices.SortFunc(want, func(a, b store.Family) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	for _, limit := range []int{1, 3, len(want), len(want) + 1, 0, -1, store.MaxPageLimit + 1} {
		var got []store.Family
		for page := (store.Page{Limit: limit}); ; {
			part, err := s.UserFamilies(ctx, "t", "user", page, base)
			e.ok(err, "UserFamilies")
			got = append(got, part...)
			if len(part) < page.Size() || len(got) > len(want) {
				break
			}
			page.After = part[len(part)-1].ID
		}
		e.same(want, got, "all pages of at most %d", limit)
	}
	var got []store.Family
	for page := (store.Page{Limit: 2}); ; {
		part, err := s.UserFamilies(ctx, "t", "user", page, base)
		e.ok(err, "UserFamilies")
		if len(part) == 0 {
			break
		}
		got = append(got, part...)
		page.After = part[len(part)-1].ID
		for _, f := range part {
			e.ok(s.RevokeFamily(ctx, "t", f.ID, base.AddDate(1, 0, 0), base), "RevokeFamily")
		}
	}
	e.same(want, got, "all pages while those that were seen are revoked")
}

func checkFamiliesSecondHandle(ctx context.Context, _ ListedFamilies, e *listerEnv) {
	for i := range 2 {
		writer, reader := e.handles[i], e.handles[1-i]
		user := fmt.Sprint("user ", i)
		f := putFamily(ctx, e, writer, "t", fmt.Sprint(i), user)
		e.same([]store.Family{f}, familiesOf(ctx, e, reader, "t", user, base), "UserFamilies through the other handle")
		next, err := writer.RotateFamily(ctx, "t", f.ID, 0, base.AddDate(0, 2, 0), base)
		e.ok(err, "RotateFamily")
		e.same([]store.Family{next}, familiesOf(ctx, e, reader, "t", user, base), "UserFamilies after a rotation through the other handle")
		e.ok(writer.RevokeFamily(ctx, "t", f.ID, base.AddDate(1, 0, 0), base), "RevokeFamily")
		e.same([]store.Family(nil), familiesOf(ctx, e, reader, "t", user, base), "UserFamilies after a revocation through the other handle")
	}
}
