package opkit_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// The text of an error of a store, which must reach the log and nobody else.
const storeErrorText = "sql: connection to db-7.internal:5432 refused /srv/app/pool.go:99"

// failing fails the calls of the stores on which requests depend, once armed.
type failing struct{ armed atomic.Bool }

func (f *failing) err() error {
	if f.armed.Load() {
		return errors.New(storeErrorText)
	}
	return nil
}

type failingSessions struct {
	store.SessionStore
	*failing
}

func (s failingSessions) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	if err := s.err(); err != nil {
		return store.Session{}, err
	}
	return s.SessionStore.Session(ctx, tenant, id, now)
}

func (s failingSessions) CreateSession(ctx context.Context, record store.Session) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.SessionStore.CreateSession(ctx, record)
}

type failingGrants struct {
	store.GrantFamilyStore
	*failing
}

func (s failingGrants) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	if err := s.err(); err != nil {
		return store.Grant{}, err
	}
	return s.GrantFamilyStore.FindGrant(ctx, tenant, user, client, audience)
}

func (s failingGrants) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	if err := s.err(); err != nil {
		return store.Family{}, err
	}
	return s.GrantFamilyStore.StartFamily(ctx, f, now)
}

func (s failingGrants) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	if err := s.err(); err != nil {
		return store.Grant{}, err
	}
	return s.GrantFamilyStore.Grant(ctx, tenant, id, family, now)
}

type failingClients struct {
	store.ClientStore
	*failing
}

func (s failingClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	if err := s.err(); err != nil {
		return store.Client{}, err
	}
	return s.ClientStore.Client(ctx, tenant, id)
}

func (s failingClients) CreateClient(ctx context.Context, c store.Client) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.ClientStore.CreateClient(ctx, c)
}

var internals = regexp.MustCompile(`sql:|\.go:|panic|goroutine|db-7|store:|connection refused|/srv/`)

// A store that fails: 5xx or server_error, and not a word of why.
func TestStoreErrorsDoNotLeak(t *testing.T) {
	for _, which := range []string{"sessions", "grants", "clients"} {
		t.Run(which, func(t *testing.T) {
			f := &failing{}
			stores := memstore.New().Stores()
			switch which {
			case "sessions":
				stores.Sessions = failingSessions{stores.Sessions, f}
			case "grants":
				stores.Grants = failingGrants{stores.Grants, f}
			case "clients":
				stores.Clients = failingClients{stores.Clients, f}
			}
			w := newWorld(t, options{stores: stores})
			app := w.register(nil)
			b, fresh := newBrowser(t), newBrowser(t)
			code := w.authorizeIn(b, app).Get("code")
			access := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)["access_token"].(string)
			login := fresh.get(w.authorizeURL(app))
			consent := newBrowser(t)
			consentPage := consent.login(consent.get(w.authorizeURL(app, "prompt", "consent")), "ada", password)

			f.armed.Store(true)
			failed, redeemed := 0, false
			for name, res := range map[string]*response{
				"authorize": b.get(w.authorizeURL(app)),
				"login":     fresh.login(login, "ada", password),
				"consent":   consent.decide(consentPage, "allow"),
				"token":     w.redeem(app, code),
				"userinfo":  w.userinfo(access),
				"register":  w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"redirect_uris":["https://a.example/"]}`),
			} {
				var everything bytes.Buffer
				res.Header.Write(&everything)
				everything.WriteString(res.body)
				if found := internals.FindString(strings.ReplaceAll(everything.String(), "%3A", ":")); found != "" {
					t.Errorf("%s leaks %q: %s", name, found, everything.String())
				}
				redeemed = redeemed || name == "token" && res.StatusCode == http.StatusOK
				switch {
				case res.StatusCode >= 500, strings.Contains(res.Header.Get("Location"), "error=server_error"):
					failed++
				case res.StatusCode == http.StatusUnauthorized && name == "token":
					t.Errorf("%s: a failing store looks like a wrong secret", name)
				case strings.Contains(res.Header.Get("Location"), "code="):
					if name != "authorize" && name != "login" && name != "consent" || which != "clients" {
						t.Errorf("%s succeeded: %s", name, res.Header.Get("Location"))
					}
				}
			}
			if failed == 0 {
				t.Error("nothing failed: the test proves nothing")
			}
			// Nothing was burned: the same code works once the store does.
			f.armed.Store(false)
			if res := w.redeem(app, code); !redeemed && res.StatusCode != 200 {
				t.Errorf("the code after the failure: %d %s", res.StatusCode, res.body)
			}
		})
	}
}
