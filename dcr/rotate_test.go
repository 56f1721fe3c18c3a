package dcr

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestRotateSecret(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{settings: manageable})
	for name, members := range map[string]string{"digest": ``, "sealed": `"id_token_signed_response_alg":"HS256"`} {
		info, before := f.register(with(members))
		box, _ := seal.New("client-secret", f.secrets...)

		// With an overlap the secret before stays, as it was kept.
		c, second, err := f.registrar.RotateSecret(ctx, tenant.DefaultID, info.ClientID, time.Hour)
		if err != nil || len(second) != 64 || second == info.ClientSecret {
			t.Fatalf("%s: %q, %v", name, second, err)
		}
		stored := f.client(info.ClientID)
		if diff := cmp.Diff(stored, c); diff != "" {
			t.Errorf("%s (-stored +answered)\n%s", name, diff)
		}
		want := before.Clone()
		want.SecretDigest, want.SealedSecret, want.Version = store.DigestOf(second), stored.SealedSecret, 2
		want.PreviousSecret = &store.PreviousSecret{Digest: before.SecretDigest, Sealed: before.SealedSecret, ExpiresAt: start.Add(time.Hour)}
		if diff := cmp.Diff(want, stored); diff != "" {
			t.Errorf("%s: stored (-want +got)\n%s", name, diff)
		}
		if (name == "sealed") != (len(stored.SealedSecret) > 0) {
			t.Errorf("%s: sealed %q", name, stored.SealedSecret)
		}
		if name == "sealed" {
			if opened, err := box.Open(stored.SealedSecret, tenant.DefaultID+"/"+stored.ID); err != nil || string(opened) != second {
				t.Errorf("sealed %q, %v", opened, err)
			}
		}

		// Without one it ends, and so does the one before it.
		_, third, err := f.registrar.RotateSecret(ctx, tenant.DefaultID, info.ClientID, 0)
		if stored := f.client(info.ClientID); err != nil || stored.PreviousSecret != nil || !stored.SecretDigest.Matches(third) {
			t.Errorf("%s: %+v, %v", name, stored, err)
		}
		for _, secret := range []string{info.ClientSecret, second, third} {
			if strings.Contains(f.log.String(), secret) {
				t.Error("the log has a secret")
			}
		}
	}
}

func TestRotateSecretRefuses(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{})
	_, public := f.register(with(`"token_endpoint_auth_method":"none"`))
	_, keyed := f.register(with(`"token_endpoint_auth_method":"private_key_jwt",` + jwks(ecKey)))
	_, other := f.register(with(``))
	for name, c := range map[string]struct {
		tenant, id string
		overlap    time.Duration
		want       error
	}{
		"public":         {tenant.DefaultID, public.ID, 0, ErrNoSecret},
		"with a key":     {tenant.DefaultID, keyed.ID, 0, ErrNoSecret},
		"unknown":        {tenant.DefaultID, "unknown", 0, store.ErrNotFound},
		"another tenant": {"other", other.ID, 0, store.ErrNotFound},
		"negative":       {tenant.DefaultID, other.ID, -1, nil},
		"too long":       {tenant.DefaultID, other.ID, MaxSecretOverlap + 1, nil},
	} {
		got, secret, err := f.registrar.RotateSecret(ctx, c.tenant, c.id, c.overlap)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || secret != "" || !cmp.Equal(got, store.Client{}) {
			t.Errorf("%s: %v, %q, %+v", name, err, secret, got)
		}
	}
	for _, c := range f.clients() {
		if c.Version != 1 {
			t.Errorf("%s was changed", c.ID)
		}
	}
}

// Nobody is given a secret that is no good: of rotations at the same time all but
// the last one's are the secret before, or refused.
func TestConcurrentRotations(t *testing.T) {
	for range 20 {
		f := newFixture(t, options{})
		_, client := f.register(with(``))
		var mu sync.Mutex
		var wait sync.WaitGroup
		versions := map[int64]string{}
		for range 8 {
			wait.Go(func() {
				c, secret, err := f.registrar.RotateSecret(context.Background(), tenant.DefaultID, client.ID, 0)
				if err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					versions[c.Version] = secret
				}
			})
		}
		wait.Wait()
		stored := f.client(client.ID)
		if !stored.SecretDigest.Matches(versions[stored.Version]) || int(stored.Version) != len(versions)+1 {
			t.Fatalf("version %d, %d rotations", stored.Version, len(versions))
		}
	}
}

func TestRotationWhileTheClientIsUsed(t *testing.T) {
	s := &interfering{}
	f := newFixture(t, options{stores: func(stores *store.Stores) {
		s.ClientStore = stores.Clients
		stores.Clients = s
	}})
	_, client := f.register(with(``))
	change := func(change func(*store.Client)) func() {
		return func() {
			c := f.client(client.ID)
			change(&c)
			if err := s.ClientStore.UpdateClient(context.Background(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.before = []func(){change(func(c *store.Client) { c.LastUsedAt = start })}
	c, secret, err := f.registrar.RotateSecret(context.Background(), tenant.DefaultID, client.ID, 0)
	if stored := f.client(client.ID); err != nil || !stored.SecretDigest.Matches(secret) || stored.LastUsedAt.IsZero() || stored.Version != c.Version {
		t.Errorf("%+v, %v", stored, err)
	}
	s.before = []func(){change(func(c *store.Client) { c.SecretDigest = store.DigestOf("somebody else's") })}
	if _, secret, err := f.registrar.RotateSecret(context.Background(), tenant.DefaultID, client.ID, 0); !errors.Is(err, store.ErrConflict) || secret != "" {
		t.Errorf("somebody else was first: %q, %v", secret, err)
	}
	if !f.client(client.ID).SecretDigest.Matches("somebody else's") {
		t.Error("theirs is gone")
	}
}

// A registration that is replaced keeps the overlap, unless it gets another secret
// or none.
func TestReplacementsAndTheSecretBefore(t *testing.T) {
	for members, kept := range map[string]bool{
		`"client_name":"B"`:                                             true,
		`"id_token_signed_response_alg":"HS256"`:                        false,
		`"token_endpoint_auth_method":"private_key_jwt",` + jwks(ecKey): false,
	} {
		f := newFixture(t, options{settings: manageable})
		info := f.managed(with(``))
		if _, _, err := f.registrar.RotateSecret(context.Background(), tenant.DefaultID, info.ClientID, time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, stored := f.put(info.ClientID, info.RegistrationAccessToken, members); (stored.PreviousSecret != nil) != kept {
			t.Errorf("%s: %+v", members, stored.PreviousSecret)
		}
	}
}
