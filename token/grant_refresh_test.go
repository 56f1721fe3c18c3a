package token

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// offline redeems a code that gives a refresh token.
func (f *fixture) offline(client, audience string, scope ...string) answer {
	f.Helper()
	got := f.redeem(client, f.code(f.authorization(client, audience, scope...)))
	if got.RefreshToken == "" {
		f.Fatal("no refresh token")
	}
	return got
}

func TestRefreshRotates(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, "", "openid", "profile", "offline_access")
	f.clock.advance(5 * time.Minute)
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	if second.RefreshToken == "" || second.RefreshToken == first.RefreshToken {
		t.Errorf("refresh token %q did not rotate", second.RefreshToken)
	}
	if second.Scope != first.Scope || second.ExpiresIn != 3600 {
		t.Errorf("scope = %q, expires_in = %d", second.Scope, second.ExpiresIn)
	}
	f.alive(second.AccessToken)
	f.alive(first.AccessToken)

	// OpenID Connect Core §12.2.
	before, after := f.idTokenClaims(first.IDToken), f.idTokenClaims(second.IDToken)
	for _, same := range []string{"iss", "sub", "aud", "auth_time", "acr", "sid"} {
		if before[same] != after[same] {
			t.Errorf("%s = %v, was %v", same, after[same], before[same])
		}
	}
	if _, ok := after["nonce"]; ok {
		t.Error("the refreshed ID token has a nonce")
	}
	if after["iat"] == before["iat"] || after["at_hash"] != halfHash(second.AccessToken) {
		t.Errorf("iat = %v, at_hash = %v", after["iat"], after["at_hash"])
	}
	third := f.granted(f.post(refreshForm(webClient, second.RefreshToken)))
	f.alive(third.AccessToken)
}

func TestRefreshTokensOfPublicClientsRotate(t *testing.T) {
	f := newFixture(t)
	first := f.offline(publicClient, "", "openid")
	second := f.granted(f.post(refreshForm(publicClient, first.RefreshToken)))
	if second.RefreshToken == first.RefreshToken {
		t.Error("the refresh token did not rotate")
	}
}

func TestRefreshTokenIsRefused(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		client string
		pairs  []string
		status int
		code   string
	}{
		{"RFC 6749 §6: a refresh token is bound to its client", dynamicClient, nil, 400, "invalid_grant"},
		{"a public client cannot use that of a confidential one", publicClient, nil, 400, "invalid_grant"},
		{"the client authenticates", webClient, []string{"client_secret", "wrong"}, 401, "invalid_client"},
		{"the audience never changes", webClient, []string{"audience", "other:api"}, 400, "invalid_target"},
		{"RFC 8707 §2.2: the resource never changes", webClient, []string{"resource", "https://other.example"}, 400, "invalid_target"},
		{"RFC 6749 §6: scope that was not granted", webClient, []string{"scope", "appointments"}, 400, "invalid_scope"},
		{"RFC 6749 §3.3: the syntax of scope", webClient, []string{"scope", "open\"id"}, 400, "invalid_scope"},
		{"the token is needed", webClient, []string{"refresh_token", ""}, 400, "invalid_request"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			first := f.offline(webClient, testAudience, "openid", "contacts")
			values := refreshForm(tc.client, first.RefreshToken, tc.pairs...)
			if len(tc.pairs) == 2 && tc.pairs[1] == "" {
				values.Del(tc.pairs[0])
			}
			f.refused(f.post(values), tc.status, tc.code)
			// Nothing was used up, and nothing was revoked.
			f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
		})
	}
}

func TestRefreshTokenIsNotAnyOtherValue(t *testing.T) {
	f := newFixture(t)
	code := f.code(f.authorization(webClient, "", "openid"))
	got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
	for name, value := range map[string]string{"code": code, "access token": got.AccessToken, "ID token": got.IDToken} {
		if a := f.post(refreshForm(webClient, value)); a.Error != "invalid_grant" {
			t.Errorf("a %s as refresh token: %d %q", name, a.Status, a.Error)
		}
	}
	for _, altered := range alterations(got.RefreshToken) {
		f.refused(f.post(refreshForm(webClient, altered)), 400, "invalid_grant")
	}
	f.granted(f.post(refreshForm(webClient, got.RefreshToken)))
	f.redeem(webClient, code)
}

