package token

import (
	"regexp"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// pairwise makes the subjects of clients pairwise.
func (f *fixture) pairwise(clients ...string) {
	f.Helper()
	for _, id := range clients {
		f.changeClient(id, func(c *store.Client) {
			m := c.Extra()
			m.SubjectType = "pairwise"
			c.Metadata = &m
		})
	}
}

// Whatever shows the user shows the same sub, and a session the same sid.
func TestPairwiseSubjectIsTheSameEverywhere(t *testing.T) {
	for _, audience := range []string{"", testAudience} {
		t.Run("audience="+audience, func(t *testing.T) {
			f := newFixture(t)
			f.pairwise(dynamicClient)
			a := f.authorization(dynamicClient, audience, "openid", "contacts", "offline_access")
			want, err := f.issuer.Subject(t.Context(), f.tenant, f.client(dynamicClient), a.UserID)
			f.ok(err)
			wantSID, err := f.issuer.SessionID(t.Context(), f.tenant, f.client(dynamicClient), a.SID)
			f.ok(err)
			if !regexp.MustCompile(`^pairwise\|[A-Za-z0-9_-]{43}$`).MatchString(want) || wantSID == a.SID || wantSID == "" {
				t.Fatalf("sub %q, sid %q", want, wantSID)
			}
			check := func(where string, claims map[string]any, sid bool) {
				t.Helper()
				if claims["sub"] != want {
					t.Errorf("%s: sub = %v, want %v", where, claims["sub"], want)
				}
				if sid && claims["sid"] != wantSID {
					t.Errorf("%s: sid = %v, want %v", where, claims["sid"], wantSID)
				}
			}
			tokens := f.redeem(dynamicClient, f.code(a))
			check("ID token", f.idTokenClaims(tokens.IDToken), true)
			refreshed := f.granted(f.post(refreshForm(dynamicClient, tokens.RefreshToken)))
			check("ID token of a refresh", f.idTokenClaims(refreshed.IDToken), true)
			front, err := f.front(a, "id_token token", "")
			f.ok(err)
			check("ID token of the front channel", f.idTokenClaims(front.IDToken), true)
			for _, at := range []string{tokens.AccessToken, refreshed.AccessToken, front.AccessToken} {
				if audience != "" {
					check("access token", f.accessTokenClaims(at), false)
				}
				got := f.info(at)
				if got.Status != 200 {
					t.Fatalf("userinfo: %+v", got)
				}
				check("userinfo", got.Claims, false)
				check("introspection", f.introspected(f.introspect(form(dynamicClient, "token", at)), true), false)
				if audience != "" { // as the API learns it
					check("introspection by the API", f.introspected(f.introspect(form(webClient, "token", at)), true), false)
				}
			}
			check("introspection of a refresh token", f.introspected(f.introspect(form(dynamicClient, "token", refreshed.RefreshToken)), true), true)
			logout, err := f.issuer.LogoutToken(t.Context(), f.tenant, f.client(dynamicClient), &store.Session{UserID: a.UserID, SID: a.SID})
			f.ok(err)
			_, claims := jwtParts(t, logout)
			check("logout token", claims, true)
			hint, err := f.issuer.Hint(t.Context(), f.tenant, tokens.IDToken)
			if err != nil || hint != (Hint{ClientID: dynamicClient, Subject: want, SID: wantSID}) {
				t.Errorf("hint %+v, %v", hint, err)
			}
		})
	}
}

// Sectors tell users apart; clients of one sector share them.
func TestPairwiseSubjectsOfSectors(t *testing.T) {
	f := newFixture(t)
	f.pairwise(dynamicClient, strictClient, publicClient)
	subject := func(id, user string) string {
		t.Helper()
		sub, err := f.issuer.Subject(t.Context(), f.tenant, f.client(id), user)
		f.ok(err)
		return sub
	}
	if a, b := subject(dynamicClient, "auth0|u1"), subject(strictClient, "auth0|u1"); a != b {
		t.Errorf("one sector: %q and %q", a, b)
	}
	if a, b := subject(dynamicClient, "auth0|u1"), subject(dynamicClient, "auth0|u2"); a == b {
		t.Errorf("two users: %q", a)
	}
	before := subject(publicClient, "auth0|u1")
	f.changeClient(publicClient, func(c *store.Client) { c.RedirectURIs = []string{"https://elsewhere.example/cb"} })
	if after := subject(publicClient, "auth0|u1"); after == before {
		t.Errorf("two sectors: %q", after)
	}
	// The sector URI counts, whatever the redirect URIs are.
	f.changeClient(publicClient, func(c *store.Client) {
		m := c.Extra()
		m.SectorIdentifierURI = "https://client.example.com/sector.json"
		c.Metadata, c.RedirectURIs = &m, []string{"com.example.app:/cb", "https://elsewhere.example/cb"}
	})
	if after := subject(publicClient, "auth0|u1"); after != before {
		t.Errorf("one sector by URI: %q and %q", after, before)
	}
	if sub := subject(webClient, "auth0|u1"); sub != "auth0|u1" {
		t.Errorf("public: %q", sub)
	}
	if sid, err := f.issuer.SessionID(t.Context(), f.tenant, f.client(dynamicClient), ""); sid != "" || err != nil {
		t.Errorf("no session: %q, %v", sid, err)
	}
}

// A record that has no sector gets no tokens, rather than the user's identifier,
// and nothing is used up.
func TestPairwiseWithoutASector(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, testAudience, "openid", "contacts")
	tokens := f.redeem(dynamicClient, f.code(a))
	code := f.code(a)
	f.pairwise(dynamicClient)
	f.changeClient(dynamicClient, func(c *store.Client) { c.RedirectURIs = append(c.RedirectURIs, "https://other.example/cb") })
	f.refused(f.post(codeForm(dynamicClient, code)), 500, "server_error")
	f.refused(f.post(refreshForm(dynamicClient, tokens.RefreshToken)), 500, "server_error")
	if out, err := f.front(a, "id_token token", ""); err == nil || out != (FrontChannel{}) {
		t.Errorf("%+v, %v", out, err)
	}
	if got := f.info(tokens.AccessToken); got.Status != 500 || strings.Contains(got.Challenge, "sector") {
		t.Errorf("userinfo: %+v", got)
	}
	f.changeClient(dynamicClient, func(c *store.Client) { c.RedirectURIs = c.RedirectURIs[:1] })
	f.redeem(dynamicClient, code)
	f.granted(f.post(refreshForm(dynamicClient, tokens.RefreshToken)))
}

