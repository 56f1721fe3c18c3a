-- Claims that were asked for by name, and that the user consented to.
ALTER TABLE {prefix}grants ADD COLUMN claims TEXT NOT NULL DEFAULT 'null';
