package memstore

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// TestNothingIsLeftBehind does everything at once, removes all that is left, and
// looks for rows, list entries and claims that nobody can reach any more.
func TestNothingIsLeftBehind(t *testing.T) {
	s, ctx := New(), t.Context()
	now := time.Date(2031, time.May, 6, 7, 8, 9, 0, time.UTC)
	const workers, grants = 8, 50
	var running sync.WaitGroup
	for worker := range workers {
		running.Go(func() {
			for i := range grants {
				g := store.Grant{TenantID: "t", ID: fmt.Sprint(i), UserID: fmt.Sprint(i % 5), ClientID: fmt.Sprint(i)}
				_ = s.CreateGrant(ctx, g)
				f := store.Family{
					TenantID: "t", ID: fmt.Sprint(worker, i), GrantID: g.ID, UserID: g.UserID, ClientID: g.ClientID,
					SID: fmt.Sprint(i % 7), ExpiresAt: now.Add(time.Duration(i%3) * time.Hour),
				}
				_, _ = s.StartFamily(ctx, f, now)
				_, _ = s.RotateFamily(ctx, "t", f.ID, 0, now.Add(time.Duration(worker)*time.Hour), now)
				switch worker {
				case 1:
					_, _ = s.RevokeFamilies(ctx, "t", store.FamilyFilter{SID: f.SID}, now.Add(time.Hour), now)
				case 2:
					_ = s.DeleteGrant(ctx, "t", fmt.Sprint(grants-i))
				case 3:
					_, _ = s.CollectFamilies(ctx, now.Add(time.Hour), 3)
				}
				_ = s.CreateUser(ctx, store.User{TenantID: "t", ID: fmt.Sprint(worker, i), ConnectionID: "c", Username: fmt.Sprint(i)})
				_ = s.UpdateUser(ctx, store.User{TenantID: "t", ID: fmt.Sprint(worker, i), ConnectionID: "c", Email: fmt.Sprint(i), Version: 1})
			}
		})
	}
	running.Wait()

	checkTable(t, &s.grants)
	checkTable(t, &s.families)
	checkTable(t, &s.users)
	for i := range grants {
		_ = s.DeleteGrant(ctx, "t", fmt.Sprint(i))
		for worker := range workers {
			_ = s.DeleteUser(ctx, "t", fmt.Sprint(worker, i))
		}
	}
	for name, left := range map[string]int{
		"grants": checkTable(t, &s.grants), "families": checkTable(t, &s.families), "users": checkTable(t, &s.users),
		"keys of grants": len(s.grants.claims), "logins": len(s.users.claims),
	} {
		if left != 0 {
			t.Errorf("%d %s are left", left, name)
		}
	}
}

// checkTable demands that rows, lists and claims say the same, and returns the
// number of rows.
func checkTable[K comparable, V any](t *testing.T, table *table[K, V]) int {
	t.Helper()
	rows, claims := 0, 0
	for i := range table.stripes {
		s := &table.stripes[i]
		rows += len(s.rows)
		for k, r := range s.rows {
			if table.key(r.record) != k || table.stripe(k) != s {
				t.Errorf("the record of %v is in the wrong place", k)
			}
			if table.unique != nil {
				for _, c := range table.unique(r.record) {
					claims++
					if table.claims[c] != k {
						t.Errorf("%v holds %v without a claim", k, c)
					}
				}
			}
		}
		for l := range s.lists {
			list := &s.lists[l]
			entries := 0
			var last *entry[V]
			for _, chunk := range list.chunks {
				for j := range chunk {
					e := &chunk[j]
					entries++
					if s.rows[table.key(e.row.record)] != e.row {
						t.Errorf("list %d has a row that the table has not", l)
					}
					if e.position != list.order.position(e.row.record) {
						t.Errorf("list %d has a row in an old position", l)
					}
					if last != nil && (last.compare(e.position) > 0 || last.position == e.position && list.order.compare(last.row.record, e.row.record) >= 0) {
						t.Errorf("list %d is not in order", l)
					}
					last = e
				}
			}
			if entries != len(s.rows) {
				t.Errorf("list %d has %d entries for %d rows", l, entries, len(s.rows))
			}
		}
	}
	if claims != len(table.claims) {
		t.Errorf("there are %d claims, and records for %d", len(table.claims), claims)
	}
	return rows
}

// TestStoresIsComplete proves that a Store serves as all there is.
func TestStoresIsComplete(t *testing.T) {
	stores := New().Stores()
	if err := stores.Validate(); err != nil {
		t.Error(err)
	}
	if stores.UserAdmin == nil {
		t.Error("UserAdmin is nil")
	}
}
