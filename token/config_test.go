package token

import (
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

func TestNewRefuses(t *testing.T) {
	f := newFixture(t)
	good := func() Config {
		return Config{
			Stores: f.mem.Stores(), Tenants: f.tenants, Connections: f.connections, ClientAuth: f.issuer.clientAuth, Secrets: testSecrets,
		}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"Stores.Grants":       func(c *Config) { c.Stores.Grants = nil },
		"Stores.Users":        func(c *Config) { c.Stores.Users = nil },
		"Stores is empty":     func(c *Config) { c.Stores = store.Stores{} },
		"Tenants":             func(c *Config) { c.Tenants = nil },
		"Connections":         func(c *Config) { c.Connections = nil },
		"ClientAuth":          func(c *Config) { c.ClientAuth = nil },
		"Secrets":             func(c *Config) { c.Secrets = nil },
		"32":                  func(c *Config) { c.Secrets = [][]byte{make([]byte, 31)} },
		"CodeLifetime is l":   func(c *Config) { c.CodeLifetime = 10*time.Minute + 1 },
		"CodeLifetime is n":   func(c *Config) { c.CodeLifetime = -1 },
		"AccessTokenLifetime": func(c *Config) { c.AccessTokenLifetime = -1 },
		"IDTokenLifetime":     func(c *Config) { c.IDTokenLifetime = -1 },
		"RefreshTokenIdle":    func(c *Config) { c.RefreshTokenIdle = -1 },
	} {
		cfg := good()
		change(&cfg)
		if i, err := New(cfg); err == nil || i != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New without %s: %v", want, err)
		}
	}
}
