package connection

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// This file reads the password hashes that users bring with them from elsewhere:
//
//	$2a$, $2b$, $2y$                                   bcrypt
//	$argon2i$v=19$m=65536,t=3,p=1$<salt>$<key>         Argon2i (RFC 9106), PHC string format
//	$scrypt$ln=16,r=8,p=1$<salt>$<key>                 scrypt (RFC 7914), PHC string format
//	$pbkdf2-sha256$i=600000,l=32$<salt>$<key>          PBKDF2 (RFC 8018), PHC string format
//	$pbkdf2-sha256$29000$<salt>$<key>                  the same as Python's passlib writes it
//
// PBKDF2 also comes with sha1 (or no name) and sha512. What a hash demands is bounded:
// it must not be able to exhaust the machine.

const (
	maxBcryptCost       = 15
	maxScryptMemory     = 256 << 20 // bytes
	maxScryptWork       = 1 << 24   // N·r·p
	maxPBKDF2Iterations = 2_000_000
	maxImportedSalt     = 128
	maxImportedHash     = 512 // characters
)

// importedHash is a hash of a format other than argon2id.
type importedHash struct {
	key    []byte
	derive func(password string) ([]byte, error) // nil: bcrypt
	bcrypt string
}

var errImported = errors.New("is not a password hash of a format that is known: bcrypt, or argon2id, argon2i, scrypt, pbkdf2 in PHC string format")

// matches computes the hash of a password and compares it in constant time.
func (h *importedHash) matches(password string) (bool, error) {
	if h.derive == nil {
		err := bcrypt.CompareHashAndPassword([]byte(h.bcrypt), []byte(password))
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil, err
	}
	key, err := h.derive(password)
	return err == nil && subtle.ConstantTimeCompare(key, h.key) == 1, err
}

// parseImported parses a hash. On error it is zero.
func parseImported(s string) (importedHash, error) {
	if len(s) > maxImportedHash || strings.ContainsAny(s, "\r\n") {
		return importedHash{}, errImported
	}
	if strings.HasPrefix(s, "$2a$") || strings.HasPrefix(s, "$2b$") || strings.HasPrefix(s, "$2y$") {
		return parseBcrypt(s)
	}
	fields := strings.Split(s, "$")
	if fields[0] != "" || len(fields) < 5 {
		return importedHash{}, errImported
	}
	salt, saltErr := decodeImported(fields[len(fields)-2], maxImportedSalt)
	key, keyErr := decodeImported(fields[len(fields)-1], maxKey)
	if saltErr != nil || keyErr != nil || len(key) < minKey {
		return importedHash{}, errImported
	}
	h := importedHash{key: key}
	var err error
	switch kind, params := fields[1], fields[2:len(fields)-2]; {
	case kind == "argon2i" && len(params) == 2 && params[0] == "v=19":
		h.derive, err = deriveArgon2i(params[1], salt, len(key))
	case kind == "scrypt" && len(params) == 1:
		h.derive, err = deriveScrypt(params[0], salt, len(key))
	case len(params) == 1 && pbkdf2Hashes[kind] != nil:
		h.derive, err = derivePBKDF2(pbkdf2Hashes[kind], params[0], salt, len(key))
	default:
		err = errImported
	}
	if err != nil {
		return importedHash{}, err
	}
	return h, nil
}

func parseBcrypt(s string) (importedHash, error) {
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || len(s) != 60 {
		return importedHash{}, errImported
	}
	if cost > maxBcryptCost {
		return importedHash{}, fmt.Errorf("has the cost %d, at most %d is allowed", cost, maxBcryptCost)
	}
	return importedHash{bcrypt: s}, nil
}

func deriveArgon2i(params string, salt []byte, size int) (func(string) ([]byte, error), error) {
	p, err := parseArgon2idParams(params)
	if err != nil {
		return nil, err
	}
	return func(password string) ([]byte, error) {
		return argon2.Key([]byte(password), salt, p.Passes, p.MemoryKiB, p.Lanes, uint32(size)), nil
	}, nil
}

func deriveScrypt(params string, salt []byte, size int) (func(string) ([]byte, error), error) {
	numbers, err := importedNumbers(params, "ln=", "r=", "p=")
	if err != nil {
		return nil, err
	}
	ln, r, p := numbers[0], numbers[1], numbers[2]
	// Each on its own first: their product must not overflow.
	if ln < 1 || ln > 24 || r < 1 || r > 1<<10 || p < 1 || p > 1<<10 || 128*r<<ln > maxScryptMemory || r*p<<ln > maxScryptWork {
		return nil, fmt.Errorf("demands more of scrypt than is allowed: %s", params)
	}
	return func(password string) ([]byte, error) { return scrypt.Key([]byte(password), salt, 1<<ln, r, p, size) }, nil
}

// pbkdf2Hashes are the functions by the name of the format.
var pbkdf2Hashes = map[string]func() hash.Hash{
	"pbkdf2": sha1.New, "pbkdf2-sha1": sha1.New, "pbkdf2-sha256": sha256.New, "pbkdf2-sha512": sha512.New,
}

func derivePBKDF2(newHash func() hash.Hash, params string, salt []byte, size int) (func(string) ([]byte, error), error) {
	if params != "" && params[0] >= '0' && params[0] <= '9' {
		params = "i=" + params
	}
	length := size
	if before, l, ok := strings.Cut(params, ",l="); ok {
		var err error
		if length, err = importedNumber(l); err != nil {
			return nil, err
		}
		params = before
	}
	numbers, err := importedNumbers(params, "i=")
	if err != nil {
		return nil, err
	}
	if numbers[0] < 1 || numbers[0] > maxPBKDF2Iterations || length != size {
		return nil, fmt.Errorf("demands what PBKDF2 may not: %s", params)
	}
	return func(password string) ([]byte, error) {
		key, err := pbkdf2.Key(newHash, password, salt, numbers[0], size)
		if err != nil { // of a FIPS mode, which minds short salts
			return nil, err
		}
		return key, nil
	}, nil
}

// importedNumbers reads parameters in their order, each with its name in front.
func importedNumbers(params string, names ...string) ([]int, error) {
	values := strings.Split(params, ",")
	if len(values) != len(names) {
		return nil, errImported
	}
	out := make([]int, len(names))
	for i, name := range names {
		digits, ok := strings.CutPrefix(values[i], name)
		n, err := importedNumber(digits)
		if !ok || err != nil {
			return nil, errImported
		}
		out[i] = n
	}
	return out, nil
}

func importedNumber(digits string) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, errImported
	}
	return int(n), nil
}

// decodeImported decodes base64 without padding, in which passlib writes . for +.
func decodeImported(s string, limit int) ([]byte, error) {
	raw, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(s, ".", "+"))
	if err != nil || len(raw) == 0 || len(raw) > limit {
		return nil, errImported
	}
	return raw, nil
}
