package opkit_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// faultWorld is a world whose stores fail when they are told to.
type faultWorld struct {
	*world
	*faults
	admin string   // a token for the whole management API
	user  *browser // whose login costs a password hash, once
	app   registered
	site  *site // where applications publish what they are
	fake  *fakeWorld
	joins store.Connection // see linking
	sites int              // that have done so
	mails mailbox
	users int // that were created for a request
}

func newFaultWorld(t *testing.T) *faultWorld {
	w := &faultWorld{faults: &faults{at: -1}, user: newBrowser(t), site: newSite(t), mails: make(mailbox, 100)}
	w.world = newWorld(t, options{permissive: true, stores: w.around(memstore.New().Stores()), config: func(c *opkit.Config) {
		outboundTo(w.site.Server, "127.0.0.0/8")(c)
		c.Mailer, c.Logger = w.mails.send, slog.New(lostMails{c.Logger.Handler(), w.mails})
	}})
	w.t = t
	ctx := t.Context()
	tn, err := w.provider.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	var scopes []string
	for resource, verbs := range map[string]string{
		"tenant_settings": "read update", "connections": "read create update delete", "signing_keys": "read create update",
		"initial_access_tokens": "read create delete", "client_keys": "update", "clients": "read create update delete",
		"users": "read create update delete", "resource_servers": "read create update delete", "client_grants": "read create update delete",
	} {
		for verb := range strings.FieldsSeq(verbs) {
			scopes = append(scopes, verb+":"+resource)
		}
	}
	const administrator = "administrator"
	if err := w.stores.Clients.CreateClient(ctx, store.Client{
		TenantID: tn.ID(), ID: administrator, Name: "Administrator", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
		SecretDigest: store.DigestOf(machineSecret), GrantTypes: []string{"client_credentials"}, CreatedAt: w.clock.now(),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.provider.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tn.ID(), ClientID: administrator, Audience: tn.ManagementAudience(), SubjectType: store.SubjectClient, Scopes: scopes,
	}); err != nil {
		t.Fatal(err)
	}
	w.admin = w.token(registered{id: administrator, secret: machineSecret}, "grant_type", "client_credentials",
		"audience", tn.ManagementAudience()).json(t)["access_token"].(string)
	if res := w.manage(http.MethodPatch, "/tenants/settings", `{"flags":{"enable_dynamic_client_management":true,"client_id_metadata_document_registration":true}}`); res.StatusCode != http.StatusOK {
		t.Fatalf("settings: %d %s", res.StatusCode, res.body)
	}
	return w
}

func (w *faultWorld) manage(method, path, body string) *response {
	return w.sendJSON(method, w.endpoint.Management+path, w.admin, body)
}

// made creates something with the management API and returns its identifier.
func (w *faultWorld) made(collection, body string) string {
	w.t.Helper()
	res := w.manage(http.MethodPost, collection, body)
	for _, name := range []string{"id", "client_id", "user_id", "kid"} {
		if id, ok := res.json(w.t)[name].(string); ok && res.StatusCode == http.StatusCreated {
			return id
		}
	}
	w.t.Fatalf("POST %s: %d %s", collection, res.StatusCode, res.body)
	return ""
}

func (w *faultWorld) authorize(app registered, params ...string) url.Values {
	w.t.Helper()
	return w.authorizeIn(w.user, app, params...)
}

// application returns an application to which the user has given access.
func (w *faultWorld) application() registered {
	w.t.Helper()
	if w.app.id == "" {
		w.app = w.register(nil)
	}
	w.authorize(w.app)
	return w.app
}

// elsewhere returns the world with a connection to another provider.
func (w *faultWorld) elsewhere() *fakeWorld {
	w.t.Helper()
	if w.fake == nil {
		w.fake = &fakeWorld{world: w.world, fake: newFakeUpstream(w.t), app: w.register(nil)}
		w.fake.fake.w = w.world
		w.fake.upstream = w.connect("fake", "oidc", map[string]any{"client_id": "here", "client_secret": "upstream secret", "issuer": w.fake.fake.URL})
	}
	return w.fake
}

// linking returns a connection that joins accounts.
func (w *faultWorld) linking() store.Connection {
	w.t.Helper()
	if w.joins.ID == "" {
		w.joins = w.connect("linking", "oidc", map[string]any{
			"client_id": "here", "client_secret": "upstream secret", "issuer": w.elsewhere().fake.URL, "account_linking": true,
		})
	}
	return w.joins
}

// published returns an application that nobody has named yet, known by its document.
func (w *faultWorld) published() registered {
	w.t.Helper()
	w.sites++
	path := fmt.Sprintf("/%d.json", w.sites)
	app := registered{id: w.site.URL + path, redirectURI: w.site.URL + "/cb"}
	w.site.serve(map[string]page{path: {"application/json", string(marshal(w.t, map[string]any{
		"client_id": app.id, "client_name": "Published", "redirect_uris": []string{app.redirectURI}, "scope": "openid offline_access of:an-api", // the last makes a store be asked
	})), 0}})
	return app
}

