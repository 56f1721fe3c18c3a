package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// MinSecret is the smallest accepted length of a secret in bytes.
const MinSecret = 32

// ErrOpen says that a value was not sealed by this secret for this purpose and
// context, or was altered or cut. It never says which.
var ErrOpen = errors.New("seal: cannot open")

// Box seals and opens values for one purpose. It is safe for concurrent use.
type Box struct {
	current  key
	previous []key
}

type key struct {
	aead  cipher.AEAD
	nonce []byte // HMAC key for deterministic nonces
}

// New returns the box for purpose. The first secret seals; all of them open, so
// that a secret can be replaced while values sealed by the old one are around.
func New(purpose string, secrets ...[]byte) (*Box, error) {
	if len(secrets) == 0 {
		return nil, errors.New("seal: no secret")
	}
	keys := make([]key, 0, len(secrets))
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("seal: secret %d has %d bytes, at least %d are required", i, len(secret), MinSecret)
		}
		material, err := hkdf.Key(sha256.New, secret, nil, "opkit/seal/v1/"+purpose, 2*chacha20poly1305.KeySize)
		if err != nil {
			return nil, err
		}
		aead, err := chacha20poly1305.NewX(material[:chacha20poly1305.KeySize])
		if err != nil {
			return nil, err
		}
		keys = append(keys, key{aead: aead, nonce: material[chacha20poly1305.KeySize:]})
	}
	return &Box{current: keys[0], previous: keys[1:]}, nil
}

// Seal returns plaintext sealed with a random nonce. The context (a tenant, a
// record's identifier) is authenticated, not stored: Open needs the same.
func (b *Box) Seal(plaintext []byte, context string) []byte {
	out := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plaintext)+chacha20poly1305.Overhead)
	rand.Read(out) // never fails: crypto/rand ends the process instead
	return b.current.aead.Seal(out, out, plaintext, []byte(context))
}

// SealDeterministic is Seal with a nonce derived from the plaintext and context
// (a synthetic nonce): equal input gives equal output, which makes a retried
// step return the very same value. It reveals only whether two plaintexts are
// equal.
func (b *Box) SealDeterministic(plaintext []byte, context string) []byte {
	mac := hmac.New(sha256.New, b.current.nonce)
	var length [8]byte
	for i := range length {
		length[i] = byte(len(context) >> (8 * i))
	}
	mac.Write(length[:])
	mac.Write([]byte(context))
	mac.Write(plaintext)
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	out := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plaintext)+chacha20poly1305.Overhead)
	copy(out, sum[:])
	return b.current.aead.Seal(out, out, plaintext, []byte(context))
}

// Open returns what was sealed, or [ErrOpen].
func (b *Box) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, ErrOpen
	}
	nonce, box := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	if out, err := b.current.aead.Open(nil, nonce, box, []byte(context)); err == nil {
		return out, nil
	}
	for _, k := range b.previous {
		if out, err := k.aead.Open(nil, nonce, box, []byte(context)); err == nil {
			return out, nil
		}
	}
	return nil, ErrOpen
}

// Current reports whether the secret that seals now can open a value. What only a
// former secret can open has to be sealed anew before that secret goes.
func (b *Box) Current(sealed []byte, context string) bool {
	only := Box{current: b.current}
	_, err := only.Open(sealed, context)
	return err == nil
}

// CurrentString is Current for what SealString returned.
func (b *Box) CurrentString(sealed, context string) bool {
	only := Box{current: b.current}
	_, err := only.OpenString(sealed, context)
	return err == nil
}

// Strict decoding: base64 with stray trailing bits would give one sealed value
// several spellings.
var encoding = base64.RawURLEncoding.Strict()

// SealString is Seal in unpadded base64url.
func (b *Box) SealString(plaintext []byte, context string) string {
	return encoding.EncodeToString(b.Seal(plaintext, context))
}

// SealDeterministicString is SealDeterministic in unpadded base64url.
func (b *Box) SealDeterministicString(plaintext []byte, context string) string {
	return encoding.EncodeToString(b.SealDeterministic(plaintext, context))
}

// OpenString opens what SealString returned, or returns [ErrOpen].
func (b *Box) OpenString(sealed, context string) ([]byte, error) {
	if strings.ContainsAny(sealed, "\r\n") { // which the decoder would skip
		return nil, ErrOpen
	}
	raw, err := encoding.DecodeString(sealed)
	if err != nil {
		return nil, ErrOpen
	}
	return b.Open(raw, context)
}
