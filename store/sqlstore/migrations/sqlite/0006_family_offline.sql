-- Which families have refresh tokens, and a user's families in order. Of those from
-- before only the ones whose refresh token was used are known to have one.
ALTER TABLE {prefix}families ADD COLUMN offline INTEGER NOT NULL DEFAULT 0;

UPDATE {prefix}families SET offline = 1 WHERE generation > 0;

DROP INDEX {prefix}families_by_user;

CREATE INDEX {prefix}families_by_user
	ON {prefix}families (tenant_id, user_id, id);
