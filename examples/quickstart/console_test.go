package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// An administrator signs in to the console through the provider itself and does what
// the reference documentation asks for, in a browser without JavaScript's help: the
// toggle, the promotion. Then an application registers and signs a user in.
func TestTheConsoleMakesTheTenantReady(t *testing.T) {
	for _, screen := range []struct {
		name          string
		width, height int
	}{{"console-desktop", 1280, 800}, {"console-phone", 360, 740}} {
		t.Run(screen.name, func(t *testing.T) {
			p := start(t, t.TempDir())
			admin := &person{t: t, ctx: newChromium(t, screen.width, screen.height), process: p, screen: screen.name}
			base := originOf(p.Issuer) + consolePath
			visit := func(page string) {
				t.Helper()
				admin.navigate(base + page)
			}
			visit("/settings") // which leads to the login page, and back to the console
			admin.logIn(p.Password)
			admin.expect("h1", "Overview")
			admin.photograph("overview")
			visit("/settings")
			admin.expect("#advanced", "OIDC Dynamic Application Registration")
			admin.photograph("settings")
			do(t, admin.ctx, chromedp.Click(chromedp.CSS("#enable_dynamic_client_registration")))
			admin.click("#save-advanced")
			admin.expect(".note", "The settings were saved.")
			visit("/connections")
			admin.photograph("connections")
			admin.click(`button[name="is_domain_connection"]`)
			admin.expect(".note", "is a domain connection now")

			res, err := http.Post(p.Issuer+"/oidc/register", "application/json",
				strings.NewReader(`{"client_name":"My Dynamic Application","redirect_uris":["https://application.example.com/callback"]}`))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusCreated {
				t.Fatalf("registration: %s", res.Status)
			}
			for _, page := range []string{"/applications", "/apis", "/keys"} {
				visit(page)
				admin.photograph(strings.TrimPrefix(page, "/"))
			}
			visit("/applications?kind=dynamic")
			admin.click("main a strong")
			admin.expect("dl", "nobody has used it yet")
			admin.photograph("application")
			admin.click(`button[value="first-party"]`)
			admin.expect(".note", "first party now")
			admin.photograph("first-party")

			// It signs users in through the connections that are enabled for it now.
			w := p.walk(t, nil)
			token, err := w.managementToken(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var partner struct{ ID string }
			for _, body := range []string{
				`{"name":"google","strategy":"google-oauth2","options":{"client_id":"here","client_secret":"x"}}`,
				`{"name":"partner","display_name":"Partner","strategy":"keycloak","options":{"client_id":"here","client_secret":"x","issuer":"https://login.partner.example/realms/customers","own_redirect_uri":true,"domain_aliases":["partner.example"]}}`,
			} {
				if res, err := w.send(t.Context(), http.MethodPost, "/api/v2/connections", token, body, &partner); err != nil || res.StatusCode != http.StatusCreated {
					t.Fatalf("%v %v", res, err)
				}
			}
			do(t, admin.ctx, chromedp.Reload())
			admin.expect("#connections", "Keycloak at https://login.partner.example/realms/customers")
			admin.click(`button[aria-label="Enable partner"]`)
			admin.expect(".note", "may use the connection now")
			admin.visible(`button[aria-label="Disable partner"]`)
			admin.photograph("enabled")
			visit("/connections")
			admin.expect("main", p.Issuer+"/login/callback/con_")
			admin.expect("main", "enabled for 1 application")
			admin.photograph("upstreams")
			admin.click(`main a[href$="` + partner.ID + `"]`)
			admin.visible("#client")
			admin.photograph("connection")
			admin.click(`button[value="disabled"]`)
			admin.expect(".note", "may not use the connection any more")

			// What happened so far is in the log, which is written apart from requests.
			visit("/events?kind=administration")
			admin.expect("main", "tenant settings changed")
			visit("/events")
			admin.expect("main", "1 registration")
			admin.photograph("events")
			admin.expect("main", "Application changed")
			do(t, admin.ctx, chromedp.Click(chromedp.CSS("main details summary")))
			admin.photograph("events-numbers")
			visit("/events?kind=refused-sign-ins")
			admin.expect("main", "There is none.")
			admin.photograph("events-none")
		})
	}
}

// Nobody else gets in.
func TestTheConsoleLetsItsAdministratorIn(t *testing.T) {
	p := start(t, t.TempDir())
	base := originOf(p.Issuer) + consolePath
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]int{
		"/": http.StatusSeeOther, "/applications": http.StatusSeeOther,
		"/callback?code=x&state=y": http.StatusBadRequest, "/callback": http.StatusBadRequest,
	} {
		req, err := http.NewRequest(http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", sessionCookie+"=guessed")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want || want == http.StatusSeeOther && !strings.HasPrefix(res.Header.Get("Location"), p.Issuer+"/authorize?") {
			t.Errorf("%s: %d %s", path, res.StatusCode, res.Header.Get("Location"))
		}
	}
}
