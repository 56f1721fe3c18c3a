package dcr

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const (
	sectorURI     = "https://sector.example/uris.json"
	pairwiseApp   = `"subject_type":"pairwise","sector_identifier_uri":"` + sectorURI + `","redirect_uris":["https://a.example/cb","com.example.app:/cb"]`
	sectorMembers = `["https://b.example/cb","com.example.app:/cb","https://a.example/cb"]`
)

// One request is sent, and the answer says what was registered.
func TestSectorDocumentListsTheRedirectURIs(t *testing.T) {
	f := newFixture(t, options{})
	f.documents.byURL[sectorURI] = sectorMembers
	info, stored := f.register(with(pairwiseApp))
	if stored.Metadata == nil || stored.Metadata.SubjectType != "pairwise" || stored.Metadata.SectorIdentifierURI != sectorURI {
		t.Errorf("stored %+v", stored.Metadata)
	}
	if info.raw["subject_type"] != "pairwise" || info.raw["sector_identifier_uri"] != sectorURI {
		t.Errorf("answer %v", info.raw)
	}
	if diff := cmp.Diff([]string{sectorURI + " application/json"}, f.documents.fetched); diff != "" {
		t.Errorf("fetched (-want +got)\n%s", diff)
	}
	f.register(with(`"subject_type":"pairwise"`)) // one host needs no document
	if len(f.documents.fetched) != 1 {
		t.Errorf("fetched %q", f.documents.fetched)
	}
}

func TestSectorDocumentRefused(t *testing.T) {
	for name, test := range map[string]struct{ document, text string }{
		"a redirect URI is not listed":  {`["https://a.example/cb"]`, "does not list the redirect URI 'com.example.app:/cb'"},
		"it is listed in another case":  {`["https://A.example/cb","com.example.app:/cb"]`, "does not list the redirect URI 'https://a.example/cb'"},
		"only a prefix of it is listed": {`["https://a.example/","com.example.app:/cb"]`, "does not list the redirect URI"},
		"the list is empty":             {`[]`, "does not list the redirect URI"},
		"an object":                     {`{"redirect_uris":["https://a.example/cb","com.example.app:/cb"]}`, "is not a JSON array"},
		"a string":                      {`"https://a.example/cb"`, "is not a JSON array"},
		"null":                          {`null`, "is not a JSON array"},
		"nothing":                       {``, "is not a JSON array"},
		"a page":                        {`<html>`, "is not a JSON array"},
		"cut off":                       {`["https://a.example/cb","com.example.app:/cb"`, "is not a JSON array"},
		"two values":                    {`["https://a.example/cb","com.example.app:/cb"] []`, "is not a JSON array"},
		"a number among strings":        {`["https://a.example/cb","com.example.app:/cb",1]`, "is not a JSON array"},
		"arrays in it":                  {`[["https://a.example/cb","com.example.app:/cb"]]`, "is not a JSON array"},
		"nested deeply":                 {strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "is not a JSON array"},
		"not UTF-8":                     {"[\"\xff\",\"https://a.example/cb\",\"com.example.app:/cb\"]", "is not a JSON array"},
		"too many":                      {`["https://a.example/cb","com.example.app:/cb"` + strings.Repeat(`,"x"`, 999) + `]`, "is not a JSON array of at most 1000 strings"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, options{})
			f.documents.byURL[sectorURI] = test.document
			w := f.post(with(pairwiseApp))
			info := f.decode(w)
			if w.Code != http.StatusBadRequest || info.Error != "invalid_client_metadata" || !strings.HasPrefix(info.ErrorDescription, "sector_identifier_uri: '"+sectorURI+"' "+test.text) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if n := len(f.clients()); n != 0 {
				t.Errorf("%d clients were stored", n)
			}
			// Neither a wrong document nor a mended one has to wait.
			f.documents.byURL[sectorURI] = sectorMembers
			f.register(with(pairwiseApp))
		})
	}
}

