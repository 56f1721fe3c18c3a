package connection

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opkit/opkit/store"
)

// This file is about authentication context classes: acr of OpenID Connect Core §2.

// ACRPasswordProtectedTransport is the class of logins with a password over TLS, by
// the name that SAML 2.0 gave it (Authentication Context for SAML 2.0 §3.4.6).
const ACRPasswordProtectedTransport = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"

// ACRConfig says which authentication context classes logins achieve. The zero
// value knows one: [ACRPasswordProtectedTransport].
type ACRConfig struct {
	// Values are the classes that logins can achieve, weakest first: whoever achieved
	// one satisfies those before it too. The metadata lists them as
	// acr_values_supported, so what a host's Identity.ACR says should be among them.
	// One that is not satisfies only itself. Empty: Password alone.
	Values []string
	// Password is the class that the password of a database connection achieves. It
	// has to be one of Values unless they are empty. Empty: none, or
	// [ACRPasswordProtectedTransport] if Values are empty too.
	Password string
}

const (
	maxACRValues = 32
	maxACR       = 255
)

// Supported lists the classes, weakest first, for metadata.
func (c ACRConfig) Supported() []string { return c.resolved().Values }

func (c ACRConfig) resolved() ACRConfig {
	if len(c.Values) > 0 {
		return c
	}
	if c.Password == "" {
		c.Password = ACRPasswordProtectedTransport
	}
	c.Values = []string{c.Password}
	return c
}

// check validates a resolved configuration. The error continues a sentence.
func (c ACRConfig) check() error {
	if len(c.Values) > maxACRValues {
		return fmt.Errorf("has more than %d values", maxACRValues)
	}
	for i, value := range c.Values {
		switch {
		case value == "" || len(value) > maxACR:
			return fmt.Errorf("has a value that is empty or longer than %d bytes", maxACR)
		case !validSubject(value): // acr_values separates them by spaces
			return errors.New("has a value that is not visible ASCII")
		case slices.Contains(c.Values[:i], value):
			return errors.New("has a value twice")
		}
	}
	if c.Password != "" && !slices.Contains(c.Values, c.Password) {
		return errors.New("has a Password that is not one of Values")
	}
	return nil
}

// PasswordACR returns the class that the password of a database connection
// achieves, empty for none.
func (d *Directory) PasswordACR() string { return d.cfg.ACR.Password }

// SatisfiesACR reports whether a login that achieved one class is good enough where
// another is asked for.
func (d *Directory) SatisfiesACR(achieved, asked string) bool {
	if achieved == "" || asked == "" {
		return false
	}
	if achieved == asked {
		return true
	}
	level := slices.Index(d.cfg.ACR.Values, asked)
	return level >= 0 && level < slices.Index(d.cfg.ACR.Values, achieved)
}

// ReachesACR reports whether a login through conn can satisfy a class. Of a login
// at a host, or at an upstream that has a way to say it, nothing is known but the
// configured classes.
func (d *Directory) ReachesACR(conn *store.Connection, asked string) bool {
	if conn.Strategy == StrategyHost {
		return slices.Contains(d.cfg.ACR.Values, asked)
	}
	if p, ok := presets[conn.Strategy]; ok {
		return p.oidc && slices.Contains(d.cfg.ACR.Values, asked)
	}
	return d.SatisfiesACR(d.cfg.ACR.Password, asked)
}
