package management_test

import (
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/management"
)

func TestSessionIdentifiers(t *testing.T) {
	for _, user := range []string{"auth0|ada", "é.", "a.b.c", strings.Repeat("u", 1024)} {
		id := management.SessionID(user, "SID7")
		if strings.ContainsAny(id, "/+=| ") {
			t.Errorf("%q needs escaping", id)
		}
		if u, sid, ok := management.ParseSessionID(id); !ok || u != user || sid != "SID7" {
			t.Errorf("%q: %q, %q, %v", id, u, sid, ok)
		}
	}
	for _, id := range []string{"", ".", "x", ".sid", "YQ.", "YR.sid", "YQ==.sid", "Y\nQ.sid", "AAA.sid", "_w.sid", "YQ.a\x00", "YQ." + strings.Repeat("s", 3000)} {
		if user, sid, ok := management.ParseSessionID(id); ok || user != "" || sid != "" {
			t.Errorf("%q: %q, %q, %v", id, user, sid, ok)
		}
	}
}

func FuzzParseSessionID(f *testing.F) {
	f.Add("YXV0aDB8YWRh.SID7")
	f.Add("..")
	f.Fuzz(func(t *testing.T, id string) {
		user, sid, ok := management.ParseSessionID(id)
		if !ok && (user != "" || sid != "") || ok && management.SessionID(user, sid) != id {
			t.Errorf("%q: %q, %q, %v", id, user, sid, ok)
		}
	})
}
