package dcr

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// recorder keeps the events that it gets.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
}

func (r *recorder) Record(_ context.Context, e audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// take returns the events since the last call, one a line.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, e := range r.events {
		line := fmt.Sprint(e.Type, " ", e.Outcome, " by ", e.Actor, " ", e.Code, " ", strings.Join(e.Reasons, "; "))
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	r.events = nil
	return strings.Join(lines, "\n")
}

func recorded(t *testing.T, o options) (*fixture, *recorder) {
	rec := &recorder{}
	change := o.config
	o.config = func(c *Config) {
		c.Audit = rec
		if change != nil {
			change(c)
		}
	}
	return newFixture(t, o).ready(), rec
}

// Every decision is an event, with its reasons.
func TestEveryDecisionIsAnEvent(t *testing.T) {
	ctx := context.Background()
	f, rec := recorded(t, options{settings: manageable, config: func(c *Config) { c.Lifecycle = Lifecycle{MaxProvisional: 3} }})
	step := func(what, want string) {
		t.Helper()
		if diff := cmp.Diff(want, rec.take()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	info := f.managed(with(""))
	step("registration", "client.registration allowed by registrant")
	f.now = f.now.Add(time.Second) // the oldest goes first
	f.register(with(`"grant_types":["authorization_code","urn:ietf:params:oauth:grant-type:device_code"],"scope":"openid nonsense"`))
	step("a registration with less", "client.registration narrowed by registrant grant_types: urn:ietf:params:oauth:grant-type:device_code is left out; scope: 'nonsense' does not exist here")
	f.post(with(`"redirect_uris":["http://client.example.com/cb"]`))
	step("a refused one", "client.registration refused by registrant invalid_redirect_uri redirect_uris: 'http://client.example.com/cb' uses http, which only a loopback host may; use https")

	f.postWith("Bearer wrong", with(""))
	step("a wrong initial access token", "client.registration refused by registrant invalid_token the initial access token is not valid, has expired, or was used up")
	token, value := f.grantAccess(InitialAccessToken{Uses: 2})
	step("an initial access token", "initial_access_token.creation allowed by")
	f.postWith("Bearer "+value, with(""))
	step("its use", "initial_access_token.use allowed by registrant\nclient.registration allowed by registrant")
	if err := f.registrar.DeleteInitialAccessToken(ctx, tenant.DefaultID, token.ID); err != nil {
		t.Fatal(err)
	}
	step("its end", "initial_access_token.deletion allowed by")

	f.post(with(""))
	step("too many", "client.registration limited by registrant temporarily_unavailable too many applications are registered here that nobody has used yet, try again later")
	f.now = f.now.Add(time.Hour)
	f.register(with(""))
	step("eviction", "client.eviction allowed by too many provisional applications\nclient.registration allowed by registrant")

	for _, c := range f.clients() {
		if c.ID == info.ClientID {
			t.Fatal("the oldest one was not evicted")
		}
	}
	f.now = f.now.Add(48 * time.Hour)
	f.sweep()
	step("expiry", strings.TrimSuffix(strings.Repeat("client.expiry allowed by registered and never used\n", 3), "\n"))

	info = f.managed(with(`"token_endpoint_auth_method":"client_secret_post"`))
	rec.take()
	f.configure("GET", info.ClientID, "wrong", "")
	step("a wrong registration access token", "client.read refused by registrant invalid_token the registration access token is not that of this application, or was replaced")
	f.configure("GET", info.ClientID, info.RegistrationAccessToken, "")
	step("reading", "")
	next, _ := f.put(info.ClientID, info.RegistrationAccessToken, `"client_name":"B"`)
	step("update", "client.update allowed by registrant")
	f.configure("PUT", info.ClientID, next.RegistrationAccessToken, f.replacement(info.ClientID, `"token_endpoint_auth_method":"none"`))
	step("a refused update", "client.update refused by registrant invalid_client_metadata token_endpoint_auth_method: an application that authenticates cannot become one that does not; register another one")
	if _, _, err := f.registrar.RotateSecret(ctx, tenant.DefaultID, info.ClientID, 0); err != nil {
		t.Fatal(err)
	}
	step("a new secret", "client.secret_rotation allowed by")
	f.configure("DELETE", info.ClientID, next.RegistrationAccessToken, "")
	step("deletion", "client.deletion allowed by registrant")

	_, created := f.manage(clientScopes, "POST", "", `{"name":"A","callbacks":["https://own.example.com/cb"]}`)
	step("an administrator's", "client.creation allowed by mgmt")
	id := created["client_id"].(string)
	f.manage(clientScopes, "PATCH", "/"+id, `{"name":"B"}`)
	f.manage(clientScopes, "DELETE", "/"+id, "")
	step("and what else he does", "client.update allowed by mgmt\nclient.deletion allowed by mgmt")
	if _, _, err := f.registrar.CreateClient(ctx, store.Client{TenantID: tenant.DefaultID, ID: "own", FirstParty: true, RedirectURIs: []string{"https://own.example.com/cb"}}, ""); err != nil {
		t.Fatal(err)
	}
	step("the host's", "client.creation allowed by")
}

func TestEventsSayWhoWhenAndWhat(t *testing.T) {
	f, rec := recorded(t, options{})
	info, _ := f.register(with(""))
	want := audit.Event{
		Time: start, TenantID: tenant.DefaultID, Type: audit.ClientRegistration, Outcome: audit.Allowed, ClientID: info.ClientID,
		Actor: audit.ActorRegistrant,
	}
	if len(rec.events) != 1 {
		t.Fatalf("%d events", len(rec.events))
	}
	got := rec.events[0]
	if got.Address.String() != "192.0.2.1" { // that of httptest
		t.Errorf("address %v", got.Address)
	}
	got.Address = want.Address
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// An event is read by other people than the answer.
func TestEventsHaveNoSecrets(t *testing.T) {
	f, rec := recorded(t, options{settings: manageable, mode: store.ModePermissive})
	token, value := f.grantAccess(InitialAccessToken{Uses: 5})
	info := f.managed(with(`"id_token_signed_response_alg":"HS256"`))
	secrets := []string{value, info.RegistrationAccessToken, info.ClientSecret, "hunter2"}
	f.postWith("Bearer "+value, with(""))
	next, _ := f.put(info.ClientID, info.RegistrationAccessToken, `"client_secret":"`+info.ClientSecret+`"`)
	secrets = append(secrets, next.RegistrationAccessToken)
	f.configure("PUT", info.ClientID, next.RegistrationAccessToken, f.replacement(info.ClientID, `"client_secret":"hunter2"`))
	for _, members := range []string{
		`"redirect_uris":["https://user:hunter2@client.example.com/cb"]`, `"logo_uri":"https://user:hunter2@client.example.com/l.png"`,
		`"redirect_uris":["https://a@b:hunter2@client.example.com/cb"]`, `"client_uri":"HTTPS://user:hunter2@client.example.com"`,
		`"software_statement":"hunter2"`,
	} {
		f.post(with(members))
	}
	_, secret, err := f.registrar.RotateSecret(context.Background(), tenant.DefaultID, info.ClientID, 0)
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, secret)
	if len(rec.events) < 10 {
		t.Fatalf("%d events", len(rec.events))
	}
	for _, e := range rec.events {
		text := fmt.Sprintf("%+v", e)
		if i := slices.IndexFunc(secrets, func(s string) bool { return s != "" && strings.Contains(text, s) }); i >= 0 {
			t.Errorf("secret %d is in %s", i, text)
		}
	}
	if !slices.ContainsFunc(rec.events, func(e audit.Event) bool { return e.Subject == token.ID.String() }) {
		t.Error("no event names the initial access token")
	}
}

// A failure is told apart from a refusal, and its cause stays in the log.
func TestAFailureIsAnEventWithoutItsCause(t *testing.T) {
	f, rec := recorded(t, options{stores: func(s *store.Stores) { s.Clients = brokenClients{s.Clients} }})
	if w := f.post(with("")); w.Code != http.StatusInternalServerError {
		t.Fatalf("%d", w.Code)
	}
	if got := rec.take(); got != "client.registration failed by registrant server_error" {
		t.Errorf("%q", got)
	}
}

type brokenClients struct{ store.ClientStore }

func (brokenClients) CreateClient(context.Context, store.Client) error { return errCrash }

// Requests that reach no tenant are nobody's events.
func TestNoTenantNoEvent(t *testing.T) {
	f, rec := recorded(t, options{})
	r := httptest.NewRequest(http.MethodPut, "https://login.example.com/oidc/register", nil)
	f.serve(r)
	if got := rec.take(); got != "" {
		t.Errorf("%q", got)
	}
}
