package authorize

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	josejson "github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements request objects: RFC 9101 (JWT-Secured
// Authorization Request) and OpenID Connect Core §6.1.

const (
	maxRequestObject = maxRequest

	// objectSkew is how far the client's clock may be off.
	objectSkew = time.Minute

	algNone = "none"
)

// RequestObjectSigningAlgs lists the algorithms that request objects may have.
func RequestObjectSigningAlgs() []string {
	return append(slices.Clone(clientauth.PublicKeyAlgorithms), algNone)
}

// RequestObjectEncryptionAlgs and RequestObjectEncryptionEncs list the algorithms
// that request objects may be encrypted with.
func RequestObjectEncryptionAlgs() []string { return slices.Clone(tenant.DecryptionAlgorithms) }

// RequestObjectEncryptionEncs: see [RequestObjectEncryptionAlgs].
func RequestObjectEncryptionEncs() []string { return slices.Clone(tenant.ContentEncryptions) }

// badObject is an error about a request object (RFC 9101 §7).
func badObject(reason string) error {
	return oauth.Errorf(oauth.CodeInvalidRequestObject, "the request object %s", reason)
}

// object returns the request object that comes with a request, by value or by
// reference.
func (a *Authorizer) object(ctx context.Context, client *store.Client, params oauth.Parameters) (string, error) {
	object, uri := params.Get("request"), params.Get("request_uri")
	switch {
	case uri == "":
		return object, nil
	case object != "": // OpenID Connect Core §6.1
		return "", oauth.Errorf(oauth.CodeInvalidRequest, "request and request_uri exclude each other")
	}
	return a.objectByReference(ctx, client, uri)
}

// applyObject returns the parameters that count if a request comes with a request
// object, and whether the client signed it. alone says that nothing outside the
// object counts.
func (a *Authorizer) applyObject(ctx context.Context, t *tenant.Tenant, client *store.Client, params oauth.Parameters, compact string, alone bool) (oauth.Parameters, bool, error) {
	compact, err := a.decryptObject(t, client, compact)
	if err != nil {
		return oauth.Parameters{}, false, err
	}
	payload, signed, err := a.verifyObject(ctx, client, compact)
	if err != nil {
		return oauth.Parameters{}, false, err
	}
	inside, err := readObject(payload)
	if err != nil {
		return oauth.Parameters{}, false, err
	}
	if err := inside.check(t.Issuer(), client.ID, signed, a.now()); err != nil {
		return oauth.Parameters{}, false, err
	}
	// RFC 9101 §6.3: what is outside does not count. OpenID Connect Core §6.1 lets it
	// fill in what the object leaves out; a request of that kind has response_type
	// outside. A client that signs everything does not mean that kind.
	outer := params.Get("response_type")
	alone = alone || outer == "" || client.Extra().RequireSignedRequestObject
	if own := inside.values.Get("response_type"); !alone && own != "" && own != outer {
		return oauth.Parameters{}, false, badObject("has another response_type than the request")
	}
	effective := inside.values
	if !alone {
		for name := range params.Names {
			if name != "request" && name != "request_uri" && !effective.Has(name) {
				effective[name] = params.All(name)
			}
		}
	}
	effective.Set("client_id", client.ID)
	merged, err := oauth.ParseQuery(effective.Encode())
	if err != nil {
		return oauth.Parameters{}, false, oauth.WithCause(err, oauth.CodeInvalidRequestObject, "the request object has values that are not text")
	}
	return merged, signed, nil
}

