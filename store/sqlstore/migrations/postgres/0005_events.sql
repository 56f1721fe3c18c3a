-- The log of decisions. Lists are by id, which begins with the time; counting reads
-- nothing but the index by type; a log that is too long is cut by "quota".

CREATE TABLE {prefix}events (
	tenant_id  TEXT COLLATE "C" NOT NULL,
	id         TEXT COLLATE "C" NOT NULL,
	type       TEXT COLLATE "C" NOT NULL,
	outcome    TEXT COLLATE "C" NOT NULL,
	client_id  TEXT COLLATE "C" NOT NULL,
	user_id    TEXT COLLATE "C" NOT NULL,
	quota      TEXT COLLATE "C" NOT NULL,
	time       BIGINT           NOT NULL,
	expires_at BIGINT           NOT NULL,
	record     TEXT             NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

CREATE INDEX {name}events_by_user
	ON {prefix}events (tenant_id, user_id, id) WHERE user_id <> '';

CREATE INDEX {name}events_by_client
	ON {prefix}events (tenant_id, client_id, id) WHERE client_id <> '';

CREATE INDEX {name}events_by_type
	ON {prefix}events (tenant_id, type, id, outcome, expires_at);

CREATE INDEX {name}events_by_quota
	ON {prefix}events (tenant_id, quota, id);

CREATE INDEX {name}events_by_expiry
	ON {prefix}events (expires_at);
