-- Identifiers are compared bytewise (COLLATE "C"), whatever the database's locale.
-- Times are microseconds since 1970-01-01T00:00:00Z; NULL stands for the zero
-- time where a record may have one. Digests are 64 hexadecimal digits. Columns
-- hold what is queried, unique or changed atomically; "record" is the rest, as
-- JSON. Raw JSON of the record has a column of its own, because its bytes are
-- kept as they came; it is not of type jsonb, which would change them. Nothing
-- here is a bearer value.

CREATE TABLE {prefix}tenants (
	id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	version BIGINT           NOT NULL,
	record  TEXT             NOT NULL
);

CREATE TABLE {prefix}connections (
	tenant_id TEXT COLLATE "C" NOT NULL,
	id        TEXT COLLATE "C" NOT NULL,
	name      TEXT COLLATE "C" NOT NULL,
	version   BIGINT           NOT NULL,
	options   BYTEA,
	record    TEXT             NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, name)
);

CREATE TABLE {prefix}clients (
	tenant_id     TEXT COLLATE "C" NOT NULL,
	id            TEXT COLLATE "C" NOT NULL,
	security_mode TEXT COLLATE "C" NOT NULL,
	dynamic       BIGINT           NOT NULL,
	created_at    BIGINT           NOT NULL,
	version       BIGINT           NOT NULL,
	jwks          BYTEA,
	record        TEXT             NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

CREATE TABLE {prefix}apis (
	tenant_id TEXT COLLATE "C" NOT NULL,
	id        TEXT COLLATE "C" NOT NULL,
	audience  TEXT COLLATE "C" NOT NULL,
	version   BIGINT           NOT NULL,
	record    TEXT             NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, audience)
);

CREATE TABLE {prefix}client_grants (
	tenant_id    TEXT COLLATE "C" NOT NULL,
	id           TEXT COLLATE "C" NOT NULL,
	client_id    TEXT COLLATE "C" NOT NULL,
	audience     TEXT COLLATE "C" NOT NULL,
	subject_type TEXT COLLATE "C" NOT NULL,
	version      BIGINT           NOT NULL,
	record       TEXT             NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, client_id, audience, subject_type)
);

CREATE TABLE {prefix}signing_keys (
	tenant_id  TEXT COLLATE "C" NOT NULL,
	id         TEXT COLLATE "C" NOT NULL,
	algorithm  TEXT COLLATE "C" NOT NULL,
	generation BIGINT           NOT NULL,
	version    BIGINT           NOT NULL,
	public     BYTEA,
	private    BYTEA,
	record     TEXT             NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, algorithm, generation)
);

CREATE TABLE {prefix}users (
	tenant_id     TEXT COLLATE "C" NOT NULL,
	id            TEXT COLLATE "C" NOT NULL,
	connection_id TEXT COLLATE "C" NOT NULL,
	version       BIGINT           NOT NULL,
	app_metadata  BYTEA,
	user_metadata BYTEA,
	record        TEXT             NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

CREATE INDEX {name}users_by_connection
	ON {prefix}users (tenant_id, connection_id, id);

-- One row for each name that a user can sign in with, so that no user's username
-- equals another's email.
CREATE TABLE {prefix}user_logins (
	tenant_id     TEXT COLLATE "C" NOT NULL,
	connection_id TEXT COLLATE "C" NOT NULL,
	login         TEXT COLLATE "C" NOT NULL,
	user_id       TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant_id, connection_id, login)
);

CREATE INDEX {name}user_logins_by_user
	ON {prefix}user_logins (tenant_id, user_id);

CREATE TABLE {prefix}sessions (
	tenant_id        TEXT COLLATE "C" NOT NULL,
	id               TEXT COLLATE "C" NOT NULL,
	sid              TEXT COLLATE "C" NOT NULL,
	user_id          TEXT COLLATE "C" NOT NULL,
	connection_id    TEXT COLLATE "C" NOT NULL,
	amr              TEXT             NOT NULL,
	acr              TEXT             NOT NULL,
	client_ids       TEXT             NOT NULL,
	version          BIGINT           NOT NULL,
	authenticated_at BIGINT           NOT NULL,
	created_at       BIGINT           NOT NULL,
	expires_at       BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

CREATE INDEX {name}sessions_by_user
	ON {prefix}sessions (tenant_id, user_id, id);

CREATE INDEX {name}sessions_by_expiry
	ON {prefix}sessions (expires_at ASC);

CREATE TABLE {prefix}grants (
	tenant_id     TEXT COLLATE "C" NOT NULL,
	id            TEXT COLLATE "C" NOT NULL,
	user_id       TEXT COLLATE "C" NOT NULL,
	client_id     TEXT COLLATE "C" NOT NULL,
	audience      TEXT COLLATE "C" NOT NULL,
	scopes        TEXT             NOT NULL,
	connection_id TEXT COLLATE "C" NOT NULL,
	version       BIGINT           NOT NULL,
	created_at    BIGINT           NOT NULL,
	updated_at    BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE (tenant_id, user_id, client_id, audience)
);

CREATE INDEX {name}grants_by_user
	ON {prefix}grants (tenant_id, user_id, id);

CREATE INDEX {name}grants_by_client
	ON {prefix}grants (tenant_id, client_id, id);

CREATE TABLE {prefix}families (
	tenant_id  TEXT COLLATE "C" NOT NULL,
	id         TEXT COLLATE "C" NOT NULL,
	grant_id   TEXT COLLATE "C" NOT NULL,
	user_id    TEXT COLLATE "C" NOT NULL,
	client_id  TEXT COLLATE "C" NOT NULL,
	sid        TEXT COLLATE "C" NOT NULL,
	generation BIGINT           NOT NULL,
	created_at BIGINT           NOT NULL,
	rotated_at BIGINT,
	revoked_at BIGINT,
	expires_at BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

CREATE INDEX {name}families_by_grant
	ON {prefix}families (tenant_id, grant_id);

CREATE INDEX {name}families_by_session
	ON {prefix}families (tenant_id, sid) WHERE sid <> '';

CREATE INDEX {name}families_by_user
	ON {prefix}families (tenant_id, user_id);

CREATE INDEX {name}families_by_client
	ON {prefix}families (tenant_id, client_id);

CREATE INDEX {name}families_by_expiry
	ON {prefix}families (expires_at ASC);

CREATE TABLE {prefix}tickets (
	tenant_id   TEXT COLLATE "C" NOT NULL,
	kind        TEXT COLLATE "C" NOT NULL,
	id          TEXT COLLATE "C" NOT NULL,
	data        BYTEA,
	version     BIGINT           NOT NULL,
	created_at  BIGINT           NOT NULL,
	consumed_at BIGINT,
	expires_at  BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, kind, id)
);

CREATE INDEX {name}tickets_by_expiry
	ON {prefix}tickets (expires_at ASC);
