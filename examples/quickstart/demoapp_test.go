package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/chromium"
)

// A person signs in through the demo application, both ways, and the application
// calls the API. With OPKIT_SCREENSHOTS=DIR every page is photographed.
func TestSignInThroughTheDemoApplication(t *testing.T) {
	for _, screen := range []struct {
		name          string
		width, height int
		first, second string // the ways to sign in, in this order
	}{
		{"desktop", 1280, 800, "code", "implicit"},
		{"phone", 390, 844, "implicit", "code"},
	} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(screen.name+" "+scheme, func(t *testing.T) {
				args := []string{"-ready"}
				if scheme == "https" {
					args = append(args, "-tls")
				}
				p := start(t, t.TempDir(), args...)
				person := &person{t: t, ctx: newChromium(t, screen.width, screen.height), process: p, screen: screen.name + "-" + scheme}
				person.start(true)
				person.signIn(screen.first, true)
				person.signIn(screen.second, false)
			})
		}
	}
}

// While registration is off the application says so, and so does the login page
// while no connection is promoted. A wrong password is told without a hint.
func TestDemoApplicationExplainsWhatIsMissing(t *testing.T) {
	p := start(t, t.TempDir())
	person := &person{t: t, ctx: newChromium(t, 390, 844), process: p, screen: "phone-refused"}
	person.start(true)
	person.click("#signin-code")
	person.expect("#problem", "could not register")
	person.photograph("registration-off")

	w := p.walk(t, transport(t, ""))
	token, err := w.managementToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.enable(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	person.start(true)
	person.click("#signin-code")
	person.expect(`[role="alert"]`, "domain connection")
	person.photograph("no-domain-connection")

	if err := w.promote(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	person.start(false)
	person.click("#signin-code")
	person.logIn("not the password")
	person.expect(`[role="alert"]`, "")
	person.photograph("wrong-password")
	person.logIn(p.Password)
	person.photograph("consent")
	person.click("#consent-deny")
	person.expect("#problem", "refused")
	person.expect(".warning", "access_denied")
	person.photograph("denied")

	// An application that nobody knows gets no redirect.
	person.navigate(joinURL(p.Issuer, "/authorize?client_id=unknown&response_type=code&redirect_uri="+p.AppURL+"/callback"))
	person.expect("h1", "Authorization error")
	person.photograph("unknown-application")
}

// person is somebody in front of a browser.
type person struct {
	t       *testing.T
	ctx     context.Context
	process *process
	screen  string
	photos  int
}

// start opens the application. fresh says that it has not registered yet.
func (p *person) start(fresh bool) {
	p.t.Helper()
	p.navigate(p.process.AppURL)
	p.visible("#signin-code")
	registered := do(p.t, p.ctx, chromedp.Evaluate[bool](`document.querySelector("#client-id") !== null`))
	if registered == fresh {
		p.t.Errorf("the application says that it is registered: %t", registered)
	}
	p.photograph("start")
}

// signIn signs in one way. The first time there is no session and no consent, the
// second time there are both.
func (p *person) signIn(way string, first bool) {
	p.t.Helper()
	p.navigate(p.process.AppURL)
	p.click("#signin-" + way)
	if first {
		p.visible("#login-submit")
		p.photograph("login")
		p.logIn(p.process.Password)
	}
	if first || way == "code" { // the code flow asks for more: profile and email
		p.visible("#consent-allow")
		p.expect("main", "Bookings by Marlow")
		for _, scope := range apiScopes[:2] { // those that the application asks for
			p.expect("main", scope.Description)
		}
		p.photograph("consent-" + way)
		p.click("#consent-allow")
	}
	p.visible("#api-answer")
	p.expect("#result", "You are signed in")
	p.expect("#api-answer", "Dr. Okonkwo")
	p.expect("#api-answer", "Katherine") // the scope contacts
	p.expect("#scope", "appointments contacts")
	p.expect("#id-token", p.process.Issuer)
	if way == "code" {
		p.expect("#userinfo", p.process.User)
	}
	address := do(p.t, p.ctx, chromedp.Location())
	if strings.Contains(address, "#") {
		p.t.Errorf("tokens stay in the address: %s", address)
	}
	p.photograph("signed-in-" + way)
}

func (p *person) logIn(password string) {
	p.t.Helper()
	p.visible("#username")
	do(p.t, p.ctx, chromedp.Steps(
		chromedp.Evaluate[chromedp.Void](`document.querySelector("#username").value = ""`),
		chromedp.SendKeys(chromedp.CSS("#username"), p.process.User),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
	))
	p.click("#login-submit")
}

func (p *person) navigate(address string) {
	p.t.Helper()
	do(p.t, p.ctx, chromedp.Navigate(address))
}

// click clicks and waits for the page that follows.
func (p *person) click(selector string) {
	p.t.Helper()
	chromium.Click(p.t, p.ctx, selector)
}

func (p *person) visible(selector string) {
	p.t.Helper()
	do(p.t, p.ctx, chromedp.WaitVisible(chromedp.CSS(selector)))
}

func (p *person) expect(selector, text string) {
	p.t.Helper()
	if got := do(p.t, p.ctx, chromedp.Text(chromedp.CSS(selector))); !strings.Contains(got, text) {
		p.t.Errorf("%s says %q, not %q", selector, got, text)
	}
}

// photograph checks that the page fits the screen and takes its picture.
func (p *person) photograph(name string) {
	p.t.Helper()
	overflow := do(p.t, p.ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
	if overflow > 0 {
		p.t.Errorf("%s is %d pixels wider than the screen", name, overflow)
	}
	p.photos++
	dir := os.Getenv("OPKIT_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture := do(p.t, p.ctx, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	file := fmt.Sprintf("%s-%02d-%s.png", p.screen, p.photos, name)
	if err := os.WriteFile(filepath.Join(dir, file), picture, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
