package tenant

import (
	"fmt"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
)

// NotMounted as a member of [Endpoints] says that an endpoint is not there.
const NotMounted = "-"

// Endpoints says where endpoints are: a path below the issuer ("/authorize") or
// an absolute URL. Empty means the default path, if one is named, [NotMounted] that
// there is none; the metadata then does not mention it.
type Endpoints struct {
	Authorization string // /authorize
	Login         string // /login
	Consent       string // /consent
	LoginCallback string // /login/callback
	// Applications is the page on which users see and remove what they allowed.
	Applications string // /account/applications

	Token         string // /oauth/token
	UserInfo      string // /userinfo
	JWKS          string // /.well-known/jwks.json
	Registration  string // /oidc/register
	Revocation    string // /oauth/revoke
	Introspection string // /oauth/introspect

	// ClientConfiguration is what the identifier of a client follows after a slash
	// (RFC 7592). Empty: the same as Registration, /oidc/register/{client_id}.
	ClientConfiguration string

	PushedAuthorizationRequest string // /oauth/par
	DeviceAuthorization        string // not served by opkit: advertised only if set
	DeviceActivation           string // likewise
	EndSession                 string // /oidc/logout
	LegacyLogout               string // /v2/logout

	// What a login page with Lock calls (see docs/lock.md). Lock knows these paths by
	// heart: at others it does not find them. Its domain is what precedes LockLogin,
	// so that an issuer with a path can have them at the root of its host, as absolute
	// URLs.
	LockTenantInfo string // /info-v1.js
	LockClientInfo string // /client, which /{client_id}.js follows
	LockChallenge  string // /usernamepassword/challenge
	LockLogin      string // /usernamepassword/login
	LockSSOData    string // /user/ssodata

	// DatabaseSignup and DatabaseChangePassword are what Lock's other tabs, and SDKs,
	// call; what is said above holds for them.
	DatabaseSignup         string // /dbconnections/signup
	DatabaseChangePassword string // /dbconnections/change_password

	// PasswordReset and EmailVerification are the pages behind links in mails.
	PasswordReset     string // /login/reset-password
	EmailVerification string // /login/verify-email

	// CheckSession is the page of OpenID Connect Session Management, such as
	// /oidc/session/check. Empty: there is none. It is no default because it needs a
	// cookie that scripts can read, tells every application in the browser when users
	// sign in and out, and works in fewer browsers with every year.
	CheckSession string

	// Management is the root of the management API, without a trailing slash.
	Management string // /api/v2
}

// Capabilities says what the mounted endpoints support. Members that are empty
// are not advertised.
type Capabilities struct {
	ResponseTypes, ResponseModes, GrantTypes, Scopes, Claims, Prompts []string
	// TokenEndpointAuthMethods and TokenEndpointAuthSigningAlgs hold for revocation
	// as well, the algorithms also for introspection.
	TokenEndpointAuthMethods, TokenEndpointAuthSigningAlgs            []string
	IntrospectionAuthMethods, IntrospectionSigningAlgs                []string
	IDTokenSigningAlgs, CodeChallengeMethods, SubjectTypes, ACRValues []string
	// ClaimsParameter says that claims can be asked for by name.
	ClaimsParameter     bool
	UserInfoSigningAlgs []string
	// EncryptionAlgs and EncryptionEncs are those of what is encrypted to clients: ID
	// tokens, userinfo, introspection.
	EncryptionAlgs, EncryptionEncs []string
	// RequestObjectSigningAlgs is empty if there are no request objects.
	RequestObjectSigningAlgs []string
	// RequestObjectEncryptionAlgs and RequestObjectEncryptionEncs are those of request
	// objects that are encrypted to the key in the JWKS.
	RequestObjectEncryptionAlgs, RequestObjectEncryptionEncs []string
	// RequestObjectsByReference says that request objects at registered addresses are
	// fetched.
	RequestObjectsByReference bool
	// What the end of a session does, if the end-session endpoint is mounted: both
	// with iss and sid.
	FrontchannelLogout, BackchannelLogout bool
}

