package dcr

import (
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/tenant"
)

// What the provider supports, by member. A member with an empty list names
// something that the provider does not do: to accept it would be to promise it.
var (
	idTokenSigningAlgs       = []string{"RS256", "ES256", "HS256"}
	userInfoSigningAlgs      = idTokenSigningAlgs
	introspectionSigningAlgs = []string{"RS256", "ES256"}
	requestObjectSigningAlgs = append(slices.Clone(clientauth.PublicKeyAlgorithms), algNone)
	subjectTypes             = []string{"public", subjectPairwise}
)

const algNone = "none"

// checkAlgorithms validates the members that choose among what the provider can
// do. It has no list of algorithms that are too weak: what is not on a list of
// supported ones is refused. "none" is on the list of request objects, which say no
// more unsigned than a query does, and on that of ID tokens if the host wants it.
func (m *metadata) checkAlgorithms(unsignedIDTokens bool) error {
	x := &m.extra
	if !m.rare {
		return nil
	}
	idTokenAlgs := idTokenSigningAlgs
	if unsignedIDTokens && !m.restricted() {
		idTokenAlgs = append(slices.Clone(idTokenAlgs), algNone)
	}
	for _, choice := range [...]struct {
		member    string
		value     *string
		supported []string
	}{
		{"subject_type", &x.SubjectType, subjectTypes},
		{"id_token_signed_response_alg", &x.IDTokenSignedResponseAlg, idTokenAlgs},
		{"id_token_encrypted_response_alg", &x.IDTokenEncryptedResponseAlg, clientauth.EncryptionAlgorithms},
		{"id_token_encrypted_response_enc", &x.IDTokenEncryptedResponseEnc, clientauth.ContentEncryptions},
		{"userinfo_signed_response_alg", &x.UserInfoSignedResponseAlg, userInfoSigningAlgs},
		{"userinfo_encrypted_response_alg", &x.UserInfoEncryptedResponseAlg, clientauth.EncryptionAlgorithms},
		{"userinfo_encrypted_response_enc", &x.UserInfoEncryptedResponseEnc, clientauth.ContentEncryptions},
		{"introspection_signed_response_alg", &x.IntrospectionSignedResponseAlg, introspectionSigningAlgs},
		{"introspection_encrypted_response_alg", &x.IntrospectionEncryptedResponseAlg, clientauth.EncryptionAlgorithms},
		{"introspection_encrypted_response_enc", &x.IntrospectionEncryptedResponseEnc, clientauth.ContentEncryptions},
		{"request_object_signing_alg", &x.RequestObjectSigningAlg, requestObjectSigningAlgs},
		{"request_object_encryption_alg", &x.RequestObjectEncryptionAlg, tenant.DecryptionAlgorithms},
		{"request_object_encryption_enc", &x.RequestObjectEncryptionEnc, tenant.ContentEncryptions},
		{"token_endpoint_auth_signing_alg", &x.TokenEndpointAuthSigningAlg, m.assertionAlgs()},
	} {
		if *choice.value == "" {
			continue
		}
		i := slices.Index(choice.supported, *choice.value)
		switch {
		case i >= 0:
			*choice.value = choice.supported[i]
		case len(choice.supported) > 0:
			return invalid(choice.member, "%s: %s is not one of %s", choice.member, quote(*choice.value), strings.Join(choice.supported, ", "))
		case choice.member == "token_endpoint_auth_signing_alg":
			// A method without assertions: there is nothing to sign, and libraries send
			// their default with every method.
			*choice.value = ""
		default:
			return invalid(choice.member, "%s: %s is not supported", choice.member, quote(*choice.value))
		}
	}
	for _, signed := range [...]struct{ member, alg string }{
		{"id_token_signed_response_alg", x.IDTokenSignedResponseAlg},
		{"userinfo_signed_response_alg", x.UserInfoSignedResponseAlg},
	} {
		if signed.alg == "HS256" && !m.hasSecret() {
			// OpenID Connect Core §10.1: the key is the client secret.
			return invalid(signed.member, "%s: HS256 needs an application with a client secret, and token_endpoint_auth_method is %s",
				signed.member, m.client.TokenEndpointAuthMethod)
		}
	}
	if err := m.checkEncryption(); err != nil {
		return err
	}
	if x.IDTokenSignedResponseAlg == algNone && x.IDTokenEncryptedResponseAlg != "" {
		// OpenID Connect Core §2: what is encrypted is signed. Everyone has the key that
		// it is encrypted to.
		return invalid("id_token_encrypted_response_alg", "id_token_encrypted_response_alg and id_token_signed_response_alg none exclude each other")
	}
	if x.IDTokenSignedResponseAlg == algNone && slices.ContainsFunc(m.client.AllowedResponseTypes(), returnsIDToken) {
		return invalid("id_token_signed_response_alg", "id_token_signed_response_alg: none needs response_types that return no ID token from the authorization endpoint")
	}
	if x.RequireSignedRequestObject && x.RequestObjectSigningAlg == algNone { // RFC 9101 §10.5
		return invalid("require_signed_request_object", "require_signed_request_object and request_object_signing_alg none exclude each other")
	}
	return nil
}

// encryption is a pair of members, NAME_alg and NAME_enc.
type encryption struct {
	name     string
	alg, enc *string
}

// encrypted are those about what is encrypted to the client.
func (m *metadata) encrypted() [3]encryption {
	x := &m.extra
	return [...]encryption{
		{"id_token_encrypted_response", &x.IDTokenEncryptedResponseAlg, &x.IDTokenEncryptedResponseEnc},
		{"userinfo_encrypted_response", &x.UserInfoEncryptedResponseAlg, &x.UserInfoEncryptedResponseEnc},
		{"introspection_encrypted_response", &x.IntrospectionEncryptedResponseAlg, &x.IntrospectionEncryptedResponseEnc},
	}
}

// checkEncryption applies OpenID Connect Dynamic Client Registration §2: enc needs
// alg, and has a default if that is there.
func (m *metadata) checkEncryption() error {
	responses := m.encrypted()
	for _, e := range append(responses[:], encryption{
		"request_object_encryption", &m.extra.RequestObjectEncryptionAlg, &m.extra.RequestObjectEncryptionEnc,
	}) {
		switch {
		case *e.alg == "" && *e.enc != "":
			return invalid(e.name+"_enc", "%s_enc needs %s_alg", e.name, e.name)
		case *e.alg != "" && *e.enc == "":
			*e.enc = clientauth.DefaultContentEncryption
		}
	}
	return nil
}

// returnsIDToken reports whether the authorization endpoint answers a response type
// with an ID token.
func returnsIDToken(responseType string) bool {
	rt, err := oauth.ParseResponseType(responseType)
	return err != nil || rt.Has(oauth.ResponseIDToken)
}

// assertionAlgs returns the algorithms that the client's assertions may have.
func (m *metadata) assertionAlgs() []string {
	switch m.client.TokenEndpointAuthMethod {
	case clientauth.MethodSecretJWT:
		return []string{"HS256"}
	case clientauth.MethodPrivateKeyJWT:
		return slices.DeleteFunc(slices.Clone(clientauth.SigningAlgorithms), func(alg string) bool { return alg == "HS256" })
	}
	return nil
}

// keysOnSecret reports whether an algorithm needs the client secret itself, so
// that its digest is not enough.
func (m *metadata) keysOnSecret() bool {
	return m.extra.IDTokenSignedResponseAlg == "HS256" || m.extra.UserInfoSignedResponseAlg == "HS256" || m.client.TokenEndpointAuthMethod == clientauth.MethodSecretJWT
}
