package opkit_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// lockPage is a login page as far as a test without a browser needs it.
const lockPage = `<!doctype html><script src="https://cdn.example.com/lock.js"></script><script>start('@@config@@')</script>`

// lockConfig is what a page is told.
type lockConfig struct {
	ClientID, Auth0Domain, CallbackURL, Prompt, Connection, AssetsURL string
	CallbackOnLocationHash, IsThirdPartyClient                        bool
	Dict                                                              struct{ SignIn struct{ Title string } }
	InternalOptions                                                   map[string]string
	AuthorizationServer                                               struct{ Issuer string }
}

func newLockWorld(t testing.TB, o options) *world {
	configure := o.config
	o.config = func(cfg *opkit.Config) {
		cfg.Settings.LoginPage = store.LoginPage{HTML: lockPage, On: true}
		if configure != nil {
			configure(cfg)
		}
	}
	return newWorld(t, o)
}

// lockConfigOf reads the configuration out of a page.
func lockConfigOf(t testing.TB, page *response) lockConfig {
	t.Helper()
	m := regexp.MustCompile(`start\('([^']*)'\)`).FindStringSubmatch(page.body)
	if m == nil {
		t.Fatalf("status %d: not the login page with Lock: %s", page.StatusCode, text(page.body))
	}
	plain, err := base64.StdEncoding.DecodeString(m[1])
	if err != nil {
		t.Fatal(err)
	}
	var cfg lockConfig
	if err := json.Unmarshal(plain, &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// lockBody is what Lock sends for a login on that page.
func (cfg lockConfig) login(w *world, username, password string) url.Values {
	v := url.Values{
		"client_id": {cfg.ClientID}, "redirect_uri": {cfg.CallbackURL}, "tenant": {"x"}, "sso": {"true"}, "username": {username}, "password": {password},
		"connection": {w.connection.Name},
	}
	for name, value := range cfg.InternalOptions {
		v.Set(name, value)
	}
	return v
}

// resultForm returns the fields of the form that a login is answered with.
func resultForm(t testing.TB, res *response) (action string, fields url.Values) {
	t.Helper()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.HasPrefix(res.body, "<form ") {
		t.Fatalf("login: %d %s", res.StatusCode, res.body)
	}
	fields = url.Values{}
	for _, m := range regexp.MustCompile(`name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(res.body, -1) {
		fields.Set(m[1], html.UnescapeString(m[2]))
	}
	return html.UnescapeString(regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(res.body)[1]), fields
}

// sessions counts the sessions of the world's user.
func (w *world) sessions() int {
	w.t.Helper()
	all, err := w.stores.Sessions.UserSessions(context.Background(), tenant.DefaultID, w.user.ID, store.Page{}, w.clock.now())
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

func (b *browser) postJSON(u string, body any) *response {
	b.t.Helper()
	plain, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, u, strings.NewReader(string(plain)))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return b.do(req)
}

func TestLockSignsIn(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newLockWorld(t, options{mount: mount, permissive: true})
		app := w.register(nil)
		for name, send := range map[string]func(*browser, url.Values) *response{
			"form": func(b *browser, v url.Values) *response { return b.post(w.endpoint.LockLogin, v) },
			"JSON": func(b *browser, v url.Values) *response {
				body := map[string]any{"sso": true}
				for name := range v {
					body[name] = v.Get(name)
				}
				return b.postJSON(w.endpoint.LockLogin, body)
			},
		} {
			b := newBrowser(t)
			page := b.get(w.authorizeURL(app, "response_type", "id_token token", "code_challenge", "", "code_challenge_method", "", "prompt", "login"))
			cfg := lockConfigOf(t, page)
			options := cfg.InternalOptions
			if cfg.ClientID != app.id || cfg.CallbackURL != app.redirectURI || !cfg.IsThirdPartyClient || !cfg.CallbackOnLocationHash || cfg.AssetsURL != "" ||
				cfg.Prompt != "login" || options["protocol"] != "oauth2" || options["response_type"] != "id_token token" ||
				options["nonce"] != "n-0S6_WzA2Mj" || options["scope"] != "openid profile email" || cfg.AuthorizationServer.Issuer != w.issuer || options["state"] == "a state/with+odd=signs&more" {
				t.Errorf("%s: configuration %+v", name, cfg)
			}
			if page.Header.Get("X-Frame-Options") != "DENY" || page.Header.Get("Cache-Control") != "no-store" || !strings.Contains(page.Header.Get("Content-Security-Policy"), "script-src 'self' https://cdn.example.com 'sha256-") {
				t.Errorf("%s: headers %v", name, page.Header)
			}
			res := send(b, cfg.login(w, "ada@example.com", password))
			if n := w.sessions(); n != 0 {
				t.Errorf("%s: %d sessions before the browser came back", name, n)
			}
			action, fields := resultForm(t, res)
			if action != w.endpoint.LoginCallback || fields.Get("wa") != "wsignin1.0" {
				t.Errorf("%s: form to %s: %v", name, action, fields)
			}
			res = b.post(action, fields)
			if strings.Contains(res.body, `id="consent-allow"`) {
				res = b.decide(res, "allow")
			}
			got := res.location(t)
			if claims(t, got.Get("id_token"))["sub"] != w.user.ID || got.Get("state") != "a state/with+odd=signs&more" {
				t.Errorf("%s: the application received %v", name, got)
			}
			// The session serves the next request.
			if got := b.get(w.authorizeURL(app, "response_type", "id_token token")).location(t); !got.Has("id_token") {
				t.Errorf("%s: no session: %v", name, got)
			}
			if err := w.stores.Sessions.DeleteSession(context.Background(), tenant.DefaultID, w.onlySession().ID); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func (w *world) onlySession() store.Session {
	w.t.Helper()
	all, err := w.stores.Sessions.UserSessions(context.Background(), tenant.DefaultID, w.user.ID, store.Page{}, w.clock.now())
	if err != nil || len(all) != 1 {
		w.t.Fatalf("%d sessions, %v", len(all), err)
	}
	return all[0]
}

// altered changes the first character of a value.
func altered(value string) string {
	if value[0] == 'x' {
		return "y" + value[1:]
	}
	return "x" + value[1:]
}

// What the page is told to call is where it is: Lock puts https:// in front.
func TestLockDomain(t *testing.T) {
	for name, tc := range map[string]struct {
		mount  string
		config func(*opkit.Config)
		want   func(host string) string
	}{
		"root":     {"root", nil, func(host string) string { return host }},
		"prefix":   {"prefix", nil, func(host string) string { return host + "/auth" }},
		"handlers": {"handlers", nil, func(host string) string { return host }},
		"at the root of the host": {"prefix", func(cfg *opkit.Config) {
			cfg.Endpoints.LockLogin = "https://login.example.com/usernamepassword/login"
		}, func(string) string { return "login.example.com" }},
	} {
		w := newLockWorld(t, options{mount: tc.mount, config: tc.config})
		host := strings.TrimPrefix(w.server.URL, "http://")
		if got := lockConfigOf(t, newBrowser(t).get(w.authorizeURL(w.register(nil)))).Auth0Domain; got != tc.want(host) {
			t.Errorf("%s: domain %s", name, got)
		}
	}
}

// Third-party applications see domain connections only, first-party ones those that
// list them.
func TestLockLearnsTheConnections(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newLockWorld(t, options{mount: mount})
		ctx := context.Background()
		own, _, err := w.provider.Clients().CreateClient(ctx, store.Client{TenantID: tenant.DefaultID, ID: "own", FirstParty: true, RedirectURIs: []string{appRedirectURI}}, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.provider.Connections().Create(ctx, store.Connection{
			TenantID: tenant.DefaultID, Name: "staff", Strategy: "auth0", EnabledClients: []string{own.ID},
			Options: []byte(`{"disable_signup":false,"requires_username":true,"passwordPolicy":"good","validation":{"username":{"min":3,"max":9}}}`),
		}); err != nil {
			t.Fatal(err)
		}
		read := func(u, function string) map[string]any {
			res := newBrowser(t).get(u)
			body, ok := strings.CutPrefix(res.body, function+"(")
			var out map[string]any
			if !ok || res.StatusCode != 200 || json.Unmarshal([]byte(strings.TrimSuffix(body, ");")), &out) != nil || res.Header.Get("Content-Type") != "application/javascript; charset=utf-8" {
				t.Fatalf("%s: %d %s", u, res.StatusCode, res.body)
			}
			return out
		}
		info := read(w.endpoint.LockTenantInfo+"?t1234", "Auth0.setTenant")
		databases := info["connections"].(map[string]any)["database"].([]any)
		first := databases[0].(map[string]any)
		if len(databases) != 1 || first["name"] != w.connection.Name || first["strategy"] != "auth0" || first["allowSignup"] != false || first["showSignup"] != false {
			t.Errorf("tenant: %v", info)
		}
		info = read(w.endpoint.LockClientInfo+"/own.js?t1234", "Auth0.setClient")
		strategy := info["strategies"].([]any)[0].(map[string]any)
		staff := strategy["connections"].([]any)[0].(map[string]any)
		if info["id"] != "own" || strategy["name"] != "auth0" || staff["name"] != "staff" || staff["showSignup"] != true || staff["requires_username"] != true || staff["passwordPolicy"] != "good" {
			t.Errorf("own client: %v", info)
		}
		third := w.register(nil)
		info = read(w.endpoint.LockClientInfo+"/"+third.id+".js", "Auth0.setClient")
		if s, _ := json.Marshal(info["strategies"]); !strings.Contains(string(s), w.connection.Name) || strings.Contains(string(s), "staff") {
			t.Errorf("third-party client: %s", s)
		}
		for _, file := range []string{"nobody.js", "own", ".js", "own.json"} {
			if res := newBrowser(t).get(w.endpoint.LockClientInfo + "/" + file); res.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %d %s", file, res.StatusCode, res.body)
			}
		}
		if res := newBrowser(t).get(w.endpoint.LockSSOData); res.body != `{"sso":false}`+"\n" {
			t.Errorf("sessions: %s", res.body)
		}
		if res := newBrowser(t).postJSON(w.endpoint.LockChallenge, map[string]string{"state": "x"}); res.body != `{"required":false}`+"\n" {
			t.Errorf("challenge: %s", res.body)
		}
	})
}

// Whatever is wrong with a login: its status and code, no session, and no form.
func TestLockLoginIsRefused(t *testing.T) {
	w := newLockWorld(t, options{})
	app := w.register(nil)
	other := w.register(nil)
	if _, err := w.provider.Connections().Create(context.Background(), store.Connection{TenantID: tenant.DefaultID, Name: "staff", Strategy: "auth0"}); err != nil {
		t.Fatal(err)
	}
	elsewhere := lockConfigOf(t, newBrowser(t).get(w.authorizeURL(app)))
	for name, tc := range map[string]struct {
		change func(url.Values, *http.Request)
		status int
		code   string
	}{
		"wrong password":               {func(v url.Values, _ *http.Request) { v.Set("password", "wrong") }, 401, "invalid_user_password"},
		"nobody":                       {func(v url.Values, _ *http.Request) { v.Set("username", "nobody@example.com") }, 401, "invalid_user_password"},
		"no password":                  {func(v url.Values, _ *http.Request) { v.Del("password") }, 401, "invalid_user_password"},
		"a connection of others":       {func(v url.Values, _ *http.Request) { v.Set("connection", "staff") }, 400, "access_denied"},
		"no such connection":           {func(v url.Values, _ *http.Request) { v.Set("connection", "none") }, 400, "access_denied"},
		"another client":               {func(v url.Values, _ *http.Request) { v.Set("client_id", other.id) }, 403, "session_missing"},
		"no _csrf":                     {func(v url.Values, _ *http.Request) { v.Del("_csrf") }, 403, "session_missing"},
		"_csrf of another page":        {func(v url.Values, _ *http.Request) { v.Set("_csrf", elsewhere.InternalOptions["_csrf"]) }, 403, "session_missing"},
		"_intstate of another page":    {func(v url.Values, _ *http.Request) { v.Set("_intstate", elsewhere.InternalOptions["_intstate"]) }, 403, "session_missing"},
		"no _intstate":                 {func(v url.Values, _ *http.Request) { v.Del("_intstate") }, 403, "session_missing"},
		"no state":                     {func(v url.Values, _ *http.Request) { v.Del("state") }, 403, "session_missing"},
		"the application's state":      {func(v url.Values, _ *http.Request) { v.Set("state", "a state/with+odd=signs&more") }, 403, "session_missing"},
		"the page of another browser":  {func(v url.Values, _ *http.Request) { setAll(v, elsewhere.InternalOptions) }, 403, "session_missing"},
		"from another site":            {func(_ url.Values, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "access_denied"},
		"from another origin":          {func(_ url.Values, r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, "access_denied"},
		"from a subdomain":             {func(_ url.Values, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403, "access_denied"},
		"by GET":                       {func(_ url.Values, r *http.Request) { r.Method = http.MethodGet }, 405, "invalid_request"},
		"as text":                      {func(_ url.Values, r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, "invalid_request"},
		"as JSON which it is not":      {func(_ url.Values, r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 400, "invalid_request"},
		"twice the same parameter":     {func(v url.Values, _ *http.Request) { v.Add("state", "x") }, 400, "invalid_request"},
		"larger than anybody needs":    {func(v url.Values, _ *http.Request) { v.Set("scope", strings.Repeat("x", 70<<10)) }, 413, "invalid_request"},
		"a password longer than that":  {func(v url.Values, _ *http.Request) { v.Set("password", strings.Repeat("x", 2<<10)) }, 401, "invalid_user_password"},
		"a username that is not UTF-8": {func(v url.Values, _ *http.Request) { v.Set("username", "\xff") }, 400, "invalid_request"},
	} {
		b := newBrowser(t)
		v := lockConfigOf(t, b.get(w.authorizeURL(app))).login(w, "ada@example.com", password)
		req, err := http.NewRequest(http.MethodPost, w.endpoint.LockLogin, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		tc.change(v, req)
		body := strings.NewReader(v.Encode())
		req.Body, req.ContentLength = http.NoBody, 0
		if req.Method == http.MethodPost {
			send, _ := http.NewRequest(req.Method, req.URL.String(), body)
			req.Body, req.ContentLength = send.Body, send.ContentLength
		}
		res := b.do(req)
		out := res.json(t)
		if res.StatusCode != tc.status || out["code"] != tc.code || out["statusCode"] != float64(tc.status) || out["description"] == "" || out["name"] == "" {
			t.Errorf("%s: %d %s", name, res.StatusCode, res.body)
		}
		if res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: an answer with CORS", name)
		}
		if n := w.sessions(); n != 0 {
			t.Fatalf("%s: %d sessions", name, n)
		}
	}
}

func setAll(v url.Values, members map[string]string) {
	for name, value := range members {
		v.Set(name, value)
	}
}

func TestLockLocksOut(t *testing.T) {
	w := newLockWorld(t, options{})
	b := newBrowser(t)
	cfg := lockConfigOf(t, b.get(w.authorizeURL(w.register(nil))))
	for _, username := range []string{"ada@example.com", "nobody@example.com"} {
		for range 10 {
			b.post(w.endpoint.LockLogin, cfg.login(w, username, "wrong"))
		}
		res := b.post(w.endpoint.LockLogin, cfg.login(w, username, password))
		if res.StatusCode != http.StatusTooManyRequests || res.json(t)["code"] != "too_many_attempts" || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", username, res.StatusCode, res.body)
		}
	}
	w.clock.advance(2 * time.Minute)
	resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", password)))
}

func TestLockPageGrowsOld(t *testing.T) {
	w := newLockWorld(t, options{})
	b := newBrowser(t)
	cfg := lockConfigOf(t, b.get(w.authorizeURL(w.register(nil))))
	w.clock.advance(2 * time.Hour)
	if res := b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", password)); res.StatusCode != 403 || res.json(t)["code"] != "session_missing" {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

// A wresult is good once, in its browser, with its wctx, for a moment, and as long as
// what it says holds.
func TestLockResultIsRefused(t *testing.T) {
	w := newLockWorld(t, options{})
	app := w.register(nil)
	prove := func(b *browser) (string, url.Values) {
		cfg := lockConfigOf(t, b.get(w.authorizeURL(app)))
		return resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", password)))
	}
	_, elsewhere := prove(newBrowser(t))
	for name, change := range map[string]func(url.Values){
		"no wresult":                 func(v url.Values) { v.Del("wresult") },
		"a made-up wresult":          func(v url.Values) { v.Set("wresult", altered(v.Get("wresult"))) },
		"a wresult that was cut":     func(v url.Values) { v.Set("wresult", v.Get("wresult")[:40]) },
		"a wresult of another login": func(v url.Values) { v.Set("wresult", elsewhere.Get("wresult")) },
		"all of another login":       func(v url.Values) { v.Set("wresult", elsewhere.Get("wresult")); v.Set("wctx", elsewhere.Get("wctx")) },
		"a wctx of another login":    func(v url.Values) { v.Set("wctx", elsewhere.Get("wctx")) },
		"no wctx":                    func(v url.Values) { v.Del("wctx") },
		"no wa":                      func(v url.Values) { v.Del("wa") },
		"the state of the page": func(v url.Values) {
			v.Set("wresult", lockConfigOf(t, newBrowser(t).get(w.authorizeURL(app))).InternalOptions["state"])
		},
	} {
		b := newBrowser(t)
		action, fields := prove(b)
		change(fields)
		if res := b.post(action, fields); res.StatusCode != 400 || res.Header.Get("Location") != "" || !strings.Contains(res.body, "Authorization error") {
			t.Errorf("%s: %d %s", name, res.StatusCode, text(res.body))
		}
		if n := w.sessions(); n != 0 {
			t.Fatalf("%s: %d sessions", name, n)
		}
	}
	b := newBrowser(t)
	action, fields := prove(b)
	req, _ := http.NewRequest(http.MethodPost, action, strings.NewReader(fields.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if res := b.do(req); res.StatusCode != 403 || w.sessions() != 0 {
		t.Errorf("from another site: %d %s", res.StatusCode, text(res.body))
	}
	w.clock.advance(3 * time.Minute)
	if res := b.post(action, fields); w.sessions() != 0 || !strings.Contains(res.body, "start('") {
		t.Errorf("too late: %d %s", res.StatusCode, text(res.body))
	}
	action, fields = prove(b)
	if res := b.post(action, fields); res.StatusCode != 200 || w.sessions() != 1 {
		t.Fatalf("in time: %d %s", res.StatusCode, text(res.body))
	}
	if res := b.post(action, fields); res.StatusCode != 400 || w.sessions() != 1 || !strings.Contains(res.body, "finished already") {
		t.Errorf("again: %d %s", res.StatusCode, text(res.body))
	}

	// What was withdrawn since.
	b = newBrowser(t)
	action, fields = prove(b)
	blocked := w.user
	blocked.Blocked = true
	if err := w.stores.UserAdmin.UpdateUser(context.Background(), blocked); err != nil {
		t.Fatal(err)
	}
	if got := b.post(action, fields).location(t); got.Get("error") != "access_denied" || w.sessions() != 1 {
		t.Errorf("a blocked user: %v", got)
	}
}

// Whoever knows a password could keep a proof of it at hand, to be signed in again
// right after the user was signed out everywhere.
func TestLockResultDiesWithThePassword(t *testing.T) {
	w := newLockWorld(t, options{})
	app := w.register(nil)
	b := newBrowser(t)
	cfg := lockConfigOf(t, b.get(w.authorizeURL(app)))
	action, fields := resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", password)))
	if err := w.provider.Connections().SetPassword(context.Background(), w.user.TenantID, w.user.ID, "the next one is long"); err != nil {
		t.Fatal(err)
	}
	res := b.post(action, fields)
	if w.sessions() != 0 || res.Header.Get("Location") != "" || !strings.Contains(res.body, "start('") {
		t.Errorf("the proof of the former password: %d %s", res.StatusCode, text(res.body))
	}
	cfg = lockConfigOf(t, res)
	action, fields = resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", "the next one is long")))
	if res := b.post(action, fields); w.sessions() != 1 {
		t.Errorf("the new password: %d %s", res.StatusCode, text(res.body))
	}
}

// The page is the client's own where it has one, else the tenant's, else the built-in
// one.
func TestLoginPageIsChosen(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(map[string]any{"custom_login_page": "mine", "custom_login_page_on": true})
		bearer := w.managementToken()
		shown := func() string {
			switch body := newBrowser(t).get(w.authorizeURL(app)).body; {
			case strings.Contains(body, "login-submit"):
				return "built in"
			case strings.HasPrefix(body, "tenant's "):
				return "tenant"
			case strings.HasPrefix(body, "client's "):
				return "client"
			default:
				return body
			}
		}
		for _, step := range []struct{ path, body, want string }{
			{"/tenants/settings", `{"custom_login_page":"tenant's @@config@@"}`, "built in"},
			{"/tenants/settings", `{"custom_login_page_on":true}`, "tenant"},
			{"/clients/" + app.id, `{"custom_login_page":"client's @@config@@"}`, "tenant"},
			{"/clients/" + app.id, `{"custom_login_page_on":true}`, "client"},
			{"/tenants/settings", `{"custom_login_page_on":false}`, "client"},
			{"/clients/" + app.id, `{"custom_login_page":null}`, "built in"},
		} {
			res := w.sendJSON(http.MethodPatch, w.endpoint.Management+step.path, bearer, step.body)
			if res.StatusCode != 200 {
				t.Fatalf("%s %s: %d %s", step.path, step.body, res.StatusCode, res.body)
			}
			if got := shown(); got != step.want {
				t.Errorf("%s %s: shows %s, want %s", step.path, step.body, got, step.want)
			}
		}
		for _, body := range []string{`{"custom_login_page":1}`, `{"custom_login_page_on":"yes"}`, `{"custom_login_page":"` + strings.Repeat("x", 49<<10) + `"}`} {
			for _, path := range []string{"/tenants/settings", "/clients/" + app.id} {
				if res := w.sendJSON(http.MethodPatch, w.endpoint.Management+path, bearer, body); res.StatusCode != 400 || !strings.Contains(res.body, "custom_login_page") {
					t.Errorf("%s %.40s: %d %s", path, body, res.StatusCode, res.body)
				}
			}
		}
		if got := shown(); got != "built in" {
			t.Errorf("a refused page is shown: %s", got)
		}
	})
}

// Lock could offer nothing: the built-in page says why, or leads to the host.
func TestLoginPageWithNothingToOffer(t *testing.T) {
	w := newLockWorld(t, options{notReady: true})
	app := store.Client{TenantID: tenant.DefaultID, ID: "own", FirstParty: true, RedirectURIs: []string{appRedirectURI}}
	if _, _, err := w.provider.Clients().CreateClient(context.Background(), app, ""); err != nil {
		t.Fatal(err)
	}
	if res := newBrowser(t).get(w.authorizeURL(registered{id: "own", redirectURI: appRedirectURI})); !strings.Contains(res.body, "no way to sign in") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}
