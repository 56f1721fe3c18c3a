// Package connection is how users prove who they are: databases of users with
// passwords, and the embedding application's own session. It decides which
// connections a client may use and whether a user may still be served, and
// serves the connections part of the management API.
package connection