// offline registers an application and gets tokens for it.
func (w *faultWorld) offline() (registered, map[string]any) {
	w.t.Helper()
	app := w.register(nil)
	return app, w.redeem(app, w.authorize(app, "scope", "openid offline_access").Get("code")).json(w.t)
}

// faultScenario is a request to an endpoint.
type faultScenario struct {
	name string
	// prepare does what has to come before and returns the request, which may be sent
	// again.
	prepare func(w *faultWorld) func() *response
	// want is the status of success. Zero: 200.
	want int
	// tolerates are the calls without which the request succeeds.
	tolerates string
	// stays are the changes that a request may have made before it failed. Each is of
	// no use to anybody but whoever may have it.
	stays string
	// again is the status that the request may have if it is sent again and what failed
	// or seemed to fail was done. Zero: it has to succeed then.
	again int
}

// fails is what every answer to a request has to be that a store failed.
func fails(t *testing.T, what fault, res *response) {
	t.Helper()
	checkLeaks(t, res)
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", res.Header.Get("Cache-Control"))
	}
	if location := res.Header.Get("Location"); location != "" {
		want := map[bool]string{false: "server_error", true: "temporarily_unavailable"}[what == faultStall]
		if params := res.location(t); params.Get("error") != want || params.Get("code") != "" {
			t.Errorf("redirect to %s, want %s", location, want)
		}
		return
	}
	switch {
	case res.StatusCode == http.StatusServiceUnavailable:
		if after, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || after < 1 {
			t.Errorf("503 with Retry-After %q", res.Header.Get("Retry-After"))
		}
	case res.StatusCode != http.StatusInternalServerError || what == faultStall:
		t.Errorf("status %d for %s: %s", res.StatusCode, what, res.body)
	}
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		return // a page
	}
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		// As Lock has it.
		Code            string `json:"code"`
		LockDescription string `json:"description"`
	}
	if err := json.Unmarshal([]byte(res.body), &body); err != nil {
		t.Errorf("body %q: %v", res.body, err)
	}
	if body.Error == "" {
		body.Error, body.Description = body.Code, body.LockDescription
	}
	known := []string{"server_error", "temporarily_unavailable", http.StatusText(res.StatusCode)}
	if !slices.Contains(known, body.Error) || body.Error == "server_error" && body.Description != "" {
		t.Errorf("body %s", res.body)
	}
}

func checkLeaks(t *testing.T, res *response) {
	t.Helper()
	var everything strings.Builder
	res.Header.Write(&everything)
	everything.WriteString(res.body)
	text, err := url.QueryUnescape(everything.String())
	if err != nil {
		text = everything.String()
	}
	if found := internals.FindString(text); found != "" {
		t.Errorf("the answer has %q: %s", found, everything.String())
	}
}

// A store that fails at any one of the calls of a request, or does not answer, fails
// the request. Nothing is half done, and the request works when the store does.
func TestAFaultAtEveryCallOfEveryRequest(t *testing.T) {
	for _, s := range slices.Concat(faultsInTheBrowser, faultsOfAccounts, faultsAtEndpoints, faultsInManagement) {
		t.Run(s.name, func(t *testing.T) {
			points, w := 0, newFaultWorld(t)
			kinds := []fault{faultError, faultStall, faultLost}
			if testing.Short() {
				kinds = kinds[:1]
			}
			for _, what := range kinds {
				for at := 0; s.point(t, w, what, at); at++ {
					points++
				}
			}
			if points == 0 {
				t.Error("no store was called")
			}
		})
	}
}

// point lets one call fail and reports whether there was that call.
func (s *faultScenario) point(t *testing.T, w *faultWorld, what fault, at int) bool {
	t.Helper()
	want := s.want
	if want == 0 {
		want = http.StatusOK
	}
	succeeded := func(res *response) bool {
		return res.StatusCode == want && !strings.Contains(res.Header.Get("Location"), "error=server_error") &&
			!strings.Contains(res.Header.Get("Location"), "error=temporarily_unavailable")
	}
	send := s.prepare(w)
	w.arm(what, at)
	res := send()
	call, wrote, unbounded, calls := w.hit(), w.wrote, w.unbounded, w.calls
	w.arm("", -1)
	where := string(what) + " of call " + strconv.Itoa(at) + ", " + call + ", of " + strings.Join(calls, " ")
	if unbounded != "" {
		t.Errorf("%s would have lasted for ever", unbounded)
	}
	switch {
	case call == "":
		if !succeeded(res) {
			t.Errorf("without a fault: %d %s %s", res.StatusCode, res.Header.Get("Location"), res.body)
		}
		return false
	case succeeded(res):
		if !slices.Contains(strings.Fields(s.tolerates), call) {
			t.Errorf("%s: the request succeeded", where)
		}
		return true
	}
	t.Run(where, func(t *testing.T) { fails(t, what, res) })
	for _, change := range wrote {
		if change != call && !slices.Contains(strings.Fields(s.stays), change) {
			t.Errorf("%s: %s stays", where, change)
		}
	}
	if again := send(); !succeeded(again) && again.StatusCode != s.again {
		t.Errorf("%s, sent again: %d %s %s", where, again.StatusCode, again.Header.Get("Location"), text(again.body))
	}
	return true
}
