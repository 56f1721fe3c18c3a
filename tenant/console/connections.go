package console

import (
	"net/http"
	"net/url"
)

type connectionView struct {
	ID                 string   `json:"id"`
	Name               string   `json:"name"`
	DisplayName        string   `json:"display_name"`
	Strategy           string   `json:"strategy"`
	IsDomainConnection bool     `json:"is_domain_connection"`
	EnabledClients     []string `json:"enabled_clients"`
}

type connectionsPage struct {
	Connections []connectionView
	MayChange   bool
}

func (c *Console) connections(v *visit) error {
	page := connectionsPage{MayChange: v.visitor.may("update:connections")}
	if err := v.call(http.MethodGet, "/connections?per_page=100", nil, &page.Connections); err != nil {
		return err
	}
	return v.render("connections", http.StatusOK, "Connections", page)
}

// promote makes a connection a domain connection, or takes that back.
func (c *Console) promote(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	is := form.Get("is_domain_connection") == "true"
	if err := v.call(http.MethodPatch, "/connections/"+url.PathEscape(form.Get("id")), map[string]bool{"is_domain_connection": is}, nil); err != nil {
		return err
	}
	if is {
		return v.redirect("/connections", "promoted")
	}
	return v.redirect("/connections", "demoted")
}
