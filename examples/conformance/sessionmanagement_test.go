package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/chromium"
)

// A relying is an application in a real browser. All of its paths are one page, which
// embeds the provider's. The provider is started before the browser, so that it does
// not have to wait for the browser's connections when it ends.
type relying struct {
	t        *testing.T
	browser  context.Context
	op       metadata
	server   *httptest.Server
	url      string
	clientID string
	secret   string
}

type metadata struct {
	Issuer        string
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	EndSession    string `json:"end_session_endpoint"`
	CheckSession  string `json:"check_session_iframe"`
	Registration  string `json:"registration_endpoint"`
}

// page embeds the provider's page and has a function that asks it.
const page = `<!doctype html><title>Application</title><body><h1 id="application">Application</h1>
<iframe id="op" src="%s"></iframe>
<script>
const op = document.getElementById("op");
const loaded = new Promise(resolve => op.addEventListener("load", resolve));
async function ask(message) {
  await loaded;
  return new Promise(resolve => {
    const hear = e => {
      if (e.source !== op.contentWindow || e.origin !== %q) { return; }
      window.removeEventListener("message", hear);
      resolve(e.data);
    };
    window.addEventListener("message", hear);
    op.contentWindow.postMessage(message, %[2]q);
  });
}
</script>`

func newRelying(t *testing.T, browser context.Context, issuer string) *relying {
	t.Helper()
	return newRelyingAt(t, browser, issuer, "127.0.0.1")
}

// newRelyingAt is newRelying with that host. Ports make no site.
func newRelyingAt(t *testing.T, browser context.Context, issuer, host string) *relying {
	t.Helper()
	a := &relying{t: t, browser: browser}
	client := &http.Client{Transport: transport(t, nil)}
	call(t, client, http.MethodGet, issuer+"/.well-known/openid-configuration", "", "", &a.op)
	a.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, page, a.op.CheckSession, a.op.Issuer)
	}))
	t.Cleanup(a.server.Close)
	a.url = "https://" + host + a.server.URL[strings.LastIndexByte(a.server.URL, ':'):]
	var registered struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	body, err := json.Marshal(map[string]any{
		"client_name": "Application", "redirect_uris": []string{a.url + "/cb"}, "post_logout_redirect_uris": []string{a.url + "/bye"},
		"subject_type": "pairwise",
	})
	if err != nil {
		t.Fatal(err)
	}
	call(t, client, http.MethodPost, a.op.Registration, "", string(body), &registered)
	a.clientID, a.secret = registered.ID, registered.Secret
	return a
}

// signIn brings the tab through the provider's pages to the application and returns
// what the application received.
func (a *relying) signIn(tab context.Context, params url.Values) url.Values {
	a.t.Helper()
	v := url.Values{
		"client_id": {a.clientID}, "redirect_uri": {a.url + "/cb"}, "response_type": {"code id_token"},
		"scope": {"openid"}, "nonce": {"n"}, "state": {"s"},
	}
	for name := range params {
		v.Set(name, params.Get(name))
	}
	chromium.Do(a.t, tab, chromedp.Navigate(a.op.Authorization+"?"+v.Encode()))
	has := func(id string) bool {
		return chromium.Do(a.t, tab, chromedp.Evaluate[bool](`document.getElementById("`+id+`") !== null`))
	}
	if has("login-submit") {
		chromium.Do(a.t, tab, chromedp.Steps(
			chromedp.SendKeys(chromedp.CSS("#username"), defaultUser),
			chromedp.SendKeys(chromedp.CSS("#password"), defaultPassword),
		))
		chromium.Click(a.t, tab, "#login-submit")
	}
	if has("consent-allow") {
		chromium.Click(a.t, tab, "#consent-allow")
	}
	chromium.Do(a.t, tab, chromedp.WaitVisible(chromedp.CSS("#application")))
	_, fragment, _ := strings.Cut(chromium.Do(a.t, tab, chromedp.Location()), "#")
	response, err := url.ParseQuery(fragment)
	if err != nil {
		a.t.Fatal(err)
	}
	return response
}

