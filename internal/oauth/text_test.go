package oauth

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestShownText(t *testing.T) {
	for _, tc := range []struct{ rule, in, out string }{
		{"plain text stays", "Bookings by Marlow", "Bookings by Marlow"},
		{"so do other scripts", "Bücher für 日本語 עברית", "Bücher für 日本語 עברית"},
		{"and emoji of several characters", "👩\u200d💻 tools ❤\ufe0f", "👩\u200d💻 tools ❤\ufe0f"},
		{"nothing is nothing", "", ""},
		{"blank is nothing", " \t\u3000\u00a0 ", ""},
		{"one line", "Bank\r\nverified\u2028by you", "Bank verified by you"},
		{"blanks are one blank", "  Bank\u00a0\u2003  of   X ", "Bank of X"},
		{"direction does not change", "Bank \u202etxet\u202c \u2066x", "Bank \ufffdtxet\ufffd \ufffdx"},
		{"control characters show", "a\x00b\x1b[31m\x7f", "a\ufffdb\ufffd[31m\ufffd"},
		{"invisible characters show", "Ba\u00adnk\u200b\ufeff\u2060\u3164\u115f\u2800\u034f", "Ba\ufffdnk\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"},
		{"private use shows", "\ue000\U000f0000", "\ufffd\ufffd"},
		{"invalid UTF-8 shows", "a\xffb\xed\xa0\x80", "a\ufffdb\ufffd\ufffd\ufffd"},
		{"marks do not pile up", "Z" + strings.Repeat("\u0301", 40) + "a\u0301", "Z\u0301\u0301\u0301a\u0301"},
		{"nothing pushes the rest away", strings.Repeat("W", 300), strings.Repeat("W", 80) + "…"},
		{"not with words either", strings.Repeat("WW ", 100), strings.TrimSpace(strings.Repeat("WW ", 27))[:80] + "…"},
	} {
		if got := ShownText(tc.in); got != tc.out {
			t.Errorf("%s: %q, want %q", tc.rule, got, tc.out)
		}
	}
}

func FuzzShownText(f *testing.F) {
	for _, s := range []string{"", "Bank", " a  b ", "\u202eknaB", "a\xff", strings.Repeat("Z\u0301", 90), "\u3164", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := ShownText(s)
		if !utf8.ValidString(out) || utf8.RuneCountInString(out) > maxShown+1 || strings.TrimSpace(out) != out {
			t.Errorf("%q became %q", s, out)
		}
		marks := 0
		for _, r := range out {
			if r != unicode.ReplacementChar && !VisibleRune(r) || unicode.IsSpace(r) && r != ' ' {
				t.Errorf("%q became %q, with %U", s, out, r)
			}
			if marks++; !unicode.In(r, unicode.Mn, unicode.Me) {
				marks = 0
			}
			if marks > maxMarks {
				t.Errorf("%q became %q: too many marks", s, out)
			}
		}
	})
}