// A JWT is for the user whom its grant is of, under the name that the client knows.
func TestPairwiseAccessTokenIsComparedWithItsGrant(t *testing.T) {
	f := newFixture(t)
	f.pairwise(dynamicClient)
	a := f.authorization(dynamicClient, testAudience, "openid", "contacts")
	tokens := f.redeem(dynamicClient, f.code(a))
	f.alive(tokens.AccessToken)
	forge := func(sub string) string {
		at, err := f.issuer.openAccessToken(t.Context(), f.tenant, tokens.AccessToken, f.clock.Now())
		f.ok(err)
		token, err := f.issuer.signAccessToken(t.Context(), f.tenant, &store.API{Audience: testAudience}, accessTokenPayload{
			Subject: sub, Audience: at.audience, ClientID: at.clientID, ID: at.id, Scope: at.scope.String(),
		}, at.expires.Sub(at.issued), at.issued, nil)
		f.ok(err)
		return token
	}
	other, err := f.issuer.Subject(t.Context(), f.tenant, f.client(dynamicClient), "auth0|u2")
	f.ok(err)
	f.dead(forge(other))
	f.dead(forge("auth0|u1"))
	f.alive(forge(f.idTokenClaims(tokens.IDToken)["sub"].(string)))
	// A subject type that changed ends the tokens that name the user otherwise.
	f.changeClient(dynamicClient, func(c *store.Client) { c.Metadata = nil })
	f.dead(tokens.AccessToken)
}

// Pairwise subjects cost no store call of their own.
func TestPairwiseStoreCalls(t *testing.T) {
	f := newFixture(t)
	f.pairwise(dynamicClient)
	a := f.authorization(dynamicClient, testAudience, "openid", "contacts")
	f.redeem(dynamicClient, f.code(a)) // makes the salt
	f.tap.take()
	tokens := f.redeem(dynamicClient, f.code(a))
	if got := f.tap.take(); got != "StartFamily User" {
		t.Errorf("redeem: %q", got)
	}
	f.alive(tokens.AccessToken)
	if got := f.tap.take(); got != "Grant User" {
		t.Errorf("userinfo: %q", got)
	}
}

func TestSubjectTypes(t *testing.T) {
	if got := oauth.Scope(SubjectTypes()).String(); got != "public pairwise" {
		t.Errorf("%q", got)
	}
}