// ask posts a message, which is a JavaScript expression, to the provider's page.
func (a *relying) ask(tab context.Context, expression string) string {
	a.t.Helper()
	return chromium.Do(a.t, tab, chromedp.Evaluate[string]("ask("+expression+")", chromedp.EvalAwaitPromise))
}

func (a *relying) want(tab context.Context, sessionState, want string) {
	a.t.Helper()
	if got := a.ask(tab, quoted(a.clientID+" "+sessionState)); got != want {
		a.t.Errorf("%s, want %s", got, want)
	}
}

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // never: it is a string
	}
	return string(text)
}

// OpenID Connect Session Management §3, in a browser: the application is on another
// site than the provider.
func TestSessionManagementInABrowser(t *testing.T) {
	issuer := start(t)
	browser := chromium.StartWithThirdPartyCookies(t, 1280, 800)
	a := newRelying(t, browser, issuer)
	if !strings.HasPrefix(a.op.CheckSession, "https://localhost:") || !strings.HasPrefix(a.url, "https://127.0.0.1:") {
		t.Fatalf("one site: %s and %s", a.op.CheckSession, a.url)
	}
	response := a.signIn(browser, nil)
	state := response.Get("session_state")
	a.want(browser, state, "unchanged")

	// The suite asks from another frame of its page, both of them hidden.
	frame := "<script>onmessage = e => parent.heard(e.data + ' ' + e.origin); parent.document.getElementById('op').contentWindow.postMessage(" +
		strings.ReplaceAll(quoted(a.clientID+" "+state), `"`, "'") + ", '*')</script>"
	heard := chromium.Do(t, browser, chromedp.Evaluate[string](`new Promise(resolve => {
		window.heard = resolve;
		op.hidden = true;
		const f = document.createElement("iframe");
		f.hidden = true;
		f.srcdoc = `+quoted(frame)+`;
		document.body.append(f);
	})`, chromedp.EvalAwaitPromise))
	if heard != "unchanged "+a.op.Issuer {
		t.Errorf("another frame of the page heard %q", heard)
	}

	// A second response of the same session is as good; both stay so.
	again := a.signIn(browser, url.Values{"prompt": {"none"}}).Get("session_state")
	if again == state {
		t.Error("the same session_state twice")
	}
	a.want(browser, again, "unchanged")
	a.want(browser, state, "unchanged")

	for rule, message := range map[string]string{
		"empty":               `""`,
		"no state":            quoted(a.clientID),
		"no client":           quoted(" " + state),
		"no salt":             quoted(a.clientID + " " + state[:64]),
		"a short hash":        quoted(a.clientID + " " + state[1:]),
		"capitals":            quoted(a.clientID + " " + strings.ToUpper(state)),
		"a longer salt":       quoted(a.clientID + " " + state + "A"),
		"two lines":           quoted("a\nb " + state),
		"too long":            quoted(strings.Repeat("c", 1024) + " " + state),
		"no text":             `{"client_id": "x"}`,
		"null":                `null`,
		"half a surrogate":    `"\ud800 ` + state + `"`,
		"something different": `"unchanged"`,
	} {
		if got := a.ask(browser, message); got != "error" {
			t.Errorf("%s: %s, want error", rule, got)
		}
	}
	for rule, message := range map[string]string{
		"another client": "tpc_other " + state,
		"another hash":   a.clientID + " " + strings.Repeat("0", 64) + state[64:],
		"another salt":   a.clientID + " " + state[:65] + strings.Repeat("A", 22),
	} {
		if got := a.ask(browser, quoted(message)); got != "changed" {
			t.Errorf("%s: %s, want changed", rule, got)
		}
	}

	// The user logs out in another tab, without this page being loaded again.
	other := chromium.Tab(t, browser)
	chromium.Do(t, other, chromedp.Navigate(a.op.EndSession+"?"+url.Values{
		"id_token_hint": {response.Get("id_token")}, "post_logout_redirect_uri": {a.url + "/bye"},
	}.Encode()))
	chromium.Do(t, other, chromedp.WaitVisible(chromedp.CSS("#application")))
	a.want(browser, state, "changed")
	a.want(other, state, "changed")

	// And signs in again.
	fresh := a.signIn(other, nil).Get("session_state")
	a.want(browser, fresh, "unchanged")
	a.want(browser, state, "changed")
}