// What failed says nothing of the network, and is not tried again at once.
func TestSectorDocumentThatCannotBeFetched(t *testing.T) {
	f := newFixture(t, options{})
	for range 3 {
		w := f.post(with(pairwiseApp))
		if info := f.decode(w); w.Code != http.StatusBadRequest || info.Error != "invalid_client_metadata" ||
			info.ErrorDescription != "sector_identifier_uri: '"+sectorURI+"' cannot be fetched" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if len(f.documents.fetched) != 1 || len(f.clients()) != 0 {
		t.Errorf("fetched %q, %d clients", f.documents.fetched, len(f.clients()))
	}
	f.documents.byURL[sectorURI] = sectorMembers
	f.now = start.Add(sectorCooldown)
	f.register(with(pairwiseApp))
}

// Nothing is fetched for a registration that fails anyhow.
func TestSectorDocumentComesLast(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Limiter = &once{} }})
	f.post(with("")) // uses the limiter up
	if w := f.post(with(pairwiseApp)); w.Code != http.StatusTooManyRequests {
		t.Errorf("limited: %d %s", w.Code, w.Body)
	}
	g := newFixture(t, options{off: true})
	if w := g.post(with(pairwiseApp)); w.Code != http.StatusForbidden {
		t.Errorf("switched off: %d %s", w.Code, w.Body)
	}
	h := newFixture(t, options{})
	for _, members := range []string{
		`"scope":"a\"b"`, `"grant_types":["password"]`, `"client_name":" "`, `"logo_uri":"javascript:x"`, `"id_token_signed_response_alg":"none"`,
		`"jwks":{"keys":[]}`, `"backchannel_logout_uri":"http://x.example/"`, `"post_logout_redirect_uris":["http://x.example/"]`,
	} {
		if w := h.post(with(pairwiseApp + "," + members)); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "sector_identifier_uri") {
			t.Errorf("%s: %d %s", members, w.Code, w.Body)
		}
	}
	for _, f := range []*fixture{f, g, h} {
		if len(f.documents.fetched) != 0 {
			t.Errorf("fetched %q", f.documents.fetched)
		}
	}
}

// once admits one attempt.
type once struct{ used bool }

func (o *once) Admit(context.Context, Attempt) (time.Duration, error) {
	if o.used {
		return time.Minute, nil
	}
	o.used = true
	return 0, nil
}

// Strangers cannot make the provider hold more than so many connections.
func TestSectorDocumentsAreNotFetchedWithoutLimit(t *testing.T) {
	f := newFixture(t, options{})
	waiting, leave := make(chan struct{}), make(chan struct{})
	f.documents.wait = func() { waiting <- struct{}{}; <-leave }
	done := make(chan int)
	for range maxSectorFetches {
		go func() { done <- f.post(with(pairwiseApp)).Code }()
		<-waiting
	}
	w := f.post(with(pairwiseApp))
	if info := f.decode(w); w.Code != http.StatusServiceUnavailable || info.Error != "temporarily_unavailable" || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(leave)
	for range maxSectorFetches {
		<-done
	}
	f.documents.wait = nil
	f.documents.byURL[sectorURI] = sectorMembers
	f.register(with(pairwiseApp))
}

// A client that hangs up says nothing about the document.
func TestSectorDocumentOfAnAbandonedRegistration(t *testing.T) {
	f := newFixture(t, options{})
	ctx, cancel := context.WithCancel(context.Background())
	f.documents.wait = cancel
	r := httptest.NewRequest(http.MethodPost, "https://login.example.com/oidc/register", strings.NewReader(with(pairwiseApp))).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	if w := f.serve(r); w.Code != http.StatusServiceUnavailable || len(f.clients()) != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.documents.wait = nil
	f.documents.byURL[sectorURI] = sectorMembers
	f.register(with(pairwiseApp))
}

// The tenant's own clients have the same rules.
func TestCreateClientWithPairwiseSubjects(t *testing.T) {
	f := newFixture(t, options{})
	c := store.Client{
		TenantID: tenant.DefaultID, FirstParty: true, RedirectURIs: []string{"https://a.example/cb", "https://b.example/cb"},
		Metadata: &store.ClientMetadata{SubjectType: "pairwise"},
	}
	create := func(want string) {
		t.Helper()
		_, _, err := f.registrar.CreateClient(context.Background(), c, "")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	create("sector_identifier_uri is required")
	c.Metadata.SectorIdentifierURI = sectorURI
	create("cannot be fetched")
	f.now = start.Add(sectorCooldown)
	f.documents.byURL[sectorURI] = `["https://a.example/cb"]`
	create("does not list the redirect URI 'https://b.example/cb'")
	if n := len(f.clients()); n != 0 {
		t.Errorf("%d clients", n)
	}
	f.documents.byURL[sectorURI] = `["https://a.example/cb","https://b.example/cb"]`
	create("")
	c.RedirectURIs, c.Metadata = c.RedirectURIs[:1], &store.ClientMetadata{SubjectType: "pairwise"}
	create("")
}

func FuzzSectorDocument(f *testing.F) {
	for _, s := range []string{sectorMembers, "[]", "", "[1]", `["\u0061",""]`, `[["a"]]`, `{"a":[]}`, "\"\xff\"", " [ \"a\" , \"b\" ] "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		got, ok := decodeSector(document)
		if !ok {
			if got != nil {
				t.Fatalf("an error came with %q", got)
			}
			return
		}
		var want []string
		if err := json.Unmarshal(document, &want); err != nil || !utf8.Valid(document) || !slices.Equal(got, want) {
			t.Fatalf("%q: read as %q, is %q, %v", document, got, want, err)
		}
	})
}
