package opkit_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// newSignupWorld is a world with the built-in pages where people may sign up. Without
// mail they have an account at once.
func newSignupWorld(t testing.TB, mail bool, o options) (*world, mailbox) {
	t.Helper()
	mails := make(mailbox, 100)
	configure := o.config
	o.config = func(cfg *opkit.Config) {
		if mail {
			cfg.Mailer = mails.send
		}
		if configure != nil {
			configure(cfg)
		}
	}
	w := newWorld(t, o)
	w.setOptions(`{"disable_signup":false}`)
	return w, mails
}

// press sends the first form of a page with a button, and fields in pairs.
func (b *browser) press(page *response, button, value string, fields ...string) *response {
	b.t.Helper()
	action, form := form(b.t, page)
	form.Set(button, value)
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.post(action, form)
}

// The page takes an address; the link that is sent there takes the password; and the
// login page, which was there all the time, signs in and goes on to the application.
func TestSignUpOnTheBuiltInPage(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, mails := newSignupWorld(t, true, options{mount: mount})
		app := w.register(nil)
		b := newBrowser(t)
		login := b.get(w.authorizeURL(app))
		if !strings.Contains(login.body, `id="login-signup"`) {
			t.Fatalf("no button: %s", text(login.body))
		}
		page := b.press(login, "signup", "show")
		if page.StatusCode != http.StatusOK || !strings.Contains(page.body, `id="signup-submit"`) || strings.Contains(page.body, `type="password"`) {
			t.Fatalf("%d %s", page.StatusCode, text(page.body))
		}
		if back := b.press(page, "back", "yes"); !strings.Contains(back.body, `id="login-submit"`) {
			t.Errorf("back: %s", text(back.body))
		}
		users := w.userCount()
		sent := b.press(page, "signup", "yes", "email", " Grace@Example.com ")
		mail := mails.next(t)
		if sent.StatusCode != http.StatusOK || !strings.Contains(text(sent.body), "A mail is on its way") || !strings.Contains(sent.body, `id="login-submit"`) || w.userCount() != users {
			t.Fatalf("%d %s", sent.StatusCode, text(sent.body))
		}
		if mail.Kind != authorize.MailSignUp || mail.To != "grace@example.com" || mail.UserID != "" || mail.ClientID != app.id || !strings.HasPrefix(mail.Link, w.endpoint.PasswordReset+"?ticket=") {
			t.Errorf("mail: %+v", mail)
		}
		visitor := newBrowser(t)
		for range 2 { // looking changes nothing
			page = visitor.get(mail.Link)
		}
		if page.StatusCode != http.StatusOK || !strings.Contains(page.body, `id="signup-finish"`) || w.userCount() != users {
			t.Fatalf("%d %s", page.StatusCode, text(page.body))
		}
		if weak := visitor.press(page, "password", "short"); weak.StatusCode != http.StatusBadRequest || !strings.Contains(text(weak.body), "The password must have at least 8 characters") || w.userCount() != users {
			t.Errorf("weak: %d %s", weak.StatusCode, text(weak.body))
		}
		if done := visitor.press(page, "password", "a long enough one"); done.StatusCode != http.StatusOK || !strings.Contains(text(done.body), "Your account is ready") {
			t.Fatalf("%d %s", done.StatusCode, text(done.body))
		}
		if u := w.userByEmail("grace@example.com"); !u.EmailVerified || u.ConnectionID != w.connection.ID {
			t.Errorf("%+v", u)
		}
		for _, again := range []*response{visitor.get(mail.Link), visitor.press(page, "password", "another one as long")} {
			if again.StatusCode != http.StatusBadRequest || !strings.Contains(again.body, "used already") {
				t.Errorf("again: %d %s", again.StatusCode, text(again.body))
			}
		}
		consent := b.login(sent, "grace@example.com", "a long enough one")
		if got := b.decide(consent, "allow").location(t); got.Get("code") == "" {
			t.Errorf("the application received %v", got)
		}
	})
}

