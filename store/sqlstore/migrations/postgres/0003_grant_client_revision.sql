-- Which revision of its client a user consented to.
ALTER TABLE {prefix}grants ADD COLUMN client_revision BIGINT NOT NULL DEFAULT 0;
