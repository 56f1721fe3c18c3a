package dcr

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// metadata is what an application says about itself, first as it was sent, after
// validation as it is stored.
type metadata struct {
	client store.Client
	// extra is the part that most applications leave out. It is stored if rare is
	// set.
	extra store.ClientMetadata
	rare  bool
	// issued is set where members count that the provider issued: in a PUT.
	issued *issuedMembers
	// statement is set where software statements count, and wasStated if the client
	// registered with one before.
	statement *string
	wasStated bool
	// document is set for what an application publishes at its identifier.
	document *documentMembers
	// stranger is set where an application speaks for itself, and no administrator for it.
	stranger bool
	// caller is who sent it.
	caller Caller
	// narrowed says what is registered as less than was asked for, decided is what the
	// host's policy says of it.
	narrowed []string
	decided  Decision
	// policy is that of the initial access token. Nil: there is none.
	policy *InitialAccessPolicy
}

// issuedMembers are those with which a client proves what it means to replace (RFC
// 7592 §2.2).
type issuedMembers struct{ clientID, clientSecret string }

// documentMembers are those that have a meaning in a document alone. The secret ones
// must not be there.
type documentMembers struct {
	clientID string
	secret   neverSent
}

// neverSent is the place of a member that must not be sent.
type neverSent struct{}

// target returns where the member name belongs, nil if it is not known. These are
// the members of RFC 7591 §2, OpenID Connect Dynamic Client Registration §2, the
// logout specifications, RFC 9126 §6 and RFC 9701 §6 that have a meaning here. Everything else
// is ignored: identifiers and secrets that a client would choose for itself, software
// statements where nobody is trusted to make them, and names in other languages
// (client_name#ja) among it.
func (m *metadata) target(name []byte) any {
	c, x := &m.client, &m.extra
	switch string(name) {
	case "client_name":
		return &c.Name
	case "redirect_uris":
		return &c.RedirectURIs
	case "token_endpoint_auth_method":
		return &c.TokenEndpointAuthMethod
	case "grant_types":
		return &c.GrantTypes
	case "response_types":
		return &c.ResponseTypes
	case "application_type":
		return &c.ApplicationType
	case "scope":
		return &c.Scope

	case "client_uri":
		return &x.ClientURI
	case "logo_uri":
		return &x.LogoURI
	case "policy_uri":
		return &x.PolicyURI
	case "tos_uri":
		return &x.TOSURI
	case "contacts":
		return &x.Contacts
	case "software_id":
		return &x.SoftwareID
	case "software_version":
		return &x.SoftwareVersion
	case "jwks_uri":
		return &x.JWKSURI
	case "jwks":
		return &x.JWKS
	case "subject_type":
		return &x.SubjectType
	case "sector_identifier_uri":
		return &x.SectorIdentifierURI
	case "id_token_signed_response_alg":
		return &x.IDTokenSignedResponseAlg
	case "id_token_encrypted_response_alg":
		return &x.IDTokenEncryptedResponseAlg
	case "id_token_encrypted_response_enc":
		return &x.IDTokenEncryptedResponseEnc
	case "userinfo_signed_response_alg":
		return &x.UserInfoSignedResponseAlg
	case "userinfo_encrypted_response_alg":
		return &x.UserInfoEncryptedResponseAlg
	case "userinfo_encrypted_response_enc":
		return &x.UserInfoEncryptedResponseEnc
	case "introspection_signed_response_alg":
		return &x.IntrospectionSignedResponseAlg
	case "introspection_encrypted_response_alg":
		return &x.IntrospectionEncryptedResponseAlg
	case "introspection_encrypted_response_enc":
		return &x.IntrospectionEncryptedResponseEnc
	case "request_object_signing_alg":
		return &x.RequestObjectSigningAlg
	case "request_object_encryption_alg":
		return &x.RequestObjectEncryptionAlg
	case "request_object_encryption_enc":
		return &x.RequestObjectEncryptionEnc
	case "token_endpoint_auth_signing_alg":
		return &x.TokenEndpointAuthSigningAlg
	case "default_max_age":
		return &x.DefaultMaxAge
	case "require_auth_time":
		return &x.RequireAuthTime
	case "default_acr_values":
		return &x.DefaultACRValues
	case "initiate_login_uri":
		return &x.InitiateLoginURI
	case "request_uris":
		return &x.RequestURIs
	case "post_logout_redirect_uris":
		return &x.PostLogoutRedirectURIs
	case "frontchannel_logout_uri":
		return &x.FrontchannelLogoutURI
	case "frontchannel_logout_session_required":
		return &x.FrontchannelLogoutSessionRequired
	case "backchannel_logout_uri":
		return &x.BackchannelLogoutURI
	case "backchannel_logout_session_required":
		return &x.BackchannelLogoutSessionRequired
	case "require_pushed_authorization_requests":
		return &x.RequirePushedAuthorizationRequests
	case "require_signed_request_object":
		return &x.RequireSignedRequestObject

	case "software_statement":
		if m.statement != nil {
			return m.statement
		}
	case "client_id":
		switch {
		case m.issued != nil:
			return &m.issued.clientID
		case m.document != nil:
			return &m.document.clientID
		}
	case "client_secret":
		if m.issued != nil {
			return &m.issued.clientSecret
		}
		fallthrough
	case "client_secret_expires_at":
		if m.document != nil {
			return &m.document.secret
		}
	}
	return nil
}

