package opkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const pushedPrefix = "urn:ietf:params:oauth:request_uri:"

// push posts an authorization request to the endpoint for pushed ones, with the
// secret that the application has in the body.
func (w *world) push(app registered, params ...string) *response {
	w.t.Helper()
	_, query, _ := strings.Cut(w.authorizeURL(app, params...), "?")
	v, err := url.ParseQuery(query)
	if err != nil {
		w.t.Fatal(err)
	}
	if app.secret != "" && !v.Has("client_secret") {
		v.Set("client_secret", app.secret)
	}
	return newBrowser(w.t).post(w.endpoint.PushedAuthorizationRequest, v)
}

// pushed pushes a request and returns the URL that begins it.
func (w *world) pushed(app registered, params ...string) string {
	w.t.Helper()
	res := w.push(app, params...)
	out := res.json(w.t)
	uri, _ := out["request_uri"].(string)
	if res.StatusCode != http.StatusCreated || uri == "" {
		w.t.Fatalf("pushing: %d %s", res.StatusCode, res.body)
	}
	return w.endpoint.Authorization + "?" + url.Values{"client_id": {app.id}, "request_uri": {uri}}.Encode()
}

// finish goes through the pages that an answer begins.
func (b *browser) finish(res *response) *response {
	b.t.Helper()
	if strings.Contains(res.body, `id="login-submit"`) {
		res = b.login(res, "ada@example.com", password)
	}
	if strings.Contains(res.body, `id="consent-allow"`) {
		res = b.decide(res, "allow")
	}
	return res
}

// refusedByPage reports whether an answer is an error page that leads nowhere.
func refusedByPage(res *response, code string) bool {
	return res.StatusCode == http.StatusBadRequest && res.Header.Get("Location") == "" && strings.Contains(text(res.body), code)
}

func TestPushedRequest(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		for _, method := range []string{"none", "client_secret_post", "client_secret_basic"} {
			app := w.register(map[string]any{"token_endpoint_auth_method": method})
			res := w.push(app, "state", "pushed")
			out := res.json(t)
			uri, _ := out["request_uri"].(string)
			if res.StatusCode != http.StatusCreated || out["expires_in"] != 60.0 || len(out) != 2 || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%s: %d %s", method, res.StatusCode, res.body)
			}
			if value, ok := strings.CutPrefix(uri, pushedPrefix); !ok || len(value) != 43 { // 256 bits
				t.Errorf("%s: request_uri %q", method, uri)
			}
			// What is outside does not count, not even if it contradicts.
			b := newBrowser(t)
			got := b.finish(b.get(w.endpoint.Authorization + "?" + url.Values{
				"client_id": {app.id}, "request_uri": {uri}, "redirect_uri": {"https://evil.example/"}, "state": {"outside"},
				"scope": {"nonsense"}, "response_type": {"token"}, "prompt": {"none"}, "request": {"e30.e30."},
			}.Encode()))
			if !strings.HasPrefix(got.Header.Get("Location"), app.redirectURI+"?") {
				t.Fatalf("%s: %d %s", method, got.StatusCode, text(got.body))
			}
			response := got.location(t)
			if response.Get("state") != "pushed" || response.Get("iss") != w.issuer {
				t.Errorf("%s: %v", method, response)
			}
			if res := w.redeem(app, response.Get("code")); res.StatusCode != http.StatusOK {
				t.Errorf("%s: code: %d %s", method, res.StatusCode, res.body)
			}
		}
	})
}

func TestPushedRequestByPOST(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		u, err := url.Parse(w.pushed(app))
		if err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		if got := b.finish(b.post(w.endpoint.Authorization, u.Query())).location(t); got.Get("code") == "" {
			t.Errorf("%v", got)
		}
	})
}

