package opkit_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// own changes whether the connection to the other provider has a redirect URI of its
// own, and registers the one that it has there.
func (u *upstreamWorld) own(is bool) {
	u.t.Helper()
	u.setUpstream(u.upstream, u.options(map[string]any{"own_redirect_uri": is}))
	client, err := u.up.stores.Clients.Client(u.t.Context(), tenant.DefaultID, u.up.id)
	if err != nil {
		u.t.Fatal(err)
	}
	client.RedirectURIs = []string{u.endpoint.LoginCallback}
	if is {
		client.RedirectURIs = []string{u.endpoint.LoginCallback + "/" + u.upstream.ID}
	}
	if err := u.up.stores.Clients.UpdateClient(u.t.Context(), client); err != nil {
		u.t.Fatal(err)
	}
}

// setUpstream replaces the options of a connection with the management API.
func (w *world) setUpstream(c store.Connection, options map[string]any) {
	w.t.Helper()
	body := string(marshal(w.t, map[string]any{"options": options}))
	if res := w.sendJSON(http.MethodPatch, w.endpoint.Management+"/connections/"+c.ID, w.managementToken(), body); res.StatusCode != http.StatusOK {
		w.t.Fatalf("connection: %d %s", res.StatusCode, res.body)
	}
}

// Another opkit compares the redirect URI exactly, at /authorize and with the code.
func TestUpstreamWithItsOwnRedirectURI(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newUpstreamWorld(t, options{mount: mount}, nil)
		u.own(true)
		app, b := u.register(nil), u.away()
		back := u.there(b, u.begin(b, app))
		if want := u.endpoint.LoginCallback + "/" + u.upstream.ID + "?"; !strings.HasPrefix(back, want) {
			t.Errorf("sent back to %s, want %s", back, want)
		}
		// At the address that all share the same answer is none, and is not used up.
		shared := strings.Replace(back, "/"+u.upstream.ID, "", 1)
		if res := b.get(shared); res.StatusCode != http.StatusBadGateway || !strings.Contains(text(res.body), "Signing in with elsewhere did not work.") {
			t.Errorf("%d %s", res.StatusCode, text(res.body))
		}
		if got := b.decide(b.get(back), "allow").location(t); u.redeem(app, got.Get("code")).StatusCode != http.StatusOK {
			t.Errorf("%v", got)
		}
		// Nothing else is served at these addresses.
		for _, id := range []string{u.upstream.ID, "con_absent"} {
			if res := b.get(u.endpoint.LoginCallback + "/" + id + "?transaction=x"); res.StatusCode != http.StatusNotFound {
				t.Errorf("%d %s", res.StatusCode, text(res.body))
			}
			if res := b.post(u.endpoint.LoginCallback+"/"+id, url.Values{"wresult": {"x"}, "wa": {"wsignin1.0"}}); res.StatusCode != http.StatusNotFound {
				t.Errorf("%d %s", res.StatusCode, text(res.body))
			}
		}
	})
}

// RFC 9700 §4.4: a malicious upstream sends the browser on to an honest one, which says
// nothing about who it is, and hopes to be asked to redeem the code of that one. It is
// enough that one of the two has a redirect URI of its own.
func TestUpstreamMixUp(t *testing.T) {
	u := newFakeWorld(t, options{})
	evil := newFakeUpstream(t)
	evil.w = u.world
	silent := map[string]any{"authorization_response_iss_parameter_supported": nil}
	u.fake.set(func() { u.fake.metadata = silent })
	evil.set(func() { evil.metadata = silent })
	at := func(f *fakeUpstream, own bool) map[string]any {
		return map[string]any{"client_id": "here", "client_secret": "upstream secret", "issuer": f.URL, "own_redirect_uri": own}
	}
	honest := u.upstream
	malicious := u.connect("evil", "oidc", at(evil, false))
	for _, tt := range []struct {
		name               string
		honestOwn, evilOwn bool
		landed             string // where the honest upstream sends its code
	}{
		{"the honest one has its own", true, false, "/" + honest.ID},
		{"the malicious one has its own", false, true, ""},
		{"both have", true, true, "/" + honest.ID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u.setUpstream(honest, at(u.fake, tt.honestOwn))
			u.setUpstream(malicious, at(evil, tt.evilOwn))
			b := newBrowser(t)
			u.upstream = malicious
			res := b.get(u.authorizeURL(u.app, "connection", "evil"))
			u.upstream = honest
			sent, err := url.Parse(res.Header.Get("Location"))
			if err != nil || sent.Host != evil.Listener.Addr().String() {
				t.Fatalf("%d %s", res.StatusCode, sent)
			}
			before := evil.exchanges.Load()
			res = b.get(u.endpoint.LoginCallback + tt.landed + "?" + url.Values{"code": {"of the honest one"}, "state": {sent.Query().Get("state")}}.Encode())
			if res.StatusCode != http.StatusBadGateway || !strings.Contains(text(res.body), "Signing in with evil did not work.") {
				t.Errorf("%d %s", res.StatusCode, text(res.body))
			}
			if evil.exchanges.Load() != before {
				t.Error("the malicious upstream learned the code")
			}
			u.nothingHappened(t, b)
		})
	}
}
