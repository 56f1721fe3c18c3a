package sqltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "opkit")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	write, read, err := OpenSQLite(filepath.Join(dir, "opkit.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer write.Close()
	defer read.Close()
	s, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.SQLite, Write: write, Read: read})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(ctx); err != nil {
		log.Fatal(err)
	}

	clients := s.Stores().Clients
	if err := clients.CreateClient(ctx, store.Client{TenantID: "default", ID: "app", Name: "An application"}); err != nil {
		log.Fatal(err)
	}
	c, err := clients.Client(ctx, "default", "app")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Name, c.Version)
	// Output: An application 1
}

func TestTheFileBelongsToItsOwner(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not run: permissions are not mode bits on Windows")
	}
	path := filepath.Join(t.TempDir(), "opkit.db")
	open(t, path)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Error(err)
		} else if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("opkit.db%s has mode %o, want 600", suffix, mode)
		}
	}
}

func TestAnyPathIsOpened(t *testing.T) {
	for _, name := range []string{"a b.db", "a%20b.db", "a?mode=memory.db", "a#b.db", "a&b=c+d.db", "é.db", "file:x.db"} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && name != "a b.db" {
				t.Skip("not run: not a file name on Windows")
			}
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := open(t, path).close(); err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != 1 || files[0].Name() != name {
				t.Errorf("files are %v (%v), want %q alone", files, err, name)
			}
		})
	}
}

func TestADirectoryThatIsAbsentIsAnError(t *testing.T) {
	if _, _, err := OpenSQLite(filepath.Join(t.TempDir(), "absent", "opkit.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v, want one that is os.ErrNotExist", err)
	}
}

// Requests find their statements prepared.
func TestNothingIsPreparedAfterMigrate(t *testing.T) {
	s, rec, _ := openRecorded(t)
	before := rec.statements()
	for query, n := range before {
		if n != 1 {
			t.Errorf("prepared %d times: %s", n, query)
		}
	}
	stores, ctx := s.Stores(), t.Context()
	for i := range 20 {
		id := fmt.Sprint(i)
		if err := stores.Clients.CreateClient(ctx, store.Client{TenantID: "t", ID: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := stores.Clients.Client(ctx, "t", id); err != nil {
			t.Fatal(err)
		}
		if err := stores.UserAdmin.CreateUser(ctx, store.User{TenantID: "t", ID: id, Username: id}); err != nil {
			t.Fatal(err)
		}
		if err := startFamily(ctx, stores, id); err != nil {
			t.Fatal(err)
		}
		if _, err := stores.Grants.RotateFamily(ctx, "t", id, 0, raceLater, raceNow); err != nil {
			t.Fatal(err)
		}
		if err := stores.Grants.DeleteGrant(ctx, "t", id); err != nil {
			t.Fatal(err)
		}
	}
	// A driver may prepare BEGIN and COMMIT; those are not the store's.
	if after := rec.statements(); !maps.Equal(before, after) {
		t.Errorf("%d statements were prepared for Migrate, %d later", len(before), len(after))
	}
}

// Rule 1 while a call waits for the one connection that writes.
func TestACallThatWaitsForTheWriterIsCancelled(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "opkit.db"))
	conn, err := h.write.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		result <- h.store.Stores().Clients.CreateClient(ctx, store.Client{TenantID: "t", ID: "a"})
	}()
	for h.write.Stats().WaitCount == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Stores().Clients.Client(t.Context(), "t", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("reading: %v, want ErrNotFound", err)
	}
}

