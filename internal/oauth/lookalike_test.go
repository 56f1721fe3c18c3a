package oauth

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLooksLike(t *testing.T) {
	for _, c := range []struct {
		rule, name, other string
		want              bool
	}{
		{"the name itself", "Acme", "Acme", true},
		{"capitals", "ACME", "acme", true},
		{"as one of the words", "Acme Support", "Acme", true},
		{"the last word", "Login by acme", "Acme", true},
		{"with punctuation", "Acme!", "Acme", true},
		{"several words", "The Acme Bank App", "Acme Bank", true},
		{"several words written as one", "AcmeBank", "Acme Bank", true},
		{"one word written as several", "A c m e", "Acme", true},
		{"in the middle of others", "my a.c-m_e app", "Acme", true},
		{"non-breaking spaces", "Acme\u00a0Bank", "Acme Bank", true},
		{"zero width", "Ac\u200bme", "Acme", true},
		{"joiners", "Ac\u200d\u200cme", "Acme", true},
		{"soft hyphens", "Ac\u00adme", "Acme", true},
		{"fillers", "Ac\u3164me", "Acme", true},
		{"Cyrillic letters", "\u0410\u0441m\u0435", "Acme", true},
		{"Greek letters", "G\u03bfogle", "Google", true},
		{"digits", "G00g1e", "Google", true},
		{"i, l, 1 and |", "Paypai", "PayPal", true},
		{"a bar", "Paypa|s", "PayPals", true},
		{"a sign", "M!crosoft", "Microsoft", true},
		{"a dollar", "Mi$ter", "Mister", true},
		{"accents", "\u00c0cm\u00e9", "Acme", true},
		{"combining accents", "A\u0300cme\u0301", "Acme", true},
		{"full width", "\uff21\uff43\uff4d\uff45", "Acme", true},
		{"mathematical letters", "\U0001d400\U0001d41c\U0001d426\U0001d41e", "Acme", true},
		{"letters in circles", "\u24b6\u24d2\u24dc\u24d4", "Acme", true},
		{"flags", "\U0001f1e6\U0001f1e8\U0001f1f2\U0001f1ea", "Acme", true},
		{"two letters for one", "Acrne", "Acme", true},
		{"two letters for one, the other way", "Acme", "Acrne", true},
		{"v and v", "VVidget", "Widget", true},
		{"ligatures", "O\ufb03ce", "Office", true},
		{"another alphabet", "\u042f\u043d\u0434\u0435\u043a\u0441", "\u042f\u043d\u0434\u0435\u043a\u0441", true},
		{"another alphabet, capitals", "\u65e5\u672c", "\u65e5\u672c", true},

		{"a part of a word", "Acmeister", "Acme", false},
		{"the end of a word", "Pacme", "Acme", false},
		{"another name", "Notes", "Acme", false},
		{"some of the words", "Acme", "Acme Bank", false},
		{"nothing", "", "Acme", false},
		{"nothing refused", "Acme", "", false},
		{"nothing that can be seen", "\u200b", "\u200b", false},
	} {
		if got := LooksLike(c.name, c.other); got != c.want {
			t.Errorf("%s: LooksLike(%q, %q) = %v; %q, %q", c.rule, c.name, c.other, got, words(c.name), Skeleton(c.other))
		}
	}
}

func TestTheLookAlikesAreOneLetterEach(t *testing.T) {
	seen := map[rune]byte{}
	for _, entry := range lookAlikes {
		for _, r := range entry[1:] {
			if other, ok := seen[r]; ok {
				t.Errorf("%q is taken for %q and %q", r, other, entry[0])
			}
			seen[r] = entry[0]
			if r < utf8.RuneSelf {
				t.Errorf("%q needs no entry", r)
			}
		}
	}
}

func FuzzLooksLike(f *testing.F) {
	f.Add("Acme Bank", "acme")
	f.Add("\u0410\u0441m\u0435", "x")
	f.Fuzz(func(t *testing.T, name, other string) {
		skeleton := Skeleton(name)
		if Skeleton(skeleton) != skeleton && !strings.Contains(skeleton, "r") && !strings.Contains(skeleton, "v") {
			t.Errorf("Skeleton(%q) = %q, and of that %q", name, skeleton, Skeleton(skeleton))
		}
		if skeleton != "" && !LooksLike(name, name) {
			t.Errorf("%q does not look like itself", name)
		}
		LooksLike(name, other)
	})
}
