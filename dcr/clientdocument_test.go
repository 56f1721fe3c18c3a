package dcr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const documentURL = "https://app.example.com/client.json"

// web is the internet: what is at a URL, and what was asked for.
type web struct {
	mu    sync.Mutex
	pages map[string]webPage
	asked []string
	gate  chan struct{} // not nil: answers wait until it is closed
}

type webPage struct {
	body         string
	contentType  string // empty: application/json
	cacheControl string
	err          error
}

func (w *web) Fetch(ctx context.Context, url, accept string) (httpx.Fetched, error) {
	w.mu.Lock()
	w.asked = append(w.asked, url+" "+accept)
	page, ok := w.pages[url]
	gate := w.gate
	w.mu.Unlock()
	if gate != nil {
		<-gate
	}
	switch {
	case !ok:
		return httpx.Fetched{}, &httpx.StatusError{Status: http.StatusNotFound}
	case page.err != nil:
		return httpx.Fetched{}, page.err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if page.contentType != "" {
		header.Set("Content-Type", page.contentType)
	}
	if page.cacheControl != "" {
		header.Set("Cache-Control", page.cacheControl)
	}
	return httpx.Fetched{Header: header, Body: []byte(page.body)}, nil
}

func (w *web) put(url string, page webPage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[url] = page
}

func (w *web) times() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

// published returns a fixture whose tenant accepts documents, and the internet with
// the document of one application.
func published(t testing.TB, o options) (*fixture, *web) {
	t.Helper()
	settings := o.settings
	o.settings = func(s *store.TenantSettings) {
		s.Flags.ClientIDMetadataDocumentRegistration = true
		if settings != nil {
			settings(s)
		}
	}
	f := newFixture(t, o)
	w := &web{pages: map[string]webPage{documentURL: {body: document("")}}}
	f.registrar.documents.fetcher.outbound = w
	f.registrar.sectors.outbound = w
	return f, w
}

// document returns a document that is right but for what members say: `"a":1`.
func document(members string) string { return documentAt(documentURL, members) }

func documentAt(url, members string) string {
	body := ""
	if !strings.Contains(members, `"client_id"`) {
		body += `,"client_id":"` + url + `"`
	}
	if !strings.Contains(members, `"redirect_uris"`) {
		body += `,"redirect_uris":["https://app.example.com/cb"]`
	}
	if members != "" {
		body += "," + members
	}
	return "{" + body[1:] + "}"
}

// resolve looks a client up as an authorization request does.
func (f *fixture) resolve(id string) (store.Client, error) {
	return f.registrar.CurrentClients().Client(context.Background(), tenant.DefaultID, id)
}

// unusable makes sure that a resolution failed as it does for a document, with a
// text that has want in it, and that nothing was stored.
func (f *fixture) unusable(name string, err error, want string) {
	f.t.Helper()
	e, ok := errors.AsType[*oauth.Error](err)
	if !ok || e.Code != oauth.CodeInvalidClient || e.Status != http.StatusUnauthorized || !strings.Contains(e.Description, want) {
		f.t.Errorf("%s: %v, want invalid_client with %q", name, err, want)
	}
	if !errors.Is(err, store.ErrNotFound) {
		f.t.Errorf("%s: %v is not store.ErrNotFound", name, err)
	}
	if n := len(f.clients()); n != 0 {
		f.t.Errorf("%s: %d clients were stored", name, n)
	}
}

// use stores the record that a first use writes.
func (f *fixture) use(c store.Client) store.Client {
	f.t.Helper()
	c = c.Clone()
	c.ConfirmedAt, c.LastUsedAt = f.now, f.now
	var err error
	if c.Version == 0 {
		err = f.stores.Clients.CreateClient(context.Background(), c)
	} else {
		err = f.stores.Clients.UpdateClient(context.Background(), c)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return f.client(c.ID)
}

func TestDocumentMakesAClient(t *testing.T) {
	f, w := published(t, options{mode: store.ModePermissive})
	w.put(documentURL, webPage{body: document(`"client_name":"My application","client_uri":"https://app.example.com/","token_endpoint_auth_method":"none",
		"redirect_uris":["https://app.example.com/cb","http://127.0.0.1/cb","com.example.app:/cb"],"scope":"openid notes nonsense",
		"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"application_type":"native","unknown":{"a":[1]}`)})
	got, err := f.resolve(documentURL)
	if err != nil {
		t.Fatal(err)
	}
	if got.Revision <= 0 {
		t.Errorf("revision %d", got.Revision)
	}
	got.Revision = 0
	want := store.Client{
		TenantID: tenant.DefaultID, ID: documentURL, Name: "My application", Dynamic: true,
		SecurityMode: store.ModeStrict, TokenEndpointAuthMethod: "none",
		RedirectURIs: []string{"https://app.example.com/cb", "http://127.0.0.1/cb", "com.example.app:/cb"},
		GrantTypes:   []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		ApplicationType: "native", Scope: "openid notes",
		Metadata:  &store.ClientMetadata{ClientURI: "https://app.example.com/"},
		Document:  &store.ClientDocument{FetchedAt: start},
		CreatedAt: start,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{documentURL + " application/json"}, w.asked); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
	if n := len(f.clients()); n != 0 {
		t.Errorf("%d clients were stored", n)
	}
}

// Ordinary identifiers go where they went before.
func TestOrdinaryClientsAreNotDocuments(t *testing.T) {
	f, w := published(t, options{})
	_, stored := f.register(with(""))
	got, err := f.resolve(stored.ID)
	if diff := cmp.Diff(stored, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for _, id := range []string{"", "nobody", "http://app.example.com/client.json", "HTTPS://app.example.com/client.json", "https:/app.example.com/client.json", " " + documentURL} {
		if _, err := f.resolve(id); err != store.ErrNotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	if w.times() != 0 {
		t.Errorf("asked %v", w.asked)
	}
	resolver := clientReader(f.registrar.CurrentClients())
	if n := testing.AllocsPerRun(100, func() { resolver.Client(t.Context(), tenant.DefaultID, "nobody") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

type clientReader interface {
	Client(ctx context.Context, tenant, id string) (store.Client, error)
}

// A client that the tenant set up under a URL is what the tenant says, whatever the
// flag and the document are.
func TestPreRegisteredURL(t *testing.T) {
	f, w := published(t, options{settings: func(s *store.TenantSettings) { s.Flags.ClientIDMetadataDocumentRegistration = false }})
	for _, id := range []string{documentURL, "https://app.example.com/"} {
		made, _, err := f.registrar.CreateClient(t.Context(), store.Client{TenantID: tenant.DefaultID, ID: id, FirstParty: true, RedirectURIs: []string{"https://elsewhere.example/cb"}}, "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.resolve(id)
		if diff := cmp.Diff(made, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	}
	if w.times() != 0 {
		t.Errorf("asked %v", w.asked)
	}
}

func TestDocumentsAreOffByDefault(t *testing.T) {
	f, w := published(t, options{settings: func(s *store.TenantSettings) { s.Flags.ClientIDMetadataDocumentRegistration = false }})
	_, err := f.resolve(documentURL)
	f.unusable("switched off", err, "not enabled")
	if w.times() != 0 {
		t.Errorf("asked %v", w.asked)
	}
	// A client that has a record is not served either.
	f.use(store.Client{TenantID: tenant.DefaultID, ID: documentURL, Dynamic: true, Document: &store.ClientDocument{FetchedAt: start}})
	if _, err := f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("with a record: %v", err)
	}
}

func TestPolicyDecidesBeforeAnythingIsFetched(t *testing.T) {
	var asked []string
	f, w := published(t, options{config: func(c *Config) {
		c.Documents.Allow = func(_ context.Context, tenant, id string) bool {
			asked = append(asked, tenant+" "+id)
			return false
		}
	}})
	_, err := f.resolve(documentURL)
	f.unusable("not allowed", err, "not accepted here")
	_, err = f.resolve("https://app.example.com/../x")
	f.unusable("malformed", err, "dot segments")
	if diff := cmp.Diff([]string{tenant.DefaultID + " " + documentURL}, asked); diff != "" || w.times() != 0 {
		t.Errorf("asked the internet %v, the policy (-want +got)\n%s", w.asked, diff)
	}
}

func TestTenantsDoNotShareDocuments(t *testing.T) {
	f, w := published(t, options{})
	if _, err := f.resolve(documentURL); err != nil {
		t.Fatal(err)
	}
	f.tenants("other")
	if _, err := f.registrar.documents.get(t.Context(), documentKey{"other", documentURL}, 0, false); err != nil || w.times() != 2 {
		t.Errorf("%v, asked %v", err, w.asked)
	}
}

// A tenant that changes its settings need not wait until a document is old: it may
// have changed what it accepts.
func TestSettingsCountAtOnce(t *testing.T) {
	f, w := published(t, options{})
	w.put(documentURL, webPage{body: document(""), cacheControl: "max-age=86400"})
	ask := func(want int) {
		t.Helper()
		if _, err := f.resolve(documentURL); err != nil || w.times() != want {
			t.Errorf("%v, asked %d times, want %d", err, w.times(), want)
		}
	}
	change := func() {
		t.Helper()
		if _, err := f.registrar.cfg.Tenants.UpdateSettings(t.Context(), tenant.DefaultID, func(s *store.TenantSettings) error {
			s.FriendlyName += "x"
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	ask(1)
	change()
	ask(2)
	ask(2)
	// Nobody is made to wait for it, as strangers are: the document was good before.
	c, err := f.resolve(documentURL)
	if err != nil {
		t.Fatal(err)
	}
	f.use(c)
	change()
	for i := range hostFetchBurst {
		f.tooMany(context.Background(), fmt.Sprintf("https://app.example.com:%d/c", 1000+i))
	}
	asked := w.times()
	ask(asked + 1)
	// What was refused by the former settings is not remembered either.
	w.put(documentURL, webPage{err: &httpx.StatusError{Status: http.StatusNotFound}})
	change()
	if _, err := f.resolve(documentURL); err == nil {
		t.Fatal("found")
	}
	w.put(documentURL, webPage{body: document("")})
	change()
	ask(asked + 3)
}

// What users allowed is remembered for what they saw; what a client is now is written
// when it is next used.
func TestChangedDocument(t *testing.T) {
	f, w := published(t, options{})
	w.put(documentURL, webPage{body: document(`"client_name":"One","scope":"openid"`)})
	first, err := f.resolve(documentURL)
	if err != nil {
		t.Fatal(err)
	}
	record := f.use(first)
	same, err := f.resolve(documentURL)
	if err != nil || same.Version != record.Version || !same.LastUsedAt.Equal(record.LastUsedAt) || same.Revision != first.Revision || !same.ConfirmedAt.Equal(record.ConfirmedAt) {
		t.Fatalf("unchanged: %+v, %v", same, err)
	}
	reload := func(members string) store.Client {
		t.Helper()
		w.put(documentURL, webPage{body: document(members)})
		f.now = f.now.Add(documentFresh)
		c, err := f.resolve(documentURL)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// What users do not see changes nothing about what they allowed.
	c := reload(`"client_name":"One","scope":"openid profile"`)
	if c.Revision != first.Revision || !c.LastUsedAt.IsZero() || c.Scope != "openid profile" || c.Version != record.Version || !c.CreatedAt.Equal(record.CreatedAt) {
		t.Errorf("another scope: %+v", c)
	}
	seen := []int64{first.Revision}
	for _, members := range []string{
		`"client_name":"Two"`, `"client_name":"One","logo_uri":"https://app.example.com/logo"`, `"client_name":"One","client_uri":"https://app.example.com/"`,
		`"client_name":"One","tos_uri":"https://app.example.com/"`, `"client_name":"One","policy_uri":"https://app.example.com/"`,
		`"client_name":"One","redirect_uris":["https://app.example.com/cb","https://app.example.com/other"]`, `"client_name":"One","application_type":"native"`,
	} {
		c := reload(members)
		if slices.Contains(seen, c.Revision) || !c.LastUsedAt.IsZero() || c.ConfirmedAt.IsZero() {
			t.Errorf("%s: %+v", members, c)
		}
		seen = append(seen, c.Revision)
	}
	if f.use(c); f.client(documentURL).Revision != first.Revision {
		t.Error("a use of the first look changed the revision")
	}
	if back := reload(`"client_name":"One","scope":"openid profile"`); back.Revision != first.Revision || back.LastUsedAt.IsZero() {
		t.Errorf("as the record says: %+v", back)
	}
	// A revision that was written counts, also after the secret was replaced.
	f.registrar.revisions = newFixture(t, options{config: func(c *Config) { c.Secrets = [][]byte{bytes.Repeat([]byte("x"), 32)} }}).registrar.revisions
	if again := reload(`"client_name":"One","scope":"openid profile"`); again.Revision != first.Revision {
		t.Error("another secret makes another revision of what did not change")
	}
}

func TestRevisionsOfNodesAgree(t *testing.T) {
	f, _ := published(t, options{})
	other, _ := published(t, options{})
	stranger, _ := published(t, options{config: func(c *Config) { c.Secrets = [][]byte{bytes.Repeat([]byte("x"), 32)} }})
	var revisions []int64
	for _, f := range []*fixture{f, other, stranger} {
		c, err := f.resolve(documentURL)
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, c.Revision)
	}
	if revisions[0] != revisions[1] || revisions[0] == revisions[2] {
		t.Errorf("two nodes and another provider: %v", revisions)
	}
}

// A change that would turn the tokens that a client has into something else is
// refused, as it is where a registration is replaced.
func TestChangesThatAreRefused(t *testing.T) {
	pairwise := `"subject_type":"pairwise"`
	for name, c := range map[string]struct{ before, after, want string }{
		"no authentication any more": {`"token_endpoint_auth_method":"private_key_jwt",` + jwks(ecKey), `"token_endpoint_auth_method":"none"`, "token_endpoint_auth_method"},
		"another kind of subject":    {``, pairwise, "subject_type"},
		"another sector":             {pairwise, pairwise + `,"redirect_uris":["https://other.example/cb"]`, "sector"},
	} {
		f, w := published(t, options{config: func(c *Config) { c.Documents.InsecureForeignRedirects = true }})
		w.put(documentURL, webPage{body: document(c.before)})
		client, err := f.resolve(documentURL)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		record := f.use(client)
		w.put(documentURL, webPage{body: document(c.after)})
		f.now = f.now.Add(documentFresh)
		for _, resolver := range []ClientResolver{f.registrar.Clients(), f.registrar.CurrentClients()} {
			_, err = resolver.Client(t.Context(), tenant.DefaultID, documentURL)
			e, ok := errors.AsType[*oauth.Error](err)
			if !ok || e.Code != oauth.CodeInvalidClient || !strings.Contains(e.Description, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if diff := cmp.Diff(record, f.client(documentURL)); diff != "" {
			t.Errorf("%s: the record (-want +got)\n%s", name, diff)
		}
	}
}

// While a host is down, tokens go on for a day and authorization does not. What the
// owner says counts at once.
func TestRecordWhileTheHostIsDown(t *testing.T) {
	down := map[string]error{
		"no answer":   errors.New("dial tcp 192.0.2.1:443: i/o timeout"),
		"5xx":         &httpx.StatusError{Status: http.StatusBadGateway},
		"come later":  &httpx.StatusError{Status: http.StatusTooManyRequests},
		"certificate": errors.New("tls: failed to verify certificate"),
	}
	said := map[string]error{
		"gone":              &httpx.StatusError{Status: http.StatusGone},
		"not found":         &httpx.StatusError{Status: http.StatusNotFound},
		"elsewhere":         &httpx.StatusError{Status: http.StatusFound},
		"too large":         httpx.ErrTooLarge,
		"an address inside": fmt.Errorf("%w: 10.0.0.1:443", httpx.ErrForbiddenAddress),
	}
	setUp := func(err error) (*fixture, *web, store.Client) {
		f, w := published(t, options{})
		c, resolveErr := f.resolve(documentURL)
		if resolveErr != nil {
			t.Fatal(resolveErr)
		}
		record := f.use(c)
		w.put(documentURL, webPage{err: err})
		f.now = f.now.Add(documentFresh)
		return f, w, record
	}
	for name, failure := range down {
		f, w, record := setUp(failure)
		if _, err := f.resolve(documentURL); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: authorization: %v", name, err)
		}
		got, err := f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL)
		if diff := cmp.Diff(record, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
		f.now = start.Add(documentGrace)
		_, err = f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL)
		if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Status != http.StatusServiceUnavailable || e.RetryAfter <= 0 || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: after a day: %v", name, err)
		}
		w.put(documentURL, webPage{body: document("")})
		f.now = f.now.Add(documentCooldown)
		if _, err := f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL); err != nil {
			t.Errorf("%s: when it is up again: %v", name, err)
		}
	}
	for name, failure := range said {
		f, _, _ := setUp(failure)
		_, err := f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL)
		if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeInvalidClient || strings.Contains(e.Description, "10.0.0.1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, w, _ := setUp(nil)
	w.put(documentURL, webPage{body: document(`"client_id":"https://app.example.com/other"`)})
	if _, err := f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another client_id: %v", err)
	}
}

// A store that fails is no reason to believe a stranger, nor to remember anything.
func TestStoreFailsWhileADocumentIsRead(t *testing.T) {
	broken := errors.New("the database is away")
	var fail bool
	f, w := published(t, options{stores: func(s *store.Stores) { s.APIs = failingAPIs{s.APIs, &fail, broken} }})
	w.put(documentURL, webPage{body: document(`"scope":"notes"`)})
	fail = true
	if _, err := f.resolve(documentURL); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	fail = false
	if c, err := f.resolve(documentURL); err != nil || c.Scope != "notes" {
		t.Errorf("afterwards: %v, %v", c, err)
	}
}

// A store that does not answer keeps nobody waiting for ever, although the one who
// fetches does it for others as well. Nothing is concluded from it.
func TestStoreStallsWhileADocumentIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalls := true
		f, w := published(t, options{stores: func(s *store.Stores) { s.APIs = stallingAPIs{s.APIs, &stalls} }})
		w.put(documentURL, webPage{body: document(`"scope":"notes"`)})
		begun := time.Now()
		if _, err := f.resolve(documentURL); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if d := time.Since(begun); d != refreshTimeout {
			t.Errorf("after %v", d)
		}
		stalls = false
		if c, err := f.resolve(documentURL); err != nil || c.Scope != "notes" {
			t.Errorf("afterwards: %v, %v", c, err)
		}
	})
}

type stallingAPIs struct {
	store.APIStore
	stalls *bool
}

func (s stallingAPIs) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	if *s.stalls {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.APIStore.APIs(ctx, tenant, page)
}

type failingAPIs struct {
	store.APIStore
	fail *bool
	err  error
}

func (s failingAPIs) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	if *s.fail {
		return nil, s.err
	}
	return s.APIStore.APIs(ctx, tenant, page)
}
