package tenant

import (
	"errors"
	"net/http"
	"reflect"
	"slices"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// settingsView is how the management API shows settings: every member that has a
// value, with defaults filled in.
type settingsView struct {
	FriendlyName        string            `json:"friendly_name,omitempty"`
	PictureURL          string            `json:"picture_url,omitempty"`
	SupportEmail        string            `json:"support_email,omitempty"`
	SupportURL          string            `json:"support_url,omitempty"`
	DefaultAudience     string            `json:"default_audience,omitempty"`
	DefaultDirectory    string            `json:"default_directory,omitempty"`
	CustomLoginPage     string            `json:"custom_login_page,omitempty"`
	CustomLoginPageOn   bool              `json:"custom_login_page_on"`
	SessionLifetime     float64           `json:"session_lifetime"`
	IdleSessionLifetime float64           `json:"idle_session_lifetime"`
	AllowedLogoutURLs   []string          `json:"allowed_logout_urls"`
	Flags               store.TenantFlags `json:"flags"`
	SecurityMode        string            `json:"dynamic_client_registration_security_mode"`
	RegistrationAccess  string            `json:"dynamic_client_registration_access"`
	AllowedAddresses    []string          `json:"dynamic_client_registration_allowed_addresses"`
	DeniedAddresses     []string          `json:"dynamic_client_registration_denied_addresses"`

	RegistrationRules *store.RegistrationRules `json:"dynamic_client_registration_rules,omitempty"`
}

func viewSettings(s *store.TenantSettings) settingsView {
	v := settingsView{
		FriendlyName: s.FriendlyName, PictureURL: s.PictureURL, SupportEmail: s.SupportEmail, SupportURL: s.SupportURL,
		DefaultAudience: s.DefaultAudience, DefaultDirectory: s.DefaultDirectory,
		CustomLoginPage: s.LoginPage.HTML, CustomLoginPageOn: s.LoginPage.On,
		SessionLifetime: s.SessionLifetime, IdleSessionLifetime: s.IdleSessionLifetime,
		AllowedLogoutURLs: s.AllowedLogoutURLs, Flags: s.Flags, SecurityMode: s.DynamicClientRegistrationSecurityMode,
		RegistrationAccess: s.DynamicClientRegistrationAccess,
		AllowedAddresses:   s.DynamicClientRegistrationAllowedAddresses, DeniedAddresses: s.DynamicClientRegistrationDeniedAddresses,
		RegistrationRules: s.DynamicClientRegistrationRules,
	}
	if v.SessionLifetime == 0 {
		v.SessionLifetime = defaultSessionLifetime
	}
	if v.IdleSessionLifetime == 0 {
		v.IdleSessionLifetime = defaultIdleSessionLifetime
	}
	for _, list := range []*[]string{&v.AllowedLogoutURLs, &v.AllowedAddresses, &v.DeniedAddresses} {
		if *list == nil {
			*list = []string{}
		}
	}
	if v.SecurityMode == "" {
		v.SecurityMode = store.ModeStrict
	}
	if v.RegistrationAccess == "" {
		v.RegistrationAccess = store.AccessOpen
	}
	return v
}

// settingsPatch is the body of a PATCH. Null resets a member; flags merge member
// by member, and a flag is a boolean or is left out.
type settingsPatch struct {
	FriendlyName        management.Nullable[string]   `json:"friendly_name"`
	PictureURL          management.Nullable[string]   `json:"picture_url"`
	SupportEmail        management.Nullable[string]   `json:"support_email"`
	SupportURL          management.Nullable[string]   `json:"support_url"`
	DefaultAudience     management.Nullable[string]   `json:"default_audience"`
	DefaultDirectory    management.Nullable[string]   `json:"default_directory"`
	CustomLoginPage     management.Nullable[string]   `json:"custom_login_page"`
	CustomLoginPageOn   *bool                         `json:"custom_login_page_on"`
	SessionLifetime     management.Nullable[float64]  `json:"session_lifetime"`
	IdleSessionLifetime management.Nullable[float64]  `json:"idle_session_lifetime"`
	AllowedLogoutURLs   management.Nullable[[]string] `json:"allowed_logout_urls"`
	// Lifetimes below an hour, as some SDKs send them. Either form, not both.
	SessionLifetimeMinutes     management.Nullable[float64] `json:"session_lifetime_in_minutes"`
	IdleSessionLifetimeMinutes management.Nullable[float64] `json:"idle_session_lifetime_in_minutes"`

	Flags              *flagsPatch                   `json:"flags"`
	SecurityMode       management.Nullable[string]   `json:"dynamic_client_registration_security_mode"`
	RegistrationAccess management.Nullable[string]   `json:"dynamic_client_registration_access"`
	AllowedAddresses   management.Nullable[[]string] `json:"dynamic_client_registration_allowed_addresses"`
	DeniedAddresses    management.Nullable[[]string] `json:"dynamic_client_registration_denied_addresses"`

	RegistrationRules management.Nullable[store.RegistrationRules] `json:"dynamic_client_registration_rules"` // as a whole
}

type flagsPatch struct {
	EnableDynamicClientRegistration *bool `json:"enable_dynamic_client_registration"`
	EnableDynamicClientManagement   *bool `json:"enable_dynamic_client_management"`

	ClientIDMetadataDocumentRegistration *bool `json:"client_id_metadata_document_registration"`
}

// check refuses values that the record uses for "default": who means the default
// says null.
func (p *settingsPatch) check() error {
	for _, lifetime := range []struct {
		member string
		value  management.Nullable[float64]
	}{
		{"session_lifetime", p.SessionLifetime},
		{"idle_session_lifetime", p.IdleSessionLifetime},
	} {
		if lifetime.value.Sent && !lifetime.value.Null && lifetime.value.Value == 0 {
			return &memberError{lifetime.member, errLifetime.Error()}
		}
	}
	if p.SecurityMode.Sent && !p.SecurityMode.Null && p.SecurityMode.Value == "" {
		return &memberError{"dynamic_client_registration_security_mode", checkMode("?").Error()}
	}
	if p.RegistrationAccess.Sent && !p.RegistrationAccess.Null && p.RegistrationAccess.Value == "" {
		return &memberError{"dynamic_client_registration_access", checkAccess("?").Error()}
	}
	return nil
}

// hours brings lifetimes in minutes into the form that the record has.
func (p *settingsPatch) hours() error {
	for _, lifetime := range []struct {
		member         string
		hours, minutes *management.Nullable[float64]
	}{
		{"session_lifetime", &p.SessionLifetime, &p.SessionLifetimeMinutes},
		{"idle_session_lifetime", &p.IdleSessionLifetime, &p.IdleSessionLifetimeMinutes},
	} {
		if !lifetime.minutes.Sent {
			continue
		}
		if lifetime.hours.Sent {
			return &memberError{lifetime.member, "and " + lifetime.member + "_in_minutes exclude each other"}
		}
		*lifetime.hours, *lifetime.minutes = *lifetime.minutes, management.Nullable[float64]{}
		lifetime.hours.Value /= 60
	}
	return nil
}

func (p *settingsPatch) apply(s *store.TenantSettings) error {
	if err := p.hours(); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	p.FriendlyName.ApplyTo(&s.FriendlyName)
	p.PictureURL.ApplyTo(&s.PictureURL)
	p.SupportEmail.ApplyTo(&s.SupportEmail)
	p.SupportURL.ApplyTo(&s.SupportURL)
	p.DefaultAudience.ApplyTo(&s.DefaultAudience)
	p.DefaultDirectory.ApplyTo(&s.DefaultDirectory)
	p.CustomLoginPage.ApplyTo(&s.LoginPage.HTML)
	if p.CustomLoginPageOn != nil {
		s.LoginPage.On = *p.CustomLoginPageOn
	}
	p.SessionLifetime.ApplyTo(&s.SessionLifetime)
	p.IdleSessionLifetime.ApplyTo(&s.IdleSessionLifetime)
	for _, list := range []struct {
		sent   management.Nullable[[]string]
		target *[]string
	}{
		{p.AllowedLogoutURLs, &s.AllowedLogoutURLs},
		{p.AllowedAddresses, &s.DynamicClientRegistrationAllowedAddresses},
		{p.DeniedAddresses, &s.DynamicClientRegistrationDeniedAddresses},
	} {
		if list.sent.Sent {
			*list.target = slices.Clone(list.sent.Value)
		}
	}
	p.SecurityMode.ApplyTo(&s.DynamicClientRegistrationSecurityMode)
	p.RegistrationAccess.ApplyTo(&s.DynamicClientRegistrationAccess)
	if p.RegistrationRules.Sent {
		s.DynamicClientRegistrationRules = nil
		if rules := &p.RegistrationRules.Value; !reflect.ValueOf(*rules).IsZero() {
			s.DynamicClientRegistrationRules = rules.Clone()
		}
	}
	if p.Flags != nil {
		p.Flags.applyTo(&s.Flags)
	}
	return nil
}

func (p *flagsPatch) applyTo(f *store.TenantFlags) {
	for _, flag := range []struct{ sent, kept *bool }{
		{p.EnableDynamicClientRegistration, &f.EnableDynamicClientRegistration},
		{p.EnableDynamicClientManagement, &f.EnableDynamicClientManagement},
		{p.ClientIDMetadataDocumentRegistration, &f.ClientIDMetadataDocumentRegistration},
	} {
		if flag.sent != nil {
			*flag.kept = *flag.sent
		}
	}
}

// SettingsHandler serves the tenant's settings: GET with the scope
// read:tenant_settings, PATCH with update:tenant_settings. Both answer 200 with
// the whole object. (Default path /api/v2/tenants/settings.)
func (d *Directory) SettingsHandler() http.Handler {
	return management.Methods{
		http.MethodGet: d.guard.Require(ScopeReadTenantSettings, d.getSettings).Describe(management.Doc{
			Summary: "Read the tenant's settings",
			Answer:  management.Object("TenantSettings", settingsView{}), Tagged: true,
		}),
		http.MethodPatch: d.guard.Require(ScopeUpdateTenantSettings, d.patchSettings).Describe(management.Doc{
			Summary: "Change the tenant's settings",
			Body:    settingsPatch{}, Answer: management.Object("TenantSettings", settingsView{}), Tagged: true,
			Errors: []int{409},
		}),
	}
}

func (d *Directory) getSettings(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	t, err := d.tenantRecord(r.Context(), caller.TenantID)
	if err != nil {
		return err
	}
	return management.WriteRecord(w, r, http.StatusOK, tagOfSettings(&t), viewSettings(&t.Settings))
}

func tagOfSettings(t *store.Tenant) management.Tag {
	return management.TagOf(t.Version, viewSettings(&t.Settings))
}

func (d *Directory) patchSettings(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	patch, err := management.Decode[settingsPatch](w, r)
	if err != nil {
		return err
	}
	record, err := d.updateSettings(r.Context(), caller.TenantID, func(t *store.Tenant) error {
		if err := management.CheckMatch(r, tagOfSettings(t)); err != nil {
			return err
		}
		return patch.apply(&t.Settings)
	})
	if broken, ok := errors.AsType[*memberError](err); ok {
		return management.InvalidBody("%s", broken.Error())
	}
	if errors.Is(err, store.ErrConflict) {
		return management.Errorf(http.StatusConflict, "", "The settings are being changed by others, try again.")
	}
	if err != nil {
		return err
	}
	d.audit(r, caller, "tenant settings changed", caller.TenantID)
	return management.WriteRecord(w, r, http.StatusOK, tagOfSettings(&record), viewSettings(&record.Settings))
}
