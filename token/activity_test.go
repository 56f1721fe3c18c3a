package token

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

func TestConfirmEndsTheProvisionalState(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	client := f.client(dynamicClient)
	confirmed, err := f.issuer.Confirm(ctx, client)
	f.ok(err)
	if stored := f.client(dynamicClient); !stored.ConfirmedAt.Equal(f.clock.Now()) || !stored.LastUsedAt.Equal(f.clock.Now()) || stored.Version != confirmed.Version {
		t.Errorf("stored %+v, returned version %d", stored, confirmed.Version)
	}
	if !client.ConfirmedAt.IsZero() {
		t.Error("the client that was passed is shared and was changed")
	}
	// Once is enough, for a day: nothing is written on the ordinary path.
	f.tap.take()
	for range 3 {
		_, err = f.issuer.Confirm(ctx, f.client(dynamicClient))
		f.ok(err)
	}
	// Nor is it by a node that does not know yet: one attempt that changes nothing.
	_, err = f.issuer.Confirm(ctx, client)
	f.ok(err)
	if got := f.tap.take(); got != "UpdateClient" || f.client(dynamicClient).Version != confirmed.Version {
		t.Errorf("store calls = %q, version %d", got, f.client(dynamicClient).Version)
	}
	// One that was not used for long could be swept: it is noted first.
	first := f.clock.Now()
	f.clock.advance(24 * time.Hour)
	_, err = f.issuer.Confirm(ctx, f.client(dynamicClient))
	f.ok(err)
	if c := f.client(dynamicClient); !c.ConfirmedAt.Equal(first) || !c.LastUsedAt.Equal(f.clock.Now()) {
		t.Errorf("after a day ConfirmedAt = %v, LastUsedAt = %v", c.ConfirmedAt, c.LastUsedAt)
	}
}

func TestConfirmLeavesTheTenantsOwnClientsAlone(t *testing.T) {
	f := newFixture(t)
	f.tap.take()
	_, err := f.issuer.Confirm(t.Context(), f.client(webClient))
	f.ok(err)
	if got := f.tap.take(); got != "" {
		t.Errorf("store calls = %q", got)
	}
}

// Whatever happens at the same time, a client is confirmed in one write.
func TestConcurrentConfirmationsWriteOnce(t *testing.T) {
	f := newFixture(t)
	client := f.client(dynamicClient)
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			if _, err := f.issuer.Confirm(t.Context(), client); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if got := f.client(dynamicClient).Version; got != client.Version+1 {
		t.Errorf("version %d after %d", got, client.Version)
	}
}

func TestConfirmFindsAClientThatIsGone(t *testing.T) {
	f := newFixture(t)
	client := f.client(dynamicClient)
	f.ok(f.mem.DeleteClient(t.Context(), "default", dynamicClient))
	if c, err := f.issuer.Confirm(t.Context(), client); !errors.Is(err, store.ErrNotFound) || c != nil {
		t.Errorf("Confirm = %v, %v", c, err)
	}
	// Also if it goes between a conflict and the look at it.
	f = newFixture(t)
	client = f.client(dynamicClient)
	client.Version += 5
	f.tap.failing("Client")
	if c, err := f.issuer.Confirm(t.Context(), client); !errors.Is(err, errStore) || c != nil {
		t.Errorf("Confirm = %v, %v", c, err)
	}
}

// A token for a client itself is the grant: there is none without a client that
// stays.
func TestClientCredentialsConfirmFirst(t *testing.T) {
	f := newFixture(t)
	for _, values := range []map[string][]string{credentialsForm(dynamicClient), form(dynamicClient, "grant_type", "client_credentials")} {
		f.changeClient(dynamicClient, func(c *store.Client) { c.ConfirmedAt, c.LastUsedAt = time.Time{}, time.Time{} })
		restore := f.tap.failing("UpdateClient")
		f.refused(f.post(values), 500, "server_error")
		restore()
		f.tap.take()
		f.granted(f.post(values))
		if c := f.client(dynamicClient); !c.ConfirmedAt.Equal(f.clock.Now()) {
			t.Errorf("ConfirmedAt = %v", c.ConfirmedAt)
		}
		if got := f.tap.take(); got != "UpdateClient" {
			t.Errorf("store calls of the first time = %q", got)
		}
		f.granted(f.post(values))
		if got := f.tap.take(); got != "" {
			t.Errorf("store calls of the second time = %q", got)
		}
		// Within a day after its use a client is not swept, so that a failure to note
		// the next one fails nothing.
		f.clock.advance(2 * time.Hour)
		restore = f.tap.failing("UpdateClient")
		f.granted(f.post(values))
		restore()
	}
}

// A sweep that was faster is told to the client in the words that it can act on.
func TestClientCredentialsOfAClientThatWasSweptMeanwhile(t *testing.T) {
	f := newFixture(t)
	f.tap.before = func(method string) {
		if method == "UpdateClient" {
			f.ok(f.mem.DeleteClient(t.Context(), "default", dynamicClient))
		}
	}
	f.refused(f.post(credentialsForm(dynamicClient)), 401, "invalid_client")
}
