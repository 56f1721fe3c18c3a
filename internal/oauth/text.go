package oauth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file says what text that strangers wrote may look like where people read it:
// the name of an application decides whether they trust it.

// VisibleRune reports whether a character shows as what it is. Those that do not let
// one name look like another, or write more than one line.
func VisibleRune(r rune) bool {
	switch {
	case r < 0x7f:
		return r >= ' '
	case r == '\u200c' || r == '\u200d': // joiners that scripts and emoji need
		return true
	case r == unicode.ReplacementChar: // half of a surrogate pair
		return false
	case r == '\u2800': // the empty pattern of Braille
		return false
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Other_Default_Ignorable_Code_Point)
}

const (
	// maxShown is how much of a text is shown, in characters: a longer one could push
	// what the page says about it out of sight.
	maxShown = 80
	// maxMarks is how many combining marks may follow each other. More pile up on
	// the lines above and below.
	maxMarks = 3
)

// ShownText returns s as a page may show it, whatever store it came from: on one line,
// without blanks that cannot be told apart, and with what [VisibleRune] refuses
// replaced by U+FFFD. HTML is escaped elsewhere.
func ShownText(s string) string {
	if plainText(s) {
		return s
	}
	var b strings.Builder
	shown, marks := 0, 0
	for i, field := range strings.Fields(s) {
		if i > 0 {
			field = " " + field
		}
		for _, r := range field {
			if unicode.In(r, unicode.Mn, unicode.Me) {
				if marks++; marks > maxMarks {
					continue
				}
			} else {
				marks = 0
			}
			if shown++; shown > maxShown {
				return b.String() + "…"
			}
			if !VisibleRune(r) {
				r = unicode.ReplacementChar
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainText reports whether s has nothing that ShownText would change.
func plainText(s string) bool {
	if len(s) > maxShown {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || c < ' ' || c == 0x7f || c == ' ' && (i == 0 || i == len(s)-1 || s[i+1] == ' ') {
			return false
		}
	}
	return true
}
