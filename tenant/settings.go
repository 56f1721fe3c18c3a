package tenant

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// Defaults of settings that are zero, in hours.
const (
	defaultSessionLifetime     = 168.0
	defaultIdleSessionLifetime = 72.0
)

// Bounds of settings.
const (
	maxLifetime   = 8760.0 // hours: one year
	maxText       = 256
	maxAudience   = 600
	maxLogoutURLs = 100
)

// CreateTenant stores a tenant. ID and Issuer are required; the settings are
// those given, of which the zero value is the safest. store.ErrExists: the
// identifier is taken.
func (d *Directory) CreateTenant(ctx context.Context, tn store.Tenant) (store.Tenant, error) {
	if !validID(tn.ID) {
		return store.Tenant{}, fmt.Errorf("tenant: the identifier %q is not 1 to %d lower-case letters, digits, hyphens and underscores that begin with a letter or digit", tn.ID, maxID)
	}
	if err := checkIssuer(tn.Issuer); err != nil {
		return store.Tenant{}, fmt.Errorf("tenant: the issuer %w", err)
	}
	if err := checkSettings(&tn.Settings); err != nil {
		return store.Tenant{}, fmt.Errorf("tenant: %w", err)
	}
	tn = tn.Clone()
	tn.Version = 1
	tn.CreatedAt = d.now()
	tn.UpdatedAt = tn.CreatedAt
	if err := d.cfg.Stores.Tenants.CreateTenant(ctx, tn); err != nil {
		return store.Tenant{}, err
	}
	return tn, nil
}

// UpdateSettings changes a tenant's settings and returns the record. change gets
// a copy; it may be called more than once, because somebody else may change the
// record meanwhile, and its error is returned as it is. Nothing is written if it
// changes nothing. store.ErrNotFound: there is no such tenant. store.ErrConflict:
// others kept changing the record.
func (d *Directory) UpdateSettings(ctx context.Context, tenant string, change func(*store.TenantSettings) error) (store.Tenant, error) {
	return d.updateSettings(ctx, tenant, func(t *store.Tenant) error { return change(&t.Settings) })
}

// updateSettings changes nothing of the record but the settings.
func (d *Directory) updateSettings(ctx context.Context, tenant string, change func(*store.Tenant) error) (store.Tenant, error) {
	const attempts = 8
	for range attempts {
		before, err := d.tenantRecord(ctx, tenant)
		if err != nil {
			return store.Tenant{}, err
		}
		record := before.Clone()
		if err := change(&record); err != nil {
			return store.Tenant{}, err
		}
		if err := checkSettings(&record.Settings); err != nil {
			return store.Tenant{}, err
		}
		if reflect.DeepEqual(record.Settings, before.Settings) {
			return record, nil
		}
		record.UpdatedAt = d.now()
		err = d.cfg.Stores.Tenants.UpdateTenant(ctx, record)
		if err == nil {
			record.Version++
			return record, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return store.Tenant{}, err
		}
	}
	return store.Tenant{}, fmt.Errorf("tenant: changing the settings: %w", store.ErrConflict)
}

// tenantRecord returns a tenant as it is stored now.
func (d *Directory) tenantRecord(ctx context.Context, tenant string) (store.Tenant, error) {
	if _, err := d.Tenant(ctx, tenant); err != nil { // creates the single tenant's record
		return store.Tenant{}, err
	}
	return d.cfg.Uncached.Tenants.Tenant(ctx, tenant)
}

// memberError says which member of the settings breaks which rule, in words for
// whoever sent them.
type memberError struct{ member, rule string }

func (e *memberError) Error() string { return e.member + " " + e.rule }

