package connection

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLogin bounds what is looked up: the longest email address of RFC 5321.
const maxLogin = 320

// foldLogin returns a username or email address as it is stored and looked up:
// without surrounding space, in lower case letter by letter. Folding what is
// folded changes nothing. What is not text is folded to nothing.
//
// Unicode normalisation is not part of it: a login that one keyboard composes and
// another does not is two logins.
func foldLogin(login string) string {
	if !utf8.ValidString(login) {
		return ""
	}
	return strings.ToLower(strings.TrimSpace(login))
}

// findable reports whether a folded login can belong to a user. What cannot is
// not asked for: databases choke on some of it.
func findable(login string) bool {
	return login != "" && len(login) <= maxLogin && !strings.ContainsFunc(login, unicode.IsControl)
}

// checkEmail validates a folded email address.
func checkEmail(email string) error {
	local, domain, _ := strings.Cut(email, "@")
	address, err := mail.ParseAddress(email)
	switch {
	case !findable(email) || err != nil || address.Address != email || address.Name != "":
		return invalid("email", "must be an email address")
	// A quoted local part may contain anything, another @ included.
	case strings.ContainsAny(email, "\"()<>[]:;\\, ") || strings.Count(email, "@") != 1:
		return invalid("email", "must be an email address without quotes or comments")
	case len(local) > 64 || len(domain) > 255:
		return invalid("email", "must have at most 64 bytes before and 255 after the @")
	}
	return nil
}

const (
	usernamePunctuation = "_+-.!#$'^`~"
	defaultMaxUsername  = 128
)

// checkUsername validates a folded username. It has no @: it must never look like
// somebody's email address.
func checkUsername(username string, low, high int) error {
	if n := utf8.RuneCountInString(username); n < low || n > high {
		return invalid("username", "must have from %d to %d characters", low, high)
	}
	if len(username) > maxLogin {
		return invalid("username", "must have at most %d bytes", maxLogin)
	}
	for _, r := range username {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune(usernamePunctuation, r) {
			return invalid("username", "must consist of letters, digits and %s", usernamePunctuation)
		}
	}
	return nil
}
