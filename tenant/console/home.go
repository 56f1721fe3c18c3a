package console

import "net/http"

type homePage struct {
	settings
	Issuer string
	// Domain and Connections count connections, where the visitor may see them.
	SeesSettings, SeesConnections bool
	Domain, Connections           int
}

func (c *Console) home(v *visit) error {
	page := homePage{
		Issuer: c.cfg.Issuer, SeesSettings: v.visitor.may("read:tenant_settings"), SeesConnections: v.visitor.may("read:connections"),
	}
	if page.SeesSettings {
		if err := v.call(http.MethodGet, "/tenants/settings", nil, &page.settings); err != nil {
			return err
		}
	}
	if page.SeesConnections {
		var connections []connectionView
		if err := v.call(http.MethodGet, "/connections?per_page=100", nil, &connections); err != nil {
			return err
		}
		page.Connections = len(connections)
		for i := range connections {
			if connections[i].IsDomainConnection {
				page.Domain++
			}
		}
	}
	return v.render("home", http.StatusOK, "Overview", page)
}
