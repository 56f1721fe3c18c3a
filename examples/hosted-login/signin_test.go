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
