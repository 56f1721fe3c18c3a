package tenant

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// KeySource makes signing keys and opens them for use, so that private halves may
// live in a KMS or an HSM. Its methods are called concurrently. They end with the
// context, and within a time that a user would wait: a failure makes the request
// that needed the key fail with temporarily_unavailable.
//
// A key may sign for years after it was made, on every node and after every
// restart, and each time it is opened by its handle.
type KeySource interface {
	// GenerateKey makes a key pair for an algorithm: P-256 for "ES256", RSA of 2048
	// bits or more for "RS256". It returns the public half, an *ecdsa.PublicKey or
	// *rsa.PublicKey, and what OpenKey needs to find the key again: a name, a
	// resource identifier, or wrapped key material, of 16 KiB at most. The handle is
	// sealed before it is stored.
	//
	// Several nodes may ask at the same moment. One key is then used, the others are
	// given up: see [KeyDestroyer].
	GenerateKey(ctx context.Context, tenant, algorithm string) (public crypto.PublicKey, handle []byte, err error)

	// OpenKey returns the signer of a key that GenerateKey made. It is called once in
	// the life of a process for each key that signs; the signer is kept.
	OpenKey(ctx context.Context, tenant, algorithm string, handle []byte) (Signer, error)
}

// Signer signs with one private key. It is called concurrently.
type Signer interface {
	// Sign signs a digest that was made with opts.HashFunc(), which is SHA-256. The
	// signature is what a [crypto.Signer] returns: ASN.1 for ECDSA, PKCS #1 v1.5 for
	// RSA.
	Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// KeyDestroyer is implemented by a [KeySource] whose keys have to be given back.
type KeyDestroyer interface {
	// DestroyKey removes a key that will never be used again: it was removed from
	// the store, or another node's was used instead. It may be called more than once
	// for a key, and is nil for one that is gone. A key that was made in the moment
	// in which a process died is never named here.
	DestroyKey(ctx context.Context, tenant, algorithm string, handle []byte) error
}

const maxHandle = 16 << 10

// softwareKeys is the source of keys whose handles are the keys themselves.
type softwareKeys struct{}

const rsaBits = 2048

func (softwareKeys) GenerateKey(_ context.Context, _, algorithm string) (crypto.PublicKey, []byte, error) {
	var key crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("no signing algorithm %q", algorithm)
	}
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return key.Public(), der, err
}

func (softwareKeys) OpenKey(_ context.Context, _, _ string, der []byte) (Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private half cannot sign")
	}
	return softwareSigner{signer}, nil
}

type softwareSigner struct{ key crypto.Signer }

func (s softwareSigner) Sign(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(rand.Reader, digest, opts)
}

// signed reports whether signature is that of a SHA-256 digest, made with the
// private half of public.
func signed(public crypto.PublicKey, digest, signature []byte) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest, signature) == nil
	}
	return false
}
