package management

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A page has 50 records unless the request says otherwise, and at most 100.
const (
	defaultPerPage = 50
	maxPerPage     = 100
)

// paging is the part of a list that a request asks for.
type paging struct {
	// checkpoint: limit records after an identifier. Otherwise: page number page
	// of limit records, with totals around them if totals.
	checkpoint bool
	after      string
	page       int
	limit      int
	totals     bool
}

// readPaging reads take, from, page, per_page and include_totals. take and from
// win when both forms are sent: clients add include_totals to every list. named says
// that from is an identifier itself, not a token.
func readPaging(rawQuery string, named bool) (paging, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return paging{}, InvalidQuery("the query string is malformed")
	}
	for _, name := range []string{"take", "from", "page", "per_page", "include_totals"} {
		if len(query[name]) > 1 {
			return paging{}, InvalidQuery("%s appears more than once", name)
		}
	}
	p := paging{limit: defaultPerPage}
	switch query.Get("include_totals") {
	case "true":
		p.totals = true
	case "", "false":
	default:
		return paging{}, InvalidQuery("include_totals must be true or false")
	}
	if query.Has("take") || query.Has("from") {
		return readCheckpoint(query, p.totals, named)
	}
	if query.Has("per_page") {
		if p.limit, err = number(query, "per_page", 1, maxPerPage); err != nil {
			return paging{}, err
		}
	}
	if query.Has("page") {
		if p.page, err = number(query, "page", 0, reach); err != nil {
			return paging{}, err
		}
	}
	return p, nil
}

func readCheckpoint(query url.Values, totals, named bool) (paging, error) {
	p := paging{checkpoint: true, limit: defaultPerPage, totals: totals}
	var err error
	if query.Has("take") {
		if p.limit, err = number(query, "take", 1, maxPerPage); err != nil {
			return paging{}, err
		}
	}
	if from := query.Get("from"); named && from != "" {
		if len(from) > maxPagingToken || !plainText(from) {
			return paging{}, InvalidQuery("from must be the identifier of a record")
		}
		p.after = from
	} else if from != "" {
		after, ok := openToken(from)
		if !ok {
			return paging{}, InvalidQuery("from must be the value of next of an earlier answer")
		}
		p.after = after
	}
	return p, nil
}

// number parses a decimal number without sign or leading zeros.
func number(query url.Values, name string, low, high int) (int, error) {
	s := query.Get(name)
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s || n < low || n > high {
		return 0, InvalidQuery("%s must be a number from %d to %d", name, low, high)
	}
	return n, nil
}

// maxPagingToken bounds what is decoded.
const maxPagingToken = 1 << 10

var tokenEncoding = base64.RawURLEncoding.Strict()

// nextToken returns the paging token for what comes after an identifier. It is
// no secret and needs no seal: it can only name a place in a list that the
// caller may read from the beginning.
func nextToken(id string) string { return tokenEncoding.EncodeToString([]byte(id)) }

// openToken returns the identifier in a paging token. A token comes from
// outside: what is in it goes to the store as a value to compare with, so it
// must at least be text.
func openToken(token string) (string, bool) {
	if len(token) > maxPagingToken || strings.ContainsAny(token, "\r\n") {
		return "", false
	}
	raw, err := tokenEncoding.DecodeString(token)
	if err != nil || len(raw) == 0 || !plainText(string(raw)) {
		return "", false
	}
	return string(raw), true
}

// plainText reports whether s is text without control characters.
func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// QueryNumber returns the value of a query parameter, standard if it is absent.
func QueryNumber(r *http.Request, name string, standard, low, high int) (int, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case err != nil:
		return 0, InvalidQuery("the query string is malformed")
	case len(query[name]) > 1:
		return 0, InvalidQuery("%s appears more than once", name)
	case !query.Has(name):
		return standard, nil
	}
	return number(query, name, low, high)
}
