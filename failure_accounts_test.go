package opkit_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/opkit/opkit/authorize"
)

// lostMails is a log that puts an empty mail into the box for each that was not sent,
// so that a test can wait for what happens apart from a request.
type lostMails struct {
	slog.Handler
	mails mailbox
}

func (l lostMails) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "a mail was not sent" {
		l.mails <- authorize.Mail{}
	}
	return l.Handler.Handle(ctx, r)
}

// mailed waits for the mail that a request led to, if it succeeded, so that all of its
// calls were counted.
func (w *faultWorld) mailed(res *response) *response {
	w.t.Helper()
	if res.StatusCode == http.StatusOK {
		w.mails.next(w.t)
	}
	return res
}

// withLock makes the login page one with Lock.
func (w *faultWorld) withLock() {
	w.t.Helper()
	if res := w.manage(http.MethodPatch, "/tenants/settings", string(marshal(w.t, map[string]any{"custom_login_page": lockPage, "custom_login_page_on": true}))); res.StatusCode != http.StatusOK {
		w.t.Fatalf("%d %s", res.StatusCode, res.body)
	}
}

// newUser returns the email address of a user whom no earlier request was about.
func (w *faultWorld) newUser() string {
	w.t.Helper()
	w.users++
	w.made("/users", strings.ReplaceAll(userBody, "$n", fmt.Sprint(w.users)))
	return fmt.Sprintf("user%d@example.com", w.users)
}

// signup returns a sign-up with an address that nobody has.
func (w *faultWorld) signup() url.Values {
	w.t.Helper()
	w.users++
	w.setOptions(`{"disable_signup":false}`)
	return url.Values{
		"client_id": {w.register(nil).id}, "connection": {w.connection.Name}, "email": {fmt.Sprintf("new%d@example.com", w.users)}, "password": {"a long enough one"},
	}
}

// link returns the link that a user gets who forgot the password, or who signs up.
func (w *faultWorld) link(kind string) string {
	w.t.Helper()
	if kind == authorize.MailEmailVerification {
		newBrowser(w.t).post(w.endpoint.DatabaseSignup, w.signup())
	} else {
		newBrowser(w.t).post(w.endpoint.DatabaseChangePassword, url.Values{"client_id": {w.register(nil).id}, "connection": {w.connection.Name}, "email": {w.newUser()}})
	}
	mail := w.mails.next(w.t)
	if mail.Kind != kind {
		w.t.Fatalf("mail: %+v", mail)
	}
	return mail.Link
}

// signupLink returns the link that somebody gets who signs up on the built-in page.
func (w *faultWorld) signupLink() string {
	w.t.Helper()
	b, fields := newBrowser(w.t), w.signup()
	b.press(b.get(w.authorizeURL(w.register(nil))), "signup", "yes", "email", fields.Get("email"))
	return w.mails.next(w.t).Link
}

// lockLogin returns a login on a page with Lock, of which none has failed before.
func (w *faultWorld) lockLogin(b *browser, user, password string) url.Values {
	w.t.Helper()
	w.withLock()
	return lockConfigOf(w.t, b.get(w.authorizeURL(w.register(nil)))).login(w.world, user, password)
}

