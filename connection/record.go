package connection

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opkit/opkit/store"
)

const (
	maxName          = 128
	maxDisplayName   = 128
	maxEnabledClient = 2 << 10
	maxEnabled       = 1000
	maxRealms        = 100
	maxRealm         = 255
	maxMetadata      = 10
	maxMetadataText  = 255
)

// Create creates a connection. TenantID, Name and Strategy are required, ID is
// made unless it is set.
//
// The options of a database that decide something are requires_username,
// validation.username, passwordPolicy and password_complexity_options.min_length
// for new users and passwords, and brute_force_protection: false switches the
// locking of logins off. disable_signup has to be false for people to sign up; left
// out they cannot. disable_self_service_change_password keeps them from replacing a
// forgotten password. Others are kept and do nothing; those that hold secrets or scripts are refused. A host connection has
// no options, and its name has to be one of Config.Hosts.
//
// The error is a [*InvalidError], store.ErrExists if the ID or the name is taken,
// or a system error.
func (d *Directory) Create(ctx context.Context, c store.Connection) (store.Connection, error) {
	if _, err := d.cfg.Tenants.Tenant(ctx, c.TenantID); errors.Is(err, store.ErrNotFound) {
		return store.Connection{}, invalid("tenant_id", "must be the identifier of a tenant")
	} else if err != nil {
		return store.Connection{}, err
	}
	c = c.Clone()
	if c.ID == "" {
		c.ID = "con_" + rand.Text()[:16]
	}
	if err := d.validate(&c, nil); err != nil {
		return store.Connection{}, err
	}
	c.Version, c.CreatedAt = 1, d.now()
	c.UpdatedAt = c.CreatedAt
	if err := d.cfg.Stores.Connections.CreateConnection(ctx, c); err != nil {
		return store.Connection{}, err
	}
	return c, nil
}

// Ensure returns the tenant's connection with the name of c, which it creates if
// there is none. One that exists is returned as it is, whatever else c says: an
// administrator may have changed it. Programs call it when they start; of several
// that start at once, one creates.
func (d *Directory) Ensure(ctx context.Context, c store.Connection) (store.Connection, error) {
	existing, err := d.named(ctx, c.TenantID, c.Name)
	if errors.Is(err, store.ErrNotFound) {
		var created store.Connection
		if created, err = d.Create(ctx, c); !errors.Is(err, store.ErrExists) {
			return created, err
		}
		existing, err = d.named(ctx, c.TenantID, c.Name)
	}
	switch {
	case err != nil:
		return store.Connection{}, err
	case existing.Strategy != c.Strategy:
		return store.Connection{}, fmt.Errorf("connection: %q exists with the strategy %q", c.Name, existing.Strategy)
	}
	return existing, nil
}

func (d *Directory) named(ctx context.Context, tenant, name string) (store.Connection, error) {
	all, err := d.all(ctx, tenant)
	if err != nil {
		return store.Connection{}, err
	}
	i := slices.IndexFunc(all, func(c store.Connection) bool { return c.Name == name })
	if i < 0 {
		return store.Connection{}, store.ErrNotFound
	}
	return all[i], nil
}

// Update changes a connection. change gets a copy, whose TenantID, ID, Name and
// Strategy it must leave alone; it may be called again if somebody else changes
// the connection at the same time, and what it returns ends the update.
//
// The error is what change returned, a [*InvalidError], store.ErrNotFound,
// store.ErrConflict if the connection keeps changing, or a system error.
func (d *Directory) Update(ctx context.Context, tenant, id string, change func(*store.Connection) error) (store.Connection, error) {
	for attempt := 1; ; attempt++ {
		before, err := d.stored(ctx, tenant, id)
		if err != nil {
			return store.Connection{}, err
		}
		after := before.Clone()
		if err := change(&after); err != nil {
			return store.Connection{}, err
		}
		switch {
		case after.Name != before.Name:
			return store.Connection{}, invalid("name", "cannot be changed")
		case after.Strategy != before.Strategy:
			return store.Connection{}, invalid("strategy", "cannot be changed")
		}
		after.TenantID, after.ID, after.Version, after.CreatedAt = before.TenantID, before.ID, before.Version, before.CreatedAt
		if err := d.validate(&after, &before); err != nil {
			return store.Connection{}, err
		}
		after.UpdatedAt = d.now()
		err = d.cfg.Stores.Connections.UpdateConnection(ctx, after)
		if err == nil {
			after.Version++
			return after, nil
		}
		if !errors.Is(err, store.ErrConflict) || attempt == maxUpdates {
			return store.Connection{}, err
		}
	}
}

