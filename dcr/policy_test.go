package dcr

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

// registeredAs is what of an application the rules are about.
type registeredAs struct {
	Name, Method, Scope, Logo string
	Redirects, Grants, Types  []string
}

func as(c *store.Client) registeredAs {
	return registeredAs{
		Name: c.Name, Method: c.TokenEndpointAuthMethod, Scope: c.Scope, Logo: c.Extra().LogoURI,
		Redirects: c.RedirectURIs, Grants: c.AllowedGrantTypes(), Types: c.AllowedResponseTypes(),
	}
}

var pageURI = []string{"https://client.example.com/cb"}

// rulesCases are shared by the rules of the host and those of a tenant.
var rulesCases = []struct {
	rule    string
	rules   store.RegistrationRules
	members string
	want    registeredAs // if refused is empty
	reasons string
	refused string // code and description
}{
	{rule: "no rules", members: `"grant_types":["implicit"],"response_types":["id_token"]`,
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI, Grants: []string{"implicit"}, Types: []string{"id_token"}}},

	{rule: "an application without grant types gets those of its default that are allowed", rules: store.RegistrationRules{GrantTypes: []string{"refresh_token", "authorization_code", "client_credentials"}},
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI, Grants: []string{"authorization_code", "refresh_token"}, Types: []string{"code"}}},
	{rule: "or, if there is none, all that are", rules: store.RegistrationRules{GrantTypes: []string{"client_credentials"}}, members: `"redirect_uris":[]`,
		want: registeredAs{Name: "x", Method: "client_secret_post", Grants: []string{"client_credentials"}, Types: []string{"code"}}},
	{rule: "grant types that are not allowed are left out", rules: store.RegistrationRules{GrantTypes: []string{"authorization_code"}}, members: `"grant_types":["authorization_code","refresh_token"]`,
		want:    registeredAs{Method: "client_secret_post", Redirects: pageURI, Grants: []string{"authorization_code"}, Types: []string{"code"}},
		reasons: "grant_types: refresh_token may not be registered here"},
	{rule: "with the response types that need them", rules: store.RegistrationRules{GrantTypes: []string{"authorization_code"}},
		members: `"grant_types":["authorization_code","implicit"],"response_types":["code","id_token","code id_token"]`,
		want:    registeredAs{Method: "client_secret_post", Redirects: pageURI, Grants: []string{"authorization_code"}, Types: []string{"code"}},
		reasons: "grant_types: implicit may not be registered here"},
	{rule: "an application that has no grant type left is refused", rules: store.RegistrationRules{GrantTypes: []string{"authorization_code"}}, members: `"grant_types":["implicit"],"response_types":["id_token"]`,
		refused: "invalid_client_metadata grant_types has nothing that may be registered here: authorization_code"},
	{rule: "refresh tokens alone are nothing", rules: store.RegistrationRules{GrantTypes: []string{"authorization_code", "refresh_token"}}, members: `"grant_types":["implicit","refresh_token"],"response_types":["id_token"]`,
		refused: "invalid_client_metadata grant_types has nothing that may be registered here: authorization_code, refresh_token"},
	{rule: "and one that has no response type left", rules: store.RegistrationRules{GrantTypes: []string{"authorization_code"}},
		members: `"grant_types":["authorization_code","implicit"],"response_types":["code id_token"]`,
		refused: "invalid_client_metadata response_types has nothing that may be registered here with the grant types authorization_code"},

	{rule: "an application without scope gets those that are allowed", rules: store.RegistrationRules{Scopes: []string{"openid", "profile"}},
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI, Scope: "openid profile"}},
	{rule: "scopes that are not allowed are left out", rules: store.RegistrationRules{Scopes: []string{"openid", "profile"}}, members: `"scope":"openid email"`,
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI, Scope: "openid"}, reasons: "scope: 'email' may not be registered here"},
	{rule: "an application that has no scope left is refused", rules: store.RegistrationRules{Scopes: []string{"openid"}}, members: `"scope":"email"`,
		refused: "invalid_client_metadata scope has nothing that may be registered here"},

	{rule: "an application without method gets the first one", rules: store.RegistrationRules{AuthMethods: []string{"none", "client_secret_basic"}},
		want: registeredAs{Method: "none", Redirects: pageURI}},
	{rule: "unless the default is allowed", rules: store.RegistrationRules{AuthMethods: []string{"none", "client_secret_post"}},
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI}},
	{rule: "another method is refused", rules: store.RegistrationRules{AuthMethods: []string{"none"}}, members: `"token_endpoint_auth_method":"client_secret_basic"`,
		refused: "invalid_client_metadata token_endpoint_auth_method: client_secret_basic is not one of those that may be registered here: none"},

	{rule: "a scheme that is allowed", rules: store.RegistrationRules{RedirectSchemes: []string{"https", "com.example.app"}}, members: `"redirect_uris":["com.example.app:/cb","HTTPS://client.example.com/cb"]`,
		want: registeredAs{Name: "x", Method: "client_secret_post", Redirects: []string{"com.example.app:/cb", "HTTPS://client.example.com/cb"}}},
	{rule: "a scheme that is not", rules: store.RegistrationRules{RedirectSchemes: []string{"https"}}, members: `"redirect_uris":["http://127.0.0.1/cb"]`,
		refused: "invalid_redirect_uri redirect_uris: 'http://127.0.0.1/cb' has a scheme that may not be registered here"},
	{rule: "a private-use scheme that is not", rules: store.RegistrationRules{RedirectSchemes: []string{"https"}}, members: `"redirect_uris":["com.example.app:/cb"]`,
		refused: "invalid_redirect_uri redirect_uris: 'com.example.app:/cb' has a scheme that may not be registered here"},

	{rule: "a host that is allowed", rules: store.RegistrationRules{RedirectHosts: []string{"client.example.com"}}, members: `"redirect_uris":["https://CLIENT.example.com:443/cb"]`,
		want: registeredAs{Name: "x", Method: "client_secret_post", Redirects: []string{"https://CLIENT.example.com:443/cb"}}},
	{rule: "a host below one", rules: store.RegistrationRules{RedirectHosts: []string{"*.example.com"}},
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI}},
	{rule: "the one above is not below", rules: store.RegistrationRules{RedirectHosts: []string{"*.client.example.com"}},
		refused: "invalid_redirect_uri redirect_uris: 'https://client.example.com/cb' is not at a host that may be registered here"},
	{rule: "one that ends alike is not below", rules: store.RegistrationRules{RedirectHosts: []string{"*.example.com"}}, members: `"redirect_uris":["https://evilexample.com/cb"]`,
		refused: "invalid_redirect_uri redirect_uris: 'https://evilexample.com/cb' is not at a host that may be registered here"},
	{rule: "one that begins alike is another", rules: store.RegistrationRules{RedirectHosts: []string{"client.example.com"}}, members: `"redirect_uris":["https://client.example.com.evil.example/cb"]`,
		refused: "invalid_redirect_uri redirect_uris: 'https://client.example.com.evil.example/cb' is not at a host that may be registered here"},
	{rule: "another port is another", rules: store.RegistrationRules{RedirectHosts: []string{"client.example.com"}}, members: `"redirect_uris":["https://client.example.com:8443/cb"]`,
		refused: "invalid_redirect_uri redirect_uris: 'https://client.example.com:8443/cb' is not at a host that may be registered here"},
	{rule: "a host with the port", rules: store.RegistrationRules{RedirectHosts: []string{"client.example.com:8443"}}, members: `"redirect_uris":["https://client.example.com:8443/cb"]`,
		want: registeredAs{Name: "x", Method: "client_secret_post", Redirects: []string{"https://client.example.com:8443/cb"}}},
	{rule: "a loopback host has no port", rules: store.RegistrationRules{RedirectHosts: []string{"127.0.0.1", "[::1]"}}, members: `"redirect_uris":["http://127.0.0.1:9876/cb","http://[::1]:1/cb"]`,
		want: registeredAs{Name: "x", Method: "client_secret_post", Redirects: []string{"http://127.0.0.1:9876/cb", "http://[::1]:1/cb"}}},
	{rule: "a private-use URI has no host", rules: store.RegistrationRules{RedirectHosts: []string{"client.example.com"}}, members: `"redirect_uris":["com.example.app:/cb"]`,
		refused: "invalid_redirect_uri redirect_uris: 'com.example.app:/cb' is not at a host that may be registered here"},
	{rule: "a private-use URI passes by its scheme", rules: store.RegistrationRules{RedirectHosts: []string{"client.example.com"}, RedirectSchemes: []string{"com.example.app"}}, members: `"redirect_uris":["com.example.app://other/cb"]`,
		want: registeredAs{Name: "x", Method: "client_secret_post", Redirects: []string{"com.example.app://other/cb"}}},
	{rule: "a host that is refused", rules: store.RegistrationRules{RefusedRedirectHosts: []string{"client.example.com"}},
		refused: "invalid_redirect_uri redirect_uris: 'https://client.example.com/cb' is not at a host that may be registered here"},
	{rule: "logout redirects obey too", rules: store.RegistrationRules{RedirectHosts: []string{"client.example.com"}}, members: `"post_logout_redirect_uris":["https://other.example/out"]`,
		refused: "invalid_client_metadata post_logout_redirect_uris: 'https://other.example/out' is not at a host that may be registered here"},

	{rule: "a name that looks like a refused one", rules: store.RegistrationRules{RefusedNames: []string{"Acme Bank"}}, members: `"client_name":"The \u0410cme\u00a0B\u200dank App"`,
		refused: "invalid_client_metadata client_name looks like a name that may not be registered here"},
	{rule: "another name", rules: store.RegistrationRules{RefusedNames: []string{"Acme Bank"}}, members: `"client_name":"Acme Notes"`,
		want: registeredAs{Name: "Acme Notes", Method: "client_secret_post", Redirects: pageURI}},

	{rule: "no logos", rules: store.RegistrationRules{Logos: store.LogosNone}, members: `"logo_uri":"https://client.example.com/logo.png"`,
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI}, reasons: "logo_uri may not be registered here"},
	{rule: "logos of redirect hosts", rules: store.RegistrationRules{Logos: store.LogosOfRedirectHosts}, members: `"logo_uri":"https://CLIENT.example.com/logo.png"`,
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI, Logo: "https://CLIENT.example.com/logo.png"}},
	{rule: "others", rules: store.RegistrationRules{Logos: store.LogosOfRedirectHosts}, members: `"logo_uri":"https://bank.example/logo.png"`,
		want: registeredAs{Method: "client_secret_post", Redirects: pageURI}, reasons: "logo_uri may not be registered here"},
}