// decryptObject returns the request object inside one that is encrypted, others as
// they are. RFC 9101 §6.1: it is signed before it is encrypted, so that what comes
// out proves itself like any other.
func (a *Authorizer) decryptObject(t *tenant.Tenant, client *store.Client, compact string) (string, error) {
	if len(compact) > maxRequestObject || strings.Count(compact, ".") != 4 {
		return compact, nil
	}
	extra := client.Extra()
	if extra.RequestObjectEncryptionAlg == "" {
		return "", badObject("is encrypted, and the application registered no request_object_encryption_alg")
	}
	content, err := a.cfg.Tenants.Decrypt(t, extra.RequestObjectEncryptionAlg, cmp.Or(extra.RequestObjectEncryptionEnc, clientauth.DefaultContentEncryption), compact)
	if errors.Is(err, tenant.ErrInvalidToken) {
		return "", oauth.WithCause(err, oauth.CodeInvalidRequestObject,
			"the request object is not encrypted to a key of this server with the algorithms that the application registered")
	}
	return string(content), err
}

// objectHeader is the header of a request object, as far as it matters.
type objectHeader struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	// Members that would have this server use what the sender chose, or understand
	// what it does not. That they are there is all that matters.
	Critical josejson.RawMessage `json:"crit"`
	JWK      josejson.RawMessage `json:"jwk"`
	JKU      josejson.RawMessage `json:"jku"`
	X5U      josejson.RawMessage `json:"x5u"`
}

// parseObject takes a request object apart and verifies nothing. On error all
// results are zero.
func parseObject(compact string) (header objectHeader, payload []byte, signature string, err error) {
	fail := func(reason string) (objectHeader, []byte, string, error) {
		return objectHeader{}, nil, "", badObject(reason)
	}
	// The decoders below cost what the value is long.
	if len(compact) > maxRequestObject {
		return fail("is larger than 16 KiB")
	}
	parts := strings.Split(compact, ".")
	if len(parts) == 5 {
		return fail("is encrypted more than once")
	}
	if len(parts) != 3 || strings.ContainsAny(compact, "\r\n") {
		return fail("is not a JWT in compact form")
	}
	rawHeader, headerErr := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	payload, payloadErr := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if headerErr != nil || payloadErr != nil {
		return fail("is not a JWT in compact form")
	}
	if josejson.Unmarshal(rawHeader, &header) != nil {
		return fail("has a header that is not valid JSON, or has a member twice")
	}
	switch {
	case header.Critical != nil:
		return fail("has critical header parameters, and none is supported")
	case header.JWK != nil || header.JKU != nil || header.X5U != nil:
		return fail("has jwk, jku or x5u in its header; only registered keys count")
	}
	// RFC 9101 §10.8: an explicit type keeps other JWTs of the client out. Many
	// libraries write none, or the generic one.
	switch strings.TrimPrefix(strings.ToLower(header.Type), "application/") {
	case "", "jwt", "oauth-authz-req+jwt":
	default:
		return fail("has a typ that is not oauth-authz-req+jwt")
	}
	return header, payload, parts[2], nil
}

// verifyObject returns the payload of a request object and whether the client
// signed it. Which algorithms are accepted follows from the registration alone.
func (a *Authorizer) verifyObject(ctx context.Context, client *store.Client, compact string) (payload []byte, signed bool, err error) {
	header, payload, signature, err := parseObject(compact)
	if err != nil {
		return nil, false, err
	}
	extra := client.Extra()
	registered := extra.RequestObjectSigningAlg
	if header.Algorithm == algNone {
		// An unsigned object says no more than the query that it stands for. Without
		// a registered algorithm any is allowed (OpenID Connect Dynamic Client
		// Registration §2).
		switch {
		case registered != "" && registered != algNone || extra.RequireSignedRequestObject:
			return nil, false, badObject("is not signed, and the application registered that it is")
		case signature != "":
			return nil, false, badObject("has the algorithm none and a signature")
		}
		return payload, false, nil
	}
	if registered == algNone {
		return nil, false, badObject("is signed, and the application registered the algorithm none")
	}
	// The verified bytes count, not those that were parsed before.
	payload, err = a.cfg.ClientAuth.Keys.Verify(ctx, client, compact, registered)
	switch {
	case errors.Is(err, clientauth.ErrNoKeys):
		return nil, false, badObject("cannot be verified: the application registered no key that can sign")
	case errors.Is(err, clientauth.ErrKeysUnavailable):
		return nil, false, oauth.WithCause(err, oauth.CodeInvalidRequestObject,
			"the request object cannot be verified: the application's jwks_uri gives no usable key set at the moment")
	case errors.Is(err, clientauth.ErrAlgorithm), errors.Is(err, clientauth.ErrCritical), errors.Is(err, clientauth.ErrSignature):
		return nil, false, oauth.WithCause(err, oauth.CodeInvalidRequestObject,
			"the request object is not signed with a key and an algorithm that the application registered")
	case err != nil:
		return nil, false, err
	}
	return payload, true, nil
}

