// Package console is a web page for the administrators of a tenant: settings, with the
// toggle of dynamic registration, connections, applications, APIs, signing keys and events.
//
// It knows nothing of the provider but its management API, which it calls through an
// http.Handler, in the same process and without the network. Whatever it does could be
// done with curl; no rule is checked here that is not checked there.
//
// Who may enter is decided by the program that mounts it, see [Config].Admit. The
// console keeps no session of its own. A visitor has management scopes, for which the
// console asks when it calls the API in their name, so that a visitor can do exactly
// what those scopes allow.
//
// Pages are HTML made on the server. They need no script, and run none: their content
// security policy forbids it. Every form is answered only if the browser says that it
// comes from the console itself.
package console