func TestRefreshNarrowsScopeForOneAccessToken(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, testAudience, "openid", "appointments", "contacts")
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken, "scope", "contacts email never:granted")))
	if second.Scope != "contacts" || second.IDToken != "" {
		t.Errorf("scope = %q, ID token %q; want contacts alone", second.Scope, second.IDToken)
	}
	claims := f.accessTokenClaims(second.AccessToken)
	if claims["scope"] != "contacts" || claims["aud"] != testAudience {
		t.Errorf("access token = %v", claims)
	}
	third := f.granted(f.post(refreshForm(webClient, second.RefreshToken)))
	if third.Scope != "openid appointments contacts" {
		t.Errorf("scope = %q, want all that was granted", third.Scope)
	}
}

func TestRefreshKeepsTheAudience(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, testAudience, "openid", "contacts")
	for _, pairs := range [][]string{nil, {"audience", testAudience}, {"resource", testAudience}} {
		first = f.granted(f.post(refreshForm(webClient, first.RefreshToken, pairs...)))
		if got := f.accessTokenClaims(first.AccessToken)["aud"].([]any)[0]; got != testAudience {
			t.Errorf("aud = %v", got)
		}
	}
	opaque := f.offline(webClient, "", "openid")
	f.refused(f.post(refreshForm(webClient, opaque.RefreshToken, "audience", testAudience)), 400, "invalid_target")
}

func TestReuseRevokesTheFamily(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, "", "openid")
	bystander := f.offline(webClient, "", "openid")
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.clock.advance(10*time.Second + time.Microsecond)
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "invalid_grant")
	f.refused(f.post(refreshForm(webClient, second.RefreshToken)), 400, "invalid_grant")
	f.dead(first.AccessToken)
	f.dead(second.AccessToken)
	f.alive(bystander.AccessToken)
	f.granted(f.post(refreshForm(webClient, bystander.RefreshToken)))
	if !strings.Contains(f.logs.String(), "refresh token was presented again, everything") {
		t.Error("the reuse was not logged")
	}
}

func TestRetryWithinLeewayGivesTheSameSuccessor(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, "", "openid")
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.clock.advance(10 * time.Second)
	f.tap.take()
	again := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	if again.RefreshToken != second.RefreshToken {
		t.Error("the retry got another successor")
	}
	if again.AccessToken == second.AccessToken {
		t.Error("the retry got no access token of its own")
	}
	if got := f.tap.take(); got != "RotateFamily User" {
		t.Errorf("store calls of a retry: %s", got)
	}
	f.alive(again.AccessToken)
	f.granted(f.post(refreshForm(webClient, again.RefreshToken)))
}

// The access token of a retry is good for as long as its answer says, although
// the retry does not write.
func TestAccessTokenOfARetryLivesItsTime(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefreshTokenIdle = time.Minute })
	first := f.offline(webClient, "", "openid")
	f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.clock.advance(10 * time.Second)
	again := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.clock.advance(time.Hour - time.Microsecond)
	f.alive(again.AccessToken)
}

// The clock of the node that rotated may be ahead, but not by any amount.
func TestLeewayIsBoundedWhenClocksDiffer(t *testing.T) {
	for _, tc := range []struct {
		behind time.Duration
		retry  bool
	}{{10 * time.Second, true}, {11 * time.Second, false}} {
		f := newFixture(t)
		first := f.offline(webClient, "", "openid")
		f.clock.advance(time.Minute)
		f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
		f.clock.advance(-tc.behind)
		if got := f.post(refreshForm(webClient, first.RefreshToken)); (got.Status == http.StatusOK) != tc.retry {
			t.Errorf("%v behind: %d %s, want a retry to be %v", tc.behind, got.Status, got.Error, tc.retry)
		}
	}
}

func TestRetryAfterTheSuccessorWasUsedIsReuse(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, "", "openid")
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	third := f.granted(f.post(refreshForm(webClient, second.RefreshToken)))
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "invalid_grant")
	f.refused(f.post(refreshForm(webClient, third.RefreshToken)), 400, "invalid_grant")
}

func TestLeewayCanBeSwitchedOff(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefreshTokenLeeway = -1 })
	first := f.offline(webClient, "", "openid")
	f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "invalid_grant")
	f.dead(first.AccessToken)
}

