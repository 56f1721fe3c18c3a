package connection

import (
	"strings"
	"testing"
)

// Hashes of "correct horse" that other programs made: crypt(3), the
// reference implementation of Argon2, and Python's hashlib.
var importedHashes = map[string]string{
	"bcrypt":                    "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
	"bcrypt of PHP":             "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
	"scrypt":                    "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$1idRgu6ns74sljt005o5BblTKV7Jul0HPGT6aXWnXKY",
	"PBKDF2 SHA-1":              "$pbkdf2-sha1$i=1000,l=20$c2FsdHNhbHRzYWx0c2FsdA$EUcKisx+yviAqdTmlEPmy+5ykUU",
	"PBKDF2 SHA-256":            "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM",
	"PBKDF2 SHA-256, no length": "$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA$BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM",
	"PBKDF2 SHA-512":            "$pbkdf2-sha512$i=1000,l=64$c2FsdHNhbHRzYWx0c2FsdA$EHLBej+uEvxlmr0QnHnceg1vM6h1wbwSP5XErh3SmizNDWZsIi28RPGARe0EssjGRoiACzxgHjNvqwJY1zxKig",
	"PBKDF2 of passlib":         "$pbkdf2-sha256$29000$.//..//..//..//..//.$mwN28YzV0KFPfxDi9Kql40wy/6MxwhD.T38SZfrL6Mg",
	"argon2i":                   "$argon2i$v=19$m=4096,t=3,p=1$c2FsdHNhbHRzYWx0c2FsdA$TSWXQupParD7p4pi1ivxCVZCrQyRPRrHhlEd8pbeRw8",
}

func TestImportedHashes(t *testing.T) {
	for name, s := range importedHashes {
		h, err := parseImported(s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false, strings.Repeat("x", 1000): false} {
			if got, err := h.matches(password); got != want || err != nil {
				t.Errorf("%s: %.20q matches: %v, %v", name, password, got, err)
			}
		}
	}
}

func TestImportedHashesAreBounded(t *testing.T) {
	const salt, key = "c2FsdHNhbHRzYWx0c2FsdA", "BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM"
	for name, s := range map[string]string{
		"empty":                      "",
		"plain text":                 "correct horse",
		"hexadecimal":                strings.Repeat("0", 64),
		"unknown":                    "$md5$1$" + salt + "$" + key,
		"argon2d":                    "$argon2d$v=19$m=4096,t=3,p=1$" + salt + "$" + key,
		"argon2i of another version": "$argon2i$v=16$m=4096,t=3,p=1$" + salt + "$" + key,
		"argon2i without a version":  "$argon2i$m=4096,t=3,p=1$" + salt + "$" + key,
		"argon2i with much memory":   "$argon2i$v=19$m=4194304,t=3,p=1$" + salt + "$" + key,
		"bcrypt that takes hours":    "$2b$31$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
		"bcrypt that was cut":        "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lO",
		"bcrypt of no version":       "$2x$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
		"scrypt with much memory":    "$scrypt$ln=20,r=16,p=1$" + salt + "$" + key,
		"scrypt that overflows":      "$scrypt$ln=24,r=2147483647,p=2147483647$" + salt + "$" + key,
		"scrypt that takes hours":    "$scrypt$ln=14,r=8,p=1000$" + salt + "$" + key,
		"scrypt in another order":    "$scrypt$r=8,ln=14,p=1$" + salt + "$" + key,
		"PBKDF2 that takes hours":    "$pbkdf2-sha256$i=2147483647,l=32$" + salt + "$" + key,
		"PBKDF2 of no rounds":        "$pbkdf2-sha256$i=0,l=32$" + salt + "$" + key,
		"PBKDF2 of another length":   "$pbkdf2-sha256$i=1000,l=64$" + salt + "$" + key,
		"PBKDF2 without parameters":  "$pbkdf2-sha256$" + salt + "$" + key,
		"no salt":                    "$pbkdf2-sha256$i=1000$$" + key,
		"no key":                     "$pbkdf2-sha256$i=1000$" + salt + "$",
		"a key that anybody guesses": "$pbkdf2-sha256$i=1000$" + salt + "$AA",
		"a line break":               "$pbkdf2-sha256$i=1000$" + salt + "\n$" + key,
		"longer than any":            "$pbkdf2-sha256$i=1000$" + strings.Repeat("A", 600) + "$" + key,
	} {
		if h, err := parseImported(s); err == nil || h.derive != nil || h.key != nil || h.bcrypt != "" {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// An error comes with the zero hash, and what is accepted does not take long.
func FuzzParseImported(f *testing.F) {
	for _, s := range importedHashes {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseImported(s)
		if err != nil && (h.derive != nil || h.key != nil || h.bcrypt != "") {
			t.Errorf("%q: %v with %+v", s, err, h)
		}
	})
}
