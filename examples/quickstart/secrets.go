package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets is what has to be the same after every start and must not be in the
// database: the provider's secret, and what the quickstart prints and the database
// has as digests only.
type secrets struct {
	Provider []byte `json:"provider"`
	// Users are passwords by email address, Clients secrets by identifier.
	Users   map[string]string `json:"users"`
	Clients map[string]string `json:"clients"`

	path string // empty: kept in memory
}

// openSecrets reads the file at path, or makes it. An empty path makes secrets
// that live as long as the process.
func openSecrets(path string) (*secrets, error) {
	fresh := &secrets{Provider: make([]byte, 32), path: path}
	rand.Read(fresh.Provider)
	if path != "" {
		// Two processes may start at the same time on the same file: the first one to
		// link it wins, and both use what it wrote.
		if err := fresh.write(os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		fresh = &secrets{path: path}
		if err := json.Unmarshal(text, fresh); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if fresh.Users == nil {
		fresh.Users = map[string]string{}
	}
	if fresh.Clients == nil {
		fresh.Clients = map[string]string{}
	}
	return fresh, nil
}

// remember returns the secret that is known for name, or records wanted, or a new
// one if that is empty. It refuses a wanted secret that differs from the known
// one: the database has the digest of the latter.
func (s *secrets) remember(known map[string]string, name, wanted string) (string, error) {
	if old, ok := known[name]; ok {
		if wanted != "" && wanted != old {
			return "", fmt.Errorf("%s was created with another secret, which is in %s; leave the flag out, or choose another -db", name, s.path)
		}
		return old, nil
	}
	if wanted == "" {
		wanted = rand.Text()
	}
	known[name] = wanted
	if s.path == "" {
		return wanted, nil
	}
	return wanted, s.write(os.Rename)
}

// write writes the file beside its place and moves it there.
func (s *secrets) write(move func(from, to string) error) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(s.path, append(text, '\n'), move)
}

// writeFile writes a file that only its owner can read, and syncs it before it
// appears at path: after a crash it is there whole or not at all.
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
