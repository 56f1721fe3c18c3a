package opkit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// pairwiseApp registers an application with pairwise subjects that is redirected to
// host, may log out and use every flow.
func (w *world) pairwiseApp(host string, metadata map[string]any) registered {
	w.t.Helper()
	request := map[string]any{
		"redirect_uris": []string{"https://" + host + "/cb"}, "subject_type": "pairwise",
		"post_logout_redirect_uris": []string{afterLogout},
	}
	for k, v := range metadata {
		request[k] = v
	}
	return w.register(request)
}

// idToken signs ada in with the application and returns the ID token's claims.
func (w *world) idToken(b *browser, app registered) (raw string, decoded map[string]any) {
	w.t.Helper()
	raw = w.redeem(app, w.authorizeIn(b, app, "scope", "openid").Get("code")).json(w.t)["id_token"].(string)
	return raw, claims(w.t, raw)
}

// OpenID Connect Core §8.1: the applications of one sector know a user by the same
// sub, others by another, and by none is the user's identifier seen. sid follows.
func TestPairwiseSectors(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprint(rw, `["https://one.example/cb","https://two.example/cb"]`)
		}))
		t.Cleanup(server.Close)
		w := newWorld(t, options{mount: mount, permissive: true, config: outboundTo(server, "127.0.0.0/8")})
		b := newBrowser(t)
		get := func(app registered) (sub, sid string) {
			t.Helper()
			_, c := w.idToken(b, app)
			return c["sub"].(string), c["sid"].(string)
		}
		sub, sid := get(w.pairwiseApp("app.example", nil))
		if !regexp.MustCompile(`^pairwise\|[A-Za-z0-9_-]{43}$`).MatchString(sub) {
			t.Errorf("sub %q", sub)
		}
		if again, againSID := get(w.pairwiseApp("app.example", nil)); again != sub || againSID != sid {
			t.Errorf("one sector: %q, %q and %q, %q", sub, sid, again, againSID)
		}
		other, otherSID := get(w.pairwiseApp("app.test", nil))
		public, publicSID := get(w.register(nil))
		if other == sub || public != w.user.ID || otherSID == sid || publicSID == sid || publicSID == otherSID {
			t.Errorf("other sectors: %q, %q, %q; sid %q, %q, %q", sub, other, public, sid, otherSID, publicSID)
		}
		// A sector document joins applications of several hosts.
		two := map[string]any{"sector_identifier_uri": server.URL + "/sector.json"}
		one, _ := get(w.pairwiseApp("one.example", two))
		if both, _ := get(w.pairwiseApp("two.example", two)); both != one || one == sub || one == other {
			t.Errorf("a sector of two hosts: %q and %q", one, both)
		}
		two["redirect_uris"] = []string{"https://one.example/cb", "https://evil.example/cb"}
		two["subject_type"] = "pairwise"
		body, err := json.Marshal(two)
		if err != nil {
			t.Fatal(err)
		}
		res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", string(body))
		if out := res.json(t); res.StatusCode != 400 || out["error"] != "invalid_client_metadata" || !strings.HasPrefix(out["error_description"].(string), "sector_identifier_uri: ") {
			t.Errorf("a redirect URI that the sector does not list: %d %s", res.StatusCode, res.body)
		}
	})
}

