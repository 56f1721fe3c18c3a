package opkit_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit/tenant"
)

// Whether login pages have a button for a connection is what show_as_button says, and
// without it, whether its users are found by their email address. That they are, it does
// not change.
func TestAButtonForAConnectionOrNone(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		none, some := map[string]any{"client_id": "here", "issuer": u.fake.URL}, map[string]any{"client_id": "here", "issuer": u.fake.URL, "domain_aliases": []string{"partner.example"}}
		u.upstream = u.connect("partner", "oidc", none)
		at := "/connections/" + u.upstream.ID
		for _, tc := range []struct {
			rule    string
			show    any
			options map[string]any
			button  bool
		}{
			{"no domain", nil, none, true},
			{"no domain, shown", true, none, true},
			{"no domain, not shown", false, none, false},
			{"a domain", nil, some, false},
			{"a domain, shown", true, some, true},
			{"a domain, not shown", false, some, false},
		} {
			patched := u.manage(http.MethodPatch, at, string(marshal(t, map[string]any{"show_as_button": tc.show, "options": tc.options})))
			for _, res := range []*response{patched, u.manage(http.MethodGet, at, "")} {
				if got := res.json(t)["show_as_button"]; res.StatusCode != http.StatusOK || got != tc.show {
					t.Errorf("%s: %d %v", tc.rule, res.StatusCode, got)
				}
			}
			realm := len(tc.options) > 2
			b := newBrowser(t)
			page := b.get(u.authorizeURL(u.app))
			if strings.Contains(page.body, "Continue with partner") != tc.button || !strings.Contains(page.body, "Continue with fake") || strings.Contains(page.body, "your email address is enough") != realm {
				t.Errorf("%s: %s", tc.rule, text(page.body))
			}
			if found := strings.HasPrefix(b.login(page, "grace@partner.example", "x").Header.Get("Location"), u.fake.URL); found != realm {
				t.Errorf("%s: found by the address: %t", tc.rule, found)
			}
			if res := newBrowser(t).get(u.authorizeURL(u.app, "connection", "partner")); !strings.HasPrefix(res.Header.Get("Location"), u.fake.URL) {
				t.Errorf("%s: by its name: %d %s", tc.rule, res.StatusCode, text(res.body))
			}
			for address, want := range map[string][2]string{
				u.endpoint.LockTenantInfo: {
					`"social":[{"name":"fake","displayName":"fake","strategy":"oauth2"},{"name":"partner","displayName":"partner","strategy":"oauth2"}]`,
					`"enterprise":[{"name":"partner","displayName":"partner","strategy":"custom","domains":["partner.example"]}]`,
				},
				u.endpoint.LockClientInfo + "/" + u.app.id + ".js": {
					`{"name":"oauth2","connections":[{"name":"fake","display_name":"fake"},{"name":"partner","display_name":"partner"}]}`,
					`{"name":"custom","connections":[{"name":"partner","display_name":"partner","domain_aliases":["partner.example"]}]}`,
				},
			} {
				info := newBrowser(t).get(address).body
				// The order is that of identifiers, which are random.
				info = strings.ReplaceAll(info, `{"name":"partner","displayName":"partner","strategy":"oauth2"},{"name":"fake","displayName":"fake","strategy":"oauth2"}`, `{"name":"fake","displayName":"fake","strategy":"oauth2"},{"name":"partner","displayName":"partner","strategy":"oauth2"}`)
				info = strings.ReplaceAll(info, `{"name":"partner","display_name":"partner"},{"name":"fake","display_name":"fake"}`, `{"name":"fake","display_name":"fake"},{"name":"partner","display_name":"partner"}`)
				if strings.Contains(info, want[0]) != tc.button || strings.Contains(info, want[1]) != realm {
					t.Errorf("%s: Lock is told %s", tc.rule, info)
				}
			}
		}
		// What is not mentioned stays.
		if res := u.manage(http.MethodPatch, at, `{"display_name":"Partner"}`); res.json(t)["show_as_button"] != false {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	})
}

func TestShowAsButtonIsForUpstreams(t *testing.T) {
	u := newFakeWorld(t, options{})
	for _, request := range [][3]string{
		{http.MethodPost, "/connections", `{"name":"more","strategy":"auth0","show_as_button":false}`},
		{http.MethodPatch, "/connections/" + u.connection.ID, `{"show_as_button":true}`},
		{http.MethodPatch, "/connections/" + u.upstream.ID, `{"show_as_button":"false"}`},
	} {
		res := u.manage(request[0], request[1], request[2])
		if message, _ := res.json(t)["message"].(string); res.StatusCode != http.StatusBadRequest || !strings.Contains(message, "show_as_button") {
			t.Errorf("%v: %d %s", request, res.StatusCode, res.body)
		}
	}
	if list := objects(t, u.manage(http.MethodGet, "/connections", "")); len(list) != 2 || list[0]["show_as_button"] != nil || list[1]["show_as_button"] != nil {
		t.Errorf("%v", list)
	}
	res := u.manage(http.MethodPost, "/connections", `{"name":"partner","strategy":"github","show_as_button":false,"options":{"client_id":"here","client_secret":"x"}}`)
	if res.StatusCode != http.StatusCreated || res.json(t)["show_as_button"] != false {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
	if res := u.manage(http.MethodPatch, "/connections/"+u.connection.ID, `{"show_as_button":null}`); res.StatusCode != http.StatusOK {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

// Where connections without a button are all that there is, they have one.
func TestNobodyIsLeftWithoutAWayToSignIn(t *testing.T) {
	u := newFakeWorld(t, options{})
	if err := u.stores.Connections.DeleteConnection(t.Context(), tenant.DefaultID, u.connection.ID); err != nil {
		t.Fatal(err)
	}
	hide := func(id string) {
		t.Helper()
		if res := u.manage(http.MethodPatch, "/connections/"+id, `{"show_as_button":false}`); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
	}
	hide(u.upstream.ID)
	if res := newBrowser(t).get(u.authorizeURL(u.app)); !strings.HasPrefix(res.Header.Get("Location"), u.fake.URL) {
		t.Errorf("the only one: %d %s", res.StatusCode, text(res.body))
	}
	other := u.connect("other", "oidc", map[string]any{"client_id": "here", "issuer": u.fake.URL})
	if page := newBrowser(t).get(u.authorizeURL(u.app)).body; !strings.Contains(page, "Continue with other") || strings.Contains(page, "Continue with fake") {
		t.Errorf("one of two: %s", text(page))
	}
	hide(other.ID)
	if page := newBrowser(t).get(u.authorizeURL(u.app)).body; !strings.Contains(page, "Continue with other") || !strings.Contains(page, "Continue with fake") {
		t.Errorf("none of two: %s", text(page))
	}
}