// What one application knows is nothing for another origin.
func TestSessionStateIsBoundToTheOrigin(t *testing.T) {
	issuer := start(t)
	browser := chromium.StartWithThirdPartyCookies(t, 1280, 800)
	a, b := newRelying(t, browser, issuer), newRelying(t, browser, issuer)
	state := a.signIn(browser, nil).Get("session_state")
	a.want(browser, state, "unchanged")
	chromium.Do(t, browser, chromedp.Navigate(b.url))
	a.want(browser, state, "changed")
	// A frame without an origin is not answered: two questions, one answer.
	sandboxed := `new Promise(resolve => {
		window.addEventListener("message", e => { if (e.data === "asked") { resolve(ask("x")); } });
		const f = document.createElement("iframe");
		f.sandbox = "allow-scripts";
		f.srcdoc = "<script>onmessage = e => parent.postMessage('answered', '*'); parent.frames[0].postMessage(` + "'x'" + `, '*'); parent.postMessage('asked', '*')<\/script>";
		window.addEventListener("message", e => { if (e.data === "answered") { resolve("answered"); } });
		document.body.append(f);
	})`
	if got := chromium.Do(t, browser, chromedp.Evaluate[string](sandboxed, chromedp.EvalAwaitPromise)); got != "error" {
		t.Errorf("%s, want error for the page and nothing for the frame", got)
	}
}

// The page's hash is SHA-256, for every length that pads differently and for text
// that is not ASCII; and of the provider's cookies a script sees this one alone.
func TestCheckSessionHash(t *testing.T) {
	issuer := start(t)
	browser := chromium.StartWithThirdPartyCookies(t, 1280, 800)
	a := newRelying(t, browser, issuer)
	a.signIn(browser, nil)
	chromium.Do(t, browser, chromedp.Navigate(a.op.CheckSession))
	cookie := chromium.Do(t, browser, chromedp.Evaluate[string]("document.cookie"))
	name, value, _ := strings.Cut(cookie, "=")
	if name != "__Host-opkit_state" || value == "" || strings.Contains(value, ";") {
		t.Fatalf("scripts can read %q", cookie)
	}
	chromium.Do(t, browser, chromedp.Navigate(a.url))
	const salt = "AAAAAAAAAAAAAAAAAAAAAA"
	stateOf := func(clientID string) string {
		sum := sha256.Sum256([]byte(clientID + " " + a.url + " " + value + " " + salt))
		return hex.EncodeToString(sum[:]) + "." + salt
	}
	clients := []string{"a b", "ünï¢ødé", "漢字", "\U0001f511", "\u007f"}
	for n := 1; n <= 130; n++ {
		clients = append(clients, strings.Repeat("c", n))
	}
	for _, clientID := range clients {
		if got := a.ask(browser, quoted(clientID+" "+stateOf(clientID))); got != "unchanged" {
			t.Errorf("%q: %s", clientID, got)
		}
	}
}

// A browser that keeps cookies from pages which another site embeds would have the
// application ask for ever if it were told "changed". Within one site, as where the
// suite runs, everything works.
func TestSessionManagementWithoutThirdPartyCookies(t *testing.T) {
	issuer := start(t)
	browser := chromium.Start(t, 1280, 800)
	a := newRelying(t, browser, issuer)
	a.want(browser, a.signIn(browser, nil).Get("session_state"), "error")

	same := newRelyingAt(t, browser, issuer, "localhost")
	response := same.signIn(browser, nil)
	same.want(browser, response.Get("session_state"), "unchanged")
	other := chromium.Tab(t, browser)
	chromium.Do(t, other, chromedp.Navigate(a.op.EndSession+"?"+url.Values{"id_token_hint": {response.Get("id_token")}}.Encode()))
	same.want(browser, response.Get("session_state"), "changed")
}
