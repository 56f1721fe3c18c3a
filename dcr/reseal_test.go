package dcr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

var newSecret = bytes.Repeat([]byte("n"), 32)

// successor returns a registrar on the same stores whose secret was replaced.
func (f *fixture) successor(change func(*Config)) *Registrar {
	f.t.Helper()
	cfg := f.registrar.cfg
	cfg.Secrets = append([][]byte{newSecret}, f.secrets...)
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func TestResealSecrets(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{})
	secrets := map[string][]string{} // of clients, the current one first
	for range 3 {
		info, _ := f.register(with(`"id_token_signed_response_alg":"HS256"`))
		_, second, err := f.registrar.RotateSecret(ctx, tenant.DefaultID, info.ClientID, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		secrets[info.ClientID] = []string{second, info.ClientSecret}
	}
	plain, _ := f.register(with(``))
	unknown := store.Client{ID: "unknown", SealedSecret: []byte("sealed by a secret that nobody has any more")}
	f.seed(unknown)
	for i := range resealPage + 10 {
		f.seed(store.Client{ID: fmt.Sprintf("c%05d", i)})
	}
	before := map[string]store.Client{}
	for _, c := range f.clients() {
		before[c.ID] = c
	}

	r := f.successor(nil)
	if err := r.ResealSecrets(ctx); err != nil {
		t.Fatal(err)
	}
	box, err := seal.New("client-secret", newSecret)
	if err != nil {
		t.Fatal(err)
	}
	for id, old := range before {
		now := f.client(id)
		want := secrets[id]
		if want == nil {
			if diff := cmp.Diff(old, now); diff != "" {
				t.Errorf("%s has nothing to seal anew (-before +after):\n%s", id, diff)
			}
			continue
		}
		for i, sealed := range []store.Sealed{now.SealedSecret, now.PreviousSecret.Sealed} {
			if opened, err := box.Open(sealed, tenant.DefaultID+"/"+id); err != nil || string(opened) != want[i] {
				t.Errorf("%s: the new secret alone opens %q, %v", id, opened, err)
			}
		}
		old.SealedSecret, old.PreviousSecret.Sealed, old.Version = now.SealedSecret, now.PreviousSecret.Sealed, old.Version+1
		if diff := cmp.Diff(old, now); diff != "" {
			t.Errorf("%s changed otherwise (-before +after):\n%s", id, diff)
		}
	}
	if got := f.client("unknown"); !bytes.Equal(got.SealedSecret, unknown.SealedSecret) {
		t.Error("what cannot be opened was overwritten")
	}
	for _, want := range []string{"all client secrets are sealed with the current secret", "resealed=6", `"not opened"=1`, "client_id=unknown"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(f.log.String(), plain.ClientSecret) {
		t.Error("the log has a secret")
	}

	// Once is enough, and without a former secret there is nothing to do.
	f.log.Reset()
	if err := errors.Join(r.ResealSecrets(ctx), f.registrar.ResealSecrets(ctx)); err != nil || f.log.Len() > 0 {
		t.Errorf("%v, log %q", err, f.log)
	}
}

// A client that changes at the same time keeps the change, one that goes stays away.
func TestResealSecretsBesideChanges(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(*fixture, string) error{
		"changed": func(f *fixture, id string) error {
			c := f.client(id)
			c.Name = "changed"
			return f.stores.Clients.UpdateClient(ctx, c)
		},
		"deleted": func(f *fixture, id string) error {
			return f.stores.Clients.DeleteClient(ctx, tenant.DefaultID, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, options{})
			info, _ := f.register(with(`"id_token_signed_response_alg":"HS256"`))
			r := f.successor(func(cfg *Config) {
				cfg.Stores.Clients = &interfering{f.stores.Clients, []func(){func() {
					if err := change(f, info.ClientID); err != nil {
						t.Error(err)
					}
				}}}
				cfg.UncachedClients = f.stores.Clients
			})
			if err := r.ResealSecrets(ctx); err != nil {
				t.Fatal(err)
			}
			if name == "deleted" {
				if got := f.clients(); len(got) != 0 {
					t.Errorf("clients: %+v", got)
				}
				return
			}
			got := f.client(info.ClientID)
			if got.Name != "changed" || !r.secrets.Current(got.SealedSecret, tenant.DefaultID+"/"+got.ID) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What failed is done in the next call.
func TestResealSecretsGoesOn(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{})
	info, _ := f.register(with(`"id_token_signed_response_alg":"HS256"`))
	broken := errors.New("broken")
	failing := &failingUpdate{f.stores.Clients, broken}
	r := f.successor(func(cfg *Config) { cfg.Stores.Clients, cfg.UncachedClients = failing, f.stores.Clients })
	if err := r.ResealSecrets(ctx); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	failing.err = nil
	if err := r.ResealSecrets(ctx); err != nil {
		t.Fatal(err)
	}
	if got := f.client(info.ClientID); !r.secrets.Current(got.SealedSecret, tenant.DefaultID+"/"+got.ID) {
		t.Error("the secret was not sealed anew")
	}
}

type failingUpdate struct {
	store.ClientStore
	err error
}

func (s *failingUpdate) UpdateClient(ctx context.Context, c store.Client) error {
	if s.err != nil {
		return s.err
	}
	return s.ClientStore.UpdateClient(ctx, c)
}
