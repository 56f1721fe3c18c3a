package connection

import (
	"strings"
	"testing"
)

// The reference implementation's vector for argon2id, 64 MiB, two passes.
const referenceHash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func TestArgon2idMatchesTheReferenceImplementation(t *testing.T) {
	h, err := parseArgon2id(referenceHash)
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches("password") {
		t.Error("the right password does not match")
	}
	if h.matches("Password") {
		t.Error("another password matches")
	}
}

func TestNewHashRoundTrips(t *testing.T) {
	h := newArgon2idHash(cheap, password)
	parsed, err := parseArgon2id(h.String())
	if err != nil {
		t.Fatal(err)
	}
	if parsed.String() != h.String() || !parsed.matches(password) {
		t.Errorf("%s became %s", h, parsed)
	}
	if again := newArgon2idHash(cheap, password); again.String() == h.String() {
		t.Error("two hashes of one password are equal")
	}
}

func TestDummyHashMatchesNothing(t *testing.T) {
	h := dummyArgon2idHash(cheap)
	if h.matches("") || h.matches(password) {
		t.Error("it matches")
	}
	if h.params != cheap || len(h.salt) != saltSize || len(h.key) != keySize {
		t.Errorf("it does not cost what a real one costs: %+v", h)
	}
}

func TestParseArgon2idRefuses(t *testing.T) {
	const salt, key = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for rule, s := range map[string]string{
		"nothing":                   "",
		"bcrypt":                    "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"argon2i":                   strings.Replace(referenceHash, "argon2id", "argon2i", 1),
		"another version":           strings.Replace(referenceHash, "v=19", "v=16", 1),
		"no version":                strings.Replace(referenceHash, "v=19$", "", 1),
		"no memory":                 strings.Replace(referenceHash, "m=65536,", "", 1),
		"another order":             strings.Replace(referenceHash, "m=65536,t=2", "t=2,m=65536", 1),
		"a further parameter":       strings.Replace(referenceHash, "p=1", "p=1,data=x", 1),
		"a leading zero":            strings.Replace(referenceHash, "t=2", "t=02", 1),
		"a sign":                    strings.Replace(referenceHash, "t=2", "t=+2", 1),
		"no passes":                 strings.Replace(referenceHash, "t=2", "t=0", 1),
		"no lanes":                  strings.Replace(referenceHash, "p=1", "p=0", 1),
		"too much memory":           strings.Replace(referenceHash, "m=65536", "m=262145", 1),
		"memory beyond 32 bits":     strings.Replace(referenceHash, "m=65536", "m=4294967296", 1),
		"too many passes":           strings.Replace(referenceHash, "t=2", "t=17", 1),
		"too many lanes":            strings.Replace(referenceHash, "p=1", "p=17", 1),
		"lanes beyond 8 bits":       strings.Replace(referenceHash, "p=1", "p=257", 1),
		"less than 8 KiB per lane":  strings.Replace(referenceHash, "m=65536,t=2,p=1", "m=8,t=2,p=2", 1),
		"a short salt":              strings.Replace(referenceHash, salt, "c29tZQ", 1),
		"a short key":               strings.Replace(referenceHash, key, "CTFhFdXPJO1aFQ", 1),
		"no key":                    strings.Replace(referenceHash, "$"+key, "", 1),
		"a further field":           referenceHash + "$",
		"padding":                   referenceHash + "=",
		"stray bits in the salt":    strings.Replace(referenceHash, salt, "c29tZXNhbHR", 1),
		"URL-safe Base64":           strings.Replace(referenceHash, salt, "__--c29tZXNhbHQ", 1),
		"a line break in the salt":  strings.Replace(referenceHash, salt, "c29t\nZXNhbHQ", 1),
		"longer than anything real": referenceHash + strings.Repeat("A", maxPHC),
	} {
		h, err := parseArgon2id(s)
		if err == nil {
			t.Errorf("%s was accepted: %q", rule, s)
		}
		if h.params != (Argon2id{}) || h.salt != nil || h.key != nil {
			t.Errorf("%s: an error with %+v", rule, h)
		}
	}
}

func TestWeakerThan(t *testing.T) {
	current := Argon2id{MemoryKiB: 19456, Passes: 2, Lanes: 1}
	for _, tt := range []struct {
		params Argon2id
		weaker bool
	}{
		{current, false},
		{Argon2id{MemoryKiB: 19456, Passes: 1, Lanes: 1}, true},
		{Argon2id{MemoryKiB: 9216, Passes: 8, Lanes: 1}, true}, // memory is what attackers lack
		{Argon2id{MemoryKiB: 65536, Passes: 1, Lanes: 1}, false},
		{Argon2id{MemoryKiB: 65536, Passes: 3, Lanes: 4}, false},
		{Argon2id{MemoryKiB: 19456, Passes: 2, Lanes: 4}, false},
	} {
		if got := tt.params.weakerThan(current); got != tt.weaker {
			t.Errorf("%+v weaker than %+v: %v", tt.params, current, got)
		}
	}
}

func FuzzParseArgon2id(f *testing.F) {
	f.Add(referenceHash)
	f.Add(newArgon2idHash(cheap, password).String())
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseArgon2id(s)
		if err != nil {
			if h.params != (Argon2id{}) || h.salt != nil || h.key != nil {
				t.Fatalf("an error with %+v", h)
			}
			return
		}
		if h.String() != s {
			t.Fatalf("%q became %q", s, h)
		}
		if h.params.bounded() != nil || len(h.salt) < minSalt || len(h.salt) > maxSalt || len(h.key) < minKey || len(h.key) > maxKey {
			t.Fatalf("out of bounds: %+v", h)
		}
	})
}

func BenchmarkArgon2id(b *testing.B) {
	h := newArgon2idHash(defaultArgon2id, password)
	for b.Loop() {
		h.matches(password)
	}
}