// RFC 9126 §4: one use, which ends with the response, so that a page can be loaded
// again until then.
func TestPushedRequestIsUsedOnce(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		begin := w.pushed(app)
		b, other := newBrowser(t), newBrowser(t)
		b.get(begin)
		page, second := b.get(begin), other.get(begin)
		if got := b.finish(page).location(t); got.Get("code") == "" {
			t.Fatalf("after a reload: %v", got)
		}
		for _, browser := range []*browser{b, newBrowser(t)} {
			if res := browser.get(begin); !refusedByPage(res, "invalid_request_uri") {
				t.Errorf("after completion: %d %s", res.StatusCode, text(res.body))
			}
		}
		// A page that was open before gives nothing any more, and stays an answer.
		if got := other.finish(second).location(t); got.Get("error") != "invalid_request" || got.Has("code") {
			t.Errorf("a page that was open: %v", got)
		}
	})
}

func TestPushedRequestHasOneWinner(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	begin := w.pushed(app, "prompt", "consent")
	const racers = 6
	var pages [racers]*response
	var browsers [racers]*browser
	for i := range racers {
		browsers[i] = newBrowser(t)
		pages[i] = browsers[i].login(browsers[i].get(begin), "ada@example.com", password)
	}
	var answers [racers]string
	var wg sync.WaitGroup
	for i := range racers {
		action, fields := form(t, pages[i])
		fields.Set("decision", "allow")
		wg.Go(func() {
			res, err := browsers[i].client.PostForm(action, fields)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			answers[i] = res.Header.Get("Location")
		})
	}
	wg.Wait()
	codes := slices.DeleteFunc(answers[:], func(s string) bool { return !strings.Contains(s, "code=") })
	if len(codes) != 1 {
		t.Errorf("%d of %d got a code", len(codes), racers)
	}
}

// An error is a response as well.
func TestRefusedPushedRequestIsUsedUp(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		b := newBrowser(t)

		begin := w.pushed(app)
		if got := b.decide(b.login(b.get(begin), "ada", password), "deny").location(t); got.Get("error") != "access_denied" {
			t.Fatalf("%v", got)
		}
		if res := b.get(begin); !refusedByPage(res, "invalid_request_uri") {
			t.Errorf("after the user refused: %d %s", res.StatusCode, text(res.body))
		}

		begin = w.pushed(app, "prompt", "none")
		if got := newBrowser(t).get(begin).location(t); got.Get("error") != "login_required" {
			t.Fatalf("%v", got)
		}
		if res := b.get(begin); !refusedByPage(res, "invalid_request_uri") {
			t.Errorf("after login_required: %d %s", res.StatusCode, text(res.body))
		}
	})
}

func TestPushedRequestBelongsToItsClient(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app, thief := w.register(nil), w.register(nil)
		begin := w.pushed(app)
		b := newBrowser(t)
		stolen := b.get(strings.Replace(begin, app.id, thief.id, 1))
		unknown := b.get(strings.Replace(begin, app.id, thief.id, 1) + "x")
		nameless := b.get(strings.Replace(begin, app.id, "", 1))
		for name, res := range map[string]*response{"another client": stolen, "no such request": unknown, "no client": nameless} {
			if !refusedByPage(res, "invalid_request_uri") {
				t.Errorf("%s: %d %s", name, res.StatusCode, text(res.body))
			}
		}
		if text(stolen.body) != text(unknown.body) {
			t.Error("another client learns that the request exists")
		}
		if got := b.finish(b.get(begin)).location(t); got.Get("code") == "" {
			t.Errorf("the attempt used it up: %v", got)
		}
	})
}