// common are the members whose place is not in [store.ClientMetadata].
var common = []string{"client_id", "client_secret", "software_statement", "client_name", "redirect_uris", "token_endpoint_auth_method", "grant_types", "response_types", "application_type", "scope"}

// set decodes the value of a member into its place. Clients that fill in a
// template send null, "" and [] for what they do not have: the member was left
// out.
func (m *metadata) set(name, value []byte) error {
	target := m.target(name)
	if target == nil || string(value) == "null" || string(value) == `""` {
		return nil
	}
	member := string(name)
	present := true
	switch target := target.(type) {
	case *string:
		s, ok := decodeString(value)
		if !ok {
			return invalid(member, "%s must be a string", member)
		}
		*target = s
	case *[]string:
		list, err := decodeList(member, value)
		if err != nil {
			return err
		}
		*target, present = list, len(list) > 0
	case *bool:
		if s := string(value); s != "true" && s != "false" {
			return invalid(member, "%s must be true or false", member)
		}
		present = value[0] == 't'
		*target = present
	case **int64:
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt32 {
			return invalid(member, "%s must be a whole number of seconds from 0 to %d", member, math.MaxInt32)
		}
		*target = &n
	case *json.RawMessage:
		if value[0] != '{' {
			return invalid(member, "%s must be a JSON object", member)
		}
		*target = slices.Clone(value)
	case *neverSent:
		return invalid(member, "%s must not be in the document: everyone can read it", member)
	}
	m.rare = m.rare || present && !slices.Contains(common, member)
	return nil
}

// decodeList decodes an array of strings.
func decodeList(member string, value []byte) ([]string, error) {
	if value[0] != '[' {
		return nil, invalid(member, "%s must be an array of strings", member)
	}
	var list []string
	c := cursor{data: value}
	err := c.array(func(element []byte) error {
		s, ok := decodeString(element)
		switch {
		case !ok:
			return invalid(member, "%s must be an array of strings", member)
		case s == "":
			return invalid(member, "%s has an empty value", member)
		case len(list) == maxValues:
			return invalid(member, "%s has more than %d values", member, maxValues)
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// invalid returns the error for a member. RFC 7591 §3.2.2 has one code for
// redirect_uris and one for everything else.
func invalid(member, format string, args ...any) error {
	code := oauth.CodeInvalidClientMetadata
	if member == "redirect_uris" {
		code = oauth.CodeInvalidRedirectURI
	}
	return oauth.Errorf(code, format, args...)
}

// quote makes a value that a stranger sent fit to be repeated in an error: short,
// and with quotes around it. Characters that do not belong into a description are
// replaced by oauth.Errorf.
func quote(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return "'" + s + "'"
}
