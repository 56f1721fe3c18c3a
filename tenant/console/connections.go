package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
)

type connectionView struct {
	ID                 string   `json:"id"`
	Name               string   `json:"name"`
	DisplayName        string   `json:"display_name"`
	Strategy           string   `json:"strategy"`
	IsDomainConnection bool     `json:"is_domain_connection"`
	ShowAsButton       *bool    `json:"show_as_button"`
	EnabledClients     []string `json:"enabled_clients"`
	// Options are shown as far as they say where users sign in. Secrets are not among
	// what the management API answers.
	Options struct {
		Issuer           string   `json:"issuer"`
		DiscoveryURL     string   `json:"discovery_url"`
		AuthorizationURL string   `json:"authorizationURL"`
		Domain           string   `json:"domain"`
		TenantDomain     string   `json:"tenant_domain"`
		DomainAliases    []string `json:"domain_aliases"`
		OwnRedirectURI   bool     `json:"own_redirect_uri"`
	} `json:"options"`

	// RedirectURI is what has to be registered at another provider, empty for a
	// connection that leads to none.
	RedirectURI string `json:"-"`
}

// IsUpstream reports whether users sign in at another provider.
func (c *connectionView) IsUpstream() bool { return c.Strategy != "auth0" && c.Strategy != "host" }

// HasButton reports whether login pages have a button for it.
func (c *connectionView) HasButton() bool {
	if c.ShowAsButton != nil {
		return *c.ShowAsButton
	}
	return len(c.Options.DomainAliases) == 0
}

// EnabledFor reports whether a first-party application may use the connection.
func (c *connectionView) EnabledFor(client string) bool {
	return slices.Contains(c.EnabledClients, client)
}

// Kind says in words what the connection is.
func (c *connectionView) Kind() string {
	switch c.Strategy {
	case "auth0":
		return "database"
	case "host":
		return "login of the application"
	case "oidc":
		return "OpenID Provider"
	case "oauth2":
		return "OAuth 2.0 server"
	case "google-oauth2":
		return "Google"
	case "waad":
		return "Microsoft Entra ID"
	case "github":
		return "GitHub"
	case "apple":
		return "Apple"
	case "auth0-oidc":
		return "Auth0"
	case "keycloak":
		return "Keycloak"
	}
	return c.Strategy
}

// At says where users sign in, empty if the kind says it.
func (c *connectionView) At() string {
	o := &c.Options
	return cmp.Or(o.Issuer, o.DiscoveryURL, o.AuthorizationURL, o.Domain, o.TenantDomain)
}

// connectionList is a page of the tenant's connections.
type connectionList struct {
	Connections []*connectionView `json:"connections"`
	Next        string            `json:"next"`
}

// connectionsFrom returns the connections from a checkpoint on.
func (v *visit) connectionsFrom(from string) (connectionList, error) {
	var list connectionList
	err := v.call(http.MethodGet, "/connections?take=50&from="+url.QueryEscape(from), nil, &list)
	return list, err
}

// addressAt says what has to be registered at the provider that a connection leads to.
func (c *Console) addressAt(view *connectionView) {
	switch {
	case !view.IsUpstream():
	case view.Options.OwnRedirectURI:
		view.RedirectURI = c.cfg.LoginCallback + "/" + url.PathEscape(view.ID)
	default:
		view.RedirectURI = c.cfg.LoginCallback
	}
}

type connectionsPage struct {
	connectionList
	MayChange bool
}

func (c *Console) connections(v *visit) error {
	page := connectionsPage{MayChange: v.visitor.may("update:connections")}
	var err error
	if page.connectionList, err = v.connectionsFrom(v.r.URL.Query().Get("from")); err != nil {
		return err
	}
	for _, view := range page.Connections {
		c.addressAt(view)
	}
	return v.render("connections", http.StatusOK, "Connections", page)
}

// connectionPath returns the path of a connection in the management API.
func connectionPath(id string) string { return "/connections/" + url.PathEscape(id) }

// promote makes a connection a domain connection, or takes that back.
func (c *Console) promote(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	is := form.Get("is_domain_connection") == "true"
	if err := v.call(http.MethodPatch, connectionPath(form.Get("id")), map[string]bool{"is_domain_connection": is}, nil); err != nil {
		return err
	}
	if is {
		return v.redirect("/connections", "promoted")
	}
	return v.redirect("/connections", "demoted")
}
