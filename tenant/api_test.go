package tenant_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestCreateAPIFillsInDefaults(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now = c.Now })
	got, err := d.CreateAPI(t.Context(), store.API{
		TenantID: tenant.DefaultID, Audience: "appointments:api", Scopes: []store.APIScope{{Value: "read:contacts", Description: "Read contacts"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^rs_[a-z2-7]{26}$`).MatchString(got.ID) {
		t.Errorf("identifier %q", got.ID)
	}
	want := store.API{
		TenantID: tenant.DefaultID, ID: got.ID, Audience: "appointments:api",
		Scopes:           []store.APIScope{{Value: "read:contacts", Description: "Read contacts"}},
		SigningAlgorithm: "ES256", TokenLifetime: time.Hour,
		UserPolicy: store.PolicyRequireClientGrant, ClientPolicy: store.PolicyRequireClientGrant,
		Version: 1, CreatedAt: c.Now(), UpdatedAt: c.Now(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("returned (-want +got):\n%s", diff)
	}
	stored, err := d.API(t.Context(), theTenant(t, d), "appointments:api")
	if diff := cmp.Diff(want, stored); err != nil || diff != "" {
		t.Errorf("stored, %v (-want +got):\n%s", err, diff)
	}
	if _, err := d.CreateAPI(t.Context(), store.API{TenantID: tenant.DefaultID, Audience: "appointments:api"}); !errors.Is(err, store.ErrExists) {
		t.Errorf("the same audience again: %v", err)
	}
	list, _ := stores.APIs.APIs(t.Context(), tenant.DefaultID, store.Page{})
	if len(list) != 1 {
		t.Errorf("%d APIs", len(list))
	}
}

func TestCreateAPIChecksItsArguments(t *testing.T) {
	scope := func(values ...string) []store.APIScope {
		var list []store.APIScope
		for _, v := range values {
			list = append(list, store.APIScope{Value: v})
		}
		return list
	}
	for name, a := range map[string]store.API{
		"no tenant":                     {TenantID: "nobody"},
		"no audience":                   {Audience: "-"},
		"audience with a space":         {Audience: "a b"},
		"audience with a quote":         {Audience: `a"b`},
		"audience with a fragment":      {Audience: "https://api.example.com/#a"},
		"audience in another script":    {Audience: "https://äpi.example.com"},
		"audience too long":             {Audience: strings.Repeat("a", 601)},
		"management audience":           {Audience: issuer + "/api/v2/"},
		"management audience, no slash": {Audience: issuer + "/api/v2"},
		"userinfo audience":             {Audience: issuer + "/userinfo"},
		"the issuer":                    {Audience: issuer + "/"},
		"empty scope":                   {Scopes: scope("")},
		"scope with a space":            {Scopes: scope("a b")},
		"scope with a quote":            {Scopes: scope(`a"`)},
		"scope twice":                   {Scopes: scope("a", "a")},
		"openid":                        {Scopes: scope("openid")},
		"offline_access":                {Scopes: scope("offline_access")},
		"algorithm none":                {SigningAlgorithm: "none"},
		"algorithm HS256":               {SigningAlgorithm: "HS256"},
		"negative lifetime":             {TokenLifetime: -time.Second},
		"fraction of a second":          {TokenLifetime: 1500 * time.Millisecond},
		"lifetime of a year":            {TokenLifetime: 365 * 24 * time.Hour},
		"unknown policy":                {UserPolicy: "allow"},
		"unknown client policy":         {ClientPolicy: "allow"},
		"control characters in a name":  {Name: "a\nb"},
	} {
		d, stores := newDirectory(t, nil)
		if a.TenantID == "" {
			a.TenantID = tenant.DefaultID
		}
		if a.Audience == "" {
			a.Audience = "appointments:api"
		}
		if a.Audience == "-" {
			a.Audience = ""
		}
		got, err := d.CreateAPI(t.Context(), a)
		if err == nil || got.ID != "" {
			t.Errorf("%s: accepted as %+v", name, got)
		}
		if list, _ := stores.APIs.APIs(t.Context(), a.TenantID, store.Page{}); len(list) != 0 {
			t.Errorf("%s: stored", name)
		}
	}
}

func TestTheManagementAPIIsBuiltIn(t *testing.T) {
	d, stores := newDirectory(t, nil)
	tn := theTenant(t, d)
	api, err := d.API(t.Context(), tn, issuer+"/api/v2/")
	if err != nil || api.UserPolicy != store.PolicyDenyAll || !api.DisallowOfflineAccess {
		t.Errorf("%+v, %v", api, err)
	}
	var scopes []string
	for _, s := range api.Scopes {
		scopes = append(scopes, s.Value)
	}
	want := []string{
		tenant.ScopeReadTenantSettings, tenant.ScopeUpdateTenantSettings,
		tenant.ScopeReadConnections, tenant.ScopeCreateConnections, tenant.ScopeUpdateConnections, tenant.ScopeDeleteConnections,
		tenant.ScopeReadSigningKeys, tenant.ScopeCreateSigningKeys, tenant.ScopeUpdateSigningKeys,
		tenant.ScopeReadInitialAccessTokens, tenant.ScopeCreateInitialAccessTokens, tenant.ScopeDeleteInitialAccessTokens,
		tenant.ScopeUpdateClientKeys,
		tenant.ScopeReadClients, tenant.ScopeCreateClients, tenant.ScopeUpdateClients, tenant.ScopeDeleteClients,
		tenant.ScopeReadUsers, tenant.ScopeCreateUsers, tenant.ScopeUpdateUsers, tenant.ScopeDeleteUsers,
		tenant.ScopeReadGrants, tenant.ScopeDeleteGrants, tenant.ScopeReadSessions, tenant.ScopeDeleteSessions, tenant.ScopeReadRefreshTokens, tenant.ScopeDeleteRefreshTokens, tenant.ScopeReadLogs,
		tenant.ScopeReadResourceServers, tenant.ScopeCreateResourceServers, tenant.ScopeUpdateResourceServers, tenant.ScopeDeleteResourceServers,
		tenant.ScopeReadClientGrants, tenant.ScopeCreateClientGrants, tenant.ScopeUpdateClientGrants, tenant.ScopeDeleteClientGrants,
	}
	if diff := cmp.Diff(want, scopes); diff != "" {
		t.Error(diff)
	}
	if list, _ := stores.APIs.APIs(t.Context(), tn.ID(), store.Page{}); len(list) != 0 {
		t.Error("it has a record")
	}
	for _, other := range []string{"", "unknown", issuer + "/api/v2", "https://other.example.com/api/v2/"} {
		if _, err := d.API(t.Context(), tn, other); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v", other, err)
		}
	}
}

// grants sets up an API, clients of every kind, and the client grants given as
// "client subject scope,scope".
func grants(t *testing.T, userPolicy, clientPolicy string, list ...string) (*tenant.Directory, *store.API) {
	t.Helper()
	d, stores := newDirectory(t, nil)
	theTenant(t, d)
	for _, c := range kinds {
		if err := stores.Clients.CreateClient(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	api, err := d.CreateAPI(t.Context(), store.API{
		TenantID: tenant.DefaultID, Audience: "appointments:api", UserPolicy: userPolicy, ClientPolicy: clientPolicy,
		Scopes: []store.APIScope{{Value: "appointments"}, {Value: "contacts"}, {Value: "read:contacts"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		f := strings.Split(g, " ")
		if _, err := d.CreateClientGrant(t.Context(), store.ClientGrant{
			TenantID: tenant.DefaultID, ClientID: f[0], Audience: api.Audience, SubjectType: f[1],
			Scopes: strings.FieldsFunc(f[2], func(r rune) bool { return r == ',' || r == '-' }),
		}); err != nil {
			t.Fatal(err)
		}
	}
	return d, &api
}

var kinds = map[string]store.Client{
	"first":      {TenantID: tenant.DefaultID, ID: "first", FirstParty: true},
	"permissive": {TenantID: tenant.DefaultID, ID: "permissive", SecurityMode: store.ModePermissive, Dynamic: true},
	"strict":     {TenantID: tenant.DefaultID, ID: "strict", SecurityMode: store.ModeStrict, Dynamic: true},
	"unset":      {TenantID: tenant.DefaultID, ID: "unset"}, // the zero value is third party and strict
}

func TestAllowedScopes(t *testing.T) {
	const (
		need, all, deny = store.PolicyRequireClientGrant, store.PolicyAllowAll, store.PolicyDenyAll
		everyone        = store.DefaultForThirdParty
		every           = "appointments contacts read:contacts"
		refused         = "!"
	)
	for _, c := range []struct {
		user, machine string // policies
		grants        []string
		subject       string
		// what first, permissive, strict and unset clients get
		first, permissive, strict, unset string
	}{
		{need, deny, nil, "user", refused, refused, refused, refused},
		{all, deny, nil, "user", every, every, refused, refused},
		{deny, all, []string{everyone + " user contacts"}, "user", refused, refused, refused, refused},
		{need, deny, []string{everyone + " user contacts,appointments"}, "user", refused, "appointments contacts", "appointments contacts", "appointments contacts"},
		{all, deny, []string{everyone + " user contacts"}, "user", every, every, "contacts", "contacts"},
		{need, deny, []string{everyone + " user contacts", "strict user appointments"}, "user", refused, "contacts", "appointments", "contacts"},
		{need, deny, []string{everyone + " user contacts", "strict user -"}, "user", refused, "contacts", "", "contacts"},
		{need, deny, []string{"first user contacts", "permissive user appointments"}, "user", "contacts", "appointments", refused, refused},

		{all, need, []string{everyone + " user contacts"}, "client", refused, refused, refused, refused},
		{need, all, nil, "client", every, every, refused, refused},
		{need, deny, nil, "client", refused, refused, refused, refused},
		{need, need, []string{"first client contacts", "permissive client appointments"}, "client", "contacts", "appointments", refused, refused},
		{need, need, []string{"first user contacts"}, "client", refused, refused, refused, refused},
	} {
		d, api := grants(t, c.user, c.machine, c.grants...)
		for kind, want := range map[string]string{"first": c.first, "permissive": c.permissive, "strict": c.strict, "unset": c.unset} {
			client := kinds[kind]
			got, err := d.AllowedScopes(t.Context(), theTenant(t, d), api, &client, c.subject)
			if want == refused {
				if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeUnauthorizedClient || got != nil {
					t.Errorf("policies %s/%s, grants %v: %s client for %s gets %v, %v; want unauthorized_client", c.user, c.machine, c.grants, kind, c.subject, got, err)
				}
				continue
			}
			if err != nil || got == nil || strings.Join(got, " ") != want {
				t.Errorf("policies %s/%s, grants %v: %s client for %s gets %v, %v; want %q", c.user, c.machine, c.grants, kind, c.subject, got, err, want)
			}
		}
	}
}

// CreateClientGrant refuses it, but a record may have come another way.
func TestADefaultForMachinesIsNotHonoured(t *testing.T) {
	d, stores := newDirectory(t, nil)
	tn := theTenant(t, d)
	if err := stores.ClientGrants.CreateClientGrant(t.Context(), store.ClientGrant{
		TenantID: tn.ID(), ID: "cgr_1", ClientID: store.DefaultForThirdParty, Audience: "a", SubjectType: store.SubjectClient, Scopes: []string{"s"},
	}); err != nil {
		t.Fatal(err)
	}
	client := kinds["permissive"]
	api := store.API{Audience: "a", Scopes: []store.APIScope{{Value: "s"}}}
	if got, err := d.AllowedScopes(t.Context(), tn, &api, &client, store.SubjectClient); err == nil {
		t.Errorf("allowed %v", got)
	}
}

func TestScopesThatTheAPILostAreNotAllowed(t *testing.T) {
	d, api := grants(t, "", "", "strict user contacts,appointments")
	smaller := *api
	smaller.Scopes = []store.APIScope{{Value: "contacts"}}
	client := kinds["strict"]
	got, err := d.AllowedScopes(t.Context(), theTenant(t, d), &smaller, &client, store.SubjectUser)
	if diff := cmp.Diff([]string{"contacts"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestAPolicyOrSubjectThatIsUnknownAllowsNothing(t *testing.T) {
	d, api := grants(t, "", "", "first user contacts")
	strange := *api
	strange.UserPolicy = "allow_some"
	client := kinds["first"]
	if got, err := d.AllowedScopes(t.Context(), theTenant(t, d), &strange, &client, store.SubjectUser); err == nil || got != nil {
		t.Errorf("policy: %v", got)
	}
	if got, err := d.AllowedScopes(t.Context(), theTenant(t, d), api, &client, "robot"); err == nil || got != nil {
		t.Errorf("subject: %v", got)
	}
}

func TestTheManagementAPIIsForFirstPartyClientsThemselves(t *testing.T) {
	d, _ := grants(t, store.PolicyAllowAll, store.PolicyAllowAll)
	tn := theTenant(t, d)
	audience := tn.ManagementAudience()
	if _, err := d.CreateClientGrant(t.Context(), store.ClientGrant{
		TenantID: tn.ID(), ClientID: "first", Audience: audience, SubjectType: store.SubjectClient, Scopes: []string{"read:connections"},
	}); err != nil {
		t.Fatal(err)
	}
	api, err := d.API(t.Context(), tn, audience)
	if err != nil {
		t.Fatal(err)
	}
	for kind, client := range kinds {
		for _, subject := range []string{store.SubjectUser, store.SubjectClient} {
			got, err := d.AllowedScopes(t.Context(), tn, &api, &client, subject)
			if kind == "first" && subject == store.SubjectClient {
				if diff := cmp.Diff([]string{"read:connections"}, got); err != nil || diff != "" {
					t.Errorf("%v\n%s", err, diff)
				}
				continue
			}
			if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeUnauthorizedClient {
				t.Errorf("%s client for %s gets %v, %v", kind, subject, got, err)
			}
			if _, err := d.CreateClientGrant(t.Context(), store.ClientGrant{
				TenantID: tn.ID(), ClientID: client.ID, Audience: audience, SubjectType: subject,
			}); err == nil {
				t.Errorf("%s client for %s got a grant", kind, subject)
			}
		}
	}
	// Without a grant of its own a first-party client gets nothing either.
	other := store.Client{TenantID: tn.ID(), ID: "other", FirstParty: true}
	if got, err := d.AllowedScopes(t.Context(), tn, &api, &other, store.SubjectClient); err == nil {
		t.Errorf("without a grant: %v", got)
	}
}

// brokenGrants fails after the first read, which finds nothing.
type brokenGrants struct {
	store.ClientGrantStore
	reads, failAt int
}

func (b *brokenGrants) FindClientGrant(context.Context, string, string, string, string) (store.ClientGrant, error) {
	if b.reads++; b.reads >= b.failAt {
		return store.ClientGrant{}, errBroken
	}
	return store.ClientGrant{}, store.ErrNotFound
}

func TestAStoreErrorIsNotARefusal(t *testing.T) {
	for failAt := 1; failAt <= 2; failAt++ {
		d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores.ClientGrants = &brokenGrants{failAt: failAt} })
		client := kinds["strict"]
		api := store.API{Audience: "a", Scopes: []store.APIScope{{Value: "s"}}}
		got, err := d.AllowedScopes(t.Context(), theTenant(t, d), &api, &client, store.SubjectUser)
		if !errors.Is(err, errBroken) || got != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestCreateClientGrantChecksItsArguments(t *testing.T) {
	const api = "appointments:api"
	for name, g := range map[string]store.ClientGrant{
		"no tenant":                  {TenantID: "nobody", ClientID: "first", Audience: api, SubjectType: "user"},
		"no client":                  {Audience: api, SubjectType: "user"},
		"unknown client":             {ClientID: "nobody", Audience: api, SubjectType: "user"},
		"no API":                     {ClientID: "first", SubjectType: "user"},
		"unknown API":                {ClientID: "first", Audience: "x", SubjectType: "user"},
		"no subject type":            {ClientID: "first", Audience: api},
		"unknown subject type":       {ClientID: "first", Audience: api, SubjectType: "robot"},
		"scope the API lacks":        {ClientID: "first", Audience: api, SubjectType: "user", Scopes: []string{"contacts", "admin"}},
		"scope twice":                {ClientID: "first", Audience: api, SubjectType: "user", Scopes: []string{"contacts", "contacts"}},
		"standard scope":             {ClientID: "first", Audience: api, SubjectType: "user", Scopes: []string{"openid"}},
		"strict client as a machine": {ClientID: "strict", Audience: api, SubjectType: "client"},
		"every stranger's machine":   {ClientID: store.DefaultForThirdParty, Audience: api, SubjectType: "client"},
		"every stranger manages":     {ClientID: store.DefaultForThirdParty, Audience: issuer + "/api/v2/", SubjectType: "user"},
	} {
		d, _ := grants(t, "", "")
		if g.TenantID == "" {
			g.TenantID = tenant.DefaultID
		}
		if got, err := d.CreateClientGrant(t.Context(), g); err == nil || got.ID != "" {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
	d, _ := grants(t, "", "")
	got, err := d.CreateClientGrant(t.Context(), store.ClientGrant{
		TenantID: tenant.DefaultID, ClientID: "first", Audience: api, SubjectType: "user", Scopes: []string{"contacts"},
	})
	if err != nil || !regexp.MustCompile(`^cgr_[a-z2-7]{26}$`).MatchString(got.ID) || got.Version != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	got.ID = ""
	if _, err := d.CreateClientGrant(t.Context(), got); !errors.Is(err, store.ErrExists) {
		t.Errorf("the same again: %v", err)
	}
}