// A file that another process keeps locked for longer than the busy timeout is
// no answer about the record.
func TestALockedFileIsASystemError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "opkit.db")
	other := open(t, path)
	if err := other.store.Stores().Tickets.PutTicket(t.Context(), store.Ticket{TenantID: "t", ExpiresAt: raceLater}, raceNow); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, sqlstore.Config{Write: openRaw(t, path, "_journal_mode=WAL&_synchronous=FULL&_busy_timeout=1")})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := other.write.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	consume := func() error {
		_, err := s.Stores().Tickets.ConsumeTicket(t.Context(), "t", "", store.Digest{}, raceNow)
		return err
	}
	create := func() error {
		return s.Stores().UserAdmin.CreateUser(t.Context(), store.User{TenantID: "t", ID: "a"})
	}
	for _, call := range []func() error{consume, create} {
		err := call()
		if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) ||
			errors.Is(err, store.ErrConsumed) || errors.Is(err, store.ErrConflict) {
			t.Errorf("error is %v, want a system error", err)
		}
	}
	if _, err := s.Stores().Tickets.Ticket(t.Context(), "t", "", store.Digest{}, raceNow); err != nil {
		t.Errorf("reading while another process writes: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	for _, call := range []func() error{consume, create} {
		if err := call(); err != nil {
			t.Errorf("after the lock was released: %v", err)
		}
	}
}

// A grant that somebody removed from the table by hand takes its families with
// it, too: their tokens do not outlive it.
func TestAFamilyWithoutItsGrantIsDead(t *testing.T) { onEngines(t, testOrphan) }

func testOrphan(t *testing.T, place string) {
	h := open(t, place)
	stores, ctx := h.store.Stores(), t.Context()
	if err := startFamily(ctx, stores, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.write.ExecContext(ctx, "DELETE FROM opkit_grants"); err != nil {
		t.Fatal(err)
	}
	if _, err := stores.Grants.RotateFamily(ctx, "t", "a", 0, raceLater, raceNow); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("RotateFamily: %v, want ErrNotFound", err)
	}
	if _, err := stores.Grants.Grant(ctx, "t", "a", "a", raceNow); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Grant: %v, want ErrNotFound", err)
	}
}

// The kit compares JSON by value. Here its bytes are kept, whatever they are.
func TestRawJSONKeepsItsBytes(t *testing.T) { onEngines(t, testRawJSON) }

func testRawJSON(t *testing.T, place string) {
	stores, ctx := open(t, place).store.Stores(), t.Context()
	for i, raw := range []string{"", "{}", " { \"b\" : 1,\n\"a\":\"<&>\", \"a\":2 } ", "null", "1e400", "\x00\xff not JSON", `"\u003c"`} {
		raw, id := json.RawMessage(raw), fmt.Sprint(i)
		connection := store.Connection{TenantID: "t", ID: id, Name: id, Options: raw}
		client := store.Client{TenantID: "t", ID: id, Metadata: &store.ClientMetadata{JWKS: raw}}
		user := store.User{TenantID: "t", ID: id, AppMetadata: raw, UserMetadata: raw}
		key := store.SigningKey{TenantID: id, ID: id, Public: raw, Private: store.Sealed(raw)}
		if err := errors.Join(
			stores.Connections.CreateConnection(ctx, connection),
			stores.Clients.CreateClient(ctx, client),
			stores.UserAdmin.CreateUser(ctx, user),
			stores.SigningKeys.CreateSigningKey(ctx, key),
		); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		gotConnection, err1 := stores.Connections.Connection(ctx, "t", id)
		gotClient, err2 := stores.Clients.Client(ctx, "t", id)
		gotUser, err3 := stores.Users.User(ctx, "t", id)
		gotKeys, err4 := stores.SigningKeys.SigningKeys(ctx, id)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		for name, got := range map[string][]byte{
			"Connection.Options":   gotConnection.Options,
			"Client.Metadata.JWKS": gotClient.Metadata.JWKS,
			"User.AppMetadata":     gotUser.AppMetadata,
			"User.UserMetadata":    gotUser.UserMetadata,
			"SigningKey.Public":    gotKeys[0].Public,
			"SigningKey.Private":   gotKeys[0].Private,
		} {
			if !bytes.Equal(got, raw) {
				t.Errorf("%s: %q was stored, %q was read", name, raw, got)
			}
		}
	}
}