func TestPushedRequestExpires(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)

	begin := w.pushed(app)
	w.clock.advance(59 * time.Second)
	if res := newBrowser(t).get(begin); res.StatusCode != http.StatusOK {
		t.Errorf("after 59 s: %d %s", res.StatusCode, text(res.body))
	}
	w.clock.advance(2 * time.Second)
	// That a page was shown keeps the record, and not the request.
	if res := newBrowser(t).get(begin); !refusedByPage(res, "invalid_request_uri") {
		t.Errorf("after 61 s: %d %s", res.StatusCode, text(res.body))
	}

	// A user may take longer than the request: the page carries it. It still gives
	// one response only.
	begin = w.pushed(app)
	b, other := newBrowser(t), newBrowser(t)
	page, second := b.get(begin), other.get(begin)
	w.clock.advance(50 * time.Minute)
	if got := b.finish(page).location(t); got.Get("code") == "" {
		t.Errorf("a slow user: %v", got)
	}
	if got := other.finish(second).location(t); got.Get("error") != "invalid_request" {
		t.Errorf("a slow user's second page: %v", got)
	}
}

// A ticket of another kind is no pushed request, even with the same value.
func TestPushedRequestsAreAKindOfTheirOwn(t *testing.T) {
	stores := memstore.New().Stores()
	tickets := &recordedTickets{TicketStore: stores.Tickets}
	stores.Tickets = tickets
	w := newWorld(t, options{stores: stores})
	app := w.register(nil)
	begin := w.pushed(app)
	ticket := tickets.put[0]
	if err := stores.Tickets.DeleteTicket(context.Background(), tenant.DefaultID, ticket.Kind, ticket.ID); err != nil {
		t.Fatal(err)
	}
	ticket.Kind = "client-assertion"
	if err := stores.Tickets.PutTicket(context.Background(), ticket, w.clock.now()); err != nil {
		t.Fatal(err)
	}
	if res := newBrowser(t).get(begin); !refusedByPage(res, "invalid_request_uri") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// recordedTickets remembers what is put.
type recordedTickets struct {
	store.TicketStore
	put []store.Ticket
}

func (r *recordedTickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	r.put = append(r.put, t.Clone())
	return r.TicketStore.PutTicket(ctx, t, now)
}

func TestNoSecretIsStoredWithAPushedRequest(t *testing.T) {
	stores := memstore.New().Stores()
	tickets := &recordedTickets{TicketStore: stores.Tickets}
	stores.Tickets = tickets
	w := newWorld(t, options{stores: stores})
	app := w.register(nil)
	value := strings.TrimPrefix(w.push(app).json(t)["request_uri"].(string), pushedPrefix)
	if len(tickets.put) != 1 {
		t.Fatalf("%d tickets", len(tickets.put))
	}
	got := tickets.put[0]
	if data := string(got.Data); strings.Contains(data, app.secret) || strings.Contains(data, value) || !strings.Contains(data, app.id) {
		t.Errorf("data %s", data)
	}
	if got.ID != store.DigestOf(value) || got.Kind != "pushed-request" || got.ExpiresAt.Sub(got.CreatedAt) != time.Minute {
		t.Errorf("ticket %+v", got)
	}
}

// What the authorization endpoint would refuse is refused before it is stored.
func TestPushedRequestIsChecked(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		stores := memstore.New().Stores()
		tickets := &recordedTickets{TicketStore: stores.Tickets}
		stores.Tickets = tickets
		w := newWorld(t, options{mount: mount, stores: stores})
		app := w.register(nil)
		public := w.register(map[string]any{"token_endpoint_auth_method": "none"})
		for _, row := range []struct {
			name   string
			app    registered
			params []string
			status int
			code   string
		}{
			{"request_uri inside", app, []string{"request_uri", pushedPrefix + "x"}, 400, "invalid_request"},
			{"request_uri inside, by reference", app, []string{"request_uri", "https://app.example.com/r.jwt"}, 400, "invalid_request"},
			{"wrong secret", app, []string{"client_secret", "wrong"}, 401, "invalid_client"},
			{"no secret", registered{id: app.id, redirectURI: app.redirectURI}, nil, 401, "invalid_client"},
			{"the secret of another client", registered{id: app.id, secret: machineSecret, redirectURI: app.redirectURI}, nil, 401, "invalid_client"},
			{"public client with a secret", public, []string{"client_secret", app.secret}, 401, "invalid_client"},
			{"unknown client", registered{id: "unknown", redirectURI: app.redirectURI}, nil, 401, "invalid_client"},
			{"no client", app, []string{"client_id", "", "client_secret", ""}, 401, "invalid_client"},
			{"redirect_uri missing", app, []string{"redirect_uri", ""}, 400, "invalid_request"},
			{"redirect_uri not registered", app, []string{"redirect_uri", "https://app.example.com/other"}, 400, "invalid_request"},
			{"response_type missing", app, []string{"response_type", ""}, 400, "invalid_request"},
			{"response_type not allowed", app, []string{"response_type", "token"}, 400, "unauthorized_client"},
			{"response_type unknown", app, []string{"response_type", "device"}, 400, "unsupported_response_type"},
			{"no PKCE", app, []string{"code_challenge", "", "code_challenge_method", ""}, 400, "invalid_request"},
			{"PKCE plain", app, []string{"code_challenge_method", "plain"}, 400, "invalid_request"},
			{"prompt", app, []string{"prompt", "none login"}, 400, "invalid_request"},
			{"max_age", app, []string{"max_age", "-1"}, 400, "invalid_request"},
			{"unknown API", app, []string{"resource", "https://api.example.com/"}, 400, "invalid_target"},
			{"too large to be carried", app, []string{"state", strings.Repeat("x", 17<<10)}, 400, "invalid_request"},
			{"larger than a form", app, []string{"state", strings.Repeat("x", 65<<10)}, 413, "invalid_request"},
			{"request object", app, []string{"request", "not a JWT"}, 400, "invalid_request_object"},
		} {
			res := w.push(row.app, row.params...)
			out := res.json(t)
			if res.StatusCode != row.status || out["error"] != row.code || out["request_uri"] != nil || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s, want %d %s", row.name, res.StatusCode, res.body, row.status, row.code)
			}
		}
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			req, err := http.NewRequest(method, w.endpoint.PushedAuthorizationRequest, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res := newBrowser(t).do(req); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "POST" || res.json(t)["error"] != "invalid_request" {
				t.Errorf("%s: %d %v %s", method, res.StatusCode, res.Header, res.body)
			}
		}
		if res := w.sendJSON(http.MethodPost, w.endpoint.PushedAuthorizationRequest, "", "{}"); res.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("JSON: %d %s", res.StatusCode, res.body)
		}
		if len(tickets.put) != 0 {
			t.Errorf("%d tickets were stored", len(tickets.put))
		}
	})
}

