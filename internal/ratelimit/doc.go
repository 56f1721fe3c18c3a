// Package ratelimit limits how often something comes from one source. [Local] does it
// for one process, [Shared] for all processes that share a ticket store.
package ratelimit
