package management

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
)

// This file implements RFC 9110 §8.8.3 (ETag), §13.1.1 (If-Match) and §13.1.2
// (If-None-Match) for records with a version.

// Tag is the strong entity tag of a record, quotes included.
type Tag string

// TagOf returns the tag of a record: of its version, which changes with what is not
// shown too, and of what is shown, which a new release may show differently.
func TagOf(version int64, view any) Tag {
	shown, err := json.Marshal(view)
	if err != nil {
		panic("management: a view that cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(shown)
	return Tag(`"` + strconv.FormatInt(version, 10) + "-" + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`)
}

// WriteRecord answers with the view of one record and its tag. A GET whose
// If-None-Match names the tag gets 304 without a body, one whose If-Match does not 412.
func WriteRecord(w http.ResponseWriter, r *http.Request, status int, tag Tag, view any) error {
	w.Header().Set("ETag", string(tag))
	if r.Method == http.MethodGet {
		if named, sent, err := names(r, "If-Match", tag); err != nil {
			return err
		} else if sent && !named {
			w.Header().Del("ETag")
			return errPrecondition
		}
		named, sent, err := names(r, "If-None-Match", tag)
		if err != nil {
			return err
		}
		if sent && named {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	httpx.WriteJSON(w, status, view)
	return nil
}

var errPrecondition = Errorf(http.StatusPreconditionFailed, "precondition_failed", "The resource is not the one that the request is conditional on: somebody changed it. Read it again.")

// CheckMatch returns 412 if a request that changes something is conditional on
// another state of the record than the one with that tag. Whoever calls it between
// reading a record and writing it by compare-and-swap loses no update.
func CheckMatch(r *http.Request, tag Tag) error {
	named, sent, err := names(r, "If-Match", tag)
	if err == nil && sent && !named {
		err = errPrecondition
	}
	if err != nil {
		return err
	}
	named, sent, err = names(r, "If-None-Match", tag)
	if err == nil && sent && named {
		err = errPrecondition
	}
	return err
}

// checkUntagged refuses a change that is conditional on the tag of what has none: no tag
// names it (RFC 9110 §13.1.1), and a condition must not be passed over.
func checkUntagged(r *http.Request) error {
	named, sent, err := names(r, "If-Match", "")
	if err == nil && sent && !named {
		err = errPrecondition
	}
	if err != nil {
		return err
	}
	named, sent, err = names(r, "If-None-Match", "")
	if err == nil && sent && named { // "*": of what is there
		err = errPrecondition
	}
	return err
}

// Claim is the first step of a deletion that may be conditional. If it is, it reads
// the record, checks it as [CheckMatch] does, and writes it as it is, by
// compare-and-swap: whoever knows the former state has lost from then on, before
// anything is deleted. Without a condition it does nothing.
func Claim[T any](r *http.Request, read func() (T, error), tag func(*T) Tag, write func(T) error) error {
	if len(r.Header.Values("If-Match")) == 0 && len(r.Header.Values("If-None-Match")) == 0 {
		return nil
	}
	record, err := read()
	if errors.Is(err, store.ErrNotFound) {
		if len(r.Header.Values("If-Match")) > 0 { // RFC 9110 §13.1.1: also of "*"
			return errPrecondition
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := CheckMatch(r, tag(&record)); err != nil {
		return err
	}
	err = write(record)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return errPrecondition
	}
	return err
}

// WriteAbsent answers a deletion of what cannot exist: 204, or 412 if the request is
// conditional on it (RFC 9110 §13.1.1).
func WriteAbsent(w http.ResponseWriter, r *http.Request) error {
	if len(r.Header.Values("If-Match")) > 0 {
		return errPrecondition
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// names reports whether a header names the tag, and whether it was sent. If-Match
// compares strongly: a weak tag never equals anything (RFC 9110 §8.8.3.2).
func names(r *http.Request, header string, tag Tag) (named, sent bool, err error) {
	values := r.Header.Values(header)
	if len(values) == 0 {
		return false, false, nil
	}
	list := strings.Trim(strings.Join(values, ","), " \t")
	if list == "*" {
		return true, true, nil
	}
	malformed := Errorf(http.StatusBadRequest, "invalid_header", "%s must be * or a list of entity tags in double quotes", header)
	for empty := true; ; empty = false {
		list = strings.TrimLeft(list, " \t,") // RFC 9110 §5.6.1.2: empty elements
		if list == "" {
			if empty {
				return false, true, malformed
			}
			return named, true, nil
		}
		strong, weak := strings.CutPrefix(list, "W/")
		end := -1
		if strings.HasPrefix(strong, `"`) {
			end = strings.IndexByte(strong[1:], '"') + 2
		}
		if end < 2 || strings.ContainsFunc(strong[:end], func(c rune) bool { return c <= ' ' || c == 0x7f }) {
			return false, true, malformed
		}
		if strong[:end] == string(tag) && (!weak || header == "If-None-Match") {
			named = true
		}
		list = strings.TrimLeft(strong[end:], " \t")
		if list != "" && list[0] != ',' {
			return false, true, malformed
		}
	}
}
