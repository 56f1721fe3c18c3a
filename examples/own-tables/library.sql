-- The library's own schema. Each branch has its members and its partners.
CREATE TABLE IF NOT EXISTS members (
	branch    TEXT NOT NULL,
	card      TEXT NOT NULL,
	full_name TEXT NOT NULL,
	handle    TEXT,                        -- as the member typed it
	mail      TEXT,                        -- as the member typed it
	mail_seen INTEGER NOT NULL DEFAULT 0,  -- 1: the member followed the link
	suspended INTEGER NOT NULL DEFAULT 0,
	password  TEXT NOT NULL,               -- bcrypt
	joined    INTEGER NOT NULL,            -- Unix time in seconds
	PRIMARY KEY (branch, card)
);
CREATE UNIQUE INDEX IF NOT EXISTS members_by_handle ON members (branch, lower(handle));
CREATE UNIQUE INDEX IF NOT EXISTS members_by_mail ON members (branch, lower(mail));

CREATE TABLE IF NOT EXISTS partners (
	branch   TEXT NOT NULL,
	code     TEXT NOT NULL,
	title    TEXT NOT NULL,
	house    INTEGER NOT NULL,             -- 1: one of the library's own programs
	secret   BLOB,                         -- SHA-256
	revision INTEGER NOT NULL,
	-- Added for opkit: what the library has no column for, as JSON.
	opkit    TEXT NOT NULL DEFAULT '{}',
	PRIMARY KEY (branch, code)
);
