package opkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/storetest"
	"github.com/opkit/opkit/tenant"
)

// logEntry is an entry of the log, as SDKs read it.
type logEntry struct {
	ID           string    `json:"_id"`
	LogID        string    `json:"log_id"`
	Date         time.Time `json:"date"`
	Type         string    `json:"type"`
	ClientID     string    `json:"client_id"`
	UserID       string    `json:"user_id"`
	ConnectionID string    `json:"connection_id"`
	IP           string    `json:"ip"`
	Description  string    `json:"description"`
	Event        string    `json:"event"`
	Outcome      string    `json:"outcome"`
	Details      struct {
		Actor string `json:"actor"`
		Code  string `json:"code"`
	} `json:"details"`
}

// written writes what waits for the log, as Run does when the host ends it.
func (w *world) written() {
	ended, end := context.WithCancel(context.Background())
	end()
	if err := w.provider.Run(ended); !errors.Is(err, context.Canceled) {
		w.t.Errorf("Run: %v", err)
	}
}

// log reads an array of entries.
func (w *world) log(path string) []logEntry {
	w.t.Helper()
	res := w.manage(http.MethodGet, path, "")
	var list []logEntry
	if err := json.Unmarshal([]byte(res.body), &list); res.StatusCode != http.StatusOK || err != nil {
		w.t.Fatalf("%s: %d %s", path, res.StatusCode, res.body)
	}
	return list
}

func typesIn(list []logEntry) string {
	var all []string
	for _, e := range list {
		all = append(all, e.Type)
	}
	return strings.Join(all, " ")
}

func TestAdministratorsReadTheLog(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		b := newBrowser(t)
		res := b.login(b.get(w.authorizeURL(app)), "ada", "not-"+password)
		w.clock.advance(time.Second)
		b.decide(b.login(res, "ada", password), "allow")
		w.managementToken()
		w.manage(http.MethodPatch, "/tenants/settings", `{"friendly_name":"Logged"}`)
		w.written()

		list := w.log("/logs")
		if got, want := typesIn(list), "sapi signing_key.rotation user.consent s f client.registration"; got != want {
			t.Errorf("the log, newest first: %q, want %q", got, want)
		}
		if got := typesIn(w.log("/logs?sort=date:1")); got != "client.registration f s user.consent signing_key.rotation sapi" {
			t.Errorf("the log, oldest first: %q", got)
		}
		for _, e := range list {
			if len(e.LogID) != 32 || e.ID != e.LogID || e.Date.IsZero() {
				t.Errorf("%+v", e)
			}
			res := w.manage(http.MethodGet, "/logs/"+e.LogID, "")
			var one logEntry
			if err := json.Unmarshal([]byte(res.body), &one); err != nil || one != e {
				t.Errorf("one entry: %v, %d %s", err, res.StatusCode, res.body)
			}
		}
		signIn := list[3]
		if signIn.UserID != w.user.ID || signIn.ClientID != app.id || signIn.ConnectionID != w.connection.ID || signIn.IP != "127.0.0.1" ||
			signIn.Event != "user.sign_in" || signIn.Outcome != "allowed" {
			t.Errorf("%+v", signIn)
		}
		if failed := list[4]; failed.UserID != "" || failed.Description != "no such user, another password, or a blocked user" {
			t.Errorf("%+v", failed)
		}
		if list[0].Details.Actor != machineID {
			t.Errorf("%+v", list[0])
		}

		for query, want := range map[string]string{
			"type:s":            "s",
			"type:user.sign_in": "s f",
			"type:(s OR sapi)":  "sapi s",
			`type:"user.sign_in" AND outcome:refused`:           "f",
			"user_id:" + w.user.ID:                              "user.consent s",
			`client_id:"` + app.id + `" AND type:f`:             "f",
			"client_id:" + app.id + " type:(user.consent OR f)": "user.consent f",
			"user_id:nobody":                                    "",
			"ip:127.0.0.1 AND type:(s OR f)":                    "s f",
			"ip:192.0.2.1":                                      "",
			"date:[2020-01-01 TO 2020-12-31]":                   "",
			"date:[* TO *] AND type:s":                          "s",
			"date:[" + list[4].Date.Format(time.RFC3339Nano) + " TO *] type:(s OR f)": "s f",
			"date:[* TO " + list[4].Date.Format(time.RFC3339Nano) + "]":               "f client.registration",
		} {
			if got := typesIn(w.log("/logs?q=" + url.QueryEscape(query))); got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
			if got := typesIn(w.log("/logs?search=" + url.QueryEscape(query))); got != want {
				t.Errorf("%s as search: %q, want %q", query, got, want)
			}
		}
		if got := typesIn(w.log("/users/" + w.user.ID + "/logs")); got != "user.consent s" {
			t.Errorf("the user's log: %q", got)
		}

		// The three ways to page.
		if got := typesIn(w.log("/logs?page=1&per_page=4")); got != "f client.registration" {
			t.Errorf("the second page: %q", got)
		}
		res = w.manage(http.MethodGet, "/logs?include_totals=true&page=0&per_page=2", "")
		var page struct {
			Start, Limit, Length, Total int
			Logs                        []logEntry
		}
		if err := json.Unmarshal([]byte(res.body), &page); err != nil || page.Total != 6 || page.Length != 2 || typesIn(page.Logs) != "sapi signing_key.rotation" {
			t.Errorf("with totals: %v %s", err, res.body)
		}
		if got := w.log("/logs?take=10"); len(got) != 0 {
			t.Errorf("what is newer than ten seconds by checkpoint: %v", got)
		}
		w.clock.advance(11 * time.Second)
		var copied []logEntry
		for from := ""; ; from = copied[len(copied)-1].LogID {
			part := w.log("/logs?take=4&from=" + from + "&q=type:none")
			copied = append(copied, part...)
			if len(part) < 4 {
				break
			}
		}
		slices.Reverse(copied)
		if diff := cmp.Diff(list, copied); diff != "" {
			t.Errorf("by checkpoint (-want +got):\n%s", diff)
		}
		res = w.manage(http.MethodGet, "/logs?take=5&include_totals=true&page=0&per_page=50", "")
		var checkpoint struct {
			Logs []logEntry
			Next string
		}
		if err := json.Unmarshal([]byte(res.body), &checkpoint); err != nil || len(checkpoint.Logs) != 5 || checkpoint.Next != list[1].LogID {
			t.Errorf("by checkpoint with totals: %v %s", err, res.body)
		}
	})
}

