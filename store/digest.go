package store

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
)

// Digest is the SHA-256 of a generated secret. Generated secrets carry at least
// 128 bits of entropy, so no salt and no slow function is needed. The zero
// Digest means that there is no secret: [Digest.Matches] never accepts it.
type Digest [sha256.Size]byte

// DigestOf returns the digest of secret.
func DigestOf(secret string) Digest {
	return sha256.Sum256([]byte(secret))
}

// IsZero reports whether d stands for the absence of a secret.
func (d Digest) IsZero() bool { return d == Digest{} }

// Matches reports in constant time whether d is the digest of secret. An empty
// secret and a zero digest never match.
func (d Digest) Matches(secret string) bool {
	got := DigestOf(secret)
	return subtle.ConstantTimeCompare(d[:], got[:]) == 1 && secret != "" && !d.IsZero()
}

// String returns the digest in hexadecimal. A digest is not a secret.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler. The zero digest is empty text.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return hex.AppendEncode(nil, d[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	var out Digest
	if len(text) != 0 {
		if len(text) != hex.EncodedLen(len(out)) {
			return errors.New("store: a digest has 64 hexadecimal digits")
		}
		if _, err := hex.Decode(out[:], text); err != nil {
			return errors.New("store: a digest has 64 hexadecimal digits")
		}
	}
	*d = out
	return nil
}

// Sealed is a value that only the provider can open. A store keeps its bytes.
type Sealed []byte
