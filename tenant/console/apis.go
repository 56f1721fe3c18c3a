package console

import (
	"net/http"
	"net/url"
	"slices"
)

type apiView struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Identifier string `json:"identifier"`
	Scopes     []struct {
		Value       string `json:"value"`
		Description string `json:"description"`
	} `json:"scopes"`
	SigningAlgorithm   string `json:"signing_alg"`
	TokenLifetime      int64  `json:"token_lifetime"`
	AllowOfflineAccess bool   `json:"allow_offline_access"`
	SkipConsent        bool   `json:"skip_consent_for_verifiable_first_party_clients"`
	Authorization      struct {
		User struct {
			Policy string `json:"policy"`
		} `json:"user"`
	} `json:"subject_type_authorization"`

	// Default is the client grant of third-party applications, if there is one.
	Default *clientGrantView `json:"-"`
}

// Label is how pages call the API.
func (a apiView) Label() string {
	if a.Name == "" {
		return a.Identifier
	}
	return a.Name
}

// Allows reports whether third-party applications may ask for a scope by default.
func (a apiView) Allows(scope string) bool {
	return a.Default != nil && slices.Contains(a.Default.Scopes, scope)
}

type clientGrantView struct {
	ID       string   `json:"id"`
	Audience string   `json:"audience"`
	Scopes   []string `json:"scope"`
}

type apisPage struct {
	APIs []apiView
	// MayChange is about what third parties may ask for, MayChangeAPIs about the APIs.
	MayChange, MayChangeAPIs bool
}

func (c *Console) apis(v *visit) error {
	page := apisPage{MayChangeAPIs: v.visitor.may("update:resource_servers"), MayChange: v.visitor.may("create:client_grants") && v.visitor.may("update:client_grants") && v.visitor.may("delete:client_grants")}
	if err := v.call(http.MethodGet, "/resource-servers?per_page=100", nil, &page.APIs); err != nil {
		return err
	}
	defaults, err := v.defaults()
	if err != nil {
		return err
	}
	for i := range page.APIs {
		page.APIs[i].Default = defaults[page.APIs[i].Identifier]
	}
	return v.render("apis", http.StatusOK, "APIs", page)
}

// defaults returns the client grants of all third-party applications, by audience.
func (v *visit) defaults() (map[string]*clientGrantView, error) {
	var grants []clientGrantView
	if err := v.call(http.MethodGet, "/client-grants?per_page=100&subject_type=user&default_for=third_party_clients", nil, &grants); err != nil {
		return nil, err
	}
	byAudience := map[string]*clientGrantView{}
	for i := range grants {
		byAudience[grants[i].Audience] = &grants[i]
	}
	return byAudience, nil
}

// saveDefaults says what third-party applications may ask for.
func (c *Console) saveDefaults(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	audience, scopes := form.Get("audience"), form["scope"]
	if scopes == nil {
		scopes = []string{}
	}
	defaults, err := v.defaults()
	if err != nil {
		return err
	}
	grant, open := defaults[audience], form.Get("open") == "on"
	switch {
	case grant == nil && open:
		err = v.call(http.MethodPost, "/client-grants", map[string]any{
			"default_for": "third_party_clients", "subject_type": "user", "audience": audience, "scope": scopes,
		}, nil)
	case grant != nil && open:
		err = v.call(http.MethodPatch, "/client-grants/"+url.PathEscape(grant.ID), map[string]any{"scope": scopes}, nil)
	case grant != nil:
		err = v.call(http.MethodDelete, "/client-grants/"+url.PathEscape(grant.ID), nil, nil)
	}
	if err != nil {
		return err
	}
	return v.redirect("/apis", "defaults")
}

// saveConsent says whether users are asked for consent to first-party applications.
func (c *Console) saveConsent(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := v.call(http.MethodPatch, "/resource-servers/"+url.PathEscape(form.Get("id")), map[string]bool{
		"skip_consent_for_verifiable_first_party_clients": form.Get("skip_consent") == "on",
	}, nil); err != nil {
		return err
	}
	return v.redirect("/apis", "consent")
}