func TestTheLogCountsHours(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		b := newBrowser(t)
		b.login(b.login(b.get(w.authorizeURL(app)), "ada", "not-"+password), "ada", password)
		w.clock.advance(time.Hour)
		w.register(nil)
		w.register(nil)
		w.written()
		res := w.manage(http.MethodGet, "/stats/hourly?hours=3", "")
		var hours []struct {
			Date          time.Time
			Logins        int
			FailedLogins  int `json:"failed_logins"`
			Registrations int
		}
		if err := json.Unmarshal([]byte(res.body), &hours); err != nil || len(hours) != 3 {
			t.Fatalf("%v %s", err, res.body)
		}
		got := fmt.Sprint(hours[0].Logins, hours[0].FailedLogins, hours[0].Registrations, hours[1].Logins, hours[1].FailedLogins, hours[1].Registrations,
			hours[2].Logins, hours[2].FailedLogins, hours[2].Registrations)
		if got != "0 0 0 1 1 1 0 0 2" || !hours[2].Date.Equal(w.clock.now().Truncate(time.Hour)) {
			t.Error(res.body)
		}
	})
}

// Entries are seen on every node, and a host's own sink gets them too.
func TestTheLogIsThatOfAllNodes(t *testing.T) {
	sink := &events{}
	w := newWorld(t, options{config: func(c *opkit.Config) { c.Audit = sink }})
	app := w.register(nil)
	if got, _ := sink.take(); got != "client.registration allowed" {
		t.Errorf("the host's sink: %q", got)
	}
	w.written()
	w.renewed(bytes.Repeat([]byte{7}, 32))
	if got := w.log("/logs"); len(got) == 0 || got[len(got)-1].ClientID != app.id {
		t.Errorf("on another node: %+v", got)
	}
}

