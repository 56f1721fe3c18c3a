package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/chromium"
	"github.com/opkit/opkit/examples/internal/tool"
)

// An sdk is a library for applications in the browser, as its users use it.
type sdk struct {
	file string // below node_modules
	// setup makes a client of %[1]s, the domain, and %[2]s, the client identifier.
	setup string
	// login, finish and logout are what the application does with it. finish returns
	// the user, and an access token that came without anybody seeing a page.
	login, finish, logout string
}

var sdks = map[string]sdk{
	"auth0-spa-js": {
		file: "@auth0/auth0-spa-js/dist/auth0-spa-js.production.js",
		setup: `const client = new auth0.Auth0Client({domain: %[1]q, clientId: %[2]q,
			authorizationParams: {redirect_uri: location.origin + "/", scope: "openid profile email"}});`,
		login: `client.loginWithRedirect()`,
		finish: `await client.handleRedirectCallback();
			const user = await client.getUser();
			return {user, token: await client.getTokenSilently({cacheMode: "off"})};`,
		logout: `client.logout({logoutParams: {returnTo: location.origin + "/bye"}})`,
	},
	"oidc-client-ts": {
		file: "oidc-client-ts/dist/browser/oidc-client-ts.min.js",
		setup: `const client = new oidc.UserManager({authority: "https://" + %[1]q + "/", client_id: %[2]q, redirect_uri: location.origin + "/",
			silent_redirect_uri: location.origin + "/", post_logout_redirect_uri: location.origin + "/bye", scope: "openid profile email", loadUserInfo: true});`,
		login: `client.signinRedirect()`,
		finish: `if (parent !== window) { return client.signinSilentCallback(); }
			const user = await client.signinRedirectCallback();
			await client.storeUser({...user, toStorageString: () => JSON.stringify({...user, refresh_token: undefined})});
			return {user: user.profile, token: (await client.signinSilent()).access_token};`,
		logout: `client.signoutRedirect()`,
	},
}

var sdkModules struct {
	sync.Once
	dir string
	err error
}

func sdkFile(t *testing.T, file string) string {
	t.Helper()
	tool.Need(t, "npm")
	sdkModules.Do(func() {
		sdkModules.dir, sdkModules.err = install("sdks")
	})
	if sdkModules.err != nil {
		tool.NotRun(t, "the SDKs could not be installed: "+sdkModules.err.Error())
	}
	return filepath.Join(sdkModules.dir, "node_modules", file)
}

// Applications with SDKs that were written for another provider sign in, get tokens
// silently in a frame, and log out: only the domain is another one.
func TestBrowserSDKs(t *testing.T) {
	for name, k := range sdks {
		t.Run(name, func(t *testing.T) {
			file := sdkFile(t, k.file)
			s := newProviderSite(t, "") // the built-in pages
			var clientID string
			app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/sdk.js":
					w.Header().Set("Content-Type", "application/javascript")
					http.ServeFile(w, r, file)
				case "/bye":
					w.Header().Set("Content-Type", "text/html")
					io.WriteString(w, `<!doctype html><title>Application</title><h1 id="bye">Logged out</h1>`)
				default:
					w.Header().Set("Content-Type", "text/html")
					fmt.Fprintf(w, `<!doctype html><title>Application</title><script src="/sdk.js"></script><h1 id="application">Application</h1>
<script>%s
const finish = async () => { %s };
const done = location.search.includes("state=") ? finish() : Promise.resolve(null);
</script>`, fmt.Sprintf(k.setup, strings.TrimSuffix(strings.TrimPrefix(s.issuer, "https://"), "/"), clientID), k.finish)
				}
			}))
			defer app.Close()
			clientID = s.registerApplication(map[string]any{
				"client_name": "Single Page", "redirect_uris": []string{app.URL + "/"}, "post_logout_redirect_uris": []string{app.URL + "/bye"},
				"token_endpoint_auth_method": "none",
			})
			s.tab = chromium.Start(t, 1200, 900)
			s.listen()
			chromium.Do(t, s.tab, chromedp.Navigate(app.URL+"/"))
			chromium.Do(t, s.tab, chromedp.Evaluate[chromedp.Void](k.login+"; undefined"))
			chromium.Do(t, s.tab, chromedp.Steps(
				chromedp.WaitVisible(chromedp.CSS("#username")),
				chromedp.SendKeys(chromedp.CSS("#username"), userEmail),
				chromedp.SendKeys(chromedp.CSS("#password"), userPassword),
			))
			chromium.Click(t, s.tab, "#login-submit")
			chromium.Click(t, s.tab, "#consent-allow")
			chromium.Do(t, s.tab, chromedp.WaitVisible(chromedp.CSS("#application")))
			var got struct {
				User struct{ Name, Email, Sub string }
				Info struct{ Email, Sub string }
			}
			answer := chromium.Do(t, s.tab, chromedp.Evaluate[string](`done.then(async ({user, token}) => {
				const response = await fetch("`+s.issuer+`userinfo", {headers: {authorization: "Bearer " + token}});
				return JSON.stringify({user, info: await response.json()});
			})`, chromedp.EvalAwaitPromise))
			if err := json.Unmarshal([]byte(answer), &got); err != nil {
				t.Fatal(err)
			}
			if got.User.Sub == "" || got.User.Sub != got.Info.Sub || got.Info.Email != userEmail {
				t.Errorf("the application knows %s", answer)
			}
			chromium.Do(t, s.tab, chromedp.Evaluate[chromedp.Void](k.logout+"; undefined"))
			s.confirmLogout()
			chromium.Do(t, s.tab, chromedp.WaitVisible(chromedp.CSS("#bye")))
			// The session is over: the next login asks for the password.
			chromium.Do(t, s.tab, chromedp.Navigate(app.URL+"/"))
			chromium.Do(t, s.tab, chromedp.Evaluate[chromedp.Void](k.login+"; undefined"))
			chromium.Do(t, s.tab, chromedp.WaitVisible(chromedp.CSS("#login-submit")))
		})
	}
}

// confirmLogout presses the button of the provider's page, if it asks.
func (s *site) confirmLogout() {
	s.t.Helper()
	// Waiting outlives the pages in between; a script would end with the one it is on.
	chromium.Do(s.t, s.tab, chromedp.WaitVisible(chromedp.CSS("#logout-confirm, #bye")))
	asks := chromium.Do(s.t, s.tab, chromedp.Evaluate[bool](`document.querySelector("#logout-confirm") !== null`))
	if asks {
		chromium.Click(s.t, s.tab, "#logout-confirm")
	}
}
