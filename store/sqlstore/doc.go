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
// The file holds password hashes and sealed keys. Create it with mode 0600, in a
// directory that nobody else can write to; SQLite gives its -wal and -shm files
// the same mode. Copy a database in use with VACUUM INTO or SQLite's backup, not
// with cp.
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
// busy timeout included, is a system error.
//
// Times are kept as microseconds. Records that carry little beside what is
// queried are columns throughout; the others have their rarely used members in
// one JSON column. Strings in it are Unicode: bytes that are not UTF-8 become
// U+FFFD there. Identifiers and every other value that is compared are columns
// and keep their bytes.
//
// # Other databases
//
// A dialect is a directory of migrations and a few words (see dialect.go). The
// statements use what SQLite and PostgreSQL have in common.
package sqlstore
