package management_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

type thing struct{ ID string }

// things lists n things named 000000 and up; reads counts the calls.
func things(n int, reads *int) management.List[thing] {
	return management.List[thing]{
		Name: "things",
		Fetch: func(_ context.Context, page store.Page) ([]thing, error) {
			*reads++
			var out []thing
			from := 0
			if page.After != "" {
				fmt.Sscanf(page.After, "%d", &from)
				from++
			}
			for i := from; i < n && len(out) < page.Size(); i++ {
				out = append(out, thing{fmt.Sprintf("%06d", i)})
			}
			return out, nil
		},
		ID:   func(x *thing) string { return x.ID },
		View: func(x *thing) any { return x.ID },
	}
}

// list serves l for a query and returns the error or the decoded answer.
func list(t testing.TB, l management.List[thing], query string) (any, error) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := l.Serve(w, httptest.NewRequest(http.MethodGet, "/things?"+query, nil)); err != nil {
		if w.Body.Len() != 0 {
			t.Errorf("%s: an error after %s", query, w.Body)
		}
		return nil, err
	}
	var answer any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", query, w.Code, w.Body)
	}
	return answer, nil
}

func numbered(from, to int) []any {
	out := []any{}
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("%06d", i))
	}
	return out
}

func token68(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestTheThreeFormsOfAList(t *testing.T) {
	page := func(start, limit, total, from, to int) any {
		return map[string]any{
			"start": float64(start), "limit": float64(limit), "total": float64(total), "length": float64(to - from), "things": numbered(from, to),
		}
	}
	for _, c := range []struct {
		n     int
		query string
		want  any
	}{
		{3, "", numbered(0, 3)},
		{0, "", []any{}},
		{120, "", numbered(0, 50)},
		{120, "strategy=auth0&unknown=1", numbered(0, 50)},
		{120, "page=1", numbered(50, 100)},
		{120, "page=2&per_page=50", numbered(100, 120)},
		{120, "page=3", []any{}},
		{120, "per_page=100&include_totals=false", numbered(0, 100)},

		{0, "include_totals=true", page(0, 50, 0, 0, 0)},
		{120, "include_totals=true", page(0, 50, 120, 0, 50)},
		{120, "include_totals=true&page=2", page(100, 50, 120, 100, 120)},
		{120, "include_totals=true&page=3&per_page=50", page(150, 50, 120, 150, 150)},
		{2500, "include_totals=true&page=24&per_page=100", page(2400, 100, 2500, 2400, 2500)},

		{0, "take=2", map[string]any{"things": []any{}}},
		{2, "take=2", map[string]any{"things": numbered(0, 2)}},
		{3, "take=2", map[string]any{"things": numbered(0, 2), "next": token68("000001")}},
		{3, "take=2&from=" + token68("000001"), map[string]any{"things": numbered(2, 3)}},
		{120, "from=", map[string]any{"things": numbered(0, 50), "next": token68("000049")}},
		{120, "from=" + token68("000100"), map[string]any{"things": numbered(101, 120)}},
		// Clients that add include_totals to everything still page by checkpoint.
		{3, "include_totals=true&page=0&per_page=1&take=2", map[string]any{"things": numbered(0, 2), "next": token68("000001")}},
	} {
		reads := 0
		got, err := list(t, things(c.n, &reads), c.query)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%d things, %q: %v (-want +got):\n%s", c.n, c.query, err, diff)
		}
	}
}

