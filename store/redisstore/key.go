package redisstore

import (
	"net/url"

	"github.com/opkit/opkit/store"
)

// keys of one tenant. All begin with the same hash tag, so that in a cluster they are
// on one node and a script may use several.
type keys string

// keysOf returns those of a tenant. QueryEscape is one to one and leaves neither
// braces nor colons.
func (s *Store) keysOf(tenant string) keys {
	return keys("{" + s.prefix + ":" + url.QueryEscape(tenant) + "}:")
}

// ticket is where one is; its member is what the index of expiry calls it. A digest
// has a fixed length, so kinds do not run into it.
func (k keys) ticket(member string) string { return string(k) + "ticket:" + member }

func ticketMember(kind string, id store.Digest) string { return kind + ":" + id.String() }

// ticketExpiry is a sorted set of the members of tickets by their time of expiry.
func (k keys) ticketExpiry() string { return string(k) + "tickets" }

// run is what is known of the server's process when the tenant's last marker was put.
func (k keys) run() string { return string(k) + "run" }

func (k keys) session(id string) string { return string(k) + "session:" + id }

// sessionExpiry is a sorted set of sessions by their time of expiry. A member is the
// session's identifier, which has a fixed length, and its user.
func (k keys) sessionExpiry() string { return string(k) + "sessions" }

// user is a sorted set of a user's sessions in the order of their identifiers.
func (k keys) user(id string) string { return string(k) + "user:" + id }

// registryKey is a sorted set of the tenants that have something to collect.
func (s *Store) registryKey() string { return s.prefix + ":tenants" }