func TestTheLogRefuses(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		w.register(nil)
		w.written()
		w.managementToken()
		foreign := store.Event{
			TenantID: "other", ID: store.EventPosition(w.clock.now()) + "x", Time: w.clock.now(), Type: "user.sign_in", UserID: w.user.ID,
			ExpiresAt: w.clock.now().Add(time.Hour),
		}
		if _, err := w.stores.Events.AppendEvents(t.Context(), []store.Event{foreign}); err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("a", 3000)
		for _, c := range []struct {
			rule, method, path string
			status             int
			says               string
		}{
			{"another tenant's entry", "GET", "/logs/" + foreign.ID, 404, "The log entry does not exist."},
			{"no entry", "GET", "/logs/x", 404, "The log entry does not exist."},
			{"a NUL in an identifier", "GET", "/logs/%00", 404, ""},
			{"a long identifier", "GET", "/logs/" + long, 404, ""},
			{"an unknown field", "GET", "/logs?q=password:x", 400, "q must be terms"},
			{"no field", "GET", "/logs?q=login", 400, "q must be terms"},
			{"a field twice", "GET", "/logs?q=type:s+type:f", 400, "q must be terms"},
			{"terms that touch", "GET", "/logs?q=type:(s)client_id:x", 400, "q must be terms"},
			{"an operator without a term", "GET", "/logs?q=type:s+AND", 400, "q must be terms"},
			{"another operator", "GET", "/logs?q=type:s+OR+client_id:x", 400, "q must be terms"},
			{"no value", "GET", "/logs?q=type:", 400, "q must be terms"},
			{"an open list", "GET", "/logs?q=type:(s", 400, "q must be terms"},
			{"an empty list", "GET", "/logs?q=type:()", 400, "q must be terms"},
			{"a list of clients", "GET", "/logs?q=client_id:(a+OR+b)", 400, "q must be terms"},
			{"an open quotation", "GET", "/logs?q=" + url.QueryEscape(`user_id:"a`), 400, "q must be terms"},
			{"a control character", "GET", "/logs?q=user_id:%00", 400, "q must be terms"},
			{"what is not UTF-8", "GET", "/logs?q=user_id:%ff", 400, "q must be terms"},
			{"a range that is none", "GET", "/logs?q=date:2031-05-06", 400, "q must be terms"},
			{"a range of three", "GET", "/logs?q=date:[*+TO+*+TO+*]", 400, "q must be terms"},
			{"a range of types", "GET", "/logs?q=type:[a+TO+b]", 400, "q must be terms"},
			{"no date", "GET", "/logs?q=date:[yesterday+TO+*]", 400, "the ends of date"},
			{"no address", "GET", "/logs?q=ip:localhost", 400, "ip must be an IP address"},
			{"a long search", "GET", "/logs?q=user_id:" + long, 400, "q must have at most 2048 bytes"},
			{"q twice", "GET", "/logs?q=type:s&q=type:f", 400, "q appears more than once"},
			{"sort by another field", "GET", "/logs?sort=user_id:1", 400, "sort must be date:1 or date:-1"},
			{"a page that is no number", "GET", "/logs?page=x", 400, "page must be a number"},
			{"a page too long", "GET", "/logs?per_page=101", 400, "per_page must be a number from 1 to 100"},
			{"too many at a time", "GET", "/logs?take=101", 400, "take must be a number from 1 to 100"},
			{"a control character to begin from", "GET", "/logs?from=%00", 400, "from must be the identifier of a record"},
			{"another user in the search", "GET", "/users/" + w.user.ID + "/logs?q=user_id:another", 400, "user_id is another than that of the path"},
			{"a NUL in the user", "GET", "/users/a%00/logs", 400, "the identifier in the path"},
			{"no hours", "GET", "/stats/hourly?hours=0", 400, "hours must be a number from 1 to 168"},
			{"too many hours", "GET", "/stats/hourly?hours=169", 400, "hours must be a number from 1 to 168"},
			{"hours twice", "GET", "/stats/hourly?hours=1&hours=2", 400, "hours appears more than once"},
			{"writing", "POST", "/logs", 405, ""},
			{"deleting", "DELETE", "/logs/" + foreign.ID, 405, ""},
			{"writing about a user", "POST", "/users/x/logs", 405, ""},
			{"writing statistics", "POST", "/stats/hourly", 405, ""},
		} {
			res := w.manage(c.method, c.path, "")
			if res.StatusCode != c.status || !strings.Contains(res.body, c.says) {
				t.Errorf("%s: %d %s", c.rule, res.StatusCode, res.body)
			}
		}
		for _, path := range []string{"/logs", "/users/" + w.user.ID + "/logs", "/logs?sort=date:1", "/logs?q=" + url.QueryEscape("user_id:"+w.user.ID)} {
			for _, e := range w.log(path) {
				if e.UserID != "" {
					t.Errorf("%s has what is another tenant's: %+v", path, e)
				}
			}
		}

		tn, err := w.provider.Tenants().Tenant(t.Context(), tenant.DefaultID)
		if err != nil {
			t.Fatal(err)
		}
		others := strings.Join(withoutValue(w.allScopes(), "read:logs"), " ")
		token := w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", tn.ManagementAudience(), "scope", others).json(t)
		for _, path := range []string{"/logs", "/logs/x", "/users/x/logs", "/stats/hourly"} {
			if res := w.sendJSON(http.MethodGet, w.endpoint.Management+path, token["access_token"].(string), ""); res.StatusCode != http.StatusForbidden || !strings.Contains(res.body, "read:logs") {
				t.Errorf("%s without the scope: %d %s", path, res.StatusCode, res.body)
			}
			if res := w.sendJSON(http.MethodGet, w.endpoint.Management+path, "", ""); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s without a token: %d", path, res.StatusCode)
			}
		}
	})
}