func TestRequestsThatMustBePushed(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(map[string]any{"require_pushed_authorization_requests": true})
		b := newBrowser(t)
		got := b.get(w.authorizeURL(app)).location(t)
		if got.Get("error") != "invalid_request" || got.Get("state") == "" || !strings.Contains(got.Get("error_description"), "push") {
			t.Errorf("not pushed: %v", got)
		}
		if got := b.get(w.authorizeURL(app, "request", unsignedObject(t, map[string]any{"scope": "openid"}))).location(t); got.Get("error") != "invalid_request" {
			t.Errorf("with a request object: %v", got)
		}
		if got := b.finish(b.get(w.pushed(app))).location(t); got.Get("code") == "" {
			t.Errorf("pushed: %v", got)
		}
	})
}

// A client that is withdrawn between push and page gets nothing.
func TestPushedRequestOfAWithdrawnClient(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	begin := w.pushed(app)
	if err := w.stores.Clients.DeleteClient(context.Background(), tenant.DefaultID, app.id); err != nil {
		t.Fatal(err)
	}
	if res := newBrowser(t).get(begin); !refusedByPage(res, "invalid_client") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// Whoever proves nothing may store only so much, by network and not by client:
// anyone can name a public client.
func TestPushesOfPublicClientsAreLimited(t *testing.T) {
	now := time.Now()
	w := newWorld(t, options{config: func(c *opkit.Config) { c.Now = func() time.Time { return now } }})
	public, confidential := w.register(map[string]any{"token_endpoint_auth_method": "none"}), w.register(nil)
	handler := w.provider.PushedAuthorization()
	push := func(app registered, from string) *httptest.ResponseRecorder {
		_, query, _ := strings.Cut(w.authorizeURL(app), "?")
		if app.secret != "" {
			query += "&client_secret=" + app.secret
		}
		r := httptest.NewRequest(http.MethodPost, "/oauth/par", strings.NewReader(query))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = from
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		return rec
	}
	exhaust := func(want int) {
		t.Helper()
		for n := range want {
			if rec := push(public, "203.0.113.9:4711"); rec.Code != http.StatusCreated {
				t.Fatalf("request %d of %d: %d %s", n+1, want, rec.Code, rec.Body)
			}
		}
		rec := push(public, "203.0.113.9:4712")
		if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "1" || !strings.Contains(rec.Body.String(), "temporarily_unavailable") {
			t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
		}
	}
	exhaust(200)
	if rec := push(public, "203.0.113.10:1"); rec.Code != http.StatusCreated {
		t.Errorf("another network: %d %s", rec.Code, rec.Body)
	}
	if rec := push(confidential, "203.0.113.9:1"); rec.Code != http.StatusCreated {
		t.Errorf("a client that authenticates: %d %s", rec.Code, rec.Body)
	}
	now = now.Add(time.Second)
	exhaust(20)
}

func TestPushedRequestsAreAdvertised(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		m := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
		if m["pushed_authorization_request_endpoint"] != w.endpoint.PushedAuthorizationRequest {
			t.Errorf("endpoint %v, want %s", m["pushed_authorization_request_endpoint"], w.endpoint.PushedAuthorizationRequest)
		}
		if m["request_parameter_supported"] != true || m["request_uri_parameter_supported"] != true || m["require_request_uri_registration"] != true {
			t.Errorf("request %v, request_uri %v, registration %v", m["request_parameter_supported"], m["request_uri_parameter_supported"], m["require_request_uri_registration"])
		}
		algs, _ := m["request_object_signing_alg_values_supported"].([]any)
		for _, want := range []any{"none", "RS256", "ES256", "PS256", "EdDSA"} {
			if !slices.Contains(algs, want) {
				t.Errorf("%v is not in %v", want, algs)
			}
		}
		if len(algs) != 5 {
			t.Errorf("algorithms %v", algs)
		}
	})
}

