package connection

import (
	"unicode"
	"unicode/utf8"

	"github.com/opkit/opkit/store"
)

// passwordPolicy is what a database connection demands of new passwords.
type passwordPolicy struct {
	minLength int
	// classes is how many of lower case, upper case, digits and the rest must
	// appear. mixed demands lower case, upper case and digits.
	classes int
	mixed   bool
	// maxRun is how often a character may follow itself. Zero: no rule.
	maxRun int
	// anything: the password may even be the user's login.
	anything bool
}

// defaultPasswordPolicy follows NIST SP 800-63B: length, and nothing about which
// characters.
var defaultPasswordPolicy = passwordPolicy{minLength: 8}

// passwordPolicies are the values of the option passwordPolicy.
var passwordPolicies = map[string]passwordPolicy{
	"none":      {minLength: 1, anything: true},
	"low":       {minLength: 6},
	"fair":      {minLength: 8, mixed: true},
	"good":      {minLength: 8, classes: 3},
	"excellent": {minLength: 10, classes: 3, maxRun: 2},
}

// policy returns what the options demand of new passwords.
func (o *databaseOptions) policy() passwordPolicy {
	policy, ok := passwordPolicies[o.PasswordPolicy]
	if !ok {
		policy = defaultPasswordPolicy
	}
	if o.PasswordComplexity.MinLength > 0 {
		policy.minLength = o.PasswordComplexity.MinLength
	}
	return policy
}

// checkPassword validates a new password.
func checkPassword(password string, o *databaseOptions, user *store.User) error {
	policy := o.policy()
	if len(password) > maxPassword {
		return invalid("password", "must have at most %d bytes", maxPassword)
	}
	if !utf8.ValidString(password) {
		return invalid("password", "must be valid UTF-8")
	}
	if utf8.RuneCountInString(password) < policy.minLength {
		return invalid("password", "must have at least %d characters", policy.minLength)
	}
	lower, upper, digit, other := characterClasses(password)
	if policy.mixed && !(lower && upper && digit) {
		return invalid("password", "must have lower case letters, upper case letters and digits")
	}
	classes := 0
	for _, present := range []bool{lower, upper, digit, other} {
		if present {
			classes++
		}
	}
	if classes < policy.classes {
		return invalid("password", "must have %d of these: lower case letters, upper case letters, digits, other characters", policy.classes)
	}
	if policy.maxRun > 0 && longestRun(password) > policy.maxRun {
		return invalid("password", "must not have a character more than %d times in a row", policy.maxRun)
	}
	if folded := foldLogin(password); !policy.anything && (folded == user.Email || folded == user.Username) {
		return invalid("password", "must not be the email address or username")
	}
	return nil
}

func characterClasses(s string) (lower, upper, digit, other bool) {
	for _, r := range s {
		switch {
		case unicode.IsLower(r):
			lower = true
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsDigit(r):
			digit = true
		default:
			other = true
		}
	}
	return lower, upper, digit, other
}

func longestRun(s string) int {
	longest, run := 0, 0
	var last rune
	for i, r := range s {
		if i > 0 && r == last {
			run++
		} else {
			run = 1
		}
		last = r
		longest = max(longest, run)
	}
	return longest
}
