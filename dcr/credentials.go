package dcr

import "crypto/rand"

const (
	// strictPrefix marks the identifiers of strict third-party clients, so that
	// people and logs can tell them apart.
	strictPrefix = "tpc_"

	idLength     = 32
	secretLength = 64 // 381 bits
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// alphanumeric returns n random characters, each of the 62 equally likely.
func alphanumeric(n int) string {
	// The largest multiple of 62 that fits into a byte: what lies above it would
	// make the first characters likelier than the others.
	const limit = 256 / len(alphabet) * len(alphabet)
	out := make([]byte, 0, n)
	var random [secretLength + secretLength/2]byte
	for {
		rand.Read(random[:]) // never fails: crypto/rand ends the process instead
		for _, b := range random {
			if int(b) >= limit {
				continue
			}
			if len(out) == n {
				return string(out)
			}
			out = append(out, alphabet[int(b)%len(alphabet)])
		}
	}
}
