package token

import (
	"testing"

	"github.com/opkit/opkit/store"
)

// The calls that no cache can take away, on a warm path.
func TestStoreCalls(t *testing.T) {
	for _, audience := range []string{"", testAudience} {
		t.Run("audience="+audience, func(t *testing.T) {
			f := newFixture(t)
			a := f.authorization(webClient, audience, "openid", "contacts")
			token := f.redeem(webClient, f.code(a)) // marks the client as used
			f.tap.take()
			calls := func(want string) {
				t.Helper()
				if got := f.tap.take(); got != want {
					t.Errorf("store calls = %q, want %q", got, want)
				}
			}

			code := f.code(a)
			calls("")
			token = f.redeem(webClient, code)
			calls("StartFamily User")
			token = f.granted(f.post(refreshForm(webClient, token.RefreshToken)))
			calls("RotateFamily User")
			f.alive(token.AccessToken)
			calls("Grant User")
			f.granted(f.post(credentialsForm(webClient)))
			f.granted(f.post(form(webClient, "grant_type", "client_credentials")))
			calls("")
			f.introspected(f.introspect(form(webClient, "token", token.AccessToken)), true)
			calls("Grant User")
			f.introspected(f.introspect(form(webClient, "token", token.RefreshToken)), true)
			calls("Family User")
			f.revoked(f.revoke(form(webClient, "token", f.redeem(webClient, f.code(a)).RefreshToken)))
			calls("RevokeFamily StartFamily User")
			f.revoked(f.revoke(form(webClient, "token", f.redeem(webClient, f.code(a)).AccessToken)))
			calls("RevokeFamily StartFamily User")

			f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
			calls("RevokeFamily StartFamily User")
			f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
			calls("StartFamily User") // it is revoked already
			// What never was ours costs nothing.
			f.refused(f.post(codeForm(webClient, "AAAA")), 400, "invalid_grant")
			f.refused(f.post(codeForm(publicClient, code)), 400, "invalid_grant")
			f.refused(f.post(refreshForm(webClient, "AAAA")), 400, "invalid_grant")
			f.dead("AAAA")
			for _, raw := range []string{"AAAA", "a.b.c", code, token.IDToken} {
				f.introspected(f.introspect(form(webClient, "token", raw)), false)
				f.revoked(f.revoke(form(webClient, "token", raw)))
			}
			// Nor does what belongs to another client.
			for _, raw := range []string{token.AccessToken, token.RefreshToken} {
				f.revoked(f.revoke(form(publicClient, "token", raw)))
			}
			f.introspected(f.introspect(form(dynamicClient, "token", token.RefreshToken)), false)
			calls("")
		})
	}
}

func TestStoreCallsOfTheFrontChannel(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, testAudience, "openid", "contacts")
	f.changeClient(dynamicClient, func(c *store.Client) { c.ConfirmedAt, c.LastUsedAt = f.clock.Now(), f.clock.Now() })
	for responseType, want := range map[string]string{"id_token": "", "token": "StartFamily", "id_token token": "StartFamily", "code": ""} {
		_, err := f.front(a, responseType, "")
		f.ok(err)
		if got := f.tap.take(); got != want {
			t.Errorf("%s: store calls = %q, want %q", responseType, got, want)
		}
	}
}
