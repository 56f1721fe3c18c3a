package console

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

type clientView struct {
	ID                      string    `json:"client_id"`
	Name                    string    `json:"name"`
	AppType                 string    `json:"app_type"`
	IsFirstParty            bool      `json:"is_first_party"`
	Blocked                 bool      `json:"blocked"`
	Dynamic                 bool      `json:"dynamic"`
	SecurityMode            string    `json:"third_party_security_mode"`
	Callbacks               []string  `json:"callbacks"`
	GrantTypes              []string  `json:"grant_types"`
	TokenEndpointAuthMethod string    `json:"token_endpoint_auth_method"`
	ClientURI               string    `json:"client_uri"`
	SoftwareID              string    `json:"software_id"`
	RegisteredFrom          string    `json:"registered_from"`
	CreatedAt               time.Time `json:"created_at"`
	ConfirmedAt             time.Time `json:"confirmed_at"`
	LastUsedAt              time.Time `json:"last_used_at"`
}

// Label is how pages call the application.
func (c clientView) Label() string {
	if c.Name == "" {
		return c.ID
	}
	return c.Name
}

// State says in a word where the application is in its life.
func (c clientView) State() string {
	switch {
	case c.Blocked:
		return "blocked"
	case !c.Dynamic:
		return "created here"
	case c.ConfirmedAt.IsZero():
		return "provisional"
	}
	return "confirmed"
}

// RedirectHosts are where users are sent: hosts, or the schemes of applications on
// devices.
func (c clientView) RedirectHosts() []string {
	var hosts []string
	for _, uri := range c.Callbacks {
		u, err := url.Parse(uri)
		if err != nil {
			continue
		}
		host := u.Host
		if host == "" {
			host = u.Scheme + ":"
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

type applicationsPage struct {
	Clients []clientView
	Kind    string
	Next    string
}

// kinds are the lists that can be chosen, with the filter of each.
var kinds = map[string]string{"": "", "dynamic": "&dynamic=true", "first-party": "&is_first_party=true"}

func (c *Console) applications(v *visit) error {
	query := v.r.URL.Query()
	page := applicationsPage{Kind: query.Get("kind")}
	filter, ok := kinds[page.Kind]
	if !ok {
		return &failure{http.StatusNotFound, "There is no such list."}
	}
	var list struct {
		Clients []clientView `json:"clients"`
		Next    string       `json:"next"`
	}
	if err := v.call(http.MethodGet, "/clients?take=50&from="+url.QueryEscape(query.Get("from"))+filter, nil, &list); err != nil {
		return err
	}
	page.Clients, page.Next = list.Clients, list.Next
	return v.render("applications", http.StatusOK, "Applications", page)
}

type applicationPage struct {
	clientView
	MayChange, MayDelete, MayReadEvents bool

	// The tenant's connections, from the checkpoint From on, for an application that has
	// to be among those that each of them lists.
	connectionList
	From                       string
	SeesConnections, MayEnable bool
}

func (c *Console) application(v *visit) error {
	query := v.r.URL.Query()
	page := applicationPage{
		MayChange: v.visitor.may("update:clients"), MayDelete: v.visitor.may("delete:clients"), MayReadEvents: v.visitor.may("read:logs"),
		From: query.Get("from"), SeesConnections: v.visitor.may("read:connections"), MayEnable: v.visitor.may("update:connections"),
	}
	id := query.Get("id")
	if id == "" {
		return errNoPage
	}
	if err := v.call(http.MethodGet, clientPath(id), nil, &page.clientView); err != nil {
		return err
	}
	if page.IsFirstParty && page.SeesConnections {
		var err error
		if page.connectionList, err = v.connectionsFrom(page.From); err != nil {
			return err
		}
	}
	return v.render("application", http.StatusOK, page.Label(), page)
}

// clientPath returns the path of a client in the management API. An identifier may be
// a URL, with slashes that are not the path's.
func clientPath(id string) string { return "/clients/" + url.PathEscape(id) }

func (c *Console) changeApplication(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	id, action := form.Get("id"), form.Get("action")
	if action == "delete" {
		if err := v.call(http.MethodDelete, clientPath(id), nil, nil); err != nil {
			return err
		}
		return v.redirect("/applications", "deleted")
	}
	changes := map[string]map[string]any{
		"first-party": {"is_first_party": true}, "third-party": {"is_first_party": false},
		"blocked": {"blocked": true}, "unblocked": {"blocked": false}, "forgotten": {"registered_from": nil},
	}
	change, ok := changes[action]
	if !ok {
		return &failure{http.StatusBadRequest, "The form is not one of this page."}
	}
	if err := v.call(http.MethodPatch, clientPath(id), change, nil); err != nil {
		return err
	}
	return v.redirect("/applications/one?id="+url.QueryEscape(id), action)
}
