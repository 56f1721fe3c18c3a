package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/bcrypt"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/redisstore"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/postgres"
)

//go:embed library.sql
var librarySchema string

// places say where things are kept.
type places struct {
	// dir has the library's database, and opkit's own unless postgres names another.
	dir string
	// postgres is a connection string, redis the options of a client. Empty and nil:
	// everything of opkit's is in SQLite.
	postgres string
	redis    *redis.Options
}

// openLibrary opens the library's database.
func openLibrary(path string) (*sql.DB, error) {
	db, read, err := sqltest.OpenSQLite(path)
	if err != nil {
		return nil, err
	}
	// One connection is enough for the example.
	if _, err := db.Exec(librarySchema); err != nil {
		return nil, errors.Join(err, read.Close(), db.Close())
	}
	return db, read.Close()
}

// addMember is how the library enrols somebody. Empty is NULL, which is unique as often
// as one likes.
func addMember(ctx context.Context, db *sql.DB, branch string, u store.User, hash string) error {
	orNull := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	_, err := db.ExecContext(ctx, `INSERT INTO members (branch, card, full_name, handle, mail, mail_seen, suspended, password, joined)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		branch, u.ID, u.Profile.Name, orNull(u.Username), orNull(u.Email), u.EmailVerified, u.Blocked, hash, u.CreatedAt.Unix())
	return err
}

// bcryptPassword is how the library's passwords are checked, see
// [opkit.PasswordConfig]. They stay as they are: there is no store.UserAdmin.
func bcryptPassword(_ context.Context, hash, password string) (bool, error) {
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) || errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return false, nil
	}
	return err == nil, err
}

// membersConnection is the connection whose users are the members.
const membersConnection = "con_members"

// openStores puts everything together: users and clients in the library's tables,
// tickets and sessions in Redis, the rest in a database of opkit's own.
func openStores(ctx context.Context, at places) (stores store.Stores, library *sql.DB, closeAll func() error, err error) {
	var closers []io.Closer
	closeAll = func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i].Close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()

	library, err = openLibrary(filepath.Join(at.dir, "library.db"))
	if err != nil {
		return stores, nil, closeAll, err
	}
	closers = append(closers, library)

	cfg := sqlstore.Config{Dialect: sqlstore.SQLite}
	if at.postgres != "" {
		cfg.Dialect = sqlstore.PostgreSQL
		cfg.Write, err = postgres.Open(at.postgres, 8)
	} else {
		cfg.Write, cfg.Read, err = sqltest.OpenSQLite(filepath.Join(at.dir, "opkit.db"))
	}
	if err != nil {
		return stores, nil, closeAll, err
	}
	closers = append(closers, cfg.Write)
	if cfg.Read != nil {
		closers = append(closers, cfg.Read)
	}
	own, err := sqlstore.New(cfg)
	if err != nil {
		return stores, nil, closeAll, err
	}
	closers = append(closers, own)
	if err := own.Migrate(ctx); err != nil {
		return stores, nil, closeAll, err
	}

	stores = own.Stores()
	stores.Users = &members{db: library, connection: membersConnection}
	stores.UserAdmin = nil // members are enrolled at the desk
	stores.Clients = partners{library}
	stores.ClientSweeper = nil // partners stay until the library deletes them
	if at.redis != nil {
		client := redis.NewClient(at.redis)
		closers = append(closers, client)
		s, err := redisstore.New(redisstore.Config{Client: client})
		if err != nil {
			return stores, nil, closeAll, err
		}
		if err := s.Check(ctx); err != nil {
			return stores, nil, closeAll, err
		}
		stores.Tickets, stores.Sessions = s, s
	}
	return stores, library, closeAll, nil
}

// ada is a member for trying it out.
func ada(now time.Time) store.User {
	return store.User{
		ID: "card-1815", Username: "Ada", Email: "Ada@example.com", EmailVerified: true,
		Profile: store.Profile{Name: "Ada Lovelace"}, CreatedAt: now,
	}
}