// What may not be known is not in the log: passwords, codes, tokens, secrets.
func TestTheLogHasNoSecrets(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	b := newBrowser(t)
	res := b.login(b.get(w.authorizeURL(app, "scope", "openid offline_access")), password, "not-"+password)
	code := b.decide(b.login(res, "ada", password), "allow").location(t).Get("code")
	tokens := w.redeem(app, code).json(t)
	w.redeem(app, code)
	w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
	w.written()
	all, err := w.stores.Events.Events(t.Context(), tenant.DefaultID, store.EventFilter{}, store.EventPage{}, w.clock.now())
	if err != nil || len(all) < 5 {
		t.Fatalf("%d events, %v", len(all), err)
	}
	raw, _ := json.Marshal(all)
	for _, secret := range []string{password, code, app.secret, fmt.Sprint(tokens["refresh_token"]), fmt.Sprint(tokens["access_token"]), fmt.Sprint(tokens["id_token"]), machineSecret} {
		if secret != "" && strings.Contains(string(raw), secret) {
			t.Errorf("the log has %q: %s", secret, raw)
		}
	}
}

// A store that does not answer holds nobody up, and what was refused cannot push out what
// was done.
func TestTheLogIsBoundedAndNeverInTheWay(t *testing.T) {
	stores := memstore.New().Stores()
	stuck := make(chan struct{})
	stores.Events = storetest.Inject(stores, storetest.Faults{Before: func(ctx context.Context, call string) error {
		if call == "AppendEvents" {
			select {
			case <-stuck:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}}).Events
	w := newWorld(t, options{stores: stores, config: func(c *opkit.Config) { c.EventLog = opkit.EventLogConfig{MaxEvents: 3, Retention: time.Hour} }})
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.provider.Run(running) }()
	for range 5 {
		w.register(nil)
	}
	for range 5 {
		w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"redirect_uris":["http://evil.example/cb"]}`)
	}
	close(stuck)
	stop()
	<-ended
	if got := len(w.log("/logs")); got < 10 {
		t.Fatalf("%d entries, want those of ten requests", got)
	}
	w.written() // the key of the management token
	live := func() (allowed, refused, administration int) {
		all, err := w.stores.Events.Events(t.Context(), tenant.DefaultID, store.EventFilter{}, store.EventPage{}, w.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			switch {
			case e.Outcome == string(audit.Refused):
				refused++
			case strings.HasPrefix(e.Type, "signing_key."):
				administration++
			default:
				allowed++
			}
		}
		return allowed, refused, administration
	}
	// One round of what Run does every minute.
	collecting, stop := context.WithCancel(t.Context())
	p, err := opkit.New(opkit.Config{
		Issuer: w.issuer, Secret: bytes.Repeat([]byte{7}, 32), Now: w.clock.now, EventLog: opkit.EventLogConfig{MaxEvents: 3},
		Stores: storetest.Inject(w.stores, storetest.Faults{Before: func(_ context.Context, call string) error {
			if strings.HasPrefix(call, "Collect") {
				stop()
			}
			return nil
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Run(collecting)
	if allowed, refused, administration := live(); allowed != 3 || refused != 3 || administration != 1 {
		t.Errorf("%d of what was done, %d of what was refused, %d of administrators", allowed, refused, administration)
	}
	w.clock.advance(2 * time.Hour)
	if allowed, refused, administration := live(); allowed+refused+administration != 0 {
		t.Error("expired entries are found")
	}
}

func TestWithoutALogThereIsNone(t *testing.T) {
	stores := memstore.New().Stores()
	stores.Events = nil
	w := newWorld(t, options{stores: stores})
	w.register(nil)
	w.written()
	for _, path := range []string{"/logs", "/logs/x", "/users/x/logs", "/stats/hourly"} {
		if res := w.manage(http.MethodGet, path, ""); res.StatusCode != http.StatusNotFound || !strings.Contains(res.body, "keeps no log") {
			t.Errorf("%s: %d %s", path, res.StatusCode, res.body)
		}
	}
}

func FuzzLogQuery(f *testing.F) {
	w := newWorld(f, options{})
	token := w.managementToken()
	for _, seed := range []string{"type:s", `type:(s OR "f") AND user_id:"a b"`, "date:[2031-05-06 TO *] ip:::1", "type:(", `"`, "a:b:c", "date:[* TO", "AND", "type:s AND"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, w.endpoint.Management+"/logs?q="+url.QueryEscape(query), nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		w.server.Config.Handler.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK && rec.Code != http.StatusBadRequest || !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%q: %d %s", query, rec.Code, rec.Body)
		}
	})
}
