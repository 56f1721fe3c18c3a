package main

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secret is the provider's secret, which must not be in the database. What the
// quickstart prints derives from it, so that it prints the same after every start
// although the database has only digests.
type secret []byte

const secretSize = 32

// openSecret reads the file at path, or makes it. An empty path makes a secret
// that lives as long as the process.
func openSecret(path string) (secret, error) {
	fresh := make(secret, secretSize)
	rand.Read(fresh)
	if path == "" {
		return fresh, nil
	}
	// Two processes may start at the same time: the first one to link the file wins,
	// and both use what it wrote.
	text := base64.StdEncoding.AppendEncode(nil, fresh)
	if err := writeFile(path, append(text, '\n'), os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(s) < secretSize {
		return nil, fmt.Errorf("%s does not hold a secret of %d bytes in base64", path, secretSize)
	}
	return s, nil
}

// derive returns the password or client secret of that name.
func (s secret) derive(kind, name string) (string, error) {
	key, err := hkdf.Key(sha256.New, s, nil, "opkit quickstart: "+kind+" "+name, 16)
	if err != nil {
		return "", err
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key)), nil
}

// writeFile writes a file that only its owner can read, and syncs it before it
// appears at path: after a crash it is there whole or not at all. move is os.Rename,
// or os.Link to leave alone what is there.
func writeFile(path string, text []byte, move func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return move(f.Name(), path)
}
