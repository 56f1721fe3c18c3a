package dcr

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file reads a client as the management API spells it. Members that mean the
// same as one of a registration, under that name or another, are read and validated
// as there.

// registrationNames are the names that members of the management API have in a
// registration.
var registrationNames = map[string]string{
	"name": "client_name", "callbacks": "redirect_uris", "allowed_logout_urls": "post_logout_redirect_uris",
}

// Values of app_type.
const (
	appNative         = "native"
	appSPA            = "spa"
	appRegularWeb     = "regular_web"
	appNonInteractive = "non_interactive"
)

var appTypes = []string{appNative, appSPA, appRegularWeb, appNonInteractive}

// maxNotes bounds client_metadata.
const maxNotes = 100

// clientMembers are the members of a request. apply brings them into a record.
type clientMembers map[string]json.RawMessage

// apply changes what the members mention; null resets a member to its default.
func (members clientMembers) apply(c *store.Client) error {
	m := metadataOf(c)
	notes := store.ClientNotes{}
	if c.Notes != nil {
		notes = *c.Notes
	}
	for _, name := range slices.Sorted(maps.Keys(members)) { // the same error each time
		if err := setMember(m, &notes, name, members[name]); err != nil {
			return err
		}
	}
	*c = m.client
	c.Metadata, c.Notes = nil, nil
	if !reflect.ValueOf(m.extra).IsZero() {
		c.Metadata = &m.extra
	}
	if !reflect.ValueOf(notes).IsZero() {
		c.Notes = &notes
	}
	return nil
}

// registrationMembers are the members of a registration that administrators set too.
var registrationMembers = []string{
	"client_name", "redirect_uris", "token_endpoint_auth_method", "grant_types", "response_types",
	"application_type", "scope", "client_uri", "logo_uri", "policy_uri", "tos_uri", "contacts", "software_id",
	"software_version", "jwks_uri", "jwks", "subject_type", "sector_identifier_uri",
	"id_token_signed_response_alg", "id_token_encrypted_response_alg", "id_token_encrypted_response_enc",
	"userinfo_signed_response_alg", "userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc",
	"introspection_signed_response_alg", "introspection_encrypted_response_alg",
	"introspection_encrypted_response_enc", "request_object_signing_alg", "request_object_encryption_alg",
	"request_object_encryption_enc", "token_endpoint_auth_signing_alg", "default_max_age", "require_auth_time",
	"default_acr_values", "initiate_login_uri", "request_uris", "post_logout_redirect_uris",
	"frontchannel_logout_uri", "frontchannel_logout_session_required", "backchannel_logout_uri",
	"backchannel_logout_session_required", "require_pushed_authorization_requests",
	"require_signed_request_object",
}

// clientBody are the members that setMember knows, with values of their types.
var clientBody = sync.OnceValue(func() management.Members {
	list := management.OrNull{Of: []string{}}
	members := management.Members{
		"client_id": "", "is_first_party": false, "blocked": false, "third_party_security_mode": "", "oidc_conformant": false,
		"jwt_configuration": management.OrNull{Of: jwtConfigurationBody{}},
		"custom_login_page": management.OrNull{Of: ""}, "custom_login_page_on": false,
		"description": management.OrNull{Of: ""}, "app_type": management.OrNull{Of: ""},
		"client_metadata": management.OrNull{Of: map[string]management.Nullable[string]{}},
		"web_origins":     list, "allowed_origins": list,
	}
	m := &metadata{}
	for _, registered := range registrationMembers {
		name := registered
		for ours, theirs := range registrationNames {
			if theirs == registered {
				name = ours
			}
		}
		members[name] = management.OrNull{Of: reflect.ValueOf(m.target([]byte(registered))).Elem().Interface()}
	}
	return members
})

func setMember(m *metadata, notes *store.ClientNotes, name string, value json.RawMessage) error {
	c := &m.client
	switch name {
	case "client_id":
		if s, ok := decodeString(value); !ok || s != c.ID {
			return management.InvalidBody("client_id cannot be chosen")
		}
		return nil
	case "registered_from":
		if string(value) == "null" {
			c.RegisteredFrom = ""
		} else if s, ok := decodeString(value); !ok || s == "" || s != c.RegisteredFrom {
			return management.InvalidBody("registered_from can only be removed, with null")
		}
		return nil
	case "is_first_party":
		return decodeMember(name, "true or false", value, &c.FirstParty)
	case "blocked":
		return decodeMember(name, "true or false", value, &c.Blocked)
	case "third_party_security_mode":
		return decodeMember(name, "a string", value, &c.SecurityMode)
	case "oidc_conformant":
		if string(value) != "true" { // what other products have left behind is not here
			return management.InvalidBody("oidc_conformant must be true")
		}
		return nil
	case "jwt_configuration":
		return setJWTConfiguration(m, value)
	case "custom_login_page":
		page := loginPageOf(c)
		if string(value) == "null" {
			page.HTML = ""
		} else if err := decodeMember(name, "a string", value, &page.HTML); err != nil {
			return err
		}
		setLoginPage(c, page)
		return nil
	case "custom_login_page_on":
		page := loginPageOf(c)
		if err := decodeMember(name, "true or false", value, &page.On); err != nil {
			return err
		}
		setLoginPage(c, page)
		return nil
	case "description":
		return setText(name, value, &notes.Description)
	case "app_type":
		if err := setText(name, value, &notes.AppType); err != nil {
			return err
		}
		if notes.AppType != "" && !slices.Contains(appTypes, notes.AppType) {
			return management.InvalidBody("app_type must be one of %s", strings.Join(appTypes, ", "))
		}
		return nil
	case "client_metadata":
		return setNotes(notes, value)
	case "web_origins":
		return setOrigins(name, value, &notes.WebOrigins)
	case "allowed_origins":
		return setOrigins(name, value, &notes.AllowedOrigins)
	}
	registered := name
	if r, ok := registrationNames[name]; ok {
		registered = r
	} else if slices.Contains(slices.Collect(maps.Values(registrationNames)), name) {
		return management.UnknownMember("", name)
	}
	target := m.target([]byte(registered))
	if target == nil {
		return management.UnknownMember("", name)
	}
	if s := string(value); s == "null" || s == `""` {
		reflect.ValueOf(target).Elem().SetZero()
		return nil
	}
	return m.set([]byte(registered), value)
}

