// Package connection is how users prove who they are, and which client may ask
// them to.
//
// # Kinds of connections
//
// A database (strategy "auth0") holds users with passwords. A host (strategy
// "host") is the embedding application itself: its own session says who is signed
// in, its own page signs users in, its own table holds them; see [Host].
// An upstream (strategies "oidc", "oauth2", ...) is another provider, of which this one
// is a client: [Directory.UpstreamRequest] sends users there, [Directory.UpstreamIdentity]
// verifies what comes back and [Directory.UpstreamUser] keeps who it was. What the
// upstream calls a user decides who it is; an email address never does.
//
// # Who may use what
//
// Third-party clients may use domain connections only, first-party clients the
// connections that list them. [Directory.Usable] answers that for a login page.
// [Directory.Admit] is the check at use: every path that is about to serve a user
// asks it again, because since the user signed in the connection may have been
// closed, the user blocked, or dynamic registration switched off.
//
// # Passwords
//
// Passwords are kept as argon2id. A bounded number of computations run at once,
// a bounded number wait, and the rest are turned away with [ErrBusy]: memory and
// processor stay bounded however many strangers knock.
//
// An answer to a wrong login says nothing about who has an account: not by its
// text, not by its time (an unknown or blocked user costs the same computation),
// and not by being locked: see [LockedError]. Counting happens before the answer
// is known, in one compare-and-swap, so that guesses made at the same time cannot
// outrun the count.
//
// # Accounts
//
// Where a connection lets them, people sign up ([Directory.SignUp]), replace a password
// that they forgot ([Directory.RequestReset], [Directory.Reset]) and prove that an
// email address is theirs. The tickets for it are good once and die with what they
// were given out for.
//
// # Authentication context classes
//
// [ACRConfig] orders the classes (acr) that logins achieve, and says which one a
// password does. A host says with each [Identity] what its login achieved.
//
// # What is left to others
//
// Pages, cookies and redirects belong to package authorize, which calls this one.
package connection