// Whoever signs up is told the same, in the same words, whether or not the address has
// an account; whoever reads mail there is told what is true.
func TestSignUpTellsNothing(t *testing.T) {
	w, mails := newSignupWorld(t, true, options{})
	app := w.register(nil)
	answer := func(email string) string {
		b := newBrowser(t)
		res := b.press(b.press(b.get(w.authorizeURL(app)), "signup", "show"), "signup", "yes", "email", email)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", email, res.StatusCode)
		}
		return strings.ReplaceAll(text(res.body), email, "")
	}
	unknown := answer("nobody@example.com")
	if mail := mails.next(t); mail.Kind != authorize.MailSignUp {
		t.Errorf("%+v", mail)
	}
	if known := answer("ada@example.com"); known != unknown {
		t.Errorf("known:   %s\nunknown: %s", known, unknown)
	}
	mail := mails.next(t)
	if mail.Kind != authorize.MailAccountExists || mail.To != "ada@example.com" || mail.UserID != w.user.ID || mail.Link == "" {
		t.Errorf("%+v", mail)
	}
	if page := newBrowser(t).get(mail.Link); !strings.Contains(page.body, `id="reset-submit"`) {
		t.Errorf("the link leads to %s", text(page.body))
	}
	// Trying the password before the link was used says nothing either.
	b := newBrowser(t)
	for _, email := range []string{"nobody@example.com", "ada@example.com"} {
		if res := b.login(b.get(w.authorizeURL(app)), email, "a long enough one"); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", email, res.StatusCode)
		}
	}
	// Without a way to a new password there is no link, and one that is blocked gets none.
	w.setOptions(`{"disable_signup":false,"disable_self_service_change_password":true}`)
	if again := answer("ada@example.com"); again != strings.ReplaceAll(unknown, " I forgot my password", "") {
		t.Errorf("no reset: %s\n%s", again, unknown)
	}
	if mail := mails.next(t); mail.Kind != authorize.MailAccountExists || mail.Link != "" {
		t.Errorf("%+v", mail)
	}
	// Somebody's username gets no mail, wherever its owner reads mail.
	w.setOptions(`{"disable_signup":false}`)
	w.changeUser(func(u *store.User) { u.Username = "grace@example.com" })
	answer("grace@example.com")
	answer("third@example.com")
	if mail := mails.next(t); mail.To != "third@example.com" || len(mails) != 0 {
		t.Errorf("%+v, and %d more", mail, len(mails))
	}
}

// Without a mailer the account is made at once, and signs in.
func TestSignUpAtOnce(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, _ := newSignupWorld(t, false, options{mount: mount, permissive: true})
		w.setOptions(`{"disable_signup":false,"requires_username":true}`)
		app := w.register(nil)
		b := newBrowser(t)
		page := b.press(b.get(w.authorizeURL(app)), "signup", "show")
		if !strings.Contains(page.body, `id="password"`) || !strings.Contains(page.body, `id="username"`) || !strings.Contains(text(page.body), "At least 8 characters") {
			t.Fatal(text(page.body))
		}
		users := w.userCount()
		for _, tc := range []struct{ rule, email, username, password, says string }{
			{"no address", "", "grace", "a long enough one", "The email address is required."},
			{"no email address", "grace", "grace", "a long enough one", "The email address must"},
			{"no username", "grace@example.com", "", "a long enough one", "The username is required"},
			{"no password", "grace@example.com", "grace", "", "The password is required."},
			{"a weak password", "grace@example.com", "grace", "short", "The password must have at least 8 characters"},
			{"a taken address", "ada@example.com", "grace", "a long enough one", "Nobody can sign up with this email address or username."},
			{"a taken username", "grace@example.com", "ada", "a long enough one", "Nobody can sign up with this email address or username."},
		} {
			res := b.press(page, "signup", "yes", "email", tc.email, "username", tc.username, "password", tc.password)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(text(res.body), tc.says) || !strings.Contains(res.body, `id="signup-submit"`) || strings.Contains(res.body, "a long enough one") {
				t.Errorf("%s: %d %s", tc.rule, res.StatusCode, text(res.body))
			}
		}
		if w.userCount() != users || w.sessions() != 0 {
			t.Fatal("somebody was created")
		}
		consent := b.press(page, "signup", "yes", "email", "Grace@example.com", "username", "Grace", "password", "a long enough one")
		if got := b.decide(consent, "allow").location(t); got.Get("code") == "" {
			t.Errorf("the application received %v", got)
		}
		if u := w.userByEmail("grace@example.com"); u.EmailVerified || u.Username != "grace" {
			t.Errorf("%+v", u)
		}
	})
}