var faultsOfAccounts = []faultScenario{
	{name: "login page with Lock", prepare: func(w *faultWorld) func() *response {
		w.withLock()
		app := w.register(nil)
		return func() *response { return newBrowser(w.t).get(w.authorizeURL(app)) }
	}},
	{name: "Lock, the tenant's connections", prepare: func(w *faultWorld) func() *response {
		return func() *response { return newBrowser(w.t).get(w.endpoint.LockTenantInfo) }
	}},
	{name: "Lock, a client's connections", prepare: func(w *faultWorld) func() *response {
		app := w.register(nil)
		return func() *response { return newBrowser(w.t).get(w.endpoint.LockClientInfo + "/" + app.id + ".js") }
	}},
	// As on the built-in page.
	{name: "Lock, login", tolerates: "DeleteTicket", stays: "PutTicket DeleteTicket", prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		form := w.lockLogin(b, "ada", password)
		return func() *response { return b.post(w.endpoint.LockLogin, form) }
	}},
	{name: "Lock, login with a wrong password", want: http.StatusUnauthorized, prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		form := w.lockLogin(b, w.newUser(), "not "+password)
		return func() *response { return b.post(w.endpoint.LockLogin, form) }
	}},
	// A result that may have been used is good for nobody.
	{name: "Lock, callback", stays: "PutTicket CreateSession", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		action, fields := resultForm(w.t, b.post(w.endpoint.LockLogin, w.lockLogin(b, "ada", password)))
		return func() *response { return b.post(action, fields) }
	}},
	// Whoever did not see that the account was made learns it the next time. The mail
	// can be asked for again.
	{name: "sign up", tolerates: "PutTicket", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		form := w.signup()
		return func() *response { return w.mailed(newBrowser(w.t).post(w.endpoint.DatabaseSignup, form)) }
	}},
	// What comes after the answer is not the answer's.
	{name: "forgotten password", tolerates: "UserByLogin PutTicket", prepare: func(w *faultWorld) func() *response {
		form := url.Values{"client_id": {w.register(nil).id}, "connection": {w.connection.Name}, "email": {w.newUser()}}
		return func() *response { return w.mailed(newBrowser(w.t).post(w.endpoint.DatabaseChangePassword, form)) }
	}},
	{name: "forgotten password, on the built-in page", tolerates: "UserByLogin PutTicket", prepare: func(w *faultWorld) func() *response {
		b, user := newBrowser(w.t), w.newUser()
		action, fields := form(w.t, b.get(w.authorizeURL(w.register(nil))))
		fields.Set("username", user)
		fields.Set("forgot", "yes")
		return func() *response { return w.mailed(b.post(action, fields)) }
	}},
	{name: "new password, the page", prepare: func(w *faultWorld) func() *response {
		link := w.link(authorize.MailPasswordReset)
		return func() *response { return newBrowser(w.t).get(link) }
	}},
	// A link that may have been used is good for nobody. Whoever was signed in may still
	// be then; another link ends that.
	{name: "new password", tolerates: "DeleteTicket", stays: "ConsumeTicket UpdateUser DeleteTicket RevokeFamilies", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		action, fields := form(w.t, newBrowser(w.t).get(w.link(authorize.MailPasswordReset)))
		fields.Set("password", "the next one is long")
		return func() *response { return newBrowser(w.t).post(action, fields) }
	}},
	{name: "verify an address, the page", prepare: func(w *faultWorld) func() *response {
		link := w.link(authorize.MailEmailVerification)
		return func() *response { return newBrowser(w.t).get(link) }
	}},
	{name: "verify an address", stays: "ConsumeTicket", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		action, fields := form(w.t, newBrowser(w.t).get(w.link(authorize.MailEmailVerification)))
		return func() *response { return newBrowser(w.t).post(action, fields) }
	}},
	{name: "sign up, on the built-in page", tolerates: "UserByLogin PutTicket", prepare: func(w *faultWorld) func() *response {
		b, fields := newBrowser(w.t), w.signup()
		page := b.get(w.authorizeURL(w.register(nil)))
		return func() *response { return w.mailed(b.press(page, "signup", "yes", "email", fields.Get("email"))) }
	}},
	{name: "finish a sign-up, the page", prepare: func(w *faultWorld) func() *response {
		link := w.signupLink()
		return func() *response { return newBrowser(w.t).get(link) }
	}},
	// A link that may have been used is good for nobody.
	{name: "finish a sign-up", stays: "ConsumeTicket", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		page := newBrowser(w.t).get(w.signupLink())
		return func() *response { return newBrowser(w.t).press(page, "password", "a long enough one") }
	}},
}
