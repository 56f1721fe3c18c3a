package opkit_test

import (
	"strings"
	"testing"
)

// What the console says to register is what is sent to the other provider.
func TestTheConsoleShowsRedirectURIs(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newUpstreamWorld(t, options{mount: mount}, nil)
		s := newConsole(u.world)
		app := u.register(nil)
		for _, own := range []bool{false, true} {
			u.own(own)
			res := newBrowser(t).get(u.authorizeURL(app, "connection", u.upstream.Name))
			sent := mustParse(t, res.Header.Get("Location")).Query().Get("redirect_uri")
			if sent == "" || strings.HasSuffix(sent, "/"+u.upstream.ID) != own {
				t.Fatalf("%d %q", res.StatusCode, sent)
			}
			if page := s.page("/connections"); strings.Count(page, "Redirect URI to register there: <code>"+sent+"</code>") != 1 || strings.Count(page, "Redirect URI") != 1 {
				t.Errorf("own %t: no %s in %s", own, sent, text(page))
			}
		}
	})
}
