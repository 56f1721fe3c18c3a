package tenant

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// This file reads the search of the log: the part of the query language of management
// SDKs that one index at a time can answer.
//
//	type:f AND user_id:"auth0|ada" AND date:[2031-05-06 TO *]
//	client_id:abc type:(s OR f)
//
// Terms are joined by AND or by nothing but a space. type is a code (s) or a type of
// package audit (user.sign_in).

// logQuery is what a search selects.
type logQuery struct {
	filter store.EventFilter
	// kinds are the types that are wanted, if filter cannot say it.
	kinds   []eventKind
	address string
	// from and until are positions; until is not selected.
	from, until string
}

// eventKind is a type and an outcome; an empty outcome is any.
type eventKind struct{ what, outcome string }

func (k eventKind) of(e *store.Event) bool {
	return k.what == e.Type && (k.outcome == "" || k.outcome == e.Outcome)
}

// needsMatch reports whether events that filter selects have to be looked at.
func (q *logQuery) needsMatch() bool { return len(q.kinds) > 0 || q.address != "" }

func (q *logQuery) match(e *store.Event) bool {
	return (q.address == "" || q.address == e.Address) &&
		(len(q.kinds) == 0 || slices.ContainsFunc(q.kinds, func(k eventKind) bool { return k.of(e) }))
}

// maxLogQuery bounds a search, in bytes.
const maxLogQuery = 2 << 10

// parseLogQuery reads a search. Every error is for the caller.
func parseLogQuery(s string) (logQuery, error) {
	if len(s) > maxLogQuery {
		return logQuery{}, management.InvalidQuery("q must have at most %d bytes", maxLogQuery)
	}
	var q logQuery
	seen := map[string]bool{}
	rest := strings.TrimSpace(s)
	for rest != "" {
		name, after, ok := strings.Cut(rest, ":")
		if !ok || seen[name] {
			return logQuery{}, errLogQuery
		}
		seen[name] = true
		values, isRange, after, ok := cutLogValue(after)
		if !ok || isRange != (name == "date") || len(values) > 1 && name != "type" && !isRange {
			return logQuery{}, errLogQuery
		}
		if err := q.term(name, values); err != nil {
			return logQuery{}, err
		}
		if rest, ok = nextLogTerm(after); !ok {
			return logQuery{}, errLogQuery
		}
	}
	return q, nil
}

var errLogQuery = management.InvalidQuery("q must be terms joined by AND, each once: type, outcome, client_id, user_id or ip with a value, " +
	"type with several, as in type:(s OR f), or date with a range, as in date:[2031-05-06 TO *]; values with spaces are quoted")

// nextLogTerm returns the terms after one. Something has to come between two.
func nextLogTerm(after string) (rest string, ok bool) {
	rest = strings.TrimLeft(after, " ")
	if rest == "" {
		return "", true
	}
	if rest == after {
		return "", false
	}
	if joined, found := strings.CutPrefix(rest, "AND "); found {
		rest = strings.TrimLeft(joined, " ")
		return rest, rest != ""
	}
	return rest, rest != "AND"
}

// cutLogValue reads a value, a list of values in parentheses, or the two ends of a range.
func cutLogValue(s string) (values []string, isRange bool, after string, ok bool) {
	opening, closing, separator := "", "", ""
	switch {
	case strings.HasPrefix(s, "("):
		opening, closing, separator = "(", ")", "OR"
	case strings.HasPrefix(s, "["):
		opening, closing, separator, isRange = "[", "]", "TO", true
	default:
		value, after, ok := cutLogWord(s)
		return []string{value}, false, after, ok
	}
	s = strings.TrimLeft(s[len(opening):], " ")
	for {
		value, rest, ok := cutLogWord(s)
		if !ok {
			return nil, false, "", false
		}
		values = append(values, value)
		rest = strings.TrimLeft(rest, " ")
		if after, ok := strings.CutPrefix(rest, closing); ok {
			return values, isRange, after, !isRange || len(values) == 2
		}
		word, next, ok := cutLogWord(rest)
		if !ok || word != separator || strings.HasPrefix(rest, `"`) {
			return nil, false, "", false
		}
		s = strings.TrimLeft(next, " ")
	}
}

// cutLogWord reads a value, which is not empty.
func cutLogWord(s string) (value, after string, ok bool) {
	if quoted, found := strings.CutPrefix(s, `"`); found {
		value, after, ok = strings.Cut(quoted, `"`)
	} else {
		end := strings.IndexAny(s, ` "()[]`)
		if end < 0 {
			end = len(s)
		}
		value, after, ok = s[:end], s[end:], true
	}
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.ToValidUTF8(value, "") != value {
		return "", "", false
	}
	return value, after, ok
}

// term adds one condition.
func (q *logQuery) term(name string, values []string) error {
	value := values[0]
	switch name {
	case "client_id":
		q.filter.ClientID = value
	case "user_id":
		q.filter.UserID = value
	case "outcome":
		q.filter.Outcome = value
	case "ip":
		address, err := netip.ParseAddr(value)
		if err != nil {
			return management.InvalidQuery("q: ip must be an IP address")
		}
		q.address = address.Unmap().WithZone("").String()
	case "type":
		q.types(values)
	case "date":
		return q.dates(values[0], values[1])
	default:
		return errLogQuery
	}
	return nil
}

// types selects events of any of the types.
func (q *logQuery) types(names []string) {
	for _, name := range names {
		q.kinds = append(q.kinds, kindsNamed(name)...)
	}
	first := q.kinds[0]
	if slices.ContainsFunc(q.kinds, func(k eventKind) bool { return k.what != first.what }) {
		return
	}
	q.filter.Type = first.what
	if len(q.kinds) == 1 && first.outcome == "" {
		q.kinds = nil // the filter says it all
	}
}

// dates selects events from a time on, up to another one. A day ends when it is over.
func (q *logQuery) dates(from, until string) error {
	if from != "*" {
		at, _, ok := parseLogDate(from)
		if !ok {
			return errLogDate
		}
		q.from = store.EventPosition(at)
	}
	if until != "*" {
		at, day, ok := parseLogDate(until)
		if !ok {
			return errLogDate
		}
		if day {
			at = at.AddDate(0, 0, 1)
		} else {
			at = at.Add(time.Microsecond)
		}
		q.until = store.EventPosition(at)
	}
	return nil
}

var errLogDate = management.InvalidQuery("q: the ends of date must be days (2031-05-06), times (2031-05-06T07:08:09Z) or *")

func parseLogDate(s string) (at time.Time, day, ok bool) {
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at, true, true
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	return at, false, err == nil
}
