package opkit_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// Two nodes on one store: what the one counts counts on the other, if the host says so.
func TestAccountLimitsOfSeveralNodes(t *testing.T) {
	for _, shared := range []bool{false, true} {
		stores, mails := memstore.New().Stores(), make(mailbox, 100)
		node := func(c *opkit.Config) {
			behindProxy(c)
			c.Mailer, c.SharedLimits = mails.send, shared
		}
		w := newWorld(t, options{stores: stores, config: node})
		w.setOptions(`{"disable_signup":false}`)
		cfg := opkit.Config{Issuer: w.issuer, Stores: stores, Secret: make([]byte, 32), Now: w.clock.now, CacheStaleness: -1}
		node(&cfg)
		other, err := opkit.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		app, first := w.register(nil), w.provider
		send := func(i int, u, addr string, form url.Values) *response {
			t.Helper()
			if w.provider = first; i%2 == 1 {
				w.provider = other
			}
			form.Set("client_id", app.id)
			form.Set("connection", w.connection.Name)
			req, err := http.NewRequest(http.MethodPost, u, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("X-Forwarded-For", addr)
			return newBrowser(t).do(req)
		}
		// A network: 20 at once, and what is refused creates nobody.
		statuses, before := map[int]int{}, w.userCount()
		for i := range 30 {
			res := send(i, w.endpoint.DatabaseSignup, "198.51.100.7", url.Values{"email": {""}, "password": {"a long enough one"}})
			if statuses[res.StatusCode]++; res.StatusCode == http.StatusTooManyRequests && (res.Header.Get("Retry-After") == "" || res.json(t)["code"] != "too_many_requests") {
				t.Errorf("429: %v %s", res.Header, res.body)
			}
		}
		passed := statuses[http.StatusBadRequest]
		if shared && (passed > 20 || passed < 10) || !shared && passed != 30 || passed+statuses[http.StatusTooManyRequests] != 30 {
			t.Errorf("shared %v: %v", shared, statuses)
		}
		if w.userCount() != before {
			t.Error("somebody was created")
		}
		if res := send(0, w.endpoint.DatabaseSignup, "198.51.100.8", url.Values{}); res.StatusCode == http.StatusTooManyRequests {
			t.Errorf("another network: %d %s", res.StatusCode, res.body)
		}
		// An address: three mails at once, and everybody is answered alike.
		for i := range 8 {
			if res := send(i, w.endpoint.DatabaseChangePassword, "203.0.113."+string(rune('1'+i)), url.Values{"email": {"ada@example.com"}}); res.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", res.StatusCode, res.body)
			}
		}
		want := map[bool]int{false: 6, true: 3}[shared]
		for range want {
			mails.next(t)
		}
		// The others ask for nothing that is still to come.
		w.changeUser(func(u *store.User) { u.Email = "lovelace@example.com" })
		send(0, w.endpoint.DatabaseChangePassword, "203.0.113.77", url.Values{"email": {"lovelace@example.com"}})
		if mail := mails.next(t); mail.To != "lovelace@example.com" || len(mails) != 0 {
			t.Errorf("shared %v: more than %d mails: %+v", shared, want, mail)
		}
	}
}
