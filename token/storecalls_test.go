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
			calls("")

			f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
			calls("RevokeFamily StartFamily User")
			f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
			calls("StartFamily User") // it is revoked already
			// What never was ours costs nothing.
			f.refused(f.post(codeForm(webClient, "AAAA")), 400, "invalid_grant")
			f.refused(f.post(codeForm(publicClient, code)), 400, "invalid_grant")
			f.refused(f.post(refreshForm(webClient, "AAAA")), 400, "invalid_grant")
			f.dead("AAAA")
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
