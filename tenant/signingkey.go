package tenant

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// algorithms are the JWA names that tenants sign with. Each tenant has a key for
// each of them.
var algorithms = []string{"ES256", "RS256"}

// supported reports whether tenants can sign with an algorithm.
func supported(algorithm string) bool { return slices.Contains(algorithms, algorithm) }

// signingKey is a parsed record. It is shared and never changes, but for the
// signer, which is opened at first use.
type signingKey struct {
	record store.SigningKey
	public jose.JSONWebKey // what is published, and what Verify uses
	// headers are prepared for the types that tokens have.
	headerJWT, headerATJWT string

	signer  atomic.Pointer[Signer]
	opening gate
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
	if err := checkPublic(public.Key, record.Algorithm); err != nil {
		return nil, fmt.Errorf("signing key %q %w", record.ID, err)
	}
	k := &signingKey{
		record:  record,
		public:  jose.JSONWebKey{Key: public.Key, KeyID: record.ID, Algorithm: record.Algorithm, Use: "sig"},
		opening: newGate(),
	}
	k.headerJWT = encodeHeader(record.Algorithm, typJWT, record.ID)
	k.headerATJWT = encodeHeader(record.Algorithm, typATJWT, record.ID)
	return k, nil
}

// checkPublic checks that a public half is one that an algorithm needs.
func checkPublic(public crypto.PublicKey, algorithm string) error {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if algorithm == "ES256" && key != nil && key.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if algorithm == "RS256" && key != nil && key.N != nil && key.N.BitLen() >= rsaBits {
			return nil
		}
	}
	return fmt.Errorf("is not for %s", algorithm)
}

// sealContext ties a sealed private half to its record, so that nobody who can
// write the store can move a key to another tenant.
func sealContext(record *store.SigningKey) string { return record.TenantID + "/" + record.ID }

// fromSource precedes the handle of a key that Config.Keys.Source made. A software
// key has none: its DER begins with another byte. So both kinds live side by side
// when a source is configured for the first time.
const fromSource = 0x01

// unsealed returns the source of a key and the handle that it knows the key by.
func (d *Directory) unsealed(record *store.SigningKey) (KeySource, []byte, error) {
	handle, err := d.box.Open(record.Private, sealContext(record))
	switch {
	case err != nil:
		// Never replaced by another key: a node with a wrong secret would hand every
		// other node keys that they cannot open.
		return nil, nil, fmt.Errorf("tenant: signing key %q cannot be used (was it sealed with another secret?): %w", record.ID, err)
	case len(handle) == 0 || handle[0] != fromSource:
		return softwareKeys{}, handle, nil
	case d.cfg.Keys.Source == nil:
		return nil, nil, fmt.Errorf("tenant: signing key %q cannot be used: it needs the Config.Keys.Source that made it", record.ID)
	}
	return d.cfg.Keys.Source, handle[1:], nil
}

// open returns the private half, which is kept once it has proved that it is one.
// A failure is not kept: a KMS comes back.
func (k *signingKey) open(ctx context.Context, d *Directory) (Signer, error) {
	if s := k.signer.Load(); s != nil {
		return *s, nil
	}
	if err := k.opening.enter(ctx); err != nil {
		return nil, err
	}
	defer k.opening.leave()
	if s := k.signer.Load(); s != nil {
		return *s, nil
	}
	source, handle, err := d.unsealed(&k.record)
	if err != nil {
		return nil, err
	}
	signer, err := source.OpenKey(ctx, k.record.TenantID, k.record.Algorithm, handle)
	if err == nil && signer == nil {
		err = errors.New("the source returned no signer")
	}
	if err != nil {
		return nil, keyUnavailable("opening", &k.record, err)
	}
	// Whoever can write the store could have their own public half published under a
	// kid that tokens carry, and a source could mistake one key for another: tokens
	// would not verify, or not with the right key.
	digest := sha256.Sum256([]byte("opkit proves that the halves of a signing key belong together"))
	proof, err := signer.Sign(ctx, digest[:], crypto.SHA256)
	if err != nil {
		return nil, keyUnavailable("using", &k.record, err)
	}
	if !signed(k.public.Key, digest[:], proof) {
		return nil, fmt.Errorf("tenant: signing key %q cannot be used: its halves do not belong together", k.record.ID)
	}
	k.signer.Store(&signer)
	return signer, nil
}

// keyUnavailable is the error of a request that needed a key whose source failed.
func keyUnavailable(doing string, record *store.SigningKey, err error) error {
	return oauth.Unavailable(fmt.Errorf("tenant: %s a signing key (%s %q of tenant %q): %w",
		doing, record.Algorithm, record.ID, record.TenantID, err), time.Second)
}

// generateKey makes a key pair for an algorithm and proves that it signs. Nothing
// is stored. The kid is the thumbprint of RFC 7638.
func (d *Directory) generateKey(ctx context.Context, tenantID, algorithm string, generation int, activeAt time.Time) (*signingKey, error) {
	record := store.SigningKey{
		TenantID: tenantID, Algorithm: algorithm, Generation: generation, CreatedAt: d.now(), ActiveAt: activeAt, Version: 1,
	}
	var source KeySource = softwareKeys{}
	var prefix []byte
	if d.cfg.Keys.Source != nil {
		source, prefix = d.cfg.Keys.Source, []byte{fromSource}
	}
	public, handle, err := source.GenerateKey(ctx, tenantID, algorithm)
	if err != nil {
		return nil, keyUnavailable("making", &record, err)
	}
	if err := checkPublic(public, algorithm); err != nil {
		return nil, fmt.Errorf("tenant: the public half that the key source made %w", err)
	}
	if len(handle) > maxHandle {
		return nil, fmt.Errorf("tenant: the handle that the key source returned has %d bytes, more than %d", len(handle), maxHandle)
	}
	jwk := jose.JSONWebKey{Key: public, Algorithm: algorithm, Use: "sig"}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	record.ID = base64.RawURLEncoding.EncodeToString(thumbprint)
	jwk.KeyID = record.ID
	if record.Public, err = json.Marshal(jwk); err != nil {
		return nil, err
	}
	plain := slices.Concat(prefix, handle)
	record.Private = d.box.Seal(plain, sealContext(&record))
	clear(plain)
	k, err := parseKey(record)
	if err != nil {
		return nil, err
	}
	// A key that cannot sign must never be published.
	if _, err := k.open(ctx, d); err != nil {
		return nil, err
	}
	return k, nil
}

// destroyKey gives a key back to its source, if that wants it back. Of a software
// key nothing is left but its record, which may be sealed with a secret that is long
// gone.
func (d *Directory) destroyKey(ctx context.Context, record *store.SigningKey) error {
	destroyer, ok := d.cfg.Keys.Source.(KeyDestroyer)
	if !ok {
		return nil
	}
	source, handle, err := d.unsealed(record)
	if _, ours := source.(softwareKeys); ours || err != nil {
		return err
	}
	return destroyer.DestroyKey(ctx, record.TenantID, record.Algorithm, handle)
}
