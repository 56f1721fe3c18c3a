package console

import (
	"net/http"
	"net/url"
	"strings"
)

// This file is about which first-party applications may use which connection. It can be
// seen and changed from both sides.

type connectionPage struct {
	connectionView
	MayChange, SeesApplications bool

	// Enabled are applications that may use the connection, from the checkpoint From on.
	Enabled    []enabledView
	From, Next string
}

type enabledView struct {
	ClientID string `json:"client_id"`
}

func (c *Console) connection(v *visit) error {
	query := v.r.URL.Query()
	page := connectionPage{MayChange: v.visitor.may("update:connections"), SeesApplications: v.visitor.may("read:clients"), From: query.Get("from")}
	id := query.Get("id")
	if id == "" {
		return errNoPage
	}
	path := connectionPath(id)
	if err := v.call(http.MethodGet, path, nil, &page.connectionView); err != nil {
		return err
	}
	c.addressAt(&page.connectionView)
	var list struct {
		Clients []enabledView `json:"clients"`
		Next    string        `json:"next"`
	}
	if err := v.call(http.MethodGet, path+"/clients?take=50&from="+url.QueryEscape(page.From), nil, &list); err != nil {
		return err
	}
	page.Enabled, page.Next = list.Clients, list.Next
	return v.render("connection", http.StatusOK, page.Name, &page)
}

// enableConnection answers the form on the page of an application, enableForApplication
// the one on the page of a connection.
func (c *Console) enableConnection(v *visit) error { return v.enable("/applications/one", "client") }
func (c *Console) enableForApplication(v *visit) error {
	return v.enable("/connections/one", "connection")
}

// enable enables a connection for an application, or takes that back, and returns to the
// page of what the field shown names.
func (v *visit) enable(page, shown string) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	client, note := strings.TrimSpace(form.Get("client")), form.Get("action")
	if client == "" {
		return &failure{http.StatusBadRequest, "Say which application, by its client ID."}
	}
	switch note {
	case "enabled":
		// A connection lists what it is told to. It may go on listing what was deleted, so
		// that this is not asked when it is taken back.
		if err := v.call(http.MethodGet, clientPath(client), nil, nil); err != nil {
			return err
		}
	case "disabled":
	default:
		return &failure{http.StatusBadRequest, "The form is not one of this page."}
	}
	if err := v.call(http.MethodPatch, connectionPath(form.Get("connection"))+"/clients", []map[string]any{
		{"client_id": client, "status": note == "enabled"},
	}, nil); err != nil {
		return err
	}
	return v.redirect(page+"?"+url.Values{"id": {form.Get(shown)}, "from": {form.Get("from")}}.Encode(), note)
}