// The tenant's own clients and strict ones have pairwise subjects too.
func TestPairwiseForEveryKindOfClient(t *testing.T) {
	w := newWorld(t, options{})
	strict, _ := w.freshSubject(w.pairwiseApp("app.example", nil))
	w.enableClient(registered{id: "own"})
	own, secret, err := w.provider.Clients().CreateClient(context.Background(), store.Client{
		TenantID: tenant.DefaultID, ID: "own", FirstParty: true, RedirectURIs: []string{"https://app.example/own"},
		Metadata: &store.ClientMetadata{SubjectType: "pairwise"},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	firstParty, _ := w.freshSubject(registered{own.ID, secret, own.RedirectURIs[0]})
	if strict != firstParty || !strings.HasPrefix(strict, "pairwise|") {
		t.Errorf("strict %q, first party %q", strict, firstParty)
	}
}

func (w *world) freshSubject(app registered) (sub, sid string) {
	w.t.Helper()
	_, c := w.idToken(newBrowser(w.t), app)
	return c["sub"].(string), c["sid"].(string)
}

// enableClient lets a client of the tenant's own use the connection.
func (w *world) enableClient(app registered) {
	w.t.Helper()
	c, err := w.stores.Connections.Connection(context.Background(), tenant.DefaultID, w.connection.ID)
	if err == nil {
		c.EnabledClients = append(c.EnabledClients, app.id)
		err = w.stores.Connections.UpdateConnection(context.Background(), c)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A hint with a pairwise sub holds the request to its user, for its own client
// only, and logs the user out at once.
func TestPairwiseHints(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		b := newBrowser(t)
		app, other := w.pairwiseApp("app.example", nil), w.pairwiseApp("app.test", nil)
		hint, _ := w.idToken(b, app)
		otherHint, _ := w.idToken(b, other)
		silent := func(app registered, hint string) string {
			t.Helper()
			return b.get(w.authorizeURL(app, "scope", "openid", "prompt", "none", "id_token_hint", hint)).location(t).Get("error")
		}
		if got := silent(app, hint); got != "" {
			t.Errorf("its own hint: %q", got)
		}
		if got := silent(app, otherHint); got != "login_required" {
			t.Errorf("the hint of another application: %q", got)
		}
		// Somebody else signs in, although the hint is for ada.
		if _, err := w.provider.Connections().CreateUser(context.Background(), store.User{
			TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "bob@example.com", Username: "bob",
		}, password); err != nil {
			t.Fatal(err)
		}
		page := newBrowser(t)
		res := page.login(page.get(w.authorizeURL(app, "scope", "openid", "id_token_hint", hint)), "bob@example.com", password)
		if got := res.location(t).Get("error"); got != "login_required" {
			t.Errorf("another user: %q", got)
		}
		// bob's browser is not logged out by ada's hint without being asked; ada's is.
		if res := page.get(w.endSession("id_token_hint", hint)); !strings.Contains(res.body, `id="logout-confirm"`) {
			t.Errorf("the hint of another user: %d %s", res.StatusCode, text(res.body))
		}
		if res := b.get(w.endSession("id_token_hint", hint, "post_logout_redirect_uri", afterLogout)); res.Header.Get("Location") != afterLogout {
			t.Errorf("logout: %d %s", res.StatusCode, text(res.body))
		}
		if got := silent(app, hint); got != "login_required" {
			t.Errorf("after logging out: %q", got)
		}
	})
}

// A hint is good after the user signed in again, in another session: sub decides
// where sid does not.
func TestPairwiseHintOfAnEarlierSession(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.pairwiseApp("app.example", nil)
	hint, _ := w.idToken(newBrowser(t), app)
	b := newBrowser(t)
	w.idToken(b, app)
	if res := b.get(w.endSession("id_token_hint", hint)); heading(res) != "You are logged out" {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// Clients are told that a session has ended under the names that they know.
func TestPairwiseLogoutNotifications(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		server, received := receiver(t)
		w := newWorld(t, options{mount: mount, permissive: true, config: outboundTo(server, "127.0.0.0/8")})
		b := newBrowser(t)
		app := w.pairwiseApp("app.example", map[string]any{
			"backchannel_logout_uri": server.URL + "/back", "backchannel_logout_session_required": true,
			"frontchannel_logout_uri": "https://app.example/front", "frontchannel_logout_session_required": true,
		})
		hint, idToken := w.idToken(b, app)
		page := b.get(w.endSession("id_token_hint", hint, "post_logout_redirect_uri", afterLogout))
		if want := "https://app.example/front?iss=" + url.QueryEscape(w.issuer) + "&amp;sid=" + idToken["sid"].(string); !strings.Contains(page.body, want) {
			t.Errorf("no frame %s on the page: %s", want, page.body)
		}
		logout := claims(t, (<-received).Get("logout_token"))
		if logout["sub"] != idToken["sub"] || logout["sid"] != idToken["sid"] || logout["sub"] == nil {
			t.Errorf("logout token %v, ID token %v", logout, idToken)
		}
	})
}

// Replacing the secret changes no sub.
func TestPairwiseSubjectSurvivesTheSecret(t *testing.T) {
	var cfg opkit.Config
	w := newWorld(t, options{permissive: true, config: func(c *opkit.Config) { cfg = *c }})
	app := w.pairwiseApp("app.example", nil)
	want, _ := w.freshSubject(app)
	restart := func(secret []byte, previous ...[]byte) {
		t.Helper()
		cfg.Secret, cfg.PreviousSecrets = secret, previous
		var err error
		if w.provider, err = opkit.New(cfg); err != nil {
			t.Fatal(err)
		}
		if got, _ := w.freshSubject(app); got != want {
			t.Errorf("sub %q, want %q", got, want)
		}
	}
	former, newer := cfg.Secret, bytes.Repeat([]byte{8}, 32)
	restart(newer, former)
}

// Nothing that a client with pairwise subjects receives, in any flow, has the
// user's identifier in it, plain or encoded; nor the session's.
func TestPairwiseClientsNeverSeeTheUser(t *testing.T) {
	server, received := receiver(t)
	w := newWorld(t, options{permissive: true, config: outboundTo(server, "127.0.0.0/8")})
	b := newBrowser(t)
	app := w.pairwiseApp("app.example", map[string]any{
		"backchannel_logout_uri": server.URL + "/back", "frontchannel_logout_uri": "https://app.example/front",
	})
	var seen []string
	see := func(res *response) *response {
		seen = append(seen, res.body, res.Header.Get("Location"), fmt.Sprint(res.Header))
		return res
	}
	bearer := func(method, u, token string) *response {
		req, err := http.NewRequest(method, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		return see(newBrowser(t).do(req))
	}
	var hint string
	for _, audience := range []string{"", apiAudience} {
		for _, rt := range []string{"code", "id_token token", "code id_token token"} {
			v := w.authorizeIn(b, app, "audience", audience, "response_type", rt, "scope", "openid appointments offline_access")
			seen = append(seen, v.Encode())
			for _, at := range v["access_token"] {
				bearer(http.MethodGet, w.endpoint.UserInfo, at)
			}
			if v.Get("code") == "" {
				continue
			}
			tokens := see(w.redeem(app, v.Get("code"))).json(t)
			tokens = see(w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))).json(t)
			hint = tokens["id_token"].(string)
			res := bearer(http.MethodGet, w.endpoint.UserInfo, tokens["access_token"].(string))
			if res.StatusCode != 200 || !strings.Contains(res.body, `"sub":"pairwise|`) {
				t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
			}
			for _, name := range []string{"access_token", "refresh_token"} {
				form := url.Values{"client_id": {app.id}, "client_secret": {app.secret}, "token": {tokens[name].(string)}}
				res := see(newBrowser(t).post(w.endpoint.Introspection, form))
				if out := res.json(t); out["active"] != true || !strings.HasPrefix(out["sub"].(string), "pairwise|") {
					t.Errorf("introspection of the %s: %s", name, res.body)
				}
			}
		}
	}
	see(b.get(w.authorizeURL(app, "scope", "openid", "prompt", "none", "id_token_hint", hint)))
	sessions, err := w.stores.Sessions.UserSessions(context.Background(), tenant.DefaultID, w.user.ID, store.Page{}, w.clock.now())
	if err != nil || len(sessions) != 1 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	see(b.get(w.endSession("id_token_hint", hint, "post_logout_redirect_uri", afterLogout)))
	seen = append(seen, (<-received).Encode())

	_, local, _ := strings.Cut(w.user.ID, "|") // without what encoding changes
	if len(local) < 16 {
		t.Fatalf("the user's identifier is %q", w.user.ID)
	}
	segments := regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)
	decodedSubjects := 0
	for _, text := range seen {
		all := []string{text}
		for _, s := range segments.FindAllString(text, -1) {
			if raw, err := base64.RawURLEncoding.DecodeString(s); err == nil {
				all = append(all, string(raw))
				decodedSubjects += strings.Count(string(raw), `"sub":"pairwise|`)
			}
		}
		for _, s := range all {
			for what, secret := range map[string]string{"user": local, "session": sessions[0].SID} {
				if strings.Contains(s, secret) {
					t.Errorf("the %s is in %s", what, s)
				}
			}
		}
	}
	if decodedSubjects < 10 { // the search has found what it could be in
		t.Errorf("%d subjects were looked at", decodedSubjects)
	}
}