// resolved fills in the defaults and checks each endpoint.
func (e Endpoints) resolved() (Endpoints, error) {
	taken := map[string]string{}
	for _, endpoint := range []struct {
		name  string
		value *string
		path  string
	}{
		{"Authorization", &e.Authorization, "/authorize"},
		{"Login", &e.Login, "/login"},
		{"Consent", &e.Consent, "/consent"},
		{"LoginCallback", &e.LoginCallback, "/login/callback"},
		{"Applications", &e.Applications, "/account/applications"},
		{"Token", &e.Token, "/oauth/token"},
		{"UserInfo", &e.UserInfo, "/userinfo"},
		{"JWKS", &e.JWKS, "/.well-known/jwks.json"},
		{"Registration", &e.Registration, "/oidc/register"},
		{"Revocation", &e.Revocation, "/oauth/revoke"},
		{"Introspection", &e.Introspection, "/oauth/introspect"},
		{"PushedAuthorizationRequest", &e.PushedAuthorizationRequest, "/oauth/par"},
		{"DeviceAuthorization", &e.DeviceAuthorization, "/oauth/device/code"},
		{"DeviceActivation", &e.DeviceActivation, "/activate"},
		{"EndSession", &e.EndSession, "/oidc/logout"},
		{"LegacyLogout", &e.LegacyLogout, "/v2/logout"},
		{"LockTenantInfo", &e.LockTenantInfo, "/info-v1.js"},
		{"LockClientInfo", &e.LockClientInfo, "/client"},
		{"LockChallenge", &e.LockChallenge, "/usernamepassword/challenge"},
		{"LockLogin", &e.LockLogin, "/usernamepassword/login"},
		{"LockSSOData", &e.LockSSOData, "/user/ssodata"},
		{"DatabaseSignup", &e.DatabaseSignup, "/dbconnections/signup"},
		{"DatabaseChangePassword", &e.DatabaseChangePassword, "/dbconnections/change_password"},
		{"PasswordReset", &e.PasswordReset, "/login/reset-password"},
		{"EmailVerification", &e.EmailVerification, "/login/verify-email"},
		{"CheckSession", &e.CheckSession, NotMounted},
		{"Management", &e.Management, "/api/v2"},
	} {
		if *endpoint.value == "" {
			*endpoint.value = endpoint.path
		}
		if *endpoint.value == NotMounted {
			continue
		}
		if err := checkEndpoint(*endpoint.value); err != nil {
			return Endpoints{}, fmt.Errorf("tenant: Endpoints.%s %w", endpoint.name, err)
		}
		if other, ok := taken[*endpoint.value]; ok {
			return Endpoints{}, fmt.Errorf("tenant: Endpoints.%s and Endpoints.%s are the same", other, endpoint.name)
		}
		taken[*endpoint.value] = endpoint.name
	}
	// The identifier at its end tells it from all others.
	if e.ClientConfiguration == "" {
		e.ClientConfiguration = e.Registration
	} else if e.ClientConfiguration != NotMounted {
		if err := checkEndpoint(e.ClientConfiguration); err != nil {
			return Endpoints{}, fmt.Errorf("tenant: Endpoints.ClientConfiguration %w", err)
		}
	}
	return e, nil
}

// checkEndpoint accepts a plain path and an absolute https URL, or http on a
// loopback host.
func checkEndpoint(value string) error {
	if strings.HasPrefix(value, "/") {
		if !plainPath(value) || strings.Contains(value, "//") || strings.HasSuffix(value, "/") || strings.Contains(value+"/", "/./") || strings.Contains(value+"/", "/../") {
			return fmt.Errorf("%q is not a plain path without trailing slash", value)
		}
		return nil
	}
	kind, err := oauth.ClassifyRedirectURI(value)
	switch {
	case !strings.Contains(value, "://"):
		return fmt.Errorf("%q is neither a path, which begins with a slash, nor an https URL", value)
	case err != nil:
		return fmt.Errorf("%q %w", value, err)
	case kind != oauth.RedirectWeb && kind != oauth.RedirectLoopback:
		return fmt.Errorf("%q is neither a path nor an https URL", value)
	}
	return nil
}