func TestACheckpointWalkSeesEverythingOnce(t *testing.T) {
	reads := 0
	l := things(257, &reads)
	l.Match = func(x *thing) bool { return !strings.HasSuffix(x.ID, "7") }
	var seen []any
	next := ""
	for {
		answer, err := list(t, l, "take=10&from="+next)
		if err != nil {
			t.Fatal(err)
		}
		m := answer.(map[string]any)
		seen = append(seen, m["things"].([]any)...)
		token, more := m["next"].(string)
		if !more {
			break
		}
		next = url.QueryEscape(token)
	}
	want := slices.DeleteFunc(numbered(0, 257), func(v any) bool { return strings.HasSuffix(v.(string), "7") })
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

func TestListsMatch(t *testing.T) {
	reads := 0
	l := things(30, &reads)
	l.Match = func(x *thing) bool { return strings.HasSuffix(x.ID, "5") }
	got, err := list(t, l, "include_totals=true&per_page=2")
	want := map[string]any{"start": 0.0, "limit": 2.0, "total": 3.0, "length": 2.0, "things": []any{"000005", "000015"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestAListReadsNoMoreThanItNeeds(t *testing.T) {
	for query, want := range map[string]int{"": 1, "page=3": 1, "take=100": 1, "include_totals=true": 6, "take=100&from=" + token68("004000"): 1} {
		reads := 0
		if _, err := list(t, things(5000, &reads), query); err != nil || reads != want {
			t.Errorf("%q: %d reads, want %d, %v", query, reads, want, err)
		}
	}
}

// A caller that pages by number through a very long list must not come to believe
// that it saw the end.
func TestPagesBeyondReachAreAnError(t *testing.T) {
	reads := 0
	l := things(20_000, &reads)
	got, err := list(t, l, "include_totals=true&page=99&per_page=100")
	if err != nil || got.(map[string]any)["total"].(float64) <= 10_000 || got.(map[string]any)["length"] != 100.0 {
		t.Errorf("the last page within reach: %v", err)
	}
	_, err = list(t, l, "include_totals=true&page=100&per_page=100")
	if e, ok := errors.AsType[*management.Error](err); !ok || e.Status != 400 || !strings.Contains(e.Message, "take and from") {
		t.Errorf("the page beyond: %v", err)
	}
	if reads > 11 {
		t.Errorf("%d reads", reads)
	}
}

func TestPagingParametersAreChecked(t *testing.T) {
	reads := 0
	l := things(3, &reads)
	for _, query := range []string{
		"page=-1", "page=x", "page=", "page=01", "page=+1", "page=1.0", "page=99999999999999999999", "page=1&page=2",
		"per_page=0", "per_page=101", "per_page=-1", "per_page=1&per_page=1",
		"include_totals=yes", "include_totals=1", "include_totals=true&include_totals=true",
		"take=0", "take=101", "take=", "take=x", "take=1&take=2",
		"from=x", "from=!", "from=" + token68(""), "take=1&from=a&from=b", "from=" + token68("a\x00b"), "from=" + token68("a\nb"),
		"from=" + token68("\xff\xfe"), "from=" + token68("a") + "=", "from=QR", "from=%0a" + token68("abc"),
		"from=" + token68(strings.Repeat("a", 2000)), "page=%zz",
	} {
		_, err := list(t, l, query)
		if e, ok := errors.AsType[*management.Error](err); query != "from="+token68("") && (!ok || e.Status != 400 || e.Code != "invalid_query_string") {
			t.Errorf("%q: %v", query, err)
		}
	}
	if reads > 1 { // an empty from is the beginning
		t.Errorf("the store was asked %d times", reads)
	}
}

func TestAStoreErrorInAListIsReturned(t *testing.T) {
	broken := errors.New("broken")
	l := things(0, new(int))
	l.Fetch = func(context.Context, store.Page) ([]thing, error) { return nil, broken }
	for _, query := range []string{"", "include_totals=true", "take=1"} {
		if _, err := list(t, l, query); !errors.Is(err, broken) {
			t.Errorf("%q: %v", query, err)
		}
	}
}

func FuzzList(f *testing.F) {
	for _, seed := range []string{"", "take=2", "take=2&from=MDAwMDAx", "page=1&per_page=1&include_totals=true", "from=%ff", "from==", "take=1;take=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{}}
		w := httptest.NewRecorder()
		l := things(7, new(int))
		fetch := l.Fetch
		l.Fetch = func(ctx context.Context, page store.Page) ([]thing, error) {
			if strings.ContainsFunc(page.After, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%q reached the store", page.After)
			}
			return fetch(ctx, page)
		}
		err := l.Serve(w, r)
		if err != nil {
			if _, ok := errors.AsType[*management.Error](err); !ok || w.Body.Len() > 0 {
				t.Errorf("%v after %s", err, w.Body)
			}
			return
		}
		if !json.Valid(bytes.TrimSpace(w.Body.Bytes())) {
			t.Errorf("not JSON: %s", w.Body)
		}
	})
}

// A stranger can register a million clients; an administrator's filter must not read
// them all in one request.
func TestAFilterReadsABoundedPartAndGoesOnFromThere(t *testing.T) {
	reads := 0
	l := things(25_000, &reads)
	l.Match = func(x *thing) bool { return x.ID == "000003" || x.ID == "015000" || x.ID == "024999" }
	var got []any
	requests := 0
	for query := "take=2"; query != ""; requests++ {
		reads = 0
		answer, err := list(t, l, query)
		if err != nil {
			t.Fatal(err)
		}
		if reads > 12 {
			t.Errorf("%d reads in one request", reads)
		}
		object := answer.(map[string]any)
		got = append(got, object["things"].([]any)...)
		query = ""
		if next, ok := object["next"].(string); ok {
			query = "take=2&from=" + url.QueryEscape(next)
		}
	}
	if diff := cmp.Diff([]any{"000003", "015000", "024999"}, got); diff != "" || requests != 3 {
		t.Errorf("%d requests\n%s", requests, diff)
	}
	for _, query := range []string{"", "page=0&per_page=2", "include_totals=true"} {
		reads = 0
		_, err := list(t, l, query)
		if e, ok := errors.AsType[*management.Error](err); !ok || e.Status != http.StatusBadRequest || e.Code != management.CodeInvalidQuery || reads > 12 {
			t.Errorf("%q: %v after %d reads", query, err, reads)
		}
	}
	if answer, err := list(t, l, "per_page=1"); err != nil || cmp.Diff([]any{"000003"}, answer) != "" {
		t.Errorf("what is found early: %v, %v", answer, err)
	}
}

func TestMembersAreDecodedByTheRulesOfABody(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1,"a":2}`:  "the request body is not valid JSON, or has a member twice",
		`[]`:             "the request body must be a JSON object",
		`{"a":"\u0000"}`: "the request body has the character U+0000, which is not allowed",
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(in))
		r.Header.Set("Content-Type", "application/json")
		got, err := management.DecodeMembers(httptest.NewRecorder(), r)
		if e, ok := errors.AsType[*management.Error](err); !ok || e.Message != want || got != nil {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"a": [1], "B":null}`))
	r.Header.Set("Content-Type", "application/json")
	got, err := management.DecodeMembers(httptest.NewRecorder(), r)
	want := map[string]json.RawMessage{"a": json.RawMessage(`[1]`), "B": json.RawMessage(`null`)}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
