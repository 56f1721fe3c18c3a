package dcr

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const public = `"token_endpoint_auth_method":"none"`

func reusing(o options) options {
	change := o.config
	o.config = func(c *Config) {
		c.ReusePublicClients = true
		if change != nil {
			change(c)
		}
	}
	return o
}

// One application that registers on every start is one client.
func TestAnApplicationThatRegistersAgainGetsItsClient(t *testing.T) {
	f, rec := recorded(t, reusing(options{}))
	body := `{"client_name":"Tool",` + redirects("http://127.0.0.1:4711/cb", "http://localhost:4711/cb") + `,` + public + `,"contacts":["a@example.com"]}`
	first := f.post(body)
	info := f.decode(first)
	if first.Code != http.StatusCreated || !strings.HasPrefix(info.ClientID, strictPrefix) || len(info.ClientID) != len(strictPrefix)+idLength || !validDynamicID(info.ClientID) {
		t.Fatalf("%d %s", first.Code, first.Body)
	}
	if _, ok := info.raw["client_id_issued_at"]; ok {
		t.Errorf("the answer says since when: %s", first.Body)
	}
	f.now = f.now.Add(time.Hour)
	if again := f.post(body); again.Body.String() != first.Body.String() || again.Code != first.Code {
		t.Errorf("the second answer is %s, the first was %s", again.Body, first.Body)
	}
	// What makes no difference.
	for rule, same := range map[string]string{
		"order of members":         `{` + public + `,"contacts":["a@example.com"],` + redirects("http://127.0.0.1:4711/cb", "http://localhost:4711/cb") + `,"client_name":"Tool"}`,
		"order of redirect URIs":   `{"client_name":"Tool",` + redirects("http://localhost:4711/cb", "http://127.0.0.1:4711/cb") + `,` + public + `,"contacts":["a@example.com"]}`,
		"another loopback port":    `{"client_name":"Tool",` + redirects("http://127.0.0.1:52133/cb", "http://localhost/cb") + `,` + public + `,"contacts":["a@example.com"]}`,
		"defaults that are named":  `{"client_name":"Tool",` + redirects("http://127.0.0.1:4711/cb", "http://localhost:4711/cb") + `,` + public + `,"contacts":["a@example.com"],"response_types":["code"],"grant_types":["refresh_token","authorization_code"],"application_type":"native"}`,
		"members that are ignored": `{"client_name":"Tool","x":1,` + redirects("http://127.0.0.1:4711/cb", "http://localhost:4711/cb") + `,` + public + `,"contacts":["a@example.com"]}`,
	} {
		w := f.post(same)
		got := f.decode(w)
		if got.ClientID != info.ClientID {
			t.Errorf("%s: %s", rule, w.Body)
		}
		// What was asked for is what holds: the port does not count.
		if !strings.Contains(same, strings.Join(got.RedirectURIs, `","`)) {
			t.Errorf("%s: redirect URIs %v", rule, got.RedirectURIs)
		}
	}
	if n := len(f.clients()); n != 1 {
		t.Errorf("%d clients", n)
	}
	if e := rec.events[len(rec.events)-1]; e.Outcome != audit.Reused || e.ClientID != info.ClientID {
		t.Errorf("%+v", e)
	}
}

