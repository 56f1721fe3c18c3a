package authorize

import (
	"html"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opkit/opkit/store"
)

// rendered returns a page as a browser gets it. With OPKIT_PAGES=DIR it is kept
// there, to be looked at.
func rendered(t *testing.T, p *pages, file string, data interface{ setNonce(string) }) string {
	t.Helper()
	w := httptest.NewRecorder()
	p.render(w, 200, file, data)
	if w.Code != 200 {
		t.Fatalf("%s: %d", file, w.Code)
	}
	if dir := os.Getenv("OPKIT_PAGES"); dir != "" {
		name := regexp.MustCompile(`\W+`).ReplaceAllString(filepath.Base(t.Name()), "-") + ".html"
		if err := os.WriteFile(filepath.Join(dir, name), w.Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w.Body.String()
}

// words returns what a page says.
func words(page string) string {
	page = regexp.MustCompile(`(?s)<style.*?</style>`).ReplaceAllString(page, "")
	page = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")
	return strings.Join(strings.Fields(html.UnescapeString(page)), " ")
}

func builtin(t *testing.T) *pages {
	t.Helper()
	p, err := parsePages(nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var registeredAt = time.Date(2026, 3, 9, 14, 5, 0, 0, time.UTC)

// aConsentPage is the one of a third-party application on the web.
func aConsentPage() *ConsentPage {
	return &ConsentPage{
		Page: Page{Tenant: TenantInfo{Name: "Marlow", SupportEmail: "help@marlow.example"}},
		Client: ClientInfo{
			ID: "tpc_1", Name: "Bookings by Marlow", NameGiven: true, RedirectHost: "bookings.example.net", RegisteredAt: registeredAt,
			PolicyURI: "https://bookings.example.net/privacy", TOSURI: "https://bookings.example.net/terms",
		},
		Action: "https://login.example/consent", Transaction: "sealed", User: "ada@example.com", FirstTime: true, Offline: true,
		ApplicationsURL: "https://login.example/account/applications",
		Access: []AccessInfo{
			{Scopes: []ScopeInfo{{Value: "openid", Description: standardScopes["openid"]}, {Value: "email", Description: standardScopes["email"]}, {Value: "birthdate", Description: "See your date of birth", Claim: true}}},
			{API: "Appointments", Audience: "appointments:api", Scopes: []ScopeInfo{{Value: "appointments", Description: "See your appointments"}, {Value: "read:contacts"}}},
		},
	}
}

func TestConsentPage(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		change func(*ConsentPage)
		has    []string
		hasNot []string
	}{
		{"what an application on the web is and asks for", func(*ConsentPage) {},
			[]string{
				"Bookings by Marlow asks for access to your account ada@example.com", "You will be sent to bookings.example.net",
				"Unverified. The application chose its name itself. Marlow has not verified who it belongs to.", "You have not allowed it anything before.",
				"Registered 9 March 2026, 14:05 UTC", "About you Know that you signed in", "See your date of birth",
				"Appointments See your appointments read:contacts", "Lasting access", "while you are away", "remove access at any time, under applications with access",
				"Privacy policy", "Terms of service",
			},
			[]string{"own computer", "your device", "changed its name", "Published by"}},
		{"one that the user knows", func(p *ConsentPage) { p.FirstTime = false }, []string{"Unverified"}, []string{"not allowed it anything before"}},
		{"one that changed", func(p *ConsentPage) { p.FirstTime, p.Changed = false, true }, []string{"changed its name or its address"}, nil},
		{"a program on the computer", func(p *ConsentPage) {
			p.Client.RedirectHost, p.Client.Loopback = "127.0.0.1:49152", true
		}, []string{"a program on this computer 127.0.0.1:49152", "where any program can pretend to be it", "only if you have just started it yourself"}, nil},
		{"an application on the device", func(p *ConsentPage) { p.Client.RedirectHost, p.Client.Private = "com.example.app:", true },
			[]string{"an application on this device com.example.app:", "where any application can claim its address."}, nil},
		{"one that a document describes", func(p *ConsentPage) { p.Client.DocumentHost, p.Client.RegisteredAt = "app.example.org", time.Time{} },
			[]string{"Bookings by Marlow of app.example.org asks", "described by app.example.org, its name included"}, []string{"Registered", "chose its name itself"}},
		{"a document that proves nothing about the program", func(p *ConsentPage) {
			p.Client.DocumentHost, p.Client.RegisteredAt, p.Client.RedirectHost, p.Client.Loopback = "app.example.org", time.Time{}, "127.0.0.1:49152", true
		}, []string{"Any program on your device can say that it is this application of app.example.org.", "only if you have just started it yourself"}, []string{"where any program can pretend"}},
		{"the tenant's own", func(p *ConsentPage) { p.Client.FirstParty, p.Client.RegisteredAt = true, time.Time{} }, nil, []string{"Unverified", "Registered"}},
		{"nothing but the login", func(p *ConsentPage) { p.Access, p.Offline = nil, false }, []string{"nothing but to know that you signed in"}, []string{"Lasting access", "About you"}},
		{"an API without scopes", func(p *ConsentPage) { p.Access = []AccessInfo{{API: "Appointments", Audience: "a"}} }, []string{"Appointments Use it on your behalf"}, nil},
		{"no applications page", func(p *ConsentPage) { p.ApplicationsURL = "" }, []string{"You can ask Marlow to remove access"}, []string{"applications with access"}},
		{"long and foreign names", func(p *ConsentPage) {
			p.Client.Name, p.User = strings.Repeat("W", 80)+"…", "עדה@example.com"
			p.Client.RedirectHost = strings.Repeat("a-very-long-label.", 9) + "example.net"
		}, []string{"WWW"}, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			data := aConsentPage()
			tc.change(data)
			page := rendered(t, builtin(t), "consent.html", data)
			said := words(page)
			for _, want := range tc.has {
				if !strings.Contains(said, want) {
					t.Errorf("the page lacks %q: %s", want, said)
				}
			}
			for _, unwanted := range tc.hasNot {
				if strings.Contains(said, unwanted) {
					t.Errorf("the page says %q: %s", unwanted, said)
				}
			}
			// What programs that drive pages rely on, and what strict browsers need.
			for _, hook := range []string{`<h1>Allow access?</h1>`, `id="consent-allow" name="decision" value="allow"`, `id="consent-deny"`, `name="transaction" value="sealed"`, `<a class="client-policy" href="https://bookings.example.net/privacy"`, `<a class="client-tos" href="https://bookings.example.net/terms"`} {
				if !strings.Contains(page, hook) {
					t.Errorf("the page lacks %s", hook)
				}
			}
			if strings.Contains(page, "<script") || strings.Contains(page, " style=") || strings.Contains(page, "<img") {
				t.Errorf("a script, an inline style or an image: %s", page)
			}
		})
	}
}

// A logo is shown only where the configuration says so, and then by its hook.
func TestLogoOfConsentPage(t *testing.T) {
	client := &store.Client{ID: "c", Name: "A\u202eB", Metadata: &store.ClientMetadata{LogoURI: "https://evil.example/logo.png"}}
	for _, hotlink := range []bool{false, true} {
		a := &Authorizer{cfg: Config{InsecureHotlinkLogos: hotlink}}
		data := aConsentPage()
		data.Client = a.describe(client, "https://app.example.com/cb")
		page := rendered(t, builtin(t), "consent.html", data)
		if strings.Contains(page, `<img class="client-logo" src="https://evil.example/logo.png"`) != hotlink {
			t.Errorf("InsecureHotlinkLogos %t: %s", hotlink, page)
		}
		if strings.Contains(page, "\u202e") || !strings.Contains(words(page), "A\ufffdB asks for access") {
			t.Errorf("the direction of text changes: %q", words(page))
		}
	}
}

// A host is shown as the one that it is.
func TestRedirectHost(t *testing.T) {
	for uri, want := range map[string]string{
		"https://app.example.com/cb":              "app.example.com",
		"https://app.example.com:8443/cb":         "app.example.com:8443",
		"https://PAYPAI.example/cb":               "paypai.example",
		"https://xn--pple-43d.example/cb":         "xn--pple-43d.example",
		"https://\u0430pple.example/cb":           "%D0%B0pple.example",
		"https://bank.example\u202e/cb":           "bank.example%E2%80%AE",
		"http://127.0.0.1:49152/cb":               "127.0.0.1:49152",
		"http://[::1]:49152/cb":                   "[::1]:49152",
		"com.example.app:/cb":                     "com.example.app:",
		"com.example.app://bank.example/cb":       "com.example.app:",
		"https://bank.example@evil.example/login": "evil.example",
		"https://bank.example\\.evil.example/":    "",
	} {
		if got := redirectHost(uri); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

func anApplicationsPage() *ApplicationsPage {
	c := aConsentPage()
	return &ApplicationsPage{
		Page: c.Page, Action: c.ApplicationsURL, Transaction: "sealed", User: c.User, Connection: ConnectionInfo{Name: "users", Label: "Marlow account"},
		LogoutURL: "https://login.example/oidc/logout",
		Applications: []ApplicationInfo{
			{Client: c.Client, Hosts: []string{"bookings.example.net", "com.example.app:"}, Grants: "G1 G2", AllowedAt: registeredAt, UsedAt: registeredAt.AddDate(0, 1, 0), Access: c.Access, Offline: true},
			{Client: ClientInfo{ID: "https://app.example.org/c", Name: "<b>Editor</b>", DocumentHost: "app.example.org"}, Hosts: []string{"127.0.0.1"}, Grants: "G3", AllowedAt: registeredAt, UsedAt: registeredAt, Access: c.Access[:1]},
			{Client: ClientInfo{ID: "tpc_2", Name: "An application that is no longer registered"}, Gone: true, Grants: "G4", AllowedAt: registeredAt, UsedAt: registeredAt},
		},
	}
}

func TestApplicationsPage(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		change func(*ApplicationsPage)
		has    []string
		hasNot []string
	}{
		{"what each application has", func(*ApplicationsPage) {},
			[]string{
				"Applications with access", "ada@example.com (Marlow account)", "Bookings by Marlow unverified", "bookings.example.net, com.example.app:",
				"Appointments See your appointments", "Allowed 9 March 2026", "Last sign-in 9 April 2026", "while you are away", "<b>Editor</b> unverified Published by app.example.org",
				"no longer registered", "Log out",
			}, []string{"no access any more", "More applications", "no longer registered unverified"}},
		{"what was removed", func(p *ApplicationsPage) { p.Removed = "Bookings by Marlow"; p.Applications = p.Applications[1:] }, []string{"Bookings by Marlow has no access any more."}, nil},
		{"nothing", func(p *ApplicationsPage) { p.Applications = nil }, []string{"No application can use your account ada@example.com (Marlow account)."}, []string{"Remove", "These applications"}},
		{"more than one page", func(p *ApplicationsPage) {
			p.NextURL, p.FirstURL = "https://login.example/n", "https://login.example/f"
		}, []string{"Back to the first", "More applications"}, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			data := anApplicationsPage()
			tc.change(data)
			page := rendered(t, builtin(t), "applications.html", data)
			said := words(page)
			for _, want := range tc.has {
				if !strings.Contains(said, want) {
					t.Errorf("the page lacks %q: %s", want, said)
				}
			}
			for _, unwanted := range tc.hasNot {
				if strings.Contains(said, unwanted) {
					t.Errorf("the page says %q: %s", unwanted, said)
				}
			}
			if n := strings.Count(page, `class="plain remove-access"`); n != len(data.Applications) {
				t.Errorf("%d buttons for %d applications", n, len(data.Applications))
			}
			if strings.Contains(page, "<b>Editor") || strings.Contains(page, "<script") || strings.Contains(page, " style=") {
				t.Errorf("unescaped, scripted or styled: %s", page)
			}
		})
	}
}

// The pages on the way to consent and out again: their hooks, and names that cannot
// change what they say.
func TestOtherPages(t *testing.T) {
	client := aConsentPage().Client
	client.Name, client.DocumentHost = "<i>Bookings", "app.example.org"
	page := Page{Tenant: TenantInfo{Name: "Marlow", SupportURL: "https://marlow.example/help"}}
	database, host := ConnectionInfo{Name: "users", Label: "Marlow account"}, ConnectionInfo{Name: "staff", Label: "Staff"}
	for _, tc := range []struct {
		rule, file string
		data       interface{ setNonce(string) }
		has        []string
		hooks      []string
	}{
		{"signing in", "login.html", &LoginPage{Page: page, Client: client, Databases: []ConnectionInfo{database}, Login: `a"b`},
			[]string{"Sign in to continue to <i>Bookings of app.example.org unverified"}, []string{`<h1>Sign in</h1>`, `name="username" value="a&#34;b"`, `name="password"`, `id="login-submit"`}},
		{"signing in again", "login.html", &LoginPage{Page: page, Client: client, Databases: []ConnectionInfo{database, {Name: "old", Label: "Old account"}}, Hosts: []ConnectionInfo{host}, Failure: "Wrong email, username or password."},
			[]string{"Wrong email", "Account type Marlow account Old account", "or Continue with Staff"}, []string{`role="alert"`, `name="connection"`}},
		{"no way to sign in", "login.html", &LoginPage{Page: page, Client: client}, []string{"There is no way to sign in to this application yet.", "domain connections"}, nil},
		{"an error", "error.html", &ErrorPage{Page: page, Code: "invalid_request", Description: "redirect_uri is <b>not</b> registered"},
			[]string{"redirect_uri is <b>not</b> registered", "invalid_request"}, []string{`<h1>Authorization error</h1>`}},
		{"logging out", "logout.html", &LogoutPage{Page: page, ClientName: client.Name}, []string{"<i>Bookings unverified asks to log you out of Marlow"}, []string{`<h1>Log out</h1>`, `id="logout-confirm"`}},
		{"logged out", "logged_out.html", &LoggedOutPage{Page: page}, nil, []string{`<h1>You are logged out</h1>`}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			out := rendered(t, builtin(t), tc.file, tc.data)
			for _, want := range tc.has {
				if !strings.Contains(words(out), want) {
					t.Errorf("the page lacks %q: %s", want, words(out))
				}
			}
			for _, hook := range tc.hooks {
				if !strings.Contains(out, hook) {
					t.Errorf("the page lacks %s", hook)
				}
			}
			if strings.Contains(out, "<i>") || strings.Contains(out, "<b>") || strings.Contains(out, " style=") {
				t.Errorf("unescaped or styled: %s", out)
			}
		})
	}
}

// A file replaces the page of its name and can use what the layout defines.
func TestPagesAreReplaced(t *testing.T) {
	p, err := parsePages(fstest.MapFS{"consent.html": {Data: []byte(
		`{{template "head" .}}</head><p>{{.Client.RedirectHost}} {{range .Access}}{{.API}}:{{range .Scopes}} {{.Value}}{{end}} {{end}}</p>{{template "foot" .}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if said := words(rendered(t, p, "consent.html", aConsentPage())); !strings.HasPrefix(said, "bookings.example.net : openid email birthdate Appointments: appointments read:contacts") {
		t.Errorf("%s", said)
	}
	if !strings.Contains(rendered(t, p, "applications.html", anApplicationsPage()), "<h1>Applications with access</h1>") {
		t.Error("a page that was not replaced is another one")
	}
	if _, err := parsePages(fstest.MapFS{"consent.html": {Data: []byte(`{{.`)}}); err == nil {
		t.Error("a page that does not parse")
	}
}
