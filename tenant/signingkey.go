package tenant

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
)

// algorithms are the JWA names that tenants sign with. Each tenant has a key for
// each of them.
var algorithms = []string{"ES256", "RS256"}

const rsaBits = 2048

// signingKey is a parsed record. It is shared and never changes.
type signingKey struct {
	record store.SigningKey
	public jose.JSONWebKey // what is published, and what Verify uses
	// headers are prepared for the types that tokens have.
	headerJWT, headerATJWT string

	once   sync.Once
	signer crypto.Signer
	err    error
}

// The values of typ that have a prepared header.
const (
	typJWT   = "JWT"
	typATJWT = "at+jwt" // RFC 9068 §2.1
)

// parseKey parses the public half of a record. Of the stored JWK only the key
// itself is taken: whatever else its bytes hold is not published.
func parseKey(record store.SigningKey) (*signingKey, error) {
	var stored jose.JSONWebKey
	if err := json.Unmarshal(record.Public, &stored); err != nil {
		return nil, fmt.Errorf("public half of signing key %q: %w", record.ID, err)
	}
	if !plainName(record.ID) {
		return nil, fmt.Errorf("signing key %q has a kid that cannot be in a header", record.ID)
	}
	public := stored.Public()
	if !public.Valid() {
		return nil, fmt.Errorf("public half of signing key %q is not valid", record.ID)
	}
	switch key := public.Key.(type) {
	case *ecdsa.PublicKey:
		if record.Algorithm != "ES256" || key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("signing key %q is not for %s", record.ID, record.Algorithm)
		}
	case *rsa.PublicKey:
		if record.Algorithm != "RS256" || key.N.BitLen() < rsaBits {
			return nil, fmt.Errorf("signing key %q is not for %s", record.ID, record.Algorithm)
		}
	default:
		return nil, fmt.Errorf("signing key %q has a type that is not supported", record.ID)
	}
	k := &signingKey{
		record: record,
		public: jose.JSONWebKey{Key: public.Key, KeyID: record.ID, Algorithm: record.Algorithm, Use: "sig"},
	}
	k.headerJWT = encodeHeader(record.Algorithm, typJWT, record.ID)
	k.headerATJWT = encodeHeader(record.Algorithm, typATJWT, record.ID)
	return k, nil
}

// expired reports whether the key is no longer published.
func (k *signingKey) expired(now time.Time) bool {
	return !k.record.ExpiresAt.IsZero() && !k.record.ExpiresAt.After(now)
}

// retired reports whether the key has stopped signing.
func (k *signingKey) retired(now time.Time) bool {
	return !k.record.RetiredAt.IsZero() && !k.record.RetiredAt.After(now)
}

// open returns the private half. The result is kept, so that a key is opened and
// parsed once in the life of a process.
func (k *signingKey) open(box *seal.Box) (crypto.Signer, error) {
	k.once.Do(func() {
		k.signer, k.err = openPrivate(box, &k.record)
		if k.err == nil {
			public, ok := k.public.Key.(interface{ Equal(crypto.PublicKey) bool })
			if !ok || !public.Equal(k.signer.Public()) {
				k.signer, k.err = nil, errors.New("the halves do not belong together")
			}
		}
		if k.err != nil {
			// Never replaced by another key: a node with a wrong secret would hand
			// every other node keys that they cannot open.
			k.err = fmt.Errorf("tenant: signing key %q cannot be used (was it sealed with another secret?): %w", k.record.ID, k.err)
		}
	})
	return k.signer, k.err
}

func openPrivate(box *seal.Box, record *store.SigningKey) (crypto.Signer, error) {
	der, err := box.Open(record.Private, sealContext(record))
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private half cannot sign")
	}
	return signer, nil
}

// sealContext ties a sealed private key to its record, so that nobody who can
// write the store can move a key to another tenant.
func sealContext(record *store.SigningKey) string { return record.TenantID + "/" + record.ID }

// generateKey makes a key pair for an algorithm and its record, active from now
// on. The kid is the thumbprint of RFC 7638.
func generateKey(box *seal.Box, tenant, algorithm string, generation int, now time.Time) (store.SigningKey, error) {
	var signer crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		signer, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("tenant: no signing algorithm %q", algorithm)
	}
	if err != nil {
		return store.SigningKey{}, err
	}
	public := jose.JSONWebKey{Key: signer.Public(), Algorithm: algorithm, Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return store.SigningKey{}, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return store.SigningKey{}, err
	}
	record := store.SigningKey{
		TenantID: tenant, ID: public.KeyID, Algorithm: algorithm, Generation: generation,
		CreatedAt: now, ActiveAt: now, Version: 1,
	}
	if record.Public, err = json.Marshal(public); err != nil {
		return store.SigningKey{}, err
	}
	record.Private = box.Seal(der, sealContext(&record))
	clear(der)
	return record, nil
}

// supported reports whether tenants can sign with an algorithm.
func supported(algorithm string) bool { return slices.Contains(algorithms, algorithm) }
