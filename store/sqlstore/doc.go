// Package sqlstore keeps the records of package store in a SQL database. It
// works through database/sql and imports no driver: the host chooses one.
//
//	write, err := sql.Open("sqlite", dsn)
//	...
//	s, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.SQLite, Write: write, Read: read})
//	...
//	if err := s.Migrate(ctx); err != nil {
//		...
//	}
//	provider, err := opkit.New(opkit.Config{Stores: s.Stores(), ...})
//
// # SQLite
//
// One file serves one machine; any number of processes on it may share the file
// (not over a network file system). SQLite has one writer at a time, so the host
// opens two pools on the file:
//
//   - Write, with db.SetMaxOpenConns(1). Writers then queue in order of arrival
//     inside the process, and are cancelled while they wait. With more
//     connections the queue is SQLite's: it polls, and it is not fair.
//   - Read, with a few connections (two for each processor), all of which stay
//     open: db.SetMaxOpenConns(n), db.SetMaxIdleConns(n). A connection that is
//     closed loses its prepared statements. Readers see the last commit and wait
//     for nobody.
//
// Settings of SQLite belong to a connection, so they have to be in the data
// source name. With modernc.org/sqlite:
//
//	file:/var/lib/app/opkit.db?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000&_txlock=immediate
//	file:/var/lib/app/opkit.db?_busy_timeout=5000&_query_only=1
//
// Package sqltest has a function that opens both. Migrate refuses pools without
// these settings, as far as it can see:
//
//   - journal_mode=WAL: readers do not block the writer, nor the writer readers.
//     A new file is switched to WAL by its first connection. If several processes
//     do that at once SQLite may answer SQLITE_BUSY in spite of the busy timeout;
//     try again.
//   - synchronous=FULL: a write is on disk before its call returns. NORMAL loses
//     nothing when a process is killed, but when the machine loses power it can
//     forget the last commits. Here that is more than lost work: a revoked grant
//     comes back, a spent code can be spent again. See
//     Config.InsecureSynchronousNormal.
//   - busy_timeout: how long a writer waits for another process.
//   - BEGIN IMMEDIATE (_txlock=immediate) cannot be seen. It makes a transaction
//     wait at its beginning. Without it nothing breaks: every transaction here
//     begins with a write.
//
// With more than some ten thousand users add _pragma=cache_size(-32000) to both names.
// SQLite keeps 2 MB of pages for each connection. The upper levels of the indexes then
// have more, and the rest of them would be read again for every call. Memory is taken
// as pages are read.
//
// The file holds password hashes and sealed keys. Create it with mode 0600, in a
// directory that nobody else can write to; SQLite gives its -wal and -shm files
// the same mode. Copy a database in use with VACUUM INTO or SQLite's backup, not
// with cp.
//
// # PostgreSQL
//
// Any number of nodes share one database and behave as one. The dialect is made
// for PostgreSQL 12 or later and READ COMMITTED, its default:
//
//	db := stdlib.OpenDB(*config) // github.com/jackc/pgx/v5/stdlib
//	db.SetMaxOpenConns(n)
//	db.SetMaxIdleConns(n) // else database/sql keeps two and opens the rest anew
//	s, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.PostgreSQL, Write: db})
//
// No state is kept in a connection between two calls: no prepared statements of
// its own, no advisory locks, no SET. pgx prepares statements by itself, which
// PgBouncer in transaction mode allows from version 1.21 on
// (max_prepared_statements); with an older one, or without that setting, the
// connection string has to say default_query_exec_mode=exec. Migrate refuses a
// database that is not UTF-8, a standby, and synchronous_commit=off, as far as it
// can see.
//
// What each method does, and why READ COMMITTED is enough for it:
//
//   - Reads are one statement. So are Create and Put (INSERT ... ON CONFLICT),
//     the compare-and-swap updates (UPDATE ... WHERE version = $n), ConsumeTicket
//     and RotateFamily (UPDATE ... RETURNING), the revocations, and collection.
//     An UPDATE that waited for another one looks at its WHERE again, on the row
//     as the other one left it: of two that consume a ticket or rotate a family
//     the second changes nothing, reads what there is in a second statement and
//     is told that it lost.
//   - StartFamily is one statement that inserts the family only if the grant is
//     there, and locks the grant (FOR KEY SHARE) until it has committed.
//   - DeleteGrant is a transaction: it deletes the grant and then its families,
//     those included that StartFamily inserted while it waited for the grant.
//   - CreateUser, UpdateUser and DeleteUser are a transaction: the user's row
//     first, then the names to sign in with.
//   - UpdateConnection and UpdateSigningKey are one statement that looks whether a
//     unique value is free. If another node takes it in between, the unique index
//     stops the statement; it is run again and finds it taken.
//   - Collection locks the rows that it removes and passes over those that are
//     locked (FOR UPDATE SKIP LOCKED), so that nodes that collect at the same time
//     share the work and never remove what was just put again.
//   - RemoveClients is a transaction of one DELETE for each client.
//
// A statement outside of a transaction, or a transaction, that PostgreSQL ended
// because of another one (serialization_failure, deadlock_detected) is run again, at
// most 19 times, the first three at once and the others after a few milliseconds.
// READ COMMITTED knows only deadlocks, and they are rare: rows are locked in one order
// wherever there is one. A database whose default is REPEATABLE READ or SERIALIZABLE
// works as well. After a connection was
// lost nothing is run again, because nobody knows whether it happened.
//
// A text column holds neither bytes that are not UTF-8 nor zero bytes. An
// identifier with such bytes is not found; keeping one is a system error. What is
// indexed together (a tenant, a user, a client and an audience) may have about
// 2,600 bytes.
//
// Of what CockroachDB and YugabyteDB document as different, the dialect avoids
// advisory locks, LOCK TABLE, extensions, triggers, sequences, jsonb and
// generated columns. Neither is among the tests. On CockroachDB every text is
// compared bytewise anyway and COLLATE "C" has to go: take the text of
// [Migrations], and apply later versions statement by statement, because it does
// not fill a column in the transaction that adds it. YugabyteDB
// may run READ COMMITTED as snapshot isolation, which is stricter.
//
// # How the rules of package store are kept
//
// What is used once is decided by one statement: UPDATE ... WHERE consumed_at IS
// NULL RETURNING, or INSERT ... ON CONFLICT. Who changed a row won; who did not
// reads it and is told so. Three changes need more than one statement and are a
// transaction: a user with the names to sign in with (create, update, delete),
// and a grant that goes with its families. Clients that nobody uses are removed
// many in a transaction, to spare commits; each of them is decided by itself.
//
// There are no foreign keys. Which records refer to which is up to their
// providers (a deleted connection keeps its users, for one), and SQLite checks
// foreign keys only on connections that ask for it, so that security would
// depend on a setting.
//
// ErrExists comes from ON CONFLICT DO NOTHING and from conditions, never from
// the text of a driver's error. An error of the driver, SQLITE_BUSY after the
// busy timeout included, is a system error; of PostgreSQL's only the code
// (SQLSTATE) is looked at, to tell what may be run again.
//
// Times are kept as microseconds. Records that carry little beside what is
// queried are columns throughout; the others have their rarely used members in
// one JSON column. Strings in it are Unicode: bytes that are not UTF-8 become
// U+FFFD there. Identifiers and every other value that is compared are columns
// and keep their bytes.
//
// # Migrations
//
// Every dialect has the same steps, in its own words. [Store.Migrate] applies what
// is missing in one transaction, one node at a time; [Migrations] prints them for
// those who change schemas with another tool or account. There is no way back: an
// older program refuses a newer schema.
//
// # Other databases
//
// A dialect is a directory of migrations and a few words (see dialect.go). The
// statements use what SQLite and PostgreSQL have in common.
package sqlstore
