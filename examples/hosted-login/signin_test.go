package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/chromium"
)

func decode(t *testing.T, r io.Reader, v any) {
	t.Helper()
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// screenshot keeps a picture of the page for whoever wants to look at it.
func (s *site) screenshot(name string) {
	s.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), chromium.Do(s.t, s.tab, chromedp.FullScreenshot(100)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

const (
	email    = `.auth0-lock input[name="email"]`
	password = `.auth0-lock input[name="password"]`
	submit   = `.auth0-lock-submit`
)

// shows waits until Lock has come to rest with that element on it.
func (s *site) shows(selector string) {
	s.t.Helper()
	chromium.Do(s.t, s.tab, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise(resolve => {
		let before = "", same = 0;
		const look = () => {
			const element = document.querySelector(%q), box = element && element.getBoundingClientRect();
			const now = box && box.width > 0 ? [box.x, box.y, box.width, box.height].join() : "";
			same = now && now === before ? same + 1 : 0;
			before = now;
			same > 60 ? resolve(true) : requestAnimationFrame(look);
		};
		look();
	})`, selector), chromedp.EvalAwaitPromise))
}

// fill types into fields of Lock, pairs of selector and text, and submits it.
func (s *site) fill(fields ...string) {
	s.t.Helper()
	for field := range slices.Chunk(fields, 2) {
		s.shows(field[0])
		chromium.Do(s.t, s.tab, chromedp.Steps(
			chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).select()", field[0])),
			chromedp.SendKeys(chromedp.CSS(field[0]), field[1]),
		))
	}
	s.press(submit)
}

func (s *site) press(selector string) {
	s.t.Helper()
	s.shows(selector)
	chromium.Do(s.t, s.tab, chromedp.Click(chromedp.CSS(selector)))
}

var releases = map[string]struct {
	*release
	page string
}{
	"10.7": {lock10, page},
	"14":   {lock14, strings.ReplaceAll(page, "/10.7/", "/14.3/")},
}

func TestSignIn(t *testing.T) {
	for name, l := range releases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, l.release, l.page, 1200, 900)
			id, redirectURI := s.register()
			s.authorize(id, redirectURI)
			s.shows(email)
			s.screenshot("lock-" + name + "-desktop")
			s.fill(email, userEmail, password, userPassword)
			got := s.arrived()
			if got.Get("access_token") == "" || got.Get("id_token") == "" || got.Get("state") != "opaque" || got.Get("iss") != s.issuer {
				t.Errorf("the application received %v", got)
			}
		})
	}
}

// says waits until Lock says something.
func (s *site) says(text string) {
	s.t.Helper()
	chromium.Do(s.t, s.tab, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise(resolve => {
		const look = () => document.body?.innerText.toLowerCase().includes(%q) ? resolve(true) : requestAnimationFrame(look);
		look();
	})`, strings.ToLower(text)), chromedp.EvalAwaitPromise))
}

// What can go wrong shows in Lock's own words, on a phone.
func TestWrongPasswordAndLockout(t *testing.T) {
	for name, l := range releases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, l.release, l.page, 390, 844)
			id, redirectURI := s.register()
			s.authorize(id, redirectURI)
			s.fill(email, userEmail, password, "wrong")
			s.says("wrong email or password")
			s.screenshot("lock-" + name + "-phone-wrong")
			s.guess(id, 13)
			s.fill(password, userPassword)
			s.says("blocked after multiple consecutive login attempts")
			s.screenshot("lock-" + name + "-phone-locked")
		})
	}
}

// guess sends wrong passwords as Lock does, from the page that is open, and waits where
// it is told to: after that many failures more the login is locked for a while.
func (s *site) guess(clientID string, failures int) {
	s.t.Helper()
	chromium.Do(s.t, s.tab, chromedp.Evaluate[bool](fmt.Sprintf(`(async () => {
		const body = {client_id: %q, connection: %q, username: %q, password: "wrong",
			state: config.internalOptions.state, _csrf: config.internalOptions._csrf, _intstate: config.internalOptions._intstate};
		for (let failures = 0; failures < %d;) {
			const response = await fetch("/usernamepassword/login", {
				method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)});
			if (response.status === 401) {
				failures++;
			} else if (response.status === 429) {
				await new Promise(resolve => setTimeout(resolve, 1000 * response.headers.get("retry-after")));
			} else {
				throw new Error("status " + response.status);
			}
		}
		return true;
	})()`, clientID, database, userEmail, failures), chromedp.EvalAwaitPromise))
}

// Somebody signs up, and is signed in by it.
func TestSignUp(t *testing.T) {
	for name, l := range releases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, l.release, l.page, 390, 844)
			id, redirectURI := s.register()
			s.authorize(id, redirectURI)
			s.shows(email)
			s.press(`.auth0-lock-tabs li:not(.auth0-lock-tabs-current) a`)
			s.screenshot("lock-" + name + "-phone-signup")
			s.fill(email, "grace@example.com", password, "Cobol-1959-Hopper")
			got := s.arrived()
			if got.Get("id_token") == "" {
				t.Errorf("the application received %v", got)
			}
			mail := <-s.mails
			chromium.Do(t, s.tab, chromedp.Navigate(mail.Link))
			s.screenshot("lock-" + name + "-phone-verify")
			chromium.Click(t, s.tab, "#verify-submit")
			s.says("grace@example.com is yours")
		})
	}
}

// Somebody who forgot the password gets a mail, sets another one, and signs in with it.
func TestForgottenPassword(t *testing.T) {
	for name, l := range releases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, l.release, l.page, 390, 844)
			id, redirectURI := s.register()
			s.authorize(id, redirectURI)
			s.shows(email)
			s.press(`.auth0-lock-alternative-link`)
			s.screenshot("lock-" + name + "-phone-forgot")
			s.fill(email, userEmail)
			s.says("sent you an email to reset your password")
			mail := <-s.mails
			chromium.Do(t, s.tab, chromedp.Navigate(mail.Link))
			s.screenshot("lock-" + name + "-phone-reset")
			chromium.Do(t, s.tab, chromedp.SendKeys(chromedp.CSS("#password"), "Analytical-1837-Engine"))
			chromium.Click(t, s.tab, "#reset-submit")
			s.says("password changed")
			s.authorize(id, redirectURI)
			s.fill(email, userEmail, password, "Analytical-1837-Engine")
			if got := s.arrived(); got.Get("id_token") == "" {
				t.Errorf("the application received %v", got)
			}
		})
	}
}
