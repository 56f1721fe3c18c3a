// Package redisstore keeps tickets and sessions in Redis or Valkey: what is short-lived,
// and with the tickets the memory of values that were seen once, the counts of failed
// logins and those of shared limiters. Everything else belongs into a database.
//
//	client := redis.NewClient(&redis.Options{
//		Addr: "redis:6379", ContextTimeoutEnabled: true, MaxRetries: -1,
//	})
//	s, err := redisstore.New(redisstore.Config{Client: client})
//	...
//	if err := s.Check(ctx); err != nil {
//		...
//	}
//	stores := database.Stores() // of sqlstore, or your own
//	stores.Tickets, stores.Sessions = s, s
//
// # The server
//
// Redis or Valkey: one server, one that is followed through Sentinel, or a cluster. The
// tests run on Redis 7, and nothing is used that version 5 lacks. Its maxmemory-policy has to be noeviction: what has not expired must not go.
// [Store.Check] looks at that and belongs at the start of the program. The user needs
// the commands of scripts (EVAL, EVALSHA) and, inside them, INFO.
//
// Every call is one script on keys of one tenant, and atomic. Some take another round
// trip: the first write for a tenant, ending a session, listing, collecting. The keys
// of a tenant have one hash tag, "{opkit:TENANT}", so that a cluster spreads tenants over
// its nodes but never splits one. A tenant that is too large for one node is too large
// for this package. Only the list of tenants has another tag. Scripts run on primaries,
// also with a client that reads from replicas.
//
// # Time
//
// Whether a record has expired is decided by the caller's time, in the same step in
// which it is used. Servers remove records by themselves, ten minutes after they
// expired: by as much may the clocks of two nodes differ. Collection removes them
// earlier. A session is kept by the server for as long as lies between its CreatedAt and
// its ExpiresAt.
//
// # What is lost with the server, and why that is never security
//
// Most installations of Redis lose something when the server ends: everything if it
// writes nothing to disk, minutes with snapshots, a second with appendfsync everysec,
// the last moments if a replica takes over. Losing all of a record is harmless in
// itself: a session that is gone makes its user sign in again. Losing the end of it is
// not: a session that was ended comes back. And a memory of what was seen must not lose
// anything at all. So, unless [Config.Durable] is set:
//
//   - Every record names the process of the server (its run_id) that it was written in.
//     Read from another process it is not found, also if the data survived. Half a state
//     is never believed.
//   - A marker (a ticket without data, whose presence is all that it says) is believed
//     also if another process wrote it, because believing it refuses something.
//   - A marker that is absent is believed to be so only if the thing cannot have been
//     seen before the process began to keep markers: if its CreatedAt, which says since
//     when it can have been seen, is later. Otherwise PutTicket answers with
//     [store.ErrForgotten], and whatever depended on it is refused.
//
// What that means for each kind of record, when a server was restarted or replaced, or
// a tenant moved to another node of a cluster:
//
//   - Sessions: users sign in again. Tokens that applications have go on working; that
//     is up to their grants, which are not here.
//   - Client assertions that were seen: one that was issued before the restart, by its
//     iat and with a minute for the clocks, is answered with 503 temporarily_unavailable
//     and Retry-After. The client makes a new one, which it has to do for every request
//     anyway. An assertion with neither iat nor nbf may be an hour old, and is refused
//     for up to that time.
//   - Pushed authorization requests: the application has to begin the sign-in anew.
//   - Logins with Lock that are under way: the user has to begin anew.
//   - Links in mails (to replace a password, to verify an address) lead to nothing: the
//     user has to ask for another one.
//   - Initial access tokens: all of them are gone. The uses of one can not come back.
//   - Failed logins: counting begins anew, as if some of the attempts had been a day
//     ago. Somebody who guesses gets ten more guesses at a login for each time that the
//     server ends, which strangers cannot make it do.
//   - Shared limiters: counting begins anew.
//   - Authorization codes and refresh tokens are not here. Whether one was used is
//     decided where grants and families are.
//
// With [Config.Durable] records outlive the process, and nothing of this applies: set
// it where appendfsync is always and no replica takes over. InsecureKeepUnsynced does
// the same for servers that may lose their last writes; what that risks is written
// there.
//
// Three things cannot be seen from here, so do not do them: FLUSHALL, FLUSHDB and deleting
// keys by hand while the server runs (restart it instead, without its files);
// restoring a snapshot into a server that is Durable; and a network that is split, in
// which the old primary still serves some nodes while a replica has taken over for
// others. Against the last, set min-replicas-to-write and min-replicas-max-lag.
//
// # Retries
//
// go-redis sends a command again after a connection was lost, unless MaxRetries is -1.
// That is safe, because nothing here succeeds twice, but it is not helpful: a ticket
// that was taken by the first attempt is consumed for the second.
package redisstore
