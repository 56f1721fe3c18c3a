package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit/examples/internal/browser"
)

// The demo application signs in at a strict tenant too: it always used PKCE, and
// the tenant grants the API to third parties.
func TestDemoApplicationAtAStrictTenant(t *testing.T) {
	p := start(t, t.TempDir(), "-ready", "-mode", "strict")
	b := browser.New(http.DefaultTransport, "none:")
	at := openApp(t, b, p)
	at = submit(t, b, at, nil, "") // the first form is the code flow's
	at = submit(t, b, at, map[string]string{"username": p.User, "password": p.Password}, "login-submit")
	at = submit(t, b, at, nil, "consent-allow")
	if !strings.Contains(at.Body, "You are signed in") || !strings.Contains(at.Body, "Dr. Okonkwo") {
		t.Errorf("signing in ended at %s:\n%s", at.Address, at.Body)
	}
	if at = openApp(t, b, p); !strings.Contains(at.Body, "tpc_") {
		t.Errorf("the application is not registered as strict:\n%s", at.Body)
	}
}

// An answer that the browser did not ask for is not taken.
func TestDemoApplicationRefusesForeignAnswers(t *testing.T) {
	p := start(t, t.TempDir(), "-ready")
	for name, change := range map[string]struct{ old, new, want string }{
		"another state":  {"state=", "state=x", "Wrong state"},
		"another issuer": {"iss=", "iss=x", "Wrong issuer"},
		"no issuer":      {"iss=", "was=", "Wrong issuer"},
		"another code":   {"code=", "code=x", "did not accept the code"},
	} {
		b := browser.New(http.DefaultTransport, p.AppURL+"/callback")
		at := openApp(t, b, p)
		at = submit(t, b, at, nil, "")
		at = submit(t, b, at, map[string]string{"username": p.User, "password": p.Password}, "login-submit")
		if _, err := at.Button("consent-allow"); err == nil {
			at = submit(t, b, at, nil, "consent-allow")
		}
		answer := at.Address.String()
		if !strings.Contains(answer, change.old) {
			t.Fatalf("%s: the answer is %s", name, answer)
		}
		// Another browser than the one that asked.
		stranger := browser.New(http.DefaultTransport, "none:")
		if at := open(t, stranger, answer); !strings.Contains(at.Body, "No sign-in is in progress") {
			t.Errorf("%s: another browser was shown %s", name, at.Body)
		}
		b.Stop = "none:"
		changed := strings.Replace(answer, change.old, change.new, 1)
		if at := open(t, b, changed); !strings.Contains(at.Body, change.want) {
			t.Errorf("%s: the application says\n%s", name, at.Body)
		}
		if at := open(t, b, answer); !strings.Contains(at.Body, "No sign-in is in progress") {
			t.Errorf("%s: the sign-in is still in progress:\n%s", name, at.Body)
		}
	}
}

func openApp(t *testing.T, b *browser.Browser, p *process) browser.Page {
	t.Helper()
	return open(t, b, p.AppURL)
}

func open(t *testing.T, b *browser.Browser, address string) browser.Page {
	t.Helper()
	p, err := b.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// submit sends the first form of a page with the button of that identifier.
func submit(t *testing.T, b *browser.Browser, at browser.Page, fill map[string]string, button string) browser.Page {
	t.Helper()
	var pressed string
	var err error
	if button != "" {
		if pressed, err = at.Button(button); err != nil {
			t.Fatalf("%v\n%s", err, at.Body)
		}
	}
	if at, err = b.Submit(t.Context(), at, fill, pressed); err != nil {
		t.Fatal(err)
	}
	return at
}