// Everything that an application says of itself is a part of what it is.
func TestOtherMetadataIsAnotherClient(t *testing.T) {
	f := newFixture(t, reusing(options{mode: store.ModePermissive})).ready()
	seen := map[string]string{}
	for _, body := range []string{
		with(public), with(public + `,"client_name":"A"`), with(public + `,"client_name":"a"`), with(public + `,"scope":"openid"`), with(public + `,"scope":"openid email"`),
		with(public + `,"grant_types":["authorization_code"]`), with(public + `,"application_type":"native"`), with(public + `,"logo_uri":"https://client.example.com/l.png"`),
		with(public + `,"contacts":["a"]`), with(public + `,` + redirects("https://client.example.com/cb", "https://client.example.com/cb2")),
		with(public + `,` + redirects("https://client.example.com/CB")), with(public + `,` + redirects("https://client.example.com:8443/cb")),
		with(public + `,` + redirects("http://127.0.0.1/cb")), with(public + `,` + redirects("http://localhost/cb")), with(public + `,` + redirects("http://[::1]/cb")),
		with(public + `,` + redirects("http://127.0.0.1/cb?x=1")), with(public + `,` + redirects("com.example.app:/cb")), with(public + `,` + jwks(ecKey)),
	} {
		info, _ := f.register(body)
		if other, ok := seen[info.ClientID]; ok {
			t.Errorf("%s is the client of %s", body, other)
		}
		seen[info.ClientID] = body
	}
	f.registrar.cfg.Tenants = directoryOf(t, f, store.ModeStrict)
	if info, _ := f.register(with(public)); seen[info.ClientID] != "" || !strings.HasPrefix(info.ClientID, strictPrefix) {
		t.Errorf("the client of another mode: %s", info.ClientID)
	}
}

func directoryOf(t *testing.T, f *fixture, mode string) *tenant.Directory {
	t.Helper()
	return newFixture(t, options{mode: mode, stores: func(s *store.Stores) { s.Clients = f.stores.Clients }}).registrar.cfg.Tenants
}

// Nothing that belongs to one registrant goes to the next one.
func TestWhatIsNotReused(t *testing.T) {
	twice := func(f *fixture, send func(string) information, body string) bool {
		first, second := send(body), send(body)
		return first.ClientID == second.ClientID
	}
	register := func(f *fixture) func(string) information {
		return func(body string) information { info, _ := f.register(body); return info }
	}
	f := newFixture(t, options{}).ready()
	if twice(f, register(f), with(public)) {
		t.Error("without the setting")
	}
	f = newFixture(t, reusing(options{})).ready()
	for rule, body := range map[string]string{
		"a client with a secret": with(""), "a client with a key": with(`"token_endpoint_auth_method":"private_key_jwt",` + jwks(ecKey)),
	} {
		if twice(f, register(f), body) {
			t.Error(rule)
		}
	}
	_, value := f.grantAccess(InitialAccessToken{Uses: 5})
	if twice(f, func(body string) information { return f.decode(f.postWith("Bearer "+value, body)) }, with(public)) {
		t.Error("with an initial access token")
	}
	if n := len(f.clients()); n != 6 {
		t.Errorf("%d clients", n)
	}
	// Whoever has the registration access token could make another application of it.
	f = newFixture(t, reusing(options{mode: store.ModePermissive})).ready()
	for rule, uri := range map[string]string{"on the user's machine": "http://127.0.0.1/cb", "with a private-use scheme": "com.example.app:/cb"} {
		if twice(f, register(f), with(public+`,`+redirects("https://client.example.com/cb", uri))) {
			t.Error("a permissive one " + rule)
		}
	}
	f = newFixture(t, reusing(options{settings: manageable})).ready()
	if twice(f, register(f), with(public)) {
		t.Error("where applications manage their registration")
	}
}

