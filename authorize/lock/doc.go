// Package lock speaks with Lock, the login widget that runs on a tenant's own login
// page: what the page is told, what the widget asks for and sends, and the shape of
// the answers. It decides nothing: package authorize serves the endpoints.
//
// # The page
//
// [Page.Render] replaces @@config@@ in the page by the base64 of a [Config], and
// [Page.Policy] is the content security policy that the page needs: its inline
// scripts run because their hashes are in it, files of scripts are loaded from the
// origins that the page names, and nothing else runs. The page itself is sent as it
// was written.
//
// # What Lock asks for
//
// Before it shows anything, [WriteTenantInfo] (for third-party applications) or
// [WriteClientInfo] (for the tenant's own) tells it the connections. What it sends,
// as a form up to version 10.23 and as JSON from then on, [ReadLogin], [ReadSignup]
// and [ReadChangePassword] read; an [Error] is how it is refused.
package lock