// Whatever is pushed: never a 5xx, and what was stored can be begun.
func FuzzPushedAuthorization(f *testing.F) {
	w := newWorld(f, options{permissive: true})
	app := w.register(map[string]any{"token_endpoint_auth_method": "none"})
	_, query, _ := strings.Cut(w.authorizeURL(app), "?")
	query = w.kept(app, query)
	f.Add(query)
	f.Add(query + "&request=" + unsignedObject(f, map[string]any{"response_type": "code", "redirect_uri": app.redirectURI, "max_age": 1}))
	f.Add(query + "&request_uri=" + pushedPrefix)
	f.Add("client_id=" + anyClient + "&request=..")
	handler, authorization := w.provider.PushedAuthorization(), w.provider.Authorization()
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth/par", strings.NewReader(w.used(app, body)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("status %d", rec.Code)
		}
		if rec.Code != http.StatusCreated {
			return
		}
		uri := (&response{Response: rec.Result(), body: rec.Body.String()}).json(t)["request_uri"].(string)
		r = httptest.NewRequest(http.MethodGet, "/authorize?client_id="+app.id+"&request_uri="+url.QueryEscape(uri), nil)
		begun := httptest.NewRecorder()
		authorization.ServeHTTP(begun, r)
		if begun.Code != http.StatusOK && begun.Code != http.StatusFound {
			t.Fatalf("status %d: %s", begun.Code, text(begun.Body.String()))
		}
	})
}
