package httpx

import (
	"net/http"
	"testing"
	"time"
)

func TestFreshness(t *testing.T) {
	const fallback, least, most = 10 * time.Minute, time.Minute, 24 * time.Hour
	date := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		name   string
		header http.Header
		want   time.Duration
	}{
		{"nothing is said", http.Header{}, fallback},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=3600"}}, time.Hour},
		{"quoted, in capitals", http.Header{"Cache-Control": {`Max-Age="3600"`}}, time.Hour},
		{"two headers", http.Header{"Cache-Control": {"public", "max-age=3600"}}, time.Hour},
		{"what the age took", http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"600"}}, 50 * time.Minute},
		{"an age that took all", http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"7200"}}, least},
		{"an age that is none", http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"-7200"}}, time.Hour},
		{"s-maxage counts more", http.Header{"Cache-Control": {"max-age=3600, s-maxage=120"}}, 2 * time.Minute},
		{"max-age counts more than Expires", http.Header{"Cache-Control": {"max-age=120"}, "Date": {at(0)}, "Expires": {at(time.Hour)}}, 2 * time.Minute},
		{"Expires", http.Header{"Date": {at(0)}, "Expires": {at(time.Hour)}}, time.Hour},
		{"Expires in the past", http.Header{"Date": {at(0)}, "Expires": {at(-time.Hour)}}, least},
		{"Expires that is no date", http.Header{"Date": {at(0)}, "Expires": {"0"}}, least},
		{"Expires without a date", http.Header{"Expires": {at(time.Hour)}}, least},
		{"no-store", http.Header{"Cache-Control": {"max-age=3600, no-store"}}, least},
		{"no-cache", http.Header{"Cache-Control": {"no-cache"}}, least},
		{"too short", http.Header{"Cache-Control": {"max-age=0"}}, least},
		{"too long", http.Header{"Cache-Control": {"max-age=2000000000"}}, most},
		{"no number", http.Header{"Cache-Control": {"max-age=1h"}}, fallback},
		{"a number that is too large", http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, fallback},
		{"another directive with that end", http.Header{"Cache-Control": {"x-max-age=3600"}}, fallback},
	} {
		if got := (Fetched{Header: c.header}).Freshness(fallback, least, most); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRequester(t *testing.T) {
	if got := Requester(t.Context()); got.IsValid() {
		t.Errorf("of a context that says nothing: %v", got)
	}
	addr := parseAddr("192.0.2.1:443")
	if got := Requester(WithRequester(t.Context(), addr)); got != addr {
		t.Errorf("%v, want %v", got, addr)
	}
}
