-- By how long nobody used them, clients that registered themselves are found and
-- removed: since they were created, or since their last use once they are
-- confirmed.

ALTER TABLE {prefix}clients ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE {prefix}clients ADD COLUMN idle_since BIGINT NOT NULL DEFAULT 0;

UPDATE {prefix}clients SET idle_since = created_at;

-- Whole seconds will do: nobody counts microseconds of idleness.
UPDATE {prefix}clients SET confirmed = 1, idle_since = 1000000 * CAST(FLOOR(EXTRACT(EPOCH FROM
		CAST(COALESCE(CAST(record AS JSON) ->> 'last_used_at', CAST(record AS JSON) ->> 'confirmed_at') AS TIMESTAMPTZ))) AS BIGINT)
	WHERE CAST(record AS JSON) ->> 'confirmed_at' IS NOT NULL;

CREATE INDEX {name}clients_by_idleness
	ON {prefix}clients (tenant_id, confirmed, idle_since, id) WHERE dynamic = 1;
