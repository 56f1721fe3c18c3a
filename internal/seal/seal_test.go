package seal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

var secretA, secretB = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 40)

func mustNew(t testing.TB, purpose string, secrets ...[]byte) *Box {
	t.Helper()
	b, err := New(purpose, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestShortSecretIsRefused(t *testing.T) {
	if _, err := New("p", secretA[:31]); err == nil {
		t.Error("31 bytes accepted")
	}
	if _, err := New("p"); err == nil {
		t.Error("no secret accepted")
	}
}

func TestOpensOnlyWhatItSealed(t *testing.T) {
	b := mustNew(t, "p", secretA)
	sealed := b.SealString([]byte("value"), "ctx")
	if got, err := b.OpenString(sealed, "ctx"); err != nil || string(got) != "value" {
		t.Fatalf("OpenString = %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"other context": func() ([]byte, error) { return b.OpenString(sealed, "ctx2") },
		"other purpose": func() ([]byte, error) { return mustNew(t, "q", secretA).OpenString(sealed, "ctx") },
		"other secret":  func() ([]byte, error) { return mustNew(t, "p", secretB).OpenString(sealed, "ctx") },
		"empty":         func() ([]byte, error) { return b.OpenString("", "ctx") },
		"padded":        func() ([]byte, error) { return b.OpenString(sealed+"=", "ctx") },
		"newline":       func() ([]byte, error) { return b.OpenString(sealed+"\n", "ctx") },
	} {
		if got, err := open(); !errors.Is(err, ErrOpen) || got != nil {
			t.Errorf("%s: got %q, %v; want ErrOpen", name, got, err)
		}
	}
}

// Truncated or altered opaque values are refused, wherever the change is.
func TestEveryAlterationIsRefused(t *testing.T) {
	b := mustNew(t, "p", secretA)
	sealed := b.SealString([]byte("value"), "")
	for i := range len(sealed) {
		if _, err := b.OpenString(sealed[:i], ""); err == nil {
			t.Fatalf("truncated to %d characters: opened", i)
		}
		c := "A"
		if sealed[i] == 'A' {
			c = "B"
		}
		if _, err := b.OpenString(sealed[:i]+c+sealed[i+1:], ""); err == nil {
			t.Fatalf("character %d changed: opened", i)
		}
	}
}

func TestOldSecretStillOpens(t *testing.T) {
	old := mustNew(t, "p", secretA).SealString([]byte("v"), "")
	both := mustNew(t, "p", secretB, secretA)
	if _, err := both.OpenString(old, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := mustNew(t, "p", secretA).OpenString(both.SealString([]byte("v"), ""), ""); err == nil {
		t.Fatal("the first secret does not seal")
	}
}

func TestDeterministic(t *testing.T) {
	b := mustNew(t, "p", secretA)
	one := b.SealDeterministicString([]byte("v"), "c")
	if one != b.SealDeterministicString([]byte("v"), "c") {
		t.Error("equal input, different output")
	}
	for _, other := range []string{b.SealDeterministicString([]byte("w"), "c"), b.SealDeterministicString([]byte("v"), "d"), b.SealDeterministicString([]byte("cv"), "")} {
		// Different input must give a different nonce, or the cipher breaks.
		if strings.HasPrefix(one, other[:32]) {
			t.Error("nonce repeated for different input")
		}
	}
	if got, err := b.OpenString(one, "c"); err != nil || string(got) != "v" {
		t.Errorf("OpenString = %q, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	b := mustNew(f, "p", secretA)
	f.Add(b.SealString([]byte("v"), "other context"))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if out, err := b.OpenString(s, ""); err == nil || out != nil {
			t.Errorf("opened %q", s)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	box := mustNew(b, "p", secretA)
	plain := make([]byte, 160)
	for b.Loop() {
		s := box.SealString(plain, "tenant")
		if _, err := box.OpenString(s, "tenant"); err != nil {
			b.Fatal(err)
		}
	}
}

// Current tells what has to be sealed anew before a former secret goes.
func TestCurrent(t *testing.T) {
	former, newer := bytes.Repeat([]byte("f"), MinSecret), bytes.Repeat([]byte("n"), MinSecret)
	before, err := New("test", former)
	if err != nil {
		t.Fatal(err)
	}
	after, err := New("test", newer, former)
	if err != nil {
		t.Fatal(err)
	}
	sealed := before.Seal([]byte("value"), "context")
	for name, test := range map[string]struct {
		box    *Box
		sealed []byte
		want   bool
	}{
		"sealed by it":           {before, sealed, true},
		"sealed by a former one": {after, sealed, false},
		"sealed anew":            {after, after.Seal([]byte("value"), "context"), true},
		"altered":                {before, append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1), false},
		"nothing":                {before, nil, false},
	} {
		if got := test.box.Current(test.sealed, "context"); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if before.Current(sealed, "another context") {
		t.Error("another context")
	}
}
