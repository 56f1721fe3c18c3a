-- By how long nobody used them, clients that registered themselves are found and
-- removed: since they were created, or since their last use once they are
-- confirmed.

ALTER TABLE {prefix}clients ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;

ALTER TABLE {prefix}clients ADD COLUMN idle_since INTEGER NOT NULL DEFAULT 0;

UPDATE {prefix}clients SET idle_since = created_at;

-- Whole seconds will do: nobody counts microseconds of idleness.
UPDATE {prefix}clients SET confirmed = 1, idle_since = 1000000 * CAST(
		strftime('%s', COALESCE(json_extract(record, '$.last_used_at'), json_extract(record, '$.confirmed_at'))) AS INTEGER)
	WHERE json_extract(record, '$.confirmed_at') IS NOT NULL;

CREATE INDEX {prefix}clients_by_idleness
	ON {prefix}clients (tenant_id, dynamic, confirmed, idle_since, id);