// The rules of the host and those of a tenant do the same, for registrations and for
// changes of them.
func TestRegistrationRules(t *testing.T) {
	for _, c := range rulesCases {
		for place, o := range map[string]options{
			"host":   {config: func(cfg *Config) { cfg.Policy.Rules = c.rules }},
			"tenant": {settings: func(s *store.TenantSettings) { s.DynamicClientRegistrationRules = &c.rules }},
		} {
			t.Run(place+"/"+c.rule, func(t *testing.T) {
				o.mode = store.ModePermissive
				settings := o.settings
				o.settings = func(s *store.TenantSettings) {
					manageable(s)
					if settings != nil {
						settings(s)
					}
				}
				f, rec := recorded(t, o)
				w := f.post(with(c.members))
				info := f.decode(w)
				event := rec.events[0]
				if c.refused != "" {
					if got := info.Error + " " + info.ErrorDescription; got != c.refused || w.Code != http.StatusBadRequest {
						t.Errorf("%d %s, want %s", w.Code, got, c.refused)
					}
					if n := len(f.clients()); n != 0 {
						t.Errorf("%d clients stored", n)
					}
					if event.Outcome != audit.Refused || strings.Join(event.Reasons, "; ") != info.ErrorDescription {
						t.Errorf("event %+v", event)
					}
					return
				}
				if w.Code != http.StatusCreated {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
				stored := f.client(info.ClientID)
				want := c.want
				if want.Grants == nil {
					want.Grants, want.Types = as(&stored).Grants, as(&stored).Types
				}
				if diff := cmp.Diff(want, as(&stored)); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
				wantOutcome := audit.Allowed
				if c.reasons != "" {
					wantOutcome = audit.Narrowed
				}
				if event.Outcome != wantOutcome || strings.Join(event.Reasons, "; ") != c.reasons {
					t.Errorf("event %+v, want %s %q", event, wantOutcome, c.reasons)
				}
				// What is answered is what a change of it would be made from.
				if len(info.ResponseTypes) == 0 {
					return
				}
				w = f.configure("PUT", info.ClientID, info.RegistrationAccessToken, strings.TrimSuffix(with(c.members), "}")+`,"client_id":"`+info.ClientID+`"}`)
				if w.Code != http.StatusOK {
					t.Fatalf("PUT of the same: %d %s", w.Code, w.Body)
				}
				again := f.client(info.ClientID)
				if diff := cmp.Diff(as(&stored), as(&again)); diff != "" {
					t.Errorf("a PUT of the same (-POST +PUT):\n%s", diff)
				}
			})
		}
	}
}

// A change cannot get around what a registration could not.
func TestRegistrationRulesHoldForUpdates(t *testing.T) {
	for _, c := range rulesCases {
		if c.refused == "" {
			continue
		}
		f := newFixture(t, options{mode: store.ModePermissive, settings: manageable})
		info := f.managed(with(""))
		before := f.client(info.ClientID)
		f.registrar.cfg.Policy.Rules = c.rules
		w := f.configure("PUT", info.ClientID, info.RegistrationAccessToken, f.replacement(info.ClientID, c.members))
		answer := f.decode(w)
		if got := answer.Error + " " + answer.ErrorDescription; w.Code != http.StatusBadRequest || got != c.refused {
			t.Errorf("%s: %d %s, want %s", c.rule, w.Code, got, c.refused)
		}
		if diff := cmp.Diff(before, f.client(info.ClientID)); diff != "" {
			t.Errorf("%s: changed all the same:\n%s", c.rule, diff)
		}
	}
}

// Each narrows what the other leaves.
func TestTheRulesOfHostAndTenantAddUp(t *testing.T) {
	f := newFixture(t, options{
		config: func(c *Config) {
			c.Policy.Rules = store.RegistrationRules{Scopes: []string{"openid", "profile"}, RefusedNames: []string{"Acme"}}
		},
		settings: func(s *store.TenantSettings) {
			s.DynamicClientRegistrationRules = &store.RegistrationRules{Scopes: []string{"profile", "email"}, RefusedNames: []string{"Widgets"}}
		},
	})
	if _, c := f.register(with("")); c.Scope != "profile" {
		t.Errorf("scope %q", c.Scope)
	}
	for _, name := range []string{"acme", "w1dgets"} {
		if w := f.post(with(`"client_name":"` + name + `"`)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// What the tenant itself says is first party is not measured by what is for strangers,
// and neither is what an administrator sets up.
func TestRegistrationRulesAreForThirdParties(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Policy.Rules = store.RegistrationRules{RefusedNames: []string{"Acme"}} }})
	_, value := f.grantAccess(InitialAccessToken{Policy: InitialAccessPolicy{FirstParty: true}})
	if w := f.postWith("Bearer "+value, with(`"client_name":"Acme"`)); w.Code != http.StatusCreated {
		t.Errorf("first party: %d %s", w.Code, w.Body)
	}
	_, value = f.grantAccess(InitialAccessToken{})
	if w := f.postWith("Bearer "+value, with(`"client_name":"Acme"`)); w.Code != http.StatusBadRequest {
		t.Errorf("third party with a token: %d %s", w.Code, w.Body)
	}
	if status, answer := f.manage(clientScopes, "POST", "", `{"name":"Acme","callbacks":["https://own.example.com/cb"]}`); status != http.StatusCreated {
		t.Errorf("an administrator's: %d %v", status, answer)
	}
}

func TestDocumentsObeyThePolicy(t *testing.T) {
	f, w := published(t, options{config: func(c *Config) { c.Policy.Rules = store.RegistrationRules{RefusedNames: []string{"Acme"}} }})
	rec := &recorder{}
	f.registrar.cfg.Audit = rec
	var seen Candidate
	f.registrar.cfg.Policy.Decide = func(_ context.Context, c Candidate) (Decision, error) {
		seen = c
		return Decision{Without: []string{"logo_uri"}, Notes: map[string]string{"risk": "low"}}, nil
	}
	document := func(members string) string {
		return `{"client_id":"` + documentURL + `","redirect_uris":["https://app.example.com/cb"],"logo_uri":"https://app.example.com/l.png"` + members + `}`
	}
	w.put(documentURL, webPage{body: document(`,"client_name":"Notes"`)})
	c, err := f.resolve(documentURL)
	if err != nil || c.Extra().LogoURI != "" || c.Notes == nil || c.Notes.Metadata["risk"] != "low" {
		t.Errorf("%+v (%v)", c, err)
	}
	if seen.Occasion != Publishing || seen.Client.ID != documentURL || seen.Caller != (Caller{}) || seen.Client.Extra().LogoURI == "" {
		t.Errorf("the policy saw %+v", seen)
	}
	if got := rec.take(); got != "client.document narrowed by logo_uri is left out" {
		t.Errorf("event %q", got)
	}
	other := "https://app.example.com/other.json"
	w.put(other, webPage{body: strings.Replace(document(`,"client_name":"4cme"`), documentURL, other, 1)})
	_, err = f.resolve(other)
	f.unusable("a refused name", err, "client_name looks like a name that may not be registered here")
	if got := rec.take(); got != "client.document refused by invalid_client_metadata client_name looks like a name that may not be registered here" {
		t.Errorf("event %q", got)
	}
}

func TestTheHostDecides(t *testing.T) {
	var decide func(Candidate) (Decision, error)
	var seen []Candidate
	issuer := newIssuerKey(t)
	f, rec := recorded(t, options{settings: manageable, mode: store.ModePermissive, config: func(c *Config) {
		c.SoftwareIssuers = []SoftwareIssuer{{Issuer: publisher, JWKS: issuer.jwks(t)}}
		c.Policy.Decide = func(_ context.Context, candidate Candidate) (Decision, error) {
			seen = append(seen, candidate)
			return decide(candidate)
		}
	}})
	pass := func(Candidate) (Decision, error) { return Decision{}, nil }

	// What it sees.
	decide = pass
	token, value := f.grantAccess(InitialAccessToken{})
	if w := f.postWith("Bearer "+value, with(`"client_name":"A","software_statement":"`+issuer.statement(t, nil)+`"`)); w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	first := seen[0]
	if first.Occasion != Registering || first.TenantID == "" || first.Client.ID != "" || first.Client.Name != "A" || first.Client.Extra().SoftwareID != "app-1" ||
		first.Caller.InitialAccessToken != token.ID || first.Caller.SoftwareIssuer != publisher || first.Caller.Network.String() != "192.0.2.1/32" {
		t.Errorf("%+v", first)
	}
	rec.take()

	// What it changes of the candidate is its own.
	decide = func(c Candidate) (Decision, error) {
		c.Client.RedirectURIs[0], c.Client.FirstParty = "https://evil.example/cb", true
		c.Client.Metadata.LogoURI = "https://evil.example/l.png"
		return Decision{}, nil
	}
	if _, c := f.register(with(`"logo_uri":"https://client.example.com/l.png"`)); c.RedirectURIs[0] != pageURI[0] || c.FirstParty || c.Extra().LogoURI != "https://client.example.com/l.png" {
		t.Errorf("%+v", c)
	}
	rec.take()

	// Narrow and annotate.
	decide = func(Candidate) (Decision, error) {
		return Decision{
			GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"},
			Without: []string{"client_name", "client_uri", "logo_uri", "policy_uri", "tos_uri", "contacts"},
			Notes:   map[string]string{"risk": "high"}, Reasons: []string{"new network"},
		}, nil
	}
	members := `"client_name":"A","client_uri":"https://client.example.com","logo_uri":"https://client.example.com/l.png","policy_uri":"https://client.example.com/p",` +
		`"tos_uri":"https://client.example.com/t","contacts":["a@example.com"],"software_id":"s"`
	info, c := f.register(with(members))
	want := store.ClientMetadata{SoftwareID: "s"}
	if diff := cmp.Diff(want, c.Extra()); diff != "" || c.Name != "" || c.Scope != "openid" || info.Scope != "openid" || len(c.GrantTypes) != 1 || c.Notes == nil || c.Notes.Metadata["risk"] != "high" {
		t.Errorf("%+v %s", c, diff)
	}
	event := rec.events[0]
	if event.Outcome != audit.Narrowed || event.Notes["risk"] != "high" || event.Reasons[len(event.Reasons)-1] != "new network" || len(event.Reasons) < 8 {
		t.Errorf("%+v", event)
	}
	rec.take()

	// A change keeps the notes that are there.
	decide = func(c Candidate) (Decision, error) {
		if c.Occasion != Updating || c.Client.ID != info.ClientID || c.Client.Notes.Metadata["risk"] != "high" {
			t.Errorf("%+v", c)
		}
		return Decision{Notes: map[string]string{"seen": "twice"}}, nil
	}
	next, c := f.put(info.ClientID, info.RegistrationAccessToken, `"client_name":"B"`)
	if diff := cmp.Diff(map[string]string{"risk": "high", "seen": "twice"}, c.Notes.Metadata); diff != "" || c.Name != "B" {
		t.Error(diff)
	}
	if got := rec.take(); got != "client.update allowed by registrant" {
		t.Errorf("%q", got)
	}

	// Refuse.
	for member, code := range map[string]string{"": "invalid_client_metadata", "client_name": "invalid_client_metadata", "redirect_uris": "invalid_redirect_uri"} {
		decide = func(Candidate) (Decision, error) {
			return Decision{Refuse: "redirect_uris: this host is not known", Member: member, Reasons: []string{"blocklist 7"}, Notes: map[string]string{"list": "7"}}, nil
		}
		before := len(f.clients())
		w := f.post(with(""))
		if info := f.decode(w); w.Code != http.StatusBadRequest || info.Error != code || info.ErrorDescription != "redirect_uris: this host is not known" {
			t.Errorf("%q: %d %s", member, w.Code, w.Body)
		}
		if event := rec.events[0]; event.Outcome != audit.Refused || len(event.Reasons) != 2 || event.Reasons[1] != "blocklist 7" || event.Notes["list"] != "7" {
			t.Errorf("%+v", event)
		}
		rec.take()
		if w := f.configure("PUT", info.ClientID, next.RegistrationAccessToken, f.replacement(info.ClientID, "")); w.Code != http.StatusBadRequest {
			t.Errorf("PUT: %d", w.Code)
		}
		rec.take()
		if n := len(f.clients()); n != before {
			t.Errorf("%d clients, %d before", n, before)
		}
	}
}

// What the host gets wrong is not told to strangers, and registers nothing.
func TestAnErrorOfTheHostsPolicyIsAServerError(t *testing.T) {
	for name, decide := range map[string]func(context.Context, Candidate) (Decision, error){
		"an error": func(context.Context, Candidate) (Decision, error) {
			return Decision{}, errors.New("db: password hunter2")
		},
		"an error that looks like ours": func(context.Context, Candidate) (Decision, error) {
			return Decision{}, invalid("scope", "db: password hunter2")
		},
		"a member that cannot be without": func(context.Context, Candidate) (Decision, error) {
			return Decision{Without: []string{"redirect_uris"}}, nil
		},
	} {
		f, rec := recorded(t, options{config: func(c *Config) { c.Policy.Decide = decide }})
		w := f.post(with(""))
		if w.Code != http.StatusInternalServerError || strings.TrimSpace(w.Body.String()) != `{"error":"server_error"}` {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if n := len(f.clients()); n != 0 {
			t.Errorf("%s: %d clients", name, n)
		}
		if got := rec.take(); got != "client.registration failed by registrant server_error" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestRulesThatCannotMatchAreRefused(t *testing.T) {
	for _, rules := range []store.RegistrationRules{
		{GrantTypes: []string{"password"}}, {GrantTypes: []string{"refresh_token"}}, {GrantTypes: []string{"urn:ietf:params:oauth:grant-type:device_code"}},
		{Scopes: []string{"a b"}}, {Scopes: []string{""}}, {AuthMethods: []string{"tls_client_auth"}},
		{RedirectSchemes: []string{"HTTPS"}}, {RedirectSchemes: []string{"https:"}}, {RedirectSchemes: []string{"javascript"}}, {RedirectSchemes: []string{""}},
		{RedirectHosts: []string{"Client.example.com"}}, {RedirectHosts: []string{"https://client.example.com"}}, {RedirectHosts: []string{"client.example.com:443"}},
		{RedirectHosts: []string{"*"}}, {RedirectHosts: []string{"*.com"}}, {RedirectHosts: []string{"a.*.example.com"}}, {RedirectHosts: []string{"client.example.com/cb"}},
		{RefusedRedirectHosts: []string{""}}, {RefusedNames: []string{""}}, {RefusedNames: []string{" \u200b"}}, {RefusedNames: []string{"a\n"}},
		{Logos: "all"}, {Scopes: make([]string, 101)}, {RefusedNames: []string{strings.Repeat("a", 300)}},
	} {
		f := newFixture(t, options{})
		cfg := f.registrar.cfg
		cfg.Policy.Rules = rules
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "dcr: Config.Policy.Rules: ") {
			t.Errorf("%+v: %v", rules, err)
		}
	}
}
