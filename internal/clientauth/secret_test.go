package clientauth

import (
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const formerSecret = "the-secret-before-0123456789abcdefghijABCDEFGHIJ0123456789abcdef"

// A secret that was replaced is accepted until its time is over, and only where the
// client has a secret at all.
func TestPreviousSecret(t *testing.T) {
	former := func(until time.Time) *store.PreviousSecret {
		return &store.PreviousSecret{Digest: store.DigestOf(formerSecret), ExpiresAt: until}
	}
	for _, c := range []struct {
		rule   string
		change func(*store.Client)
		secret string
		want   bool
	}{
		{"the current one", func(c *store.Client) { c.PreviousSecret = former(now.Add(time.Second)) }, secret, true},
		{"the one before, in time", func(c *store.Client) { c.PreviousSecret = former(now.Add(time.Microsecond)) }, formerSecret, true},
		{"the one before, at its end", func(c *store.Client) { c.PreviousSecret = former(now) }, formerSecret, false},
		{"the one before, without an end", func(c *store.Client) { c.PreviousSecret = former(time.Time{}) }, formerSecret, false},
		{"the current one, after that", func(c *store.Client) { c.PreviousSecret = former(now) }, secret, true},
		{"nothing was replaced", func(c *store.Client) {}, formerSecret, false},
		{"there was none before", func(c *store.Client) { c.PreviousSecret = &store.PreviousSecret{ExpiresAt: now.Add(time.Hour)} }, "", false},
		{"another", func(c *store.Client) { c.PreviousSecret = former(now.Add(time.Hour)) }, secret[1:] + "x", false},
		{"the secret was taken away", func(c *store.Client) {
			c.SecretDigest, c.PreviousSecret = store.Digest{}, former(now.Add(time.Hour))
		}, formerSecret, false},
		{"the client is public", func(c *store.Client) {
			c.TokenEndpointAuthMethod, c.PreviousSecret = MethodNone, former(now.Add(time.Hour))
		}, formerSecret, false},
	} {
		client := confidential("app", MethodPost)
		c.change(&client)
		a := newAuthenticator(t, client)
		for name, q := range map[string]request{
			"post":  {form: url.Values{"client_id": {"app"}, "client_secret": {c.secret}}.Encode()},
			"basic": {authorization: []string{basic("app", c.secret)}},
		} {
			if _, _, err := q.send(t, a); (err == nil) != c.want {
				t.Errorf("%s, %s: %v", c.rule, name, err)
			}
		}
	}
}

func TestPreviousSecretOfAssertions(t *testing.T) {
	box, err := seal.New("client-secret", make([]byte, seal.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	client := confidential("app", MethodSecretJWT)
	client.SealedSecret = box.Seal([]byte(secret), tenant.DefaultID+"/app")
	client.PreviousSecret = &store.PreviousSecret{
		Digest: store.DigestOf(formerSecret), Sealed: box.Seal([]byte(formerSecret), tenant.DefaultID+"/app"), ExpiresAt: now.Add(time.Minute),
	}
	expired, digestOnly := client.Clone(), client.Clone()
	expired.ID, expired.PreviousSecret.ExpiresAt = "expired", now
	expired.SealedSecret = box.Seal([]byte(secret), tenant.DefaultID+"/expired")
	digestOnly.ID, digestOnly.PreviousSecret.Sealed = "digest", nil
	digestOnly.SealedSecret = box.Seal([]byte(secret), tenant.DefaultID+"/digest")
	a := newAuthenticator(t, client, expired, digestOnly)
	a.Secrets = box
	for _, c := range []struct {
		client, secret string
		want           bool
	}{
		{"app", secret, true}, {"app", formerSecret, true}, {"app", secret[1:] + "x", false},
		{"expired", secret, true}, {"expired", formerSecret, false},
		{"digest", secret, true}, {"digest", formerSecret, false},
	} {
		_, _, err := withAssertion(sign(t, jose.HS256, []byte(c.secret), nil, claimSet(c.client, c.client+c.secret, nil))).send(t, a)
		if (err == nil) != c.want {
			t.Errorf("%s with %.20s…: %v", c.client, c.secret, err)
		}
	}
}
