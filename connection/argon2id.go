package connection

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// This file implements argon2id (RFC 9106) in the PHC string format:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<key>

// Argon2id are the parameters of RFC 9106 that decide what a guess costs.
type Argon2id struct {
	// MemoryKiB is the memory of one computation in KiB.
	MemoryKiB uint32
	// Passes is how often the memory is gone through.
	Passes uint32
	// Lanes is how many threads share one computation.
	Lanes uint8
}

// defaultArgon2id is one of the equivalent minimum settings of the OWASP Password
// Storage Cheat Sheet. One lane, because checks run beside each other already.
var defaultArgon2id = Argon2id{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}

// Bounds on parameters, of the configuration and of stored hashes. Hashes may be
// imported: what they demand must not be able to exhaust the machine.
const (
	maxMemoryKiB = 256 << 10
	maxPasses    = 16
	maxLanes     = 16

	saltSize             = 16 // RFC 9106 §3.1
	keySize              = 32
	minSalt, maxSalt     = 8, 64
	minKey, maxKey       = 16, 64
	maxPHC               = 256
	minMemoryKiB         = 7 << 10
	minMemoryTimesPasses = 5 * 7 << 10
)

// check validates parameters for new hashes: none is weaker than the weakest
// setting of the OWASP cheat sheet, 7 MiB with five passes.
func (p Argon2id) check() error {
	switch {
	case p.MemoryKiB < minMemoryKiB:
		return fmt.Errorf("has MemoryKiB %d, at least %d are required", p.MemoryKiB, minMemoryKiB)
	case uint64(p.MemoryKiB)*uint64(p.Passes) < minMemoryTimesPasses:
		return fmt.Errorf("is too weak: MemoryKiB times Passes must be at least %d", minMemoryTimesPasses)
	}
	return p.bounded()
}

// bounded applies the bounds that hold for stored hashes as well.
func (p Argon2id) bounded() error {
	switch {
	case p.Passes < 1 || p.Passes > maxPasses:
		return fmt.Errorf("has %d passes, from 1 to %d are allowed", p.Passes, maxPasses)
	case p.Lanes < 1 || p.Lanes > maxLanes:
		return fmt.Errorf("has %d lanes, from 1 to %d are allowed", p.Lanes, maxLanes)
	case p.MemoryKiB < 8*uint32(p.Lanes) || p.MemoryKiB > maxMemoryKiB: // RFC 9106 §3.1
		return fmt.Errorf("has %d KiB of memory, from 8 per lane to %d are allowed", p.MemoryKiB, maxMemoryKiB)
	}
	return nil
}

// weakerThan reports whether raising parameters from p to q makes guessing more
// expensive.
func (p Argon2id) weakerThan(q Argon2id) bool {
	cost := func(a Argon2id) uint64 { return uint64(a.MemoryKiB) * uint64(a.Passes) }
	return p.MemoryKiB < q.MemoryKiB || cost(p) < cost(q)
}

// argon2idHash is a password hash.
type argon2idHash struct {
	params Argon2id
	salt   []byte
	key    []byte
}

// newArgon2idHash computes the hash of a password with a new salt.
func newArgon2idHash(p Argon2id, password string) argon2idHash {
	h := argon2idHash{params: p, salt: make([]byte, saltSize), key: make([]byte, keySize)}
	rand.Read(h.salt) // never fails: crypto/rand ends the process instead
	h.key = h.derive(password)
	return h
}

// dummyArgon2idHash costs as much to check as a real one and matches nothing.
func dummyArgon2idHash(p Argon2id) argon2idHash {
	h := argon2idHash{params: p, salt: make([]byte, saltSize), key: make([]byte, keySize)}
	rand.Read(h.salt)
	rand.Read(h.key)
	return h
}

func (h *argon2idHash) derive(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.params.Passes, h.params.MemoryKiB, h.params.Lanes, uint32(len(h.key)))
}

// matches computes the hash of password and compares it in constant time.
func (h *argon2idHash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.derive(password), h.key) == 1
}

// String returns the PHC string.
func (h argon2idHash) String() string {
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", argon2idPrefix, argon2.Version,
		h.params.MemoryKiB, h.params.Passes, h.params.Lanes, phcEncoding.EncodeToString(h.salt), phcEncoding.EncodeToString(h.key))
}

const argon2idPrefix = "$argon2id$"

var (
	phcEncoding = base64.RawStdEncoding.Strict()
	errPHC      = errors.New("is not an argon2id hash in PHC string format, $argon2id$v=19$m=...,t=...,p=...$salt$key")
)

// parseArgon2id parses a PHC string. It accepts exactly what String writes, with
// parameters within the bounds. On error the hash is zero.
func parseArgon2id(s string) (argon2idHash, error) {
	rest, ok := strings.CutPrefix(s, argon2idPrefix)
	if !ok || len(s) > maxPHC {
		return argon2idHash{}, errPHC
	}
	fields := strings.Split(rest, "$")
	if len(fields) != 4 || fields[0] != "v=19" {
		return argon2idHash{}, errPHC
	}
	params, err := parseArgon2idParams(fields[1])
	if err != nil {
		return argon2idHash{}, err
	}
	salt, saltErr := decodePHC(fields[2], minSalt, maxSalt)
	key, keyErr := decodePHC(fields[3], minKey, maxKey)
	if saltErr != nil || keyErr != nil {
		return argon2idHash{}, errPHC
	}
	return argon2idHash{params: params, salt: salt, key: key}, nil
}

func parseArgon2idParams(s string) (Argon2id, error) {
	values := strings.Split(s, ",")
	if len(values) != 3 {
		return Argon2id{}, errPHC
	}
	var numbers [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(values[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		// No other spelling of the number: one hash, one string.
		if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
			return Argon2id{}, errPHC
		}
		numbers[i] = n
	}
	if numbers[2] > maxLanes {
		return Argon2id{}, fmt.Errorf("has %d lanes, from 1 to %d are allowed", numbers[2], maxLanes)
	}
	p := Argon2id{MemoryKiB: uint32(numbers[0]), Passes: uint32(numbers[1]), Lanes: uint8(numbers[2])}
	if err := p.bounded(); err != nil {
		return Argon2id{}, err
	}
	return p, nil
}

func decodePHC(s string, low, high int) ([]byte, error) {
	// The decoder would skip line breaks.
	if strings.ContainsAny(s, "\r\n") {
		return nil, errPHC
	}
	raw, err := phcEncoding.DecodeString(s)
	if err != nil || len(raw) < low || len(raw) > high {
		return nil, errPHC
	}
	return raw, nil
}
