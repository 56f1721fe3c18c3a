-- Identifiers are compared bytewise (BINARY, SQLite's default collation).
-- Times are microseconds since 1970-01-01T00:00:00Z; NULL stands for the zero
-- time where a record may have one. Digests are 64 hexadecimal digits. Columns
-- hold what is queried, unique or changed atomically; "record" is the rest, as
-- JSON. Raw JSON of the record has a column of its own, because its bytes are
-- kept as they came. Nothing here is a bearer value.

CREATE TABLE {prefix}tenants (
	id      TEXT    NOT NULL PRIMARY KEY,
	version INTEGER NOT NULL,
	record  TEXT    NOT NULL
) STRICT;

CREATE TABLE {prefix}connections (
	tenant_id TEXT    NOT NULL,
	id        TEXT    NOT NULL,
	name      TEXT    NOT NULL,
	version   INTEGER NOT NULL,
	options   BLOB,
	record    TEXT    NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, name)
) STRICT;

CREATE TABLE {prefix}clients (
	tenant_id     TEXT    NOT NULL,
	id            TEXT    NOT NULL,
	security_mode TEXT    NOT NULL,
	dynamic       INTEGER NOT NULL,
	created_at    INTEGER NOT NULL,
	version       INTEGER NOT NULL,
	jwks          BLOB,
	record        TEXT    NOT NULL,
	PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE {prefix}apis (
	tenant_id TEXT    NOT NULL,
	id        TEXT    NOT NULL,
	audience  TEXT    NOT NULL,
	version   INTEGER NOT NULL,
	record    TEXT    NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, audience)
) STRICT;

CREATE TABLE {prefix}client_grants (
	tenant_id    TEXT    NOT NULL,
	id           TEXT    NOT NULL,
	client_id    TEXT    NOT NULL,
	audience     TEXT    NOT NULL,
	subject_type TEXT    NOT NULL,
	version      INTEGER NOT NULL,
	record       TEXT    NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, client_id, audience, subject_type)
) STRICT;

CREATE TABLE {prefix}signing_keys (
	tenant_id  TEXT    NOT NULL,
	id         TEXT    NOT NULL,
	algorithm  TEXT    NOT NULL,
	generation INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	public     BLOB,
	private    BLOB,
	record     TEXT    NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, algorithm, generation)
) STRICT;

CREATE TABLE {prefix}users (
	tenant_id     TEXT    NOT NULL,
	id            TEXT    NOT NULL,
	connection_id TEXT    NOT NULL,
	version       INTEGER NOT NULL,
	app_metadata  BLOB,
	user_metadata BLOB,
	record        TEXT    NOT NULL,
	PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX {prefix}users_by_connection
	ON {prefix}users (tenant_id, connection_id, id);

-- One row for each name that a user can sign in with, so that no user's username
-- equals another's email.
CREATE TABLE {prefix}user_logins (
	tenant_id     TEXT NOT NULL,
	connection_id TEXT NOT NULL,
	login         TEXT NOT NULL,
	user_id       TEXT NOT NULL,
	PRIMARY KEY (tenant_id, connection_id, login)
) STRICT, WITHOUT ROWID;

CREATE INDEX {prefix}user_logins_by_user
	ON {prefix}user_logins (tenant_id, user_id);

CREATE TABLE {prefix}sessions (
	tenant_id        TEXT    NOT NULL,
	id               TEXT    NOT NULL,
	sid              TEXT    NOT NULL,
	user_id          TEXT    NOT NULL,
	connection_id    TEXT    NOT NULL,
	amr              TEXT    NOT NULL,
	acr              TEXT    NOT NULL,
	client_ids       TEXT    NOT NULL,
	version          INTEGER NOT NULL,
	authenticated_at INTEGER NOT NULL,
	created_at       INTEGER NOT NULL,
	expires_at       INTEGER NOT NULL,
	PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX {prefix}sessions_by_user
	ON {prefix}sessions (tenant_id, user_id, id);

CREATE INDEX {prefix}sessions_by_expiry
	ON {prefix}sessions (expires_at);

CREATE TABLE {prefix}grants (
	tenant_id     TEXT    NOT NULL,
	id            TEXT    NOT NULL,
	user_id       TEXT    NOT NULL,
	client_id     TEXT    NOT NULL,
	audience      TEXT    NOT NULL,
	scopes        TEXT    NOT NULL,
	connection_id TEXT    NOT NULL,
	version       INTEGER NOT NULL,
	created_at    INTEGER NOT NULL,
	updated_at    INTEGER NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, user_id, client_id, audience)
) STRICT;

CREATE INDEX {prefix}grants_by_user
	ON {prefix}grants (tenant_id, user_id, id);

CREATE INDEX {prefix}grants_by_client
	ON {prefix}grants (tenant_id, client_id, id);

CREATE TABLE {prefix}families (
	tenant_id  TEXT    NOT NULL,
	id         TEXT    NOT NULL,
	grant_id   TEXT    NOT NULL,
	user_id    TEXT    NOT NULL,
	client_id  TEXT    NOT NULL,
	sid        TEXT    NOT NULL,
	generation INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	rotated_at INTEGER,
	revoked_at INTEGER,
	expires_at INTEGER NOT NULL,
	PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX {prefix}families_by_grant
	ON {prefix}families (tenant_id, grant_id);

CREATE INDEX {prefix}families_by_session
	ON {prefix}families (tenant_id, sid) WHERE sid <> '';

CREATE INDEX {prefix}families_by_user
	ON {prefix}families (tenant_id, user_id);

CREATE INDEX {prefix}families_by_client
	ON {prefix}families (tenant_id, client_id);

CREATE INDEX {prefix}families_by_expiry
	ON {prefix}families (expires_at);

CREATE TABLE {prefix}tickets (
	tenant_id   TEXT    NOT NULL,
	kind        TEXT    NOT NULL,
	id          TEXT    NOT NULL,
	data        BLOB,
	version     INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	consumed_at INTEGER,
	expires_at  INTEGER NOT NULL,
	PRIMARY KEY (tenant_id, kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX {prefix}tickets_by_expiry
	ON {prefix}tickets (expires_at);
