// Package authorize is everything that happens in the user's browser: the
// authorization request, signing in, consent, the browser session and the
// authorization response. It mints nothing itself: codes and tokens come from
// package token.
//
// # One request
//
//	GET /authorize ── request is valid? ── no, client or redirect_uri unproven ─▶ error page
//	      │                     └──────── no, both proven ────────────────────▶ redirect with error
//	      ▼
//	session usable? ── no ─▶ login page ── POST /login ─▶ new session ─┐
//	      │                ├▶ host's page ─ GET /login/callback ───────┤
//	      │                └▶ other provider ─ /login/callback ────────┤
//	      ▼                                                            ▼
//	consent remembered? ── no ─▶ consent page ── POST /consent ─▶ grant stored
//	      │                                                            │
//	      ▼                                                            ▼
//	redirect with code and/or tokens, state, iss ◀─────────────────────┘
//
// A client may pass its parameters in a request object, or push them beforehand
// (POST /oauth/par) and begin with a reference to them. Either way the same function
// checks the parameters that count. A pushed request is used up by its response.
//
// Pages answer the request that needs them; there is no redirect between the
// steps. Between them nothing is stored: the transaction (the parameters that
// count, and what was proved so far) travels sealed in the page's form and is bound to a
// cookie of the browser that began. Each step parses and checks the request again
// from the start, so that a client, connection or user that was withdrawn
// meanwhile is refused.
//
// Where a tenant or a client has a login page of its own, Lock runs on it:
//
//	login page ── POST /usernamepassword/login ─▶ form ── POST /login/callback ─▶ new session
//
// The form carries, sealed and good once, who proved the password. What Lock sends and
// expects is in package lock.
//
// # Logging out
//
//	GET or POST /oidc/logout ── request is valid? ── no ──────────────▶ error page
//	      ▼
//	hint of the user who is signed in? ── no ─▶ confirmation page ─┐
//	      ▼                                                        ▼
//	tokens revoked, session deleted, cookie cleared ◀──────────────┘
//	      ├─▶ logout tokens are posted to clients, without the user waiting
//	      ▼
//	frames to load? ── no ─▶ redirect with state, or a page
//	      └─ yes ─▶ page with hidden frames, which goes on by itself
//
// # Session management
//
// Where it is mounted, a cookie that scripts can read follows the session: it
// changes when somebody signs in or out, and stays when the same user signs in
// again. Responses carry a salted hash of it (session_state), and a page that
// applications embed compares. Nothing of it is stored.
//
// # Applications with access
//
// On a page of the provider's own (/account/applications) users see what they allowed
// to which application and remove it. Nothing links to it but the consent page, and it
// needs no client: a session is enough, or a login on the spot. Hosts with an account
// page of their own use [Authorizer.UserApplications] and [Authorizer.RemoveAccess].
//
// # Pages
//
// The built-in pages are plain HTML and work without JavaScript. Each is a
// html/template that a file of the same name in Config.Pages replaces; the data
// types ([LoginPage], [ConsentPage], [ApplicationsPage], ...) say what a page gets.
package authorize
