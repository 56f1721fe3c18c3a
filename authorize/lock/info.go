package lock

import (
	"encoding/json"
	"net/http"
	"slices"
)

// Database is what Lock is told of a database connection.
type Database struct {
	Name, DisplayName string
	// Signup and Forgot say which of its tabs Lock shows.
	Signup, Forgot   bool
	RequiresUsername bool
	// PasswordPolicy is none, low, fair, good or excellent.
	PasswordPolicy string
	// MinPassword is zero if the policy says how long a password has to be.
	MinPassword int
	// MaxUsername is zero if the length of usernames is not limited.
	MinUsername, MaxUsername int
}

// Upstream is what Lock is told of a connection to another provider.
type Upstream struct {
	Name, DisplayName, Strategy string
	// Domains are those of the email addresses that lead there.
	Domains []string
	Button  bool
}

// social are the strategies for which every version of Lock has a button of their own.
// Apple is not among them: the oldest would not show it.
var social = []string{"github", "google-oauth2"}

// appearance is what a connection looks like in Lock, which decides by the strategy. It
// is one that every version of Lock knows: they leave out what they do not know.
type appearance struct {
	strategy string
	domains  []string
}

// appearances are the ways to choose the connection in Lock.
func (u *Upstream) appearances() []appearance {
	var list []appearance
	if len(u.Domains) > 0 {
		list = append(list, appearance{"custom", u.Domains}) // found by the domain, and nothing else
	}
	switch {
	case !u.Button:
	case slices.Contains(social, u.Strategy):
		list = append(list, appearance{u.Strategy, nil})
	default:
		list = append(list, appearance{"oauth2", nil}) // a button with the connection's name
	}
	return list
}

// tenantUpstream is a connection to another provider on the tenant's information.
type tenantUpstream struct {
	Name        string   `json:"name"`
	DisplayName string   `json:"displayName,omitempty"`
	Strategy    string   `json:"strategy"`
	Domains     []string `json:"domains,omitempty"`
}

// clientUpstream is one on a client's information.
type clientUpstream struct {
	Name        string   `json:"name"`
	DisplayName string   `json:"display_name,omitempty"`
	Domains     []string `json:"domain_aliases,omitempty"`
}

type usernameLength struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

type complexity struct {
	MinLength int `json:"min_length"`
}

func (d *Database) username() *usernameLength {
	if d.MaxUsername == 0 {
		return nil
	}
	return &usernameLength{d.MinUsername, d.MaxUsername}
}

// tenantDatabase is a connection on the tenant's information. Versions of Lock
// differ about the names of its switches.
type tenantDatabase struct {
	Name             string `json:"name"`
	DisplayName      string `json:"displayName,omitempty"`
	Strategy         string `json:"strategy"`
	AllowSignup      bool   `json:"allowSignup"`
	AllowForgot      bool   `json:"allowForgot"`
	ShowSignup       bool   `json:"showSignup"` // 10.7
	ShowForgot       bool   `json:"showForgot"` // 10.7
	RequiresUsername bool   `json:"requiresUsername"`
	Validation       struct {
		PasswordPolicy string          `json:"passwordPolicy"`
		Username       *usernameLength `json:"username,omitempty"`
	} `json:"validation"`
}

// WriteTenantInfo answers with the connections of a tenant that are open to every
// third-party application. defaultDirectory is the name of the one that is
// preferred, empty for none.
func WriteTenantInfo(w http.ResponseWriter, databases []Database, upstreams []Upstream, defaultDirectory string) {
	var info struct {
		Connections struct {
			Database   []tenantDatabase `json:"database"`
			Social     []tenantUpstream `json:"social,omitempty"`
			Enterprise []tenantUpstream `json:"enterprise,omitempty"`
		} `json:"connections"`
		DefaultDirectory string `json:"defaultDirectory,omitempty"`
	}
	info.DefaultDirectory = defaultDirectory
	info.Connections.Database = []tenantDatabase{}
	for i := range databases {
		d := &databases[i]
		t := tenantDatabase{
			Name: d.Name, DisplayName: d.DisplayName, Strategy: "auth0", AllowSignup: d.Signup, AllowForgot: d.Forgot,
			ShowSignup: d.Signup, ShowForgot: d.Forgot, RequiresUsername: d.RequiresUsername,
		}
		t.Validation.PasswordPolicy, t.Validation.Username = d.PasswordPolicy, d.username()
		info.Connections.Database = append(info.Connections.Database, t)
	}
	for i := range upstreams {
		u := &upstreams[i]
		for _, a := range u.appearances() {
			list := &info.Connections.Social
			if len(a.domains) > 0 {
				list = &info.Connections.Enterprise
			}
			*list = append(*list, tenantUpstream{u.Name, u.DisplayName, a.strategy, a.domains})
		}
	}
	writeScript(w, "Auth0.setTenant", info)
}

// clientDatabase is a connection on a client's information.
type clientDatabase struct {
	Name             string      `json:"name"`
	DisplayName      string      `json:"display_name,omitempty"`
	ShowSignup       bool        `json:"showSignup"`
	ShowForgot       bool        `json:"showForgot"`
	RequiresUsername bool        `json:"requires_username"`
	PasswordPolicy   string      `json:"passwordPolicy"`
	Complexity       *complexity `json:"password_complexity_options,omitempty"`
	Validation       struct {
		Username *usernameLength `json:"username,omitempty"`
	} `json:"validation"`
}

type strategy struct {
	Name        string `json:"name"`
	Connections []any  `json:"connections"` // clientDatabase or clientUpstream
}

// WriteClientInfo answers with the connections of one client.
func WriteClientInfo(w http.ResponseWriter, clientID, tenant string, databases []Database, upstreams []Upstream) {
	info := struct {
		ID         string     `json:"id"`
		Tenant     string     `json:"tenant"`
		Strategies []strategy `json:"strategies"`
	}{clientID, tenant, []strategy{}}
	if len(databases) > 0 {
		info.Strategies = []strategy{{Name: "auth0"}}
	}
	for i := range databases {
		d := &databases[i]
		c := clientDatabase{
			Name: d.Name, DisplayName: d.DisplayName, ShowSignup: d.Signup, ShowForgot: d.Forgot,
			RequiresUsername: d.RequiresUsername, PasswordPolicy: d.PasswordPolicy,
		}
		if d.MinPassword > 0 {
			c.Complexity = &complexity{d.MinPassword}
		}
		c.Validation.Username = d.username()
		info.Strategies[0].Connections = append(info.Strategies[0].Connections, c)
	}
	for i := range upstreams {
		u := &upstreams[i]
		for _, a := range u.appearances() {
			at := slices.IndexFunc(info.Strategies, func(s strategy) bool { return s.Name == a.strategy })
			if at < 0 {
				at = len(info.Strategies)
				info.Strategies = append(info.Strategies, strategy{Name: a.strategy})
			}
			info.Strategies[at].Connections = append(info.Strategies[at].Connections, clientUpstream{u.Name, u.DisplayName, a.domains})
		}
	}
	writeScript(w, "Auth0.setClient", info)
}

// writeScript answers with a call of function. Encoded JSON has neither </script>
// nor U+2028 in it.
func writeScript(w http.ResponseWriter, function string, argument any) {
	plain, err := json.Marshal(argument)
	if err != nil {
		panic(err) // strings, numbers and booleans always encode
	}
	h := w.Header()
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write([]byte(function + "(" + string(plain) + ");"))
}