// checkSettings checks every member. Zero values are always fine.
func checkSettings(s *store.TenantSettings) error {
	for _, check := range []struct {
		member string
		err    error
	}{
		{"friendly_name", checkText(s.FriendlyName, maxText)},
		{"picture_url", checkURL(s.PictureURL)},
		{"support_email", checkEmail(s.SupportEmail)},
		{"support_url", checkURL(s.SupportURL)},
		{"default_audience", checkText(s.DefaultAudience, maxAudience)},
		{"default_directory", checkText(s.DefaultDirectory, maxText)},
		{"custom_login_page", CheckLoginPage(s.LoginPage.HTML)},
		{"session_lifetime", checkLifetime(s.SessionLifetime)},
		{"idle_session_lifetime", checkLifetime(s.IdleSessionLifetime)},
		{"allowed_logout_urls", checkLogoutURLs(s.AllowedLogoutURLs)},
		{"dynamic_client_registration_security_mode", checkMode(s.DynamicClientRegistrationSecurityMode)},
		{"dynamic_client_registration_access", checkAccess(s.DynamicClientRegistrationAccess)},
		{"dynamic_client_registration_allowed_addresses", checkAddresses(s.DynamicClientRegistrationAllowedAddresses)},
		{"dynamic_client_registration_denied_addresses", checkAddresses(s.DynamicClientRegistrationDeniedAddresses)},
		{"dynamic_client_registration_rules", CheckRegistrationRules(s.DynamicClientRegistrationRules)},
	} {
		if check.err != nil {
			return &memberError{check.member, check.err.Error()}
		}
	}
	return nil
}

func checkText(s string, longest int) error {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("must not contain control characters")
	case utf8.RuneCountInString(s) > longest:
		return fmt.Errorf("must have at most %d characters", longest)
	}
	return nil
}

// maxLoginPage bounds a custom login page in bytes. A request to the management API
// has to hold it.
const maxLoginPage = 48 << 10

// CheckLoginPage validates a custom login page. What it shows and runs is the
// tenant's own decision.
func CheckLoginPage(page string) error {
	switch {
	case !utf8.ValidString(page) || strings.ContainsRune(page, 0):
		return errors.New("must be UTF-8 text")
	case len(page) > maxLoginPage:
		return fmt.Errorf("must have at most %d bytes", maxLoginPage)
	}
	return nil
}

// checkURL accepts what a page may link to or show. javascript: and data: URLs in
// particular are not.
func checkURL(s string) error {
	if s == "" {
		return nil
	}
	if err := oauth.CheckURI(s, "https", "http"); err != nil {
		return fmt.Errorf("must be an http or https URL: it %w", err)
	}
	return nil
}

func checkEmail(s string) error {
	if s == "" {
		return nil
	}
	address, err := mail.ParseAddress(s)
	if err != nil || address.Address != s || len(s) > 254 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return errors.New("must be an email address")
	}
	return nil
}

func checkLifetime(hours float64) error {
	if hours == 0 || hours > 0 && hours <= maxLifetime {
		return nil
	}
	return errLifetime
}

var errLifetime = fmt.Errorf("must be a number of hours greater than 0 and at most %.0f", maxLifetime)

// checkLogoutURLs applies the rules of redirect URIs: a browser is sent there.
func checkLogoutURLs(urls []string) error {
	if len(urls) > maxLogoutURLs {
		return fmt.Errorf("must have at most %d elements", maxLogoutURLs)
	}
	for i, u := range urls {
		kind, err := oauth.ClassifyRedirectURI(u)
		if err != nil {
			return fmt.Errorf("must hold http or https URLs: element %d %w", i, err)
		}
		if kind == oauth.RedirectPrivate {
			return fmt.Errorf("must hold http or https URLs: element %d is not one", i)
		}
	}
	return nil
}

func checkMode(mode string) error {
	switch mode {
	case "", store.ModeStrict, store.ModePermissive:
		return nil
	}
	return fmt.Errorf("must be %q or %q", store.ModeStrict, store.ModePermissive)
}

func checkAccess(access string) error {
	switch access {
	case "", store.AccessOpen, store.AccessInitialToken:
		return nil
	}
	return fmt.Errorf("must be %q or %q", store.AccessOpen, store.AccessInitialToken)
}
