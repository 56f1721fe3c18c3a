package store_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
)

func TestDigestMatches(t *testing.T) {
	digest := store.DigestOf("secret")
	for _, c := range []struct {
		name   string
		digest store.Digest
		secret string
		want   bool
	}{
		{"the secret", digest, "secret", true},
		{"another secret", digest, "Secret", false},
		{"the digest itself", digest, digest.String(), false},
		{"no secret presented", digest, "", false},
		{"no secret registered", store.Digest{}, "secret", false},
		{"neither", store.Digest{}, "", false},
		// A client without a secret must not be opened by presenting nothing, not
		// even if its digest was computed.
		{"the empty secret", store.DigestOf(""), "", false},
	} {
		if got := c.digest.Matches(c.secret); got != c.want {
			t.Errorf("%s: Matches is %v, want %v", c.name, got, c.want)
		}
	}
	if digest.IsZero() || !(store.Digest{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestDigestIsLeftOutOfJSONIfThereIsNone(t *testing.T) {
	type record struct {
		Digest store.Digest `json:"digest,omitzero"`
	}
	for _, c := range []struct {
		digest store.Digest
		want   string
	}{
		{store.Digest{}, `{}`},
		{store.Digest{31: 0xab}, `{"digest":"` + strings.Repeat("0", 62) + `ab"}`},
	} {
		got, err := json.Marshal(record{c.digest})
		if err != nil || string(got) != c.want {
			t.Errorf("JSON is %s, %v, want %s", got, err, c.want)
		}
		var back record
		if err := json.Unmarshal(got, &back); err != nil || back.Digest != c.digest {
			t.Errorf("%s is read as %v, %v", got, back.Digest, err)
		}
	}
}

// FuzzDigestUnmarshalText proves that a text that is no digest is an error and
// changes nothing, and that any other is read as it is written.
func FuzzDigestUnmarshalText(f *testing.F) {
	for _, seed := range []string{
		"", "00", strings.Repeat("0", 64), strings.Repeat("aF", 32), strings.Repeat("g0", 32), strings.Repeat("0", 63), strings.Repeat("0", 66),
		store.DigestOf("secret").String(),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := store.DigestOf("before")
		digest := before
		if err := digest.UnmarshalText(text); err != nil {
			if digest != before {
				t.Errorf("%q: the digest changed with error %v", text, err)
			}
			return
		}
		back, err := digest.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		// Only the text of zeros has a shorter form.
		if !bytes.Equal(back, bytes.ToLower(text)) && !digest.IsZero() {
			t.Errorf("%q is written as %q", text, back)
		}
	})
}
