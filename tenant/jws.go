package tenant

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// This file implements what opkit uses of RFC 7515 (JSON Web Signature): compact
// serialization with a header of exactly alg, typ and kid.

// ErrInvalidToken says that a value is not a JWS that the tenant signed. Other
// errors of [Directory.Verify] are system errors.
var ErrInvalidToken = errors.New("tenant: invalid token")

// maxJWS bounds what is decoded.
const maxJWS = 16 << 10

// Strict: stray trailing bits would give one token several spellings.
var jwsEncoding = base64.RawURLEncoding.Strict()

// encodeHeader returns the encoded protected header and the period after it.
func encodeHeader(algorithm, typ, kid string) string {
	return jwsEncoding.EncodeToString([]byte(headerJSON(algorithm, typ, kid))) + "."
}

// headerJSON needs no escaping: algorithm, typ and kid have plain alphabets.
func headerJSON(algorithm, typ, kid string) string {
	return `{"alg":"` + algorithm + `","typ":"` + typ + `","kid":"` + kid + `"}`
}

func (k *signingKey) header(typ string) string {
	switch typ {
	case typJWT:
		return k.headerJWT
	case typATJWT:
		return k.headerATJWT
	}
	return encodeHeader(k.record.Algorithm, typ, k.record.ID)
}

// Sign returns the compact JWS of payload, made with the tenant's active key for
// algorithm ("ES256" or "RS256"; created at first use) and with typ in the header
// ("JWT", "at+jwt"). If the key's source fails, the error answers a request with
// temporarily_unavailable.
func (d *Directory) Sign(ctx context.Context, t *Tenant, algorithm, typ string, payload []byte) (string, error) {
	if !plainName(typ) {
		return "", fmt.Errorf("tenant: %q cannot be the typ of a token", typ)
	}
	k, err := d.signingKey(ctx, t, algorithm)
	if err != nil {
		return "", err
	}
	signer, err := k.open(ctx, d)
	if err != nil {
		return "", err
	}
	header := k.header(typ)
	// Room for the largest signature, RSA with 4096 bits.
	token := make([]byte, 0, len(header)+jwsEncoding.EncodedLen(len(payload))+1+jwsEncoding.EncodedLen(512))
	token = append(token, header...)
	token = jwsEncoding.AppendEncode(token, payload)
	digest := sha256.Sum256(token)
	signature, err := signer.Sign(ctx, digest[:], crypto.SHA256)
	if err != nil {
		return "", keyUnavailable("using", &k.record, err)
	}
	if algorithm == "ES256" {
		var raw [64]byte
		if !rawSignature(&raw, signature) {
			return "", errors.New("tenant: signing: the signer returned no ECDSA signature")
		}
		signature = raw[:]
	}
	token = append(token, '.')
	return string(jwsEncoding.AppendEncode(token, signature)), nil
}

// rawSignature converts the ASN.1 signature that every [Signer] returns into
// r || s of 32 bytes each (RFC 7518 §3.4).
func rawSignature(raw *[64]byte, der []byte) bool {
	input := cryptobyte.String(der)
	var sequence cryptobyte.String
	var r, s []byte
	if !input.ReadASN1(&sequence, asn1.SEQUENCE) || !input.Empty() ||
		!sequence.ReadASN1Integer(&r) || !sequence.ReadASN1Integer(&s) || !sequence.Empty() ||
		len(r) > 32 || len(s) > 32 {
		return false
	}
	copy(raw[32-len(r):32], r)
	copy(raw[64-len(s):], s)
	return true
}

// Verify checks that token is a JWS that the tenant signed with a key that has
// not expired and with that typ, and returns the payload. Claims are the
// caller's to check. The error wraps [ErrInvalidToken] or is a system error.
func (d *Directory) Verify(ctx context.Context, t *Tenant, typ, token string) (json.RawMessage, error) {
	if len(token) > maxJWS {
		return nil, invalidToken("it is too long")
	}
	algorithm, kid, err := readHeader(typ, token)
	if err != nil {
		return nil, err
	}
	set, err := d.keysOf(ctx, t)
	if err != nil {
		return nil, err
	}
	k := set.byID(kid)
	if k == nil {
		if set, err = d.reread(ctx, t, set); err != nil {
			return nil, err
		}
		if k = set.byID(kid); k == nil {
			return nil, invalidToken("its kid is unknown")
		}
	}
	// The key decides the algorithm (RFC 8725 §3.1); the header has to agree.
	if algorithm != k.record.Algorithm {
		return nil, invalidToken("its alg is not that of its key")
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.record.Algorithm)})
	if err != nil {
		return nil, invalidToken("it cannot be parsed")
	}
	payload, err := jws.Verify(k.public.Key)
	if err != nil {
		return nil, invalidToken("its signature does not match")
	}
	return payload, nil
}

func invalidToken(reason string) error { return fmt.Errorf("%w: %s", ErrInvalidToken, reason) }

// readHeader returns alg and kid of a token whose header is exactly one that Sign
// makes. Every other header is refused unread: none and HMAC algorithms, jwk,
// jku, x5u and x5c, which bring a key of the sender's, crit, and members that
// appear twice.
func readHeader(typ, token string) (algorithm, kid string, err error) {
	encoded, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || !canonical(encoded) || !canonical(payload) || !canonical(signature) {
		return "", "", invalidToken("it is not a compact JWS")
	}
	header, err := jwsEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", invalidToken("it is not a compact JWS")
	}
	middle := `","typ":"` + typ + `","kid":"`
	s, ok := strings.CutPrefix(string(header), `{"alg":"`)
	algorithm, s, ok2 = strings.Cut(s, middle)
	kid, ok3 := strings.CutSuffix(s, `"}`)
	if !ok || !ok2 || !ok3 || !supported(algorithm) || !plainName(kid) {
		return "", "", invalidToken("its header is not one of ours")
	}
	return algorithm, kid, nil
}

// canonical reports whether s is the one base64url spelling of its bytes.
func canonical(s string) bool {
	_, err := jwsEncoding.DecodeString(s)
	return err == nil && !strings.ContainsAny(s, "\r\n") // which the decoder skips
}

// plainName reports whether s needs no escaping in JSON and is short.
func plainName(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