// stored returns a connection as it is stored now.
func (d *Directory) stored(ctx context.Context, tenant, id string) (store.Connection, error) {
	if uncached := d.cfg.Uncached.Connections; uncached != nil {
		return uncached.Connection(ctx, tenant, id)
	}
	return d.cfg.Stores.Connections.Connection(ctx, tenant, id)
}

// validate checks a record that is about to be stored. before is what it replaces, nil
// if it is new.
func (d *Directory) validate(c, before *store.Connection) error {
	if !validID(c.ID) {
		return invalid("id", "must have 1 to 64 letters, digits, - or _")
	}
	if err := checkName(c.Name); err != nil {
		return err
	}
	switch c.Strategy {
	case StrategyDatabase:
	case StrategyHost:
		if _, ok := d.hosts[c.Name]; !ok {
			return invalid("name", "must be that of one of the logins in Config.Hosts, for the strategy host")
		}
	default:
		if !IsUpstream(c) {
			return invalid("strategy", "must be %s, %s or one of %s", StrategyDatabase, StrategyHost, strings.Join(upstreamStrategies(), ", "))
		}
	}
	if !isText(c.DisplayName, maxDisplayName) {
		return invalid("display_name", "must have at most %d characters, none of them a control character", maxDisplayName)
	}
	if c.ShowAsButton != nil && !IsUpstream(c) {
		return invalid("show_as_button", "is for connections to other providers only")
	}
	if err := checkList("enabled_clients", c.EnabledClients, maxEnabled, maxEnabledClient); err != nil {
		return err
	}
	if err := checkList("realms", c.Realms, maxRealms, maxRealm); err != nil {
		return err
	}
	if len(c.Metadata) > maxMetadata {
		return invalid("metadata", "must have at most %d members", maxMetadata)
	}
	for key, value := range c.Metadata {
		if key == "" || !isText(key, maxMetadataText) || !isText(value, maxMetadataText) {
			return invalid("metadata", "must have names and values of at most %d characters, none of them a control character", maxMetadataText)
		}
	}
	var err error
	if IsUpstream(c) {
		c.Options, err = d.checkUpstreamOptions(c, before)
	} else {
		c.Options, err = checkOptions(c.Strategy, c.Options)
	}
	return err
}

// checkName validates a connection's name: letters, digits and inner hyphens.
func checkName(name string) error {
	letterOrDigit := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	}
	ok := name != "" && len(name) <= maxName && letterOrDigit(name[0]) && letterOrDigit(name[len(name)-1])
	for i := range len(name) {
		ok = ok && (letterOrDigit(name[i]) || name[i] == '-')
	}
	if !ok {
		return invalid("name", "must have 1 to %d letters, digits and hyphens, and begin and end with a letter or digit", maxName)
	}
	return nil
}

// validID reports whether id can identify a connection. It decides about paths of
// the management API, too, before any store is asked.
func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// checkList validates a list of identifiers.
func checkList(field string, list []string, maxItems, maxLength int) error {
	if len(list) > maxItems {
		return invalid(field, "must have at most %d elements", maxItems)
	}
	for i, item := range list {
		if item == "" || len(item) > maxLength || strings.ContainsFunc(item, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return invalid(field, "must have elements of 1 to %d visible ASCII characters", maxLength)
		}
		if slices.Contains(list[:i], item) {
			return invalid(field, "must not have an element twice")
		}
	}
	return nil
}

// isText reports whether s is printable text of at most limit characters.
func isText(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit && !strings.ContainsFunc(s, unicode.IsControl)
}
