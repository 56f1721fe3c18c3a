package sealed

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/store/redisstore"
	"github.com/opkit/opkit/store/redisstore/redistest"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/postgres"
	"github.com/opkit/opkit/tenant"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// cells are all that a store keeps: every value of every record, by where it is.
type cells map[string][]byte

// Nothing that was handed out is kept, anywhere, at any time, or logged.
func TestNoStoreKeepsABearerValue(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (store.Stores, func(t *testing.T, w *world) cells){
		"memory": openMemory, "SQLite": openSQLite, "PostgreSQL": openPostgreSQL, "Redis beside memory": openRedis,
	} {
		t.Run(name, func(t *testing.T) {
			stores, dump := open(t)
			w := newWorld(t, stores)
			everything := cells{}
			looks := 0
			w.use(func(when string) {
				looks++
				for where, cell := range dump(t, w) {
					everything[when+", "+where] = cell
				}
			})
			if len(w.handed.values) < 20 || looks < 8 {
				t.Fatalf("only %d values were handed out, and %d looks taken", len(w.handed.values), looks)
			}
			everything["everything, the log"] = w.log.bytes()
			if !bytes.Contains(everything["everything, the log"], []byte("client registered")) {
				t.Errorf("the log: %s", everything["everything, the log"])
			}
			for value, what := range w.handed.values {
				for _, needle := range needles(value) {
					for where, cell := range everything {
						if bytes.Contains(cell, needle) {
							t.Errorf("after %s there is a %s", where, what)
						}
					}
				}
			}
			for what, control := range w.controls {
				found := false
				for _, cell := range everything {
					found = found || bytes.Contains(cell, control) || bytes.Contains(cell, []byte(hex.EncodeToString(control)))
				}
				if !found {
					t.Errorf("the %s is not found either: this test does not look where it should", what)
				}
			}
			t.Logf("%d values in %d cells", len(w.handed.values), len(everything))
		})
	}
}

// openMemory is the store in memory, through its interfaces. What they do not list is
// noted when it is written.
func openMemory(*testing.T) (store.Stores, func(t *testing.T, w *world) cells) {
	stores := memstore.New().Stores()
	noted := &notes{cells: cells{}}
	stores.Tickets = notedTickets{stores.Tickets, noted}
	stores.Grants = notedFamilies{stores.Grants, noted}
	return stores, func(t *testing.T, w *world) cells {
		all := listed(t, stores, w)
		noted.Lock()
		defer noted.Unlock()
		for where, cell := range noted.cells {
			all[where] = cell
		}
		return all
	}
}

type notes struct {
	sync.Mutex
	cells cells
	n     int
}

func (n *notes) add(what string, record any) {
	n.Lock()
	defer n.Unlock()
	n.n++
	flatten(n.cells, fmt.Sprint(what, " ", n.n), reflect.ValueOf(record))
}

type notedTickets struct {
	store.TicketStore
	notes *notes
}

func (s notedTickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.notes.add("ticket", t)
	return s.TicketStore.PutTicket(ctx, t, now)
}

func (s notedTickets) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.notes.add("ticket", t)
	return s.TicketStore.UpdateTicket(ctx, t, now)
}

type notedFamilies struct {
	store.GrantFamilyStore
	notes *notes
}

func (s notedFamilies) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	s.notes.add("family", f)
	return s.GrantFamilyStore.StartFamily(ctx, f, now)
}

// listed returns all that the interfaces list.
func listed(t *testing.T, stores store.Stores, w *world) cells {
	t.Helper()
	ctx, all := t.Context(), cells{}
	note := func(what string, records any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		flatten(all, what, reflect.ValueOf(records))
	}
	page := store.Page{}
	tenants, err := stores.Tenants.Tenants(ctx, page)
	note("tenants", tenants, err)
	connections, err := stores.Connections.Connections(ctx, tenant.DefaultID, page)
	note("connections", connections, err)
	clients, err := stores.Clients.Clients(ctx, tenant.DefaultID, page)
	note("clients", clients, err)
	apis, err := stores.APIs.APIs(ctx, tenant.DefaultID, page)
	note("APIs", apis, err)
	clientGrants, err := stores.ClientGrants.ClientGrants(ctx, tenant.DefaultID, page)
	note("client grants", clientGrants, err)
	keys, err := stores.SigningKeys.SigningKeys(ctx, tenant.DefaultID)
	note("signing keys", keys, err)
	users, err := stores.UserAdmin.Users(ctx, tenant.DefaultID, "", page)
	note("users", users, err)
	sessions, err := stores.Sessions.UserSessions(ctx, tenant.DefaultID, w.user.ID, page, time.Now())
	note("sessions", sessions, err)
	grants, err := stores.Grants.Grants(ctx, tenant.DefaultID, store.GrantFilter{}, page)
	note("grants", grants, err)
	return all
}

