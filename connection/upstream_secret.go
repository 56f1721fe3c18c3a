package connection

import (
	"encoding/json"

	"github.com/opkit/opkit/store"
)

// This file seals the secrets among a connection's options. They are sent in clear,
// kept sealed, and shown to nobody.

// upstreamSecrets are the members that hold secrets of an upstream connection.
var upstreamSecrets = []string{"client_secret", "app_secret"}

// sealedOption is how a secret is kept among the options. A string in its place is one
// that an administrator sent a moment ago.
type sealedOption struct {
	Sealed string `json:"sealed"`
}

// secretPlace binds a sealed secret to where it belongs: moved to another connection or
// member it does not open.
func secretPlace(c *store.Connection, member string) string {
	return c.TenantID + "/" + c.ID + "/" + member
}

// sealOptions replaces the secrets in members that an administrator sent. before is the
// connection as it was, nil if it is new; a secret that is not mentioned stays, unless
// moved says that it would go to another server now.
func (d *Directory) sealOptions(c, before *store.Connection, members map[string]json.RawMessage, moved bool) error {
	var old map[string]json.RawMessage
	if before != nil && len(before.Options) > 0 {
		if err := json.Unmarshal(before.Options, &old); err != nil {
			return err
		}
	}
	for _, name := range upstreamSecrets {
		raw, sent := members[name]
		kept, had := old[name]
		if had && (!sent || string(raw) == string(kept)) {
			// Whoever may change a connection does not know its secret. Kept, it would be
			// told to the new address at the next sign-in.
			if moved {
				return invalid("options."+name, "has to be sent again: it would go to another server than the one that it was entered for")
			}
			members[name] = kept
			continue
		}
		var plain string
		switch {
		case !sent:
		case isEmptyJSON(raw):
			delete(members, name)
		case json.Unmarshal(raw, &plain) != nil || len(plain) > maxUpstreamSecret || !isSecretText(plain):
			return invalid("options."+name, "must be a string of at most %d visible ASCII characters, spaces or line breaks", maxUpstreamSecret)
		default:
			if c.Strategy == StrategyApple && name == "app_secret" {
				if _, err := parseAppleKey(plain); err != nil {
					return invalid("options."+name, "%s", err)
				}
			}
			sealed, err := json.Marshal(sealedOption{d.upstreams.secrets.SealString([]byte(plain), secretPlace(c, name))})
			if err != nil {
				return err
			}
			members[name] = sealed
		}
	}
	return nil
}

const maxUpstreamSecret = 4 << 10

// isSecretText accepts what secrets are made of, private keys in PEM included.
func isSecretText(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

// openSecret returns a secret of a connection, empty if it has none.
func (d *Directory) openSecret(c *store.Connection, member string, o sealedOption) (string, error) {
	if o.Sealed == "" {
		return "", nil
	}
	plain, err := d.upstreams.secrets.OpenString(o.Sealed, secretPlace(c, member))
	if err != nil {
		return "", upstreamFailed("the %s of %s cannot be opened (was it sealed with another secret?): %w", member, c.ID, err)
	}
	return string(plain), nil
}