func TestRetryOfARevokedFamilyIsRefused(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, "", "openid")
	f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	n, err := f.mem.RevokeFamilies(context.Background(), tenant.DefaultID, store.FamilyFilter{SID: "sid-1"}, f.clock.Now().Add(time.Hour), f.clock.Now())
	if err != nil || n != 1 {
		t.Fatalf("RevokeFamilies = %d, %v", n, err)
	}
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "invalid_grant")
}

func TestRefreshTokenIdlesAndEnds(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefreshTokenIdle, c.RefreshTokenAbsolute = 30*time.Minute, 80*time.Minute })
	first := f.offline(webClient, "", "openid")
	f.clock.advance(30*time.Minute - time.Microsecond)
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.clock.advance(30 * time.Minute) // the family lives on for its access token
	f.refused(f.post(refreshForm(webClient, second.RefreshToken)), 400, "invalid_grant")

	chain := f.offline(webClient, "", "openid")
	for range 3 {
		f.clock.advance(25 * time.Minute)
		chain = f.granted(f.post(refreshForm(webClient, chain.RefreshToken)))
	}
	f.clock.advance(5 * time.Minute)
	f.refused(f.post(refreshForm(webClient, chain.RefreshToken)), 400, "invalid_grant")
}

func TestRefreshWithoutAbsoluteLimit(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefreshTokenAbsolute = -1 })
	chain := f.offline(webClient, "", "openid")
	for range 30 {
		f.clock.advance(14 * 24 * time.Hour)
		chain = f.granted(f.post(refreshForm(webClient, chain.RefreshToken)))
	}
}

func TestConcurrentRefreshGivesOneSuccessor(t *testing.T) {
	const rounds, racers = 100, 8
	f := newFixture(t)
	current := f.offline(webClient, "", "openid").RefreshToken
	for round := range rounds {
		answers := race(racers, func() answer { return f.post(refreshForm(webClient, current)) })
		for _, a := range answers {
			if a.Status != http.StatusOK || a.RefreshToken != answers[0].RefreshToken {
				t.Fatalf("round %d: %d %q, refresh token %q, want %q", round, a.Status, a.Error, a.RefreshToken, answers[0].RefreshToken)
			}
		}
		current = answers[0].RefreshToken
	}
}

func TestConcurrentRefreshWithoutLeewayHasOneWinner(t *testing.T) {
	const rounds, racers = 100, 8
	f := newFixture(t, func(c *Config) { c.RefreshTokenLeeway = -1 })
	for round := range rounds {
		first := f.offline(webClient, "", "openid")
		winners := 0
		for _, a := range race(racers, func() answer { return f.post(refreshForm(webClient, first.RefreshToken)) }) {
			if a.Status == http.StatusOK {
				winners++
				f.refused(f.post(refreshForm(webClient, a.RefreshToken)), 400, "invalid_grant")
			}
		}
		if winners != 1 {
			t.Fatalf("round %d: %d winners", round, winners)
		}
	}
}

// race runs call n times at once.
func race(n int, call func() answer) []answer {
	answers := make([]answer, n)
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			answers[i] = call()
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return answers
}

func TestOfflineAccessCanBeWithdrawn(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, testAudience, "contacts")
	f.changeAPI(func(a *store.API) { a.DisallowOfflineAccess = true })
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "invalid_grant")
}

func TestScopeIsCheckedAgainAtRefresh(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, testAudience, "appointments", "contacts")
	f.changeAPI(func(a *store.API) { a.Scopes = []store.APIScope{{Value: "contacts"}, {Value: "new"}} })
	if got := f.granted(f.post(refreshForm(webClient, first.RefreshToken))); got.Scope != "contacts" {
		t.Errorf("scope = %q, want what the API still has and nothing new", got.Scope)
	}
}

func TestSecretRotationKeepsRefreshTokens(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, "", "openid")
	rotated, err := New(Config{
		Stores: f.issuer.stores, Tenants: f.tenants, Connections: f.connections, ClientAuth: f.issuer.clientAuth,
		Secrets: [][]byte{[]byte(strings.Repeat("n", 32)), testSecrets[0]}, Now: f.clock.Now,
	})
	f.ok(err)
	f.token = rotated.Token()
	f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
}