// flatten adds every text and every byte sequence inside v.
func flatten(all cells, where string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		all[where] = []byte(v.String())
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			all[where] = b
			return
		}
		for i := range v.Len() {
			flatten(all, fmt.Sprint(where, " ", i), v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			flatten(all, fmt.Sprint(where, " ", key), v.MapIndex(key))
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			flatten(all, where, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				flatten(all, where+" "+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
}

func openSQLite(t *testing.T) (store.Stores, func(t *testing.T, w *world) cells) {
	path := filepath.Join(t.TempDir(), "opkit.db")
	write, read, err := sqltest.OpenSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	stores := openSQL(t, sqlstore.Config{Dialect: sqlstore.SQLite, Write: write, Read: read})
	return stores, func(t *testing.T, _ *world) cells {
		all := tables(t, read, "SELECT name FROM sqlite_master WHERE type = 'table'", `"%s"`)
		// Also what was removed and is still on the disk.
		for _, suffix := range []string{"", "-wal"} {
			bytes, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			all["file"+suffix] = bytes
		}
		return all
	}
}

func openPostgreSQL(t *testing.T) (store.Stores, func(t *testing.T, w *world) cells) {
	pool, err := postgres.Open(pgtest.Start(t).Database(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	stores := openSQL(t, sqlstore.Config{Dialect: sqlstore.PostgreSQL, Write: pool})
	return stores, func(t *testing.T, _ *world) cells {
		return tables(t, pool, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", `public."%s"`)
	}
}

func openSQL(t *testing.T, cfg sqlstore.Config) store.Stores {
	t.Helper()
	s, err := sqlstore.New(cfg)
	if err == nil {
		err = s.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		if cfg.Read != nil {
			_ = cfg.Read.Close()
		}
		_ = cfg.Write.Close()
	})
	return s.Stores()
}

// tables returns every column of every row.
func tables(t *testing.T, db *sql.DB, names, from string) cells {
	t.Helper()
	all := cells{}
	for _, name := range column(t, db, names) {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+fmt.Sprintf(from, name))
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; rows.Next(); n++ {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				where := fmt.Sprintf("%s row %d %s", name, n, columns[i])
				switch v := (*v.(*any)).(type) {
				case []byte:
					all[where] = bytes.Clone(v)
				default:
					all[where] = fmt.Append(nil, v)
				}
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	if len(all) < 50 {
		t.Errorf("the database has %d cells", len(all))
	}
	return all
}

func column(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// openRedis keeps tickets and sessions in Redis. The rest is looked at in memory.
func openRedis(t *testing.T) (store.Stores, func(t *testing.T, w *world) cells) {
	client := redistest.New(t, "--save", "").Client(t)
	// A server that has just started does not believe that an assertion is new.
	s, err := redisstore.New(redisstore.Config{Client: client, InsecureKeepUnsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	stores, inMemory := openMemory(t)
	stores.Tickets, stores.Sessions = s, s
	return stores, func(t *testing.T, w *world) cells {
		all := inMemory(t, w)
		for where, cell := range redisKeys(t, client) {
			all["Redis "+where] = cell
		}
		return all
	}
}

func redisKeys(t *testing.T, client *redis.Client) cells {
	t.Helper()
	ctx, all := t.Context(), cells{}
	var values []string
	scan := client.Scan(ctx, 0, "*", 1000).Iterator()
	for scan.Next(ctx) {
		key := scan.Val()
		kind, err := client.Type(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case "string":
			values = []string{client.Get(ctx, key).Val()}
		case "hash":
			values = nil
			for field, value := range client.HGetAll(ctx, key).Val() {
				values = append(values, field, value)
			}
		case "zset":
			values = client.ZRange(ctx, key, 0, -1).Val()
		case "set":
			values = client.SMembers(ctx, key).Val()
		default:
			t.Fatalf("key %q is a %s", key, kind)
		}
		all["key "+key] = []byte(key + "\n" + strings.Join(values, "\n"))
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