type jwtConfigurationBody struct {
	Algorithm *string `json:"alg"`
}

// setJWTConfiguration reads how ID tokens are signed.
func setJWTConfiguration(m *metadata, value json.RawMessage) error {
	if string(value) == "null" {
		m.extra.IDTokenSignedResponseAlg = ""
		return nil
	}
	body, err := management.Unmarshal[jwtConfigurationBody](value, "jwt_configuration")
	if err == nil && body.Algorithm != nil {
		m.extra.IDTokenSignedResponseAlg = *body.Algorithm
	}
	return err
}

func decodeMember(name, what string, value json.RawMessage, target any) error {
	if string(value) == "null" || json.Unmarshal(value, target) != nil {
		return management.InvalidBody("%s must be %s", name, what)
	}
	return nil
}

// setText reads a text that only administrators see; null and "" remove it.
func setText(name string, value json.RawMessage, target *string) error {
	*target = ""
	if string(value) == "null" {
		return nil
	}
	s, ok := decodeString(value)
	if !ok {
		return management.InvalidBody("%s must be a string", name)
	}
	if s == "" {
		return nil
	}
	*target = s
	return checkText(name, s)
}

func setNotes(notes *store.ClientNotes, value json.RawMessage) error {
	var sent map[string]*string
	if json.Unmarshal(value, &sent) != nil {
		return management.InvalidBody("client_metadata must be an object of strings")
	}
	if sent == nil {
		notes.Metadata = nil
		return nil
	}
	// As SDKs expect: what is sent is merged, null removes.
	merged := maps.Clone(notes.Metadata)
	if merged == nil {
		merged = map[string]string{}
	}
	for key, text := range sent {
		if text == nil {
			delete(merged, key)
			continue
		}
		for _, s := range []string{key, *text} {
			if err := checkText("client_metadata", s); err != nil {
				return err
			}
		}
		merged[key] = *text
	}
	if len(merged) > maxNotes {
		return management.InvalidBody("client_metadata must have at most %d members", maxNotes)
	}
	if notes.Metadata = merged; len(merged) == 0 {
		notes.Metadata = nil
	}
	return nil
}

// setOrigins reads a list of origins (RFC 6454). Nothing depends on them here: a
// silent answer goes to the origin of a registered redirect URI and to no other.
func setOrigins(name string, value json.RawMessage, target *[]string) error {
	if string(value) == "null" {
		*target = nil
		return nil
	}
	list, err := decodeList(name, value)
	if err != nil {
		return err
	}
	for i, s := range list {
		if err := oauth.CheckURI(s, "https", "http"); err != nil {
			return management.InvalidBody("%s must hold origins: element %d %v", name, i, err)
		}
	}
	*target = list
	return nil
}

// describe gives a new client what its app_type stands for, where the members do not
// say otherwise.
func (members clientMembers) describe(c *store.Client) {
	if c.Notes == nil {
		return
	}
	_, method := members["token_endpoint_auth_method"]
	_, grants := members["grant_types"]
	_, application := members["application_type"]
	switch c.Notes.AppType {
	case appNative, appSPA:
		if !method {
			c.TokenEndpointAuthMethod = clientauth.MethodNone
		}
		if c.Notes.AppType == appNative && !application {
			c.ApplicationType = typeNative
		}
	case appNonInteractive:
		if !grants {
			c.GrantTypes = []string{grantClientCredentials}
		}
	}
}

// appTypeOf returns the app_type of a client for which nobody set one.
func appTypeOf(c *store.Client) string {
	switch {
	case c.Notes != nil && c.Notes.AppType != "":
		return c.Notes.AppType
	case c.ApplicationType == typeNative:
		return appNative
	case !usesBrowser(c):
		return appNonInteractive
	case c.TokenEndpointAuthMethod == clientauth.MethodNone:
		return appSPA
	}
	return appRegularWeb
}
