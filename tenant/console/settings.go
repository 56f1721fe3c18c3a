package console

import "net/http"

// settings is the part of the tenant's settings that the console shows.
type settings struct {
	FriendlyName       string `json:"friendly_name"`
	SupportEmail       string `json:"support_email"`
	SupportURL         string `json:"support_url"`
	DefaultDirectory   string `json:"default_directory"`
	SecurityMode       string `json:"dynamic_client_registration_security_mode"`
	RegistrationAccess string `json:"dynamic_client_registration_access"`
	Flags              struct {
		Registration bool `json:"enable_dynamic_client_registration"`
		Management   bool `json:"enable_dynamic_client_management"`
		Documents    bool `json:"client_id_metadata_document_registration"`
	} `json:"flags"`
}

type settingsPage struct {
	settings
	MayChange bool
}

func (c *Console) settings(v *visit) error {
	page := settingsPage{MayChange: v.visitor.may("update:tenant_settings")}
	if err := v.call(http.MethodGet, "/tenants/settings", nil, &page.settings); err != nil {
		return err
	}
	return v.render("settings", http.StatusOK, "Settings", page)
}

// saveSettings saves one of the two forms of the page: a form changes what it shows and
// nothing else.
func (c *Console) saveSettings(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	patch := map[string]any{}
	switch form.Get("form") {
	case "general":
		for _, member := range []string{"friendly_name", "support_email", "support_url"} {
			if value := form.Get(member); value != "" {
				patch[member] = value
			} else {
				patch[member] = nil
			}
		}
	case "advanced":
		// A box that is not ticked is not sent.
		patch["flags"] = map[string]bool{
			"enable_dynamic_client_registration":       form.Get("enable_dynamic_client_registration") == "on",
			"enable_dynamic_client_management":         form.Get("enable_dynamic_client_management") == "on",
			"client_id_metadata_document_registration": form.Get("client_id_metadata_document_registration") == "on",
		}
		for _, member := range []string{"dynamic_client_registration_security_mode", "dynamic_client_registration_access"} {
			patch[member] = form.Get(member)
		}
	default:
		return &failure{http.StatusBadRequest, "The form is not one of this page."}
	}
	if err := v.call(http.MethodPatch, "/tenants/settings", patch, nil); err != nil {
		return err
	}
	return v.redirect("/settings", "settings")
}