// A record that is not what was asked for is not given out, whoever made it so.
func TestAChangedClientIsNotReused(t *testing.T) {
	for rule, change := range map[string]func(*store.Client){
		"another name":            func(c *store.Client) { c.Name = "B" },
		"another redirect URI":    func(c *store.Client) { c.RedirectURIs = []string{"https://other.example/cb"} },
		"another method":          func(c *store.Client) { c.TokenEndpointAuthMethod = "client_secret_post" },
		"another logo":            func(c *store.Client) { c.Metadata = &store.ClientMetadata{LogoURI: "https://x.example/l.png"} },
		"registration of its own": func(c *store.Client) { c.Registration = &store.ClientRegistration{} },
	} {
		f := newFixture(t, reusing(options{})).ready()
		_, c := f.register(with(public + `,"client_name":"A"`))
		change(&c)
		if err := f.stores.Clients.UpdateClient(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		info, stored := f.register(with(public + `,"client_name":"A"`))
		if info.ClientID == c.ID || stored.Name != "A" {
			t.Errorf("%s: %+v", rule, stored)
		}
		if again, _ := f.register(with(public + `,"client_name":"A"`)); again.ClientID != info.ClientID {
			t.Errorf("%s: the second client is not found again", rule)
		}
	}
	// What the tenant decided about it goes with it.
	f := newFixture(t, reusing(options{})).ready()
	_, c := f.register(with(public))
	c.Blocked = true
	if err := f.stores.Clients.UpdateClient(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if info, _ := f.register(with(public)); info.ClientID != c.ID {
		t.Error("a blocked application got around that by registering again")
	}
}

// A client that is about to go is not given out; once used it is for ever.
func TestAProvisionalClientIsNotReusedForLong(t *testing.T) {
	f := newFixture(t, reusing(options{})).ready()
	first, _ := f.register(with(public))
	f.now = f.now.Add(12*time.Hour + time.Second)
	second, _ := f.register(with(public))
	if second.ClientID == first.ClientID {
		t.Fatal("it has less than half of its time")
	}
	if again, _ := f.register(with(public)); again.ClientID != second.ClientID {
		t.Error("the second one is not found")
	}
	c := f.client(first.ClientID)
	c.ConfirmedAt, c.LastUsedAt = f.now, f.now
	if err := f.stores.Clients.UpdateClient(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(100 * day)
	if again, _ := f.register(with(public)); again.ClientID != first.ClientID {
		t.Error("a confirmed one was not found")
	}
}

// An identifier that comes back brings nothing with it.
func TestAReusedIdentifierInheritsNothing(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, reusing(options{})).ready()
	info, _ := f.register(with(public))
	if err := f.stores.Clients.DeleteClient(ctx, tenant.DefaultID, info.ClientID); err != nil { // a deletion that was not finished
		t.Fatal(err)
	}
	if err := f.stores.ClientGrants.CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tenant.DefaultID, ID: "cg", ClientID: info.ClientID, Audience: "notes:api", SubjectType: store.SubjectUser,
	}); err != nil {
		t.Fatal(err)
	}
	again, _ := f.register(with(public))
	if again.ClientID != info.ClientID {
		t.Fatalf("%s, %s", again.ClientID, info.ClientID)
	}
	grants, err := f.stores.ClientGrants.ClientGrants(ctx, tenant.DefaultID, store.Page{})
	if err != nil || len(grants) != 0 {
		t.Errorf("%v (%v)", grants, err)
	}
}

func TestTenantsAndProvidersHaveTheirOwnIdentifiers(t *testing.T) {
	f := newFixture(t, reusing(options{})).ready()
	other := newFixture(t, reusing(options{config: func(c *Config) { c.Secrets = [][]byte{[]byte(strings.Repeat("o", 32))} }})).ready()
	mine, _ := f.register(with(public))
	theirs, _ := other.register(with(public))
	if mine.ClientID == theirs.ClientID {
		t.Error("two providers have one identifier")
	}
	c := f.client(mine.ClientID)
	extra := c.Extra()
	identity := identityOf(&c, &extra)
	if c.ID != f.registrar.derivedID(&c, identity, 0) {
		t.Fatal("not derived")
	}
	c.TenantID = "other"
	if c.ID == f.registrar.derivedID(&c, identity, 0) {
		t.Error("two tenants have one identifier")
	}
}

// Of many at once one creates the client, and all get it.
func TestReuseUnderConcurrency(t *testing.T) {
	f := newFixture(t, reusing(options{})).ready()
	var running sync.WaitGroup
	ids := make([]string, 32)
	for i := range ids {
		running.Go(func() {
			w := f.post(with(public))
			if _, rest, ok := strings.Cut(w.Body.String(), `"client_id":"`); ok && w.Code == http.StatusCreated {
				ids[i], _, _ = strings.Cut(rest, `"`)
			} else {
				ids[i] = fmt.Sprint(w.Code, w.Body)
			}
		})
	}
	running.Wait()
	for _, id := range ids {
		if id != ids[0] || !validDynamicID(id) {
			t.Fatalf("%v", ids)
		}
	}
	if n := len(f.clients()); n != 1 {
		t.Errorf("%d clients", n)
	}
}
