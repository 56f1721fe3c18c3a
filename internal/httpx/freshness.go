package httpx

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// This file implements RFC 9111 §4.2 (freshness) as far as a document needs it that
// is fetched again when it is old.

// Freshness returns for how long the document may be used without asking again: as
// its headers say, fallback if they say nothing, and within the bounds whatever they
// say. A server that wants to be asked each time is asked at the lower bound.
func (f Fetched) Freshness(fallback, least, most time.Duration) time.Duration {
	lifetime, ok := f.lifetime()
	if !ok {
		lifetime = fallback
	}
	return min(max(lifetime, least), most)
}

// lifetime returns what the headers say; false if they say nothing.
func (f Fetched) lifetime() (time.Duration, bool) {
	// RFC 9111 §4.2.1: s-maxage counts before max-age, and that before Expires.
	age := seconds(f.Header.Get("Age"))
	maxAge, shared := time.Duration(-1), time.Duration(-1)
	for directive := range strings.SplitSeq(strings.Join(f.Header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0, true
		case "max-age":
			maxAge = seconds(strings.Trim(value, `"`))
		case "s-maxage":
			shared = seconds(strings.Trim(value, `"`))
		}
	}
	if shared >= 0 {
		maxAge = shared
	}
	if maxAge >= 0 {
		return maxAge - max(age, 0), true
	}
	expires := f.Header.Get("Expires")
	if expires == "" {
		return 0, false
	}
	at, err := http.ParseTime(expires)
	date, dateErr := http.ParseTime(f.Header.Get("Date"))
	if err != nil || dateErr != nil {
		return 0, true // RFC 9111 §5.3: an invalid date is in the past
	}
	return at.Sub(date), true
}

// seconds parses a number of seconds; negative if it is none.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return -1
	}
	return time.Duration(n) * time.Second
}
