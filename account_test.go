package opkit_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/storetest"
	"github.com/opkit/opkit/tenant"
)

// mailbox receives what is mailed.
type mailbox chan authorize.Mail

func (m mailbox) send(_ context.Context, mail authorize.Mail) error {
	m <- mail
	return nil
}

// next returns the next mail.
func (m mailbox) next(t testing.TB) authorize.Mail {
	t.Helper()
	select {
	case mail := <-m:
		return mail
	case <-time.After(20 * time.Second):
		t.Fatal("no mail came")
		return authorize.Mail{}
	}
}

// newAccountWorld is a world where people may sign up, with their mail.
func newAccountWorld(t testing.TB, o options) (*world, mailbox) {
	t.Helper()
	mails := make(mailbox, 100)
	configure := o.config
	o.config = func(cfg *opkit.Config) {
		cfg.Mailer = mails.send
		if configure != nil {
			configure(cfg)
		}
	}
	w := newLockWorld(t, o)
	w.setOptions(`{"disable_signup":false}`)
	return w, mails
}

func (w *world) setOptions(options string) {
	w.t.Helper()
	if _, err := w.provider.Connections().Update(context.Background(), tenant.DefaultID, w.connection.ID, func(c *store.Connection) error {
		c.Options = []byte(options)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// userCount counts the users.
func (w *world) userCount() int {
	w.t.Helper()
	all, err := w.stores.UserAdmin.Users(context.Background(), tenant.DefaultID, "", store.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

func (w *world) userByEmail(email string) store.User {
	w.t.Helper()
	u, err := w.stores.Users.UserByLogin(context.Background(), tenant.DefaultID, w.connection.ID, email)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func TestSignUp(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, mails := newAccountWorld(t, options{mount: mount})
		app := w.register(nil)
		b := newBrowser(t)
		res := b.postJSON(w.endpoint.DatabaseSignup, map[string]any{
			"client_id": app.id, "connection": w.connection.Name, "email": "Grace@Example.com", "password": "a long enough one",
			"given_name": "Grace", "user_metadata": map[string]any{"plan": "gold"}, "email_verified": true, "app_metadata": map[string]any{"admin": true},
		})
		out := res.json(t)
		user := w.userByEmail("grace@example.com")
		if res.StatusCode != 200 || out["_id"] != strings.TrimPrefix(user.ID, "auth0|") || out["email"] != "grace@example.com" || out["email_verified"] != false {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		if user.EmailVerified || user.Profile.GivenName != "Grace" || string(user.UserMetadata) != `{"plan":"gold"}` || user.AppMetadata != nil {
			t.Errorf("stored: %+v", user)
		}
		// What was set up signs in, on the same page.
		cfg := lockConfigOf(t, b.get(w.authorizeURL(app)))
		resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "grace@example.com", "a long enough one")))

		// The mail leads to a page, and its button verifies the address, once.
		mail := mails.next(t)
		if mail.Kind != authorize.MailEmailVerification || mail.To != "grace@example.com" || mail.UserID != user.ID || mail.ClientID != app.id || !strings.HasPrefix(mail.Link, w.endpoint.EmailVerification+"?ticket=") {
			t.Errorf("mail: %+v", mail)
		}
		visitor := newBrowser(t)
		for range 2 { // looking changes nothing
			if page := visitor.get(mail.Link); page.StatusCode != 200 || !strings.Contains(page.body, "verify-submit") || w.userByEmail("grace@example.com").EmailVerified {
				t.Fatalf("page: %d %s", page.StatusCode, text(page.body))
			}
		}
		action, fields := form(t, visitor.get(mail.Link))
		if page := visitor.post(action, fields); page.StatusCode != 200 || !w.userByEmail("grace@example.com").EmailVerified {
			t.Errorf("confirmed: %d %s", page.StatusCode, text(page.body))
		}
		for _, page := range []*response{visitor.get(mail.Link), visitor.post(action, fields)} {
			if page.StatusCode != 400 || !strings.Contains(page.body, "used already") {
				t.Errorf("again: %d %s", page.StatusCode, text(page.body))
			}
		}
	})
}

func TestSignUpIsRefused(t *testing.T) {
	leaked := "known everywhere by now"
	w, mails := newAccountWorld(t, options{config: func(cfg *opkit.Config) {
		cfg.Passwords.Breached = func(_ context.Context, password string) (bool, error) {
			if password == "the list is down" {
				return false, errors.New("no route")
			}
			return password == leaked, nil
		}
	}})
	app := w.register(nil)
	if _, err := w.provider.Connections().Create(context.Background(), store.Connection{TenantID: tenant.DefaultID, Name: "staff", Strategy: "auth0", Options: []byte(`{"disable_signup":false}`)}); err != nil {
		t.Fatal(err)
	}
	users := w.userCount()
	for name, tc := range map[string]struct {
		options, member, value string
		status                 int
		code                   string
	}{
		"taken":                      {"", "email", "ada@example.com", 400, "invalid_signup"},
		"taken as a username":        {"", "username", "ada", 400, "invalid_signup"},
		"weak":                       {"", "password", "short", 400, "invalid_password"},
		"weaker than the policy":     {`{"disable_signup":false,"passwordPolicy":"good"}`, "password", "all lower case", 400, "invalid_password"},
		"leaked":                     {"", "password", leaked, 400, "password_leaked"},
		"the list cannot be asked":   {"", "password", "the list is down", 500, "server_error"},
		"no password":                {"", "password", "", 400, "invalid_password"},
		"no email":                   {"", "email", "", 400, "invalid_request"},
		"no email address":           {"", "email", "grace", 400, "invalid_request"},
		"no username":                {`{"disable_signup":false,"requires_username":true}`, "", "", 400, "invalid_request"},
		"a connection of others":     {"", "connection", "staff", 400, "access_denied"},
		"no such connection":         {"", "connection", "none", 400, "access_denied"},
		"no such client":             {"", "client_id", "nobody", 400, "invalid_client"},
		"no client":                  {"", "client_id", "", 400, "invalid_request"},
		"switched off":               {`{"disable_signup":true}`, "", "", 400, "access_denied"},
		"not switched on":            {`{}`, "", "", 400, "access_denied"},
		"a picture that is a script": {"", "picture", "javascript:alert(1)", 400, "invalid_request"},
	} {
		w.setOptions(`{"disable_signup":false}`)
		if tc.options != "" {
			w.setOptions(tc.options)
		}
		v := url.Values{"client_id": {app.id}, "connection": {w.connection.Name}, "email": {"grace@example.com"}, "password": {"a long enough one"}}
		if tc.member != "" {
			v.Set(tc.member, tc.value)
		}
		res := newBrowser(t).post(w.endpoint.DatabaseSignup, v)
		out := res.json(t)
		if res.StatusCode != tc.status || out["code"] != tc.code || strings.Contains(res.body, "no route") {
			t.Errorf("%s: %d %s", name, res.StatusCode, res.body)
		}
		if tc.code == "invalid_password" && (out["name"] != "PasswordStrengthError" || out["policy"] == "") {
			t.Errorf("%s: %s", name, res.body)
		}
		if n := w.userCount(); n != users {
			t.Fatalf("%s: a user was created", name)
		}
	}
	w.setOptions(`{"disable_signup":false}`)
	req, _ := http.NewRequest(http.MethodPost, w.endpoint.DatabaseSignup, strings.NewReader(url.Values{"client_id": {app.id}, "connection": {w.connection.Name}, "email": {"grace@example.com"}, "password": {"a long enough one"}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://evil.example")
	if res := newBrowser(t).do(req); res.StatusCode != 403 || w.userCount() != users {
		t.Errorf("from another site: %d %s", res.StatusCode, res.body)
	}
	if len(mails) != 0 {
		t.Error("mail was sent")
	}
}

func TestForgottenPassword(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, mails := newAccountWorld(t, options{mount: mount})
		app := w.register(nil)
		// Somebody is signed in, with a refresh token.
		b := newBrowser(t)
		cfg := lockConfigOf(t, b.get(w.authorizeURL(app)))
		action, fields := resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", password)))
		tokens := w.redeem(app, b.decide(b.post(action, fields), "allow").location(t).Get("code")).json(t)

		ask := func(email string) *response {
			return newBrowser(t).postJSON(w.endpoint.DatabaseChangePassword, map[string]any{"client_id": app.id, "connection": w.connection.Name, "email": email})
		}
		known, unknown := ask("ADA@example.com"), ask("nobody@example.com")
		if known.StatusCode != 200 || known.body != "We've just sent you an email to reset your password." || known.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%d %s", known.StatusCode, known.body)
		}
		if unknown.StatusCode != known.StatusCode || unknown.body != known.body {
			t.Errorf("nobody: %d %s", unknown.StatusCode, unknown.body)
		}
		mail := mails.next(t)
		if mail.Kind != authorize.MailPasswordReset || mail.To != "ada@example.com" || !strings.HasPrefix(mail.Link, w.endpoint.PasswordReset+"?ticket=") {
			t.Errorf("mail: %+v", mail)
		}
		visitor := newBrowser(t)
		action, fields = form(t, visitor.get(mail.Link))
		fields.Set("password", "short")
		if page := visitor.post(action, fields); page.StatusCode != 400 || !strings.Contains(text(page.body), "at least 8 characters") || w.sessions() != 1 {
			t.Errorf("a weak password: %d %s", page.StatusCode, text(page.body))
		}
		req, _ := http.NewRequest(http.MethodPost, action, strings.NewReader(fields.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		fields.Set("password", "the next one is long")
		if page := visitor.do(req); page.StatusCode != 403 || w.sessions() != 1 {
			t.Errorf("from another site: %d %s", page.StatusCode, text(page.body))
		}
		if page := visitor.post(action, fields); page.StatusCode != 200 || !strings.Contains(page.body, "Password changed") {
			t.Fatalf("%d %s", page.StatusCode, text(page.body))
		}
		for _, page := range []*response{visitor.get(mail.Link), visitor.post(action, fields)} {
			if page.StatusCode != 400 || !strings.Contains(page.body, "used already") {
				t.Errorf("again: %d %s", page.StatusCode, text(page.body))
			}
		}
		// Whoever was signed in is not any more, and the old password is none.
		if n := w.sessions(); n != 0 {
			t.Errorf("%d sessions", n)
		}
		if res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode != 400 || res.json(t)["error"] != "invalid_grant" {
			t.Errorf("refresh: %d %s", res.StatusCode, res.body)
		}
		if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != 401 {
			t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
		}
		cfg = lockConfigOf(t, b.get(w.authorizeURL(app)))
		if res := b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", password)); res.StatusCode != 401 {
			t.Errorf("the old password: %d %s", res.StatusCode, res.body)
		}
		resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", "the next one is long")))
	})
}

// hangsUp is a store whose caller is gone as soon as a user was changed.
type hangsUp struct {
	store.UserAdmin
	hangUp func()
}

func (s *hangsUp) UpdateUser(ctx context.Context, u store.User) error {
	err := s.UserAdmin.UpdateUser(ctx, u)
	s.hangUp()
	return err
}

func TestANewPasswordSignsOutThoughTheBrowserHangsUp(t *testing.T) {
	admin := &hangsUp{hangUp: func() {}}
	w, mails := newAccountWorld(t, options{config: func(cfg *opkit.Config) {
		admin.UserAdmin = cfg.Stores.UserAdmin
		cfg.Stores.UserAdmin = admin
	}})
	app := w.register(nil)
	b := newBrowser(t)
	cfg := lockConfigOf(t, b.get(w.authorizeURL(app)))
	b.post(resultForm(t, b.post(w.endpoint.LockLogin, cfg.login(w, "ada@example.com", password))))
	if n := w.sessions(); n != 1 {
		t.Fatalf("%d sessions", n)
	}
	newBrowser(t).postJSON(w.endpoint.DatabaseChangePassword, map[string]any{"client_id": app.id, "connection": w.connection.Name, "email": "ada@example.com"})
	action, fields := form(t, newBrowser(t).get(mails.next(t).Link))
	fields.Set("password", "the next one is long")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	admin.hangUp = cancel
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, action, strings.NewReader(fields.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w.server.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
	if ctx.Err() == nil {
		t.Fatal("the password was not changed")
	}
	if n := w.sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// The password is another one already when the lock cannot be lifted: whoever knew the
// former one is signed out all the same.
func TestANewPasswordSignsOutThoughTheLockStays(t *testing.T) {
	var down atomic.Bool
	w := newWorld(t, options{config: func(cfg *opkit.Config) {
		cfg.Stores = storetest.Inject(cfg.Stores, storetest.Faults{Before: func(_ context.Context, call string) error {
			if down.Load() && call == "DeleteTicket" {
				return errors.New("down")
			}
			return nil
		}})
	}})
	app := w.register(nil)
	refresh, _ := w.redeem(app, w.authorizeIn(newBrowser(t), app).Get("code")).json(t)["refresh_token"].(string)
	w.managementToken()
	down.Store(true)
	res := w.manage(http.MethodPatch, "/users/"+url.PathEscape(w.user.ID), `{"password":"the next one is long"}`)
	if res.StatusCode != http.StatusOK || w.sessions() != 0 {
		t.Errorf("%d %s, %d sessions", res.StatusCode, res.body, w.sessions())
	}
	if res := w.token(app, "grant_type", "refresh_token", "refresh_token", refresh); res.StatusCode != http.StatusBadRequest {
		t.Errorf("the refresh token: %d %s", res.StatusCode, res.body)
	}
}

// A Mailer is code of the host, which runs apart from any request.
func TestAMailerThatPanicsEndsNothing(t *testing.T) {
	mails := make(mailbox, 10)
	called := make(chan struct{}, 20)
	var calls atomic.Int32
	w := newWorld(t, options{config: func(cfg *opkit.Config) {
		cfg.Logger = slog.New(slog.DiscardHandler)
		cfg.Mailer = func(ctx context.Context, m authorize.Mail) error {
			n := calls.Add(1)
			called <- struct{}{}
			if n <= 10 {
				panic("no template for " + m.Kind)
			}
			return mails.send(ctx, m)
		}
	}})
	app := w.register(nil)
	for range 11 { // more than there are workers
		w.clock.advance(time.Hour) // what one address is sent is limited
		newBrowser(t).postJSON(w.endpoint.DatabaseChangePassword, map[string]any{"client_id": app.id, "connection": w.connection.Name, "email": "ada@example.com"})
		<-called
	}
	if mail := mails.next(t); mail.To != "ada@example.com" {
		t.Errorf("%+v", mail)
	}
}

// The built-in page has a button for it.
func TestForgottenPasswordOnTheBuiltInPage(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		mails := make(mailbox, 10)
		w := newWorld(t, options{mount: mount, config: func(cfg *opkit.Config) { cfg.Mailer = mails.send }})
		app := w.register(nil)
		b := newBrowser(t)
		page := b.get(w.authorizeURL(app))
		if !strings.Contains(page.body, `id="login-forgot"`) {
			t.Fatalf("no button: %s", text(page.body))
		}
		press := func(username string) *response {
			action, fields := form(t, page)
			fields.Set("username", username)
			fields.Set("forgot", "yes")
			return b.post(action, fields)
		}
		known, unknown := press("ada@example.com"), press("nobody@example.com")
		if known.StatusCode != 200 || text(known.body) != text(unknown.body) || !strings.Contains(known.body, "on its way") || w.sessions() != 0 {
			t.Errorf("%d %s\n%d %s", known.StatusCode, text(known.body), unknown.StatusCode, text(unknown.body))
		}
		if mail := mails.next(t); mail.To != "ada@example.com" || mail.ClientID != app.id || !strings.HasPrefix(mail.Link, w.endpoint.PasswordReset) {
			t.Errorf("mail: %+v", mail)
		}
		if res := press(" "); res.StatusCode != 400 || !strings.Contains(res.body, "Type your email address first") {
			t.Errorf("no address: %d %s", res.StatusCode, text(res.body))
		}
		w.setOptions(`{"disable_self_service_change_password":true}`)
		if res := b.get(w.authorizeURL(app)); strings.Contains(res.body, "login-forgot") {
			t.Error("a button where there is nothing behind it")
		}
		if res := press("ada@example.com"); res.StatusCode != 400 || len(mails) != 0 {
			t.Errorf("switched off: %d %s", res.StatusCode, text(res.body))
		}
	})
}

// A link dies with its time, the password, the address, and the user.
func TestResetLinkDies(t *testing.T) {
	ctx := context.Background()
	for name, happens := range map[string]func(*world){
		"an hour": func(w *world) { w.clock.advance(61 * time.Minute) },
		"another password": func(w *world) {
			w.must(w.provider.Connections().SetPassword(ctx, tenant.DefaultID, w.user.ID, "set by somebody else"))
		},
		"another address":     func(w *world) { w.changeUser(func(u *store.User) { u.Email = "lovelace@example.com" }) },
		"the user is blocked": func(w *world) { w.changeUser(func(u *store.User) { u.Blocked = true }) },
		"the user is deleted": func(w *world) { w.must(w.stores.UserAdmin.DeleteUser(ctx, tenant.DefaultID, w.user.ID)) },
	} {
		w, mails := newAccountWorld(t, options{})
		app := w.register(nil)
		newBrowser(t).post(w.endpoint.DatabaseChangePassword, url.Values{"client_id": {app.id}, "connection": {w.connection.Name}, "email": {"ada@example.com"}})
		mail := mails.next(t)
		action, fields := form(t, newBrowser(t).get(mail.Link))
		happens(w)
		before, _ := w.stores.Users.User(ctx, tenant.DefaultID, w.user.ID)
		fields.Set("password", "the next one is long")
		for _, page := range []*response{newBrowser(t).get(mail.Link), newBrowser(t).post(action, fields)} {
			if page.StatusCode != 400 || !strings.Contains(page.body, "Link error") {
				t.Errorf("%s: %d %s", name, page.StatusCode, text(page.body))
			}
		}
		if after, _ := w.stores.Users.User(ctx, tenant.DefaultID, w.user.ID); after.PasswordHash != before.PasswordHash {
			t.Errorf("%s: the password was replaced", name)
		}
	}
}

// Kinds of links never mix, and what was made up is no link.
func TestLinksAreOfTheirKind(t *testing.T) {
	w, mails := newAccountWorld(t, options{})
	app := w.register(nil)
	newBrowser(t).post(w.endpoint.DatabaseSignup, url.Values{"client_id": {app.id}, "connection": {w.connection.Name}, "email": {"grace@example.com"}, "password": {"a long enough one"}})
	_, ticket, _ := strings.Cut(mails.next(t).Link, "?ticket=")
	for _, u := range []string{
		w.endpoint.PasswordReset + "?ticket=" + ticket, w.endpoint.PasswordReset, w.endpoint.EmailVerification + "?ticket=x", w.endpoint.EmailVerification + "?ticket=%00%ff",
	} {
		if page := newBrowser(t).get(u); page.StatusCode != 400 || !strings.Contains(page.body, "Link error") {
			t.Errorf("%s: %d %s", u, page.StatusCode, text(page.body))
		}
	}
	if page := newBrowser(t).post(w.endpoint.PasswordReset, url.Values{"ticket": {ticket}, "password": {"the next one is long"}}); page.StatusCode != 400 {
		t.Errorf("%d %s", page.StatusCode, text(page.body))
	}
}

// One address gets a few mails, however often somebody asks, and the answer stays the
// same. Without a mailer, or where the connection says so, nobody is promised one.
func TestForgottenPasswordHasLimits(t *testing.T) {
	w, mails := newAccountWorld(t, options{})
	app := w.register(nil)
	ask := func() *response {
		return newBrowser(t).post(w.endpoint.DatabaseChangePassword, url.Values{"client_id": {app.id}, "connection": {w.connection.Name}, "email": {"ada@example.com"}})
	}
	for range 6 {
		if res := ask(); res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
	}
	for range 3 {
		mails.next(t)
	}
	w.clock.advance(11 * time.Minute)
	ask()
	mails.next(t)
	if n := len(mails); n != 0 {
		t.Errorf("%d mails too many", n)
	}
	w.setOptions(`{"disable_self_service_change_password":true}`)
	if res := ask(); res.StatusCode != 400 || res.json(t)["code"] != "invalid_request" {
		t.Errorf("switched off: %d %s", res.StatusCode, res.body)
	}
	w = newLockWorld(t, options{})
	app = w.register(nil)
	if res := ask(); res.StatusCode != 400 || res.json(t)["code"] != "invalid_request" {
		t.Errorf("without a mailer: %d %s", res.StatusCode, res.body)
	}
	if info := newBrowser(t).get(w.endpoint.LockTenantInfo).body; !strings.Contains(info, `"allowForgot":false`) {
		t.Errorf("without a mailer: %s", info)
	}
}
