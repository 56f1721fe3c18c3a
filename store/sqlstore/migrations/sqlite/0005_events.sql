-- The log of decisions. Lists are by id, which begins with the time; counting reads
-- nothing but the index by type; a log that is too long is cut by "quota".

CREATE TABLE {prefix}events (
	tenant_id  TEXT    NOT NULL,
	id         TEXT    NOT NULL,
	type       TEXT    NOT NULL,
	outcome    TEXT    NOT NULL,
	client_id  TEXT    NOT NULL,
	user_id    TEXT    NOT NULL,
	quota      TEXT    NOT NULL,
	time       INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	record     TEXT    NOT NULL,
	PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX {prefix}events_by_user
	ON {prefix}events (tenant_id, user_id, id) WHERE user_id <> '';

CREATE INDEX {prefix}events_by_client
	ON {prefix}events (tenant_id, client_id, id) WHERE client_id <> '';

CREATE INDEX {prefix}events_by_type
	ON {prefix}events (tenant_id, type, id, outcome, expires_at);

CREATE INDEX {prefix}events_by_quota
	ON {prefix}events (tenant_id, quota, id);

CREATE INDEX {prefix}events_by_expiry
	ON {prefix}events (expires_at);