// Where people may sign up: at connections that say so, of those that the application
// may use; for third parties these are domain connections.
func TestWhoMaySignUp(t *testing.T) {
	for _, mail := range []bool{true, false} {
		w, mails := newSignupWorld(t, mail, options{})
		ctx := context.Background()
		staff, err := w.provider.Connections().Create(ctx, store.Connection{TenantID: tenant.DefaultID, Name: "staff", Strategy: connection.StrategyDatabase, Options: []byte(`{"disable_signup":false}`)})
		if err != nil {
			t.Fatal(err)
		}
		app := w.register(nil)
		b := newBrowser(t)
		page := b.press(b.get(w.authorizeURL(app)), "signup", "show")
		users := w.userCount()
		refused := func(name string, res *response, status int) {
			t.Helper()
			if res.StatusCode != status || w.userCount() != users || len(mails) != 0 {
				t.Errorf("%s: %d %s", name, res.StatusCode, text(res.body))
			}
		}
		form := []string{"email", "grace@example.com", "password", "a long enough one"}
		refused("another connection", b.press(page, "signup", "yes", append(form, "connection", "staff")...), http.StatusBadRequest)
		refused("no such connection", b.press(page, "signup", "yes", append(form, "connection", "none")...), http.StatusBadRequest)
		refused("another browser", newBrowser(t).press(page, "signup", "yes", form...), http.StatusBadRequest)
		action, fields := formOf(t, page, append(form, "signup", "yes")...)
		req, _ := http.NewRequest(http.MethodPost, action, strings.NewReader(fields.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		refused("another site", b.do(req), http.StatusForbidden)

		for _, options := range []string{`{}`, `{"disable_signup":true}`} {
			w.setOptions(options)
			refused("switched off "+options, b.press(page, "signup", "yes", form...), http.StatusBadRequest)
			if login := b.get(w.authorizeURL(app)); strings.Contains(login.body, "login-signup") {
				t.Errorf("%s: a button where there is nothing behind it", options)
			}
			if hinted := b.get(w.authorizeURL(app, "screen_hint", "signup")); !strings.Contains(hinted.body, "login-submit") {
				t.Errorf("%s: %s", options, text(hinted.body))
			}
		}
		w.setOptions(`{"disable_signup":false}`)
		if hinted := b.get(w.authorizeURL(app, "screen_hint", "signup", "login_hint", "grace@example.com")); !strings.Contains(hinted.body, "signup-submit") || !strings.Contains(hinted.body, `value="grace@example.com"`) {
			t.Errorf("screen_hint: %s", text(hinted.body))
		}
		// One of the tenant's own with a connection of its own.
		own := w.own(appRedirectURI)
		if _, err := w.provider.Connections().Update(ctx, tenant.DefaultID, staff.ID, func(c *store.Connection) error {
			c.EnabledClients = append(c.EnabledClients, own.id)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		both := b.press(b.get(w.authorizeURL(own)), "signup", "show")
		if !strings.Contains(both.body, `<option value="staff"`) || !strings.Contains(both.body, `<option value="`+w.connection.Name+`"`) {
			t.Errorf("two connections: %s", text(both.body))
		}
		refused("no choice", b.press(both, "signup", "yes", form...), http.StatusBadRequest)
	}
}

// formOf returns the action and the fields of a page's form, with more fields in pairs.
func formOf(t testing.TB, page *response, more ...string) (string, url.Values) {
	t.Helper()
	action, fields := form(t, page)
	for i := 0; i < len(more); i += 2 {
		fields.Set(more[i], more[i+1])
	}
	return action, fields
}

// A link to finish a sign-up dies with its time, with the switch, and when somebody has
// the address by then. Links are of their kind.
func TestSignUpLinkDies(t *testing.T) {
	ctx := context.Background()
	for name, happens := range map[string]func(*world){
		"a day":      func(w *world) { w.clock.advance(24*time.Hour + time.Minute) },
		"the switch": func(w *world) { w.setOptions(`{"disable_signup":true}`) },
		"the connection": func(w *world) {
			w.must(w.stores.Connections.DeleteConnection(ctx, tenant.DefaultID, w.connection.ID))
		},
		"somebody has the address": func(w *world) {
			_, err := w.provider.Connections().CreateUser(ctx, store.User{TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "grace@example.com"}, "somebody else's one")
			w.must(err)
		},
	} {
		w, mails := newSignupWorld(t, true, options{})
		b := newBrowser(t)
		b.press(b.press(b.get(w.authorizeURL(w.register(nil))), "signup", "show"), "signup", "yes", "email", "grace@example.com")
		mail := mails.next(t)
		if page := newBrowser(t).get(strings.Replace(mail.Link, w.endpoint.PasswordReset, w.endpoint.EmailVerification, 1)); page.StatusCode != http.StatusBadRequest {
			t.Errorf("as the link of a verification: %d", page.StatusCode)
		}
		page := newBrowser(t).get(mail.Link)
		happens(w)
		users := w.userCount()
		if res := newBrowser(t).press(page, "password", "a long enough one"); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "Link error") || w.userCount() != users {
			t.Errorf("%s: %d %s", name, res.StatusCode, text(res.body))
		}
	}
}

// A username is chosen behind the link, where the connection wants one.
func TestSignUpLinkWithUsername(t *testing.T) {
	w, mails := newSignupWorld(t, true, options{})
	w.setOptions(`{"disable_signup":false,"requires_username":true}`)
	b := newBrowser(t)
	b.press(b.press(b.get(w.authorizeURL(w.register(nil))), "signup", "show"), "signup", "yes", "email", "grace@example.com")
	page := b.get(mails.next(t).Link)
	for username, want := range map[string]string{"": "The username is required", "ada": "The username is taken."} {
		if res := b.press(page, "password", "a long enough one", "username", username); res.StatusCode != http.StatusBadRequest || !strings.Contains(text(res.body), want) {
			t.Errorf("%q: %d %s", username, res.StatusCode, text(res.body))
		}
	}
	// Which are taken learns only who could have the account right away.
	for _, username := range []string{"ada", "grace"} {
		for short, want := range map[string]string{"": "The password is required.", "short": "The password must have at least 8 characters."} {
			if res := b.press(page, "password", short, "username", username); res.StatusCode != http.StatusBadRequest || !strings.Contains(text(res.body), want) || strings.Contains(res.body, "taken") {
				t.Errorf("%q, password %q: %d %s", username, short, res.StatusCode, text(res.body))
			}
		}
	}
	if res := b.press(page, "password", "a long enough one", "username", "Grace"); res.StatusCode != http.StatusOK || w.userByEmail("grace@example.com").Username != "grace" {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// An address and a network get a few, and nobody is told of the first.
func TestSignUpHasLimits(t *testing.T) {
	w, mails := newSignupWorld(t, true, options{config: behindProxy})
	app := w.register(nil)
	send := func(email, addr string) *response {
		b := newBrowser(t)
		action, fields := formOf(t, b.get(w.authorizeURL(app)), "signup", "yes", "email", email)
		return b.postFrom(addr, action, fields)
	}
	for i := range 6 {
		if res := send("grace@example.com", "203.0.113."+string(rune('1'+i))); res.StatusCode != http.StatusOK {
			t.Errorf("%d %s", res.StatusCode, text(res.body))
		}
	}
	for range 3 {
		mails.next(t)
	}
	limited := 0
	for range 25 {
		if res := send("not an address", "198.51.100.7"); res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "" && strings.Contains(res.body, "Too many requests") {
			limited++
		}
	}
	if limited != 5 || len(mails) != 0 {
		t.Errorf("%d of 25 were refused, %d mails too many", limited, len(mails))
	}
}

// Whoever has a link does not learn with it which of many usernames are taken. The link
// stays good, and so does the sign-up of the rest of the network.
func TestFinishingASignUpHasLimits(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, mails := newSignupWorld(t, true, options{mount: mount, config: behindProxy})
		w.setOptions(`{"disable_signup":false,"requires_username":true}`)
		start := newBrowser(t)
		start.press(start.press(start.get(w.authorizeURL(w.register(nil))), "signup", "show"), "signup", "yes", "email", "grace@example.com")
		page := start.get(mails.next(t).Link)
		users := w.userCount()
		send := func(addr, username string) *response {
			action, fields := formOf(t, page, "password", "a long enough one", "username", username)
			return newBrowser(t).postFrom(addr, action, fields)
		}
		limited := 0
		for range 25 {
			switch res := send("198.51.100.7", "ada"); {
			case res.StatusCode == http.StatusTooManyRequests:
				if limited++; res.Header.Get("Retry-After") == "" || strings.Contains(res.body, "taken") || !strings.Contains(res.body, `id="signup-finish"`) || !strings.Contains(res.body, "grace@example.com") {
					t.Errorf("%v %s", res.Header, text(res.body))
				}
			case !strings.Contains(res.body, "The username is taken."):
				t.Errorf("%d %s", res.StatusCode, text(res.body))
			}
		}
		if limited != 5 || w.userCount() != users {
			t.Errorf("%d of 25 were refused", limited)
		}
		if res := send("198.51.100.7", "grace"); res.StatusCode != http.StatusTooManyRequests || w.userCount() != users {
			t.Errorf("a free one: %d %s", res.StatusCode, text(res.body))
		}
		// What the network asks for is counted apart.
		b := newBrowser(t)
		action, fields := formOf(t, b.get(w.authorizeURL(w.register(nil))), "signup", "yes", "email", "eve@example.com")
		if res := b.postFrom("198.51.100.7", action, fields); res.StatusCode != http.StatusOK {
			t.Errorf("asking: %d %s", res.StatusCode, text(res.body))
		}
		w.clock.advance(11 * time.Second)
		if res := send("198.51.100.7", "grace"); res.StatusCode != http.StatusOK || w.userCount() != users+1 {
			t.Errorf("later: %d %s", res.StatusCode, text(res.body))
		}
		// A link that is no good is one, whoever is limited.
		for range 3 {
			if res := send("198.51.100.7", "grace"); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "Link error") {
				t.Errorf("again: %d %s", res.StatusCode, text(res.body))
			}
		}
	})
}

// postFrom is post as a proxy passes it on that an address comes through.
func (b *browser) postFrom(addr, u string, form url.Values) *response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Forwarded-For", addr)
	return b.do(req)
}