// requestObject is the content of a request object: the claims about it, and the
// parameters in it.
type requestObject struct {
	claims objectClaims
	values url.Values
}

type objectClaims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.Audience     `json:"aud"`
	Expiry    *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
}

// notParameters are the members that describe the object, and those that belong
// to the authentication of clients.
var notParameters = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_secret", "client_assertion", "client_assertion_type"}

// readObject reads the payload of a request object. On error the result is zero.
func readObject(payload []byte) (requestObject, error) {
	var claims objectClaims
	var members map[string]josejson.RawMessage
	if !utf8.Valid(payload) {
		return requestObject{}, badObject("is not valid UTF-8")
	}
	// Strictly: a member that appears twice could be one value to the check and
	// another to the use.
	if josejson.Unmarshal(payload, &members) != nil || members == nil || josejson.Unmarshal(payload, &claims) != nil {
		return requestObject{}, badObject("has claims that are not valid JSON, of the wrong type, or repeated")
	}
	values := url.Values{}
	for name, raw := range members {
		if name == "request" || name == "request_uri" { // RFC 9101 §4
			return requestObject{}, badObject("has request or request_uri inside")
		}
		if slices.Contains(notParameters, name) {
			continue
		}
		list, ok := parameterValues(name, raw)
		if !ok {
			return requestObject{}, badObject("has a parameter of the wrong JSON type")
		}
		if len(list) > 0 {
			values[name] = list
		}
	}
	return requestObject{claims, values}, nil
}

// parameterValues returns a member of a request object as the parameter that it
// would be in a query. A member that is null or empty was left out, one that is
// not known and has no such form is ignored.
func parameterValues(name string, raw []byte) (list []string, ok bool) {
	switch raw[0] {
	case '"':
		var s string
		if err := josejson.Unmarshal(raw, &s); err != nil || s == "" {
			return nil, err == nil
		}
		return []string{s}, true
	case 'n':
		return nil, true
	case '{':
		// OpenID Connect Core §6.1: objects here, their text in a query.
		if name == "claims" || name == "registration" {
			return []string{string(raw)}, true
		}
	case '[':
		if name == "resource" { // RFC 8707 §2
			err := josejson.Unmarshal(raw, &list)
			return slices.DeleteFunc(list, func(s string) bool { return s == "" }), err == nil
		}
	default: // max_age is a number
		return []string{string(raw)}, true
	}
	return nil, !oauth.Known(name)
}

// check applies RFC 9101 §4 to the claims of an object that was verified.
func (o *requestObject) check(issuer, clientID string, signed bool, now time.Time) error {
	c := &o.claims
	if id := o.values.Get("client_id"); id != "" && id != clientID {
		return badObject("has another client_id than the request")
	}
	switch {
	case c.Issuer != clientID && (signed || c.Issuer != ""):
		return badObject("must have the client identifier as iss")
	case c.Subject == clientID:
		// RFC 9101 §10.8: what has it could be used to authenticate the client.
		return badObject("must not have the client identifier as sub")
	case !slices.Contains(c.Audience, issuer) && (signed || len(c.Audience) > 0):
		return badObject("must have the issuer identifier of this server in aud")
	case c.Expiry != nil && !c.Expiry.Time().Add(objectSkew).After(now):
		return badObject("has expired")
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(objectSkew)):
		return badObject("is not valid yet")
	case c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(objectSkew)):
		return badObject("was issued in the future")
	}
	return nil
}
