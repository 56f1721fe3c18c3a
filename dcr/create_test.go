package dcr

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestCreateClient(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{off: true, config: func(c *Config) { c.Limiter = forbidden{t} }})

	c, secret, err := f.registrar.CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, Name: "Management", FirstParty: true, GrantTypes: []string{"client_credentials"}, Dynamic: true,
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != 64 || len(c.ID) != 32 || !c.SecretDigest.Matches(secret) || c.Dynamic || !c.FirstParty {
		t.Errorf("%+v, secret %q", c, secret)
	}
	if diff := cmp.Diff(f.client(c.ID), c); diff != "" {
		t.Errorf("(-stored +answered)\n%s", diff)
	}

	c, secret, err = f.registrar.CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, ID: "partner", RedirectURIs: []string{"https://partner.example/cb"},
		GrantTypes: []string{"authorization_code", "client_credentials"},
		Metadata:   &store.ClientMetadata{IDTokenSignedResponseAlg: "HS256"},
	}, "a-secret-that-existed-before-the-move")
	if err != nil || secret != "a-secret-that-existed-before-the-move" || c.SecurityMode != store.ModeStrict {
		t.Fatalf("%+v, %q, %v", c, secret, err)
	}
	box, _ := seal.New("client-secret", f.secrets...)
	if opened, err := box.Open(c.SealedSecret, tenant.DefaultID+"/partner"); err != nil || string(opened) != secret {
		t.Errorf("sealed %q, %v", opened, err)
	}

	c, secret, err = f.registrar.CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, FirstParty: true, TokenEndpointAuthMethod: "none", RedirectURIs: []string{"http://127.0.0.1/cb"},
	}, "")
	if third, _, err := f.registrar.CreateClient(ctx, store.Client{TenantID: tenant.DefaultID, RedirectURIs: []string{"https://a.example/"}}, ""); err != nil || !strings.HasPrefix(third.ID, strictPrefix) {
		t.Errorf("a strict client of the tenant's choice: %q, %v", third.ID, err)
	}
	if err != nil || secret != "" || !c.SecretDigest.IsZero() || c.SecurityMode != "" || c.ApplicationType != "native" {
		t.Errorf("%+v, %q, %v", c, secret, err)
	}
}

func TestCreateClientRefuses(t *testing.T) {
	f := newFixture(t, options{})
	base := store.Client{TenantID: tenant.DefaultID, FirstParty: true, RedirectURIs: []string{"https://a.example/cb"}}
	for want, change := range map[string]func(*store.Client) (secret string){
		"tenant of the client":              func(c *store.Client) string { c.TenantID = ""; return "" },
		"store: not found":                  func(c *store.Client) string { c.TenantID = "nowhere"; return "" },
		"the client's ID cannot be used":    func(c *store.Client) string { c.ID = store.DefaultForThirdParty; return "" },
		"redirect_uris: 'http://a.example'": func(c *store.Client) string { c.RedirectURIs = []string{"http://a.example"}; return "" },
		"grant_types: 'password'":           func(c *store.Client) string { c.GrantTypes = []string{"password"}; return "" },
		"token_endpoint_auth_method: 'x'":   func(c *store.Client) string { c.TokenEndpointAuthMethod = "x"; return "" },
		"none has no secret":                func(c *store.Client) string { c.TokenEndpointAuthMethod = "none"; return "secret" },
		"logo_uri: 'javascript:x'": func(c *store.Client) string {
			c.Metadata = &store.ClientMetadata{LogoURI: "javascript:x"}
			return ""
		},
		"scope has no value that exists": func(c *store.Client) string { c.Scope = "nonsense"; return "" },
	} {
		c := base
		secret := change(&c)
		got, s, err := f.registrar.CreateClient(context.Background(), c, secret)
		if err == nil || !strings.Contains(err.Error(), want) || s != "" {
			t.Errorf("%v; want %q", err, want)
		}
		if diff := cmp.Diff(store.Client{}, got); diff != "" {
			t.Errorf("an error came with %s", diff)
		}
	}
	if n := len(f.clients()); n != 0 {
		t.Errorf("%d clients", n)
	}
	base.ID = "fixed"
	if _, _, err := f.registrar.CreateClient(context.Background(), base, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.registrar.CreateClient(context.Background(), base, ""); !errors.Is(err, store.ErrExists) {
		t.Errorf("an identifier that is taken: %v", err)
	}
}

// What the caller does with its record afterwards does not reach the store.
func TestCreateClientCopies(t *testing.T) {
	f := newFixture(t, options{})
	in := store.Client{TenantID: tenant.DefaultID, RedirectURIs: []string{"https://a.example/cb"}, Metadata: &store.ClientMetadata{Contacts: []string{"a"}}}
	out, _, err := f.registrar.CreateClient(context.Background(), in, "")
	if err != nil {
		t.Fatal(err)
	}
	in.RedirectURIs[0], in.Metadata.Contacts[0] = "https://evil.example/", "evil"
	out.RedirectURIs[0], out.Metadata.Contacts[0] = "https://evil.example/", "evil"
	if c := f.client(out.ID); c.RedirectURIs[0] != "https://a.example/cb" || c.Metadata.Contacts[0] != "a" {
		t.Errorf("stored %q, %q", c.RedirectURIs, c.Metadata.Contacts)
	}
}
