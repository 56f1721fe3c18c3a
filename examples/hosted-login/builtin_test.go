package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/examples/internal/chromium"
)

// fits checks that nothing is beside the screen, and keeps a picture.
func (s *site) fits(name string) {
	s.t.Helper()
	if wide := chromium.Do(s.t, s.tab, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)); wide > 0 {
		s.t.Errorf("%s is %d pixels wider than the screen", name, wide)
	}
	s.screenshot(name)
}

// write types into a field of a page.
func (s *site) write(selector, text string) {
	s.t.Helper()
	chromium.Do(s.t, s.tab, chromedp.Steps(
		chromedp.WaitVisible(chromedp.CSS(selector)),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).value = ""`, selector)),
		chromedp.SendKeys(chromedp.CSS(selector), text),
	))
}

// Somebody signs up on the built-in pages, which have no scripts, and forgets the password
// the day after.
func TestAccountsOnTheBuiltInPages(t *testing.T) {
	for _, screen := range []struct {
		name          string
		width, height int
	}{{"builtin-desktop", 1280, 800}, {"builtin-phone", 360, 740}} {
		t.Run(screen.name, func(t *testing.T) {
			s := newProviderSite(t, "")
			s.tab = chromium.Start(t, screen.width, screen.height)
			s.listen()
			id, redirectURI := s.register()
			mail := func(kind string) string {
				t.Helper()
				m := <-s.mails
				if m.Kind != kind {
					t.Fatalf("mail: %+v", m)
				}
				return m.Link
			}
			s.authorize(id, redirectURI)
			s.fits(screen.name + "-1-login")
			chromium.Click(t, s.tab, "#login-signup")
			s.fits(screen.name + "-2-signup")
			chromium.Click(t, s.tab, "#signup-back")
			chromium.Click(t, s.tab, "#login-signup")
			s.write("#email", "grace.brewster.murray.hopper@a-rather-long-name.example.com")
			chromium.Click(t, s.tab, "#signup-submit")
			s.says("a mail is on its way")
			s.fits(screen.name + "-3-sent")

			// The link is opened elsewhere, while the page stays where it is.
			page := s.tab
			s.tab = chromium.Tab(t, page)
			chromium.Do(t, s.tab, chromedp.EmulateViewport(int64(screen.width), int64(screen.height)))
			chromium.Do(t, s.tab, chromedp.Navigate(mail(authorize.MailSignUp)))
			s.fits(screen.name + "-4-link")
			s.write("#password", "cobol")
			chromium.Click(t, s.tab, "#signup-finish")
			s.says("The password must")
			s.fits(screen.name + "-5-weak")
			s.write("#password", "Cobol-1959-Hopper")
			chromium.Click(t, s.tab, "#signup-finish")
			s.says("Your account is ready")
			s.fits(screen.name + "-6-ready")
			s.tab = page
			s.write("#password", "Cobol-1959-Hopper")
			chromium.Click(t, s.tab, "#login-submit")
			s.fits(screen.name + "-7-consent")
			if got := s.arrived(); got.Get("id_token") == "" {
				t.Errorf("the application received %v", got)
			}

			// Forgotten.
			chromium.Do(t, s.tab, chromedp.Navigate(s.issuer+"v2/logout"))
			s.confirmLogout()
			s.authorize(id, redirectURI)
			s.write("#username", "grace.brewster.murray.hopper@a-rather-long-name.example.com")
			chromium.Click(t, s.tab, "#login-forgot")
			s.says("is on its way")
			s.fits(screen.name + "-8-forgot")
			chromium.Do(t, s.tab, chromedp.Navigate(mail(authorize.MailPasswordReset)))
			s.write("#password", "Fortran-1957-Backus")
			s.fits(screen.name + "-9-reset")
			chromium.Click(t, s.tab, "#reset-submit")
			s.says("password changed")
			// Who signs up with an address that has an account learns it by mail only.
			s.authorize(id, redirectURI)
			chromium.Click(t, s.tab, "#login-signup")
			s.write("#email", userEmail)
			chromium.Click(t, s.tab, "#signup-submit")
			s.says("a mail is on its way")
			if link := mail(authorize.MailAccountExists); !strings.Contains(link, "/login/reset-password?ticket=") {
				t.Errorf("link %s", link)
			}
		})
	}
}
