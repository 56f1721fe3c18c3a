package management_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

func request(method, header string, values ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	for _, v := range values {
		r.Header.Add(header, v)
	}
	return r
}

func status(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*management.Error](err); ok {
		return e.Status
	}
	return http.StatusInternalServerError
}

func TestTagsChangeWithVersionAndView(t *testing.T) {
	seen := map[management.Tag]bool{}
	for _, tag := range []management.Tag{
		management.TagOf(1, map[string]int{"a": 1}), management.TagOf(2, map[string]int{"a": 1}), management.TagOf(1, map[string]int{"a": 2}),
	} {
		s := string(tag)
		if seen[tag] || len(s) < 10 || s[0] != '"' || s[len(s)-1] != '"' || strings.ContainsAny(s[1:len(s)-1], "\"\\ ,") {
			t.Errorf("tag %s", tag)
		}
		seen[tag] = true
	}
	if again := management.TagOf(1, map[string]int{"a": 1}); !seen[again] {
		t.Error("the same record has two tags")
	}
}

func TestCheckMatch(t *testing.T) {
	const tag = management.Tag(`"1-a"`)
	for _, c := range []struct {
		header string
		values []string
		want   int
	}{
		{"If-Match", nil, 0},
		{"If-Match", []string{`"1-a"`}, 0},
		{"If-Match", []string{` "1-a" `}, 0},
		{"If-Match", []string{`"x", "1-a"`}, 0},
		{"If-Match", []string{`"x" , ,"1-a",`}, 0},
		{"If-Match", []string{`"x"`, `"1-a"`}, 0},
		{"If-Match", []string{`"a,b", "1-a"`}, 0},
		{"If-Match", []string{`"a, b", "1-a"`}, 400}, // RFC 9110 §8.8.3: no space
		{"If-Match", []string{`*`}, 0},
		{"If-Match", []string{`"1-A"`}, 412},
		{"If-Match", []string{`""`}, 412},
		{"If-Match", []string{`W/"1-a"`}, 412}, // RFC 9110 §13.1.1: the strong comparison
		{"If-Match", []string{`W/"1-a", "x"`}, 412},
		{"If-Match", []string{`1-a`}, 400},
		{"If-Match", []string{`'1-a'`}, 400},
		{"If-Match", []string{``}, 400},
		{"If-Match", []string{`,`}, 400},
		{"If-Match", []string{`*, "1-a"`}, 400},
		{"If-Match", []string{`"1-a" "x"`}, 400},
		{"If-Match", []string{`"1-a"x`}, 400},
		{"If-Match", []string{`"1-a", x`}, 400},
		{"If-Match", []string{`"1-a`}, 400},
		{"If-Match", []string{`w/"1-a"`}, 400},
		{"If-Match", []string{"\"a\tb\""}, 400},
		{"If-None-Match", []string{`"x"`}, 0},
		{"If-None-Match", []string{`"1-a"`}, 412},
		{"If-None-Match", []string{`W/"1-a"`}, 412},
		{"If-None-Match", []string{`*`}, 412},
		{"If-None-Match", []string{`x`}, 400},
	} {
		if got := status(management.CheckMatch(request(http.MethodPatch, c.header, c.values...), tag)); got != c.want {
			t.Errorf("%s: %q: %d, want %d", c.header, c.values, got, c.want)
		}
	}
}

func TestARecordThatIsKnownIsNotSent(t *testing.T) {
	const tag = management.Tag(`"1-a"`)
	for value, want := range map[string]int{``: 400, `"1-a"`: 304, `W/"1-a"`: 304, `*`: 304, `"x", "1-a"`: 304, `"x"`: 200, `x`: 400} {
		w := httptest.NewRecorder()
		err := management.WriteRecord(w, request(http.MethodGet, "If-None-Match", value), http.StatusOK, tag, struct{}{})
		if got := max(status(err), w.Code); err != nil && status(err) != want || err == nil && got != want || err == nil && w.Header().Get("ETag") != string(tag) {
			t.Errorf("%q: %d, %v", value, w.Code, err)
		}
		if w.Code == http.StatusNotModified && w.Body.Len() > 0 {
			t.Errorf("%q: 304 with %s", value, w.Body)
		}
	}
	// Elsewhere it is a condition of the change, not of the answer.
	w := httptest.NewRecorder()
	if err := management.WriteRecord(w, request(http.MethodPatch, "If-None-Match", `*`), http.StatusOK, tag, struct{}{}); err != nil || w.Code != http.StatusOK {
		t.Errorf("%d, %v", w.Code, err)
	}
}

// A deletion claims the record before it deletes anything.
func TestClaim(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		rule, header, value string
		read, write         error
		reads, writes, want int
	}{
		{"no condition", "", "", broken, broken, 0, 0, 0},
		{"as it was seen", "If-Match", `"1"`, nil, nil, 1, 1, 0},
		{"changed since", "If-Match", `"0"`, nil, nil, 1, 0, 412},
		{"changed while it is claimed", "If-Match", `"1"`, nil, store.ErrConflict, 1, 1, 412},
		{"deleted while it is claimed", "If-Match", `"1"`, nil, store.ErrNotFound, 1, 1, 412},
		{"absent", "If-Match", `"1"`, store.ErrNotFound, nil, 1, 0, 412},
		{"absent, whatever it is", "If-Match", `*`, store.ErrNotFound, nil, 1, 0, 412},
		{"absent, as wanted", "If-None-Match", `*`, store.ErrNotFound, nil, 1, 0, 0},
		{"no tag", "If-Match", `1`, nil, nil, 1, 0, 400},
		{"a store that fails to read", "If-Match", `"1"`, broken, nil, 1, 0, 500},
		{"a store that fails to write", "If-Match", `"1"`, nil, broken, 1, 1, 500},
	} {
		r := request(http.MethodDelete, "X", "")
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		reads, writes := 0, 0
		err := management.Claim(r, func() (int, error) { reads++; return 7, c.read },
			func(*int) management.Tag { return `"1"` },
			func(v int) error {
				if writes++; v != 7 {
					t.Errorf("%s: wrote %d", c.rule, v)
				}
				return c.write
			})
		if status(err) != c.want || reads != c.reads || writes != c.writes {
			t.Errorf("%s: %v after %d reads and %d writes", c.rule, err, reads, writes)
		}
	}
	w := httptest.NewRecorder()
	if err := management.WriteAbsent(w, request(http.MethodDelete, "If-Match", "*")); status(err) != 412 {
		t.Errorf("%v", err)
	}
	if err := management.WriteAbsent(w, request(http.MethodDelete, "X")); err != nil || w.Code != http.StatusNoContent {
		t.Errorf("%d, %v", w.Code, err)
	}
}

func FuzzCheckMatch(f *testing.F) {
	for _, seed := range []string{`"1-a"`, `*`, `"x", W/"1-a"`, `"`, `W/`, ",,", `"a""b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		err := management.CheckMatch(request(http.MethodPatch, "If-Match", value).WithContext(context.Background()), `"1-a"`)
		got := status(err)
		if got != 0 && got != 400 && got != 412 {
			t.Errorf("%q: %v", value, err)
		}
		// Nothing passes that does not name the tag.
		if trimmed := strings.Trim(value, " \t"); got == 0 && trimmed != "*" && !strings.Contains(value, `"1-a"`) {
			t.Errorf("%q passed", value)
		}
	})
}
