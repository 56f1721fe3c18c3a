package token

import (
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Authorization is what a user allowed a client in one authorization. A code is
// its sealed form.
type Authorization struct {
	ClientID     string
	UserID       string
	ConnectionID string
	// GrantID is the grant under which every token of the authorization lives.
	GrantID string
	// SID is the public identifier of the browser session, empty for none.
	SID   string
	Scope oauth.Scope
	// Session is the key of that session, if it has to be there still when a code is
	// redeemed: else a code that was got before the session was ended would outlive it.
	// Zero: it need not.
	Session store.Digest
	// Audience is the identifier of the API, empty for none.
	Audience string
	// UserInfoClaims and IDTokenClaims are what the client asked for by name
	// (OpenID Connect Core §5.5), on top of what Scope asks for. The user has
	// consented to them.
	UserInfoClaims, IDTokenClaims ClaimSet
	Nonce                         string
	// AuthTime is when the user proved who they are. ID tokens always carry it.
	AuthTime time.Time
	// RequireAuthTime says that max_age was given or that the client demands
	// auth_time. Then an authorization without AuthTime is an error.
	RequireAuthTime bool
	ACR             string
	AMR             []string
	// RedirectURI is the redirect_uri parameter as it was sent, empty if it was
	// left out.
	RedirectURI string
	// CodeChallenge is the S256 challenge, empty if there was none.
	CodeChallenge string
	// Offline says that a refresh token may be issued.
	Offline bool
}

// validate refuses authorizations that no request can lead to.
func (a *Authorization) validate() error {
	switch {
	case a.ClientID == "" || a.UserID == "" || a.ConnectionID == "" || a.GrantID == "":
		return errors.New("token: an authorization needs ClientID, UserID, ConnectionID and GrantID")
	case strings.HasSuffix(a.UserID, clientSubject):
		// RFC 9068 §5: an API must not take a user for a client.
		return errors.New("token: the identifier of a user must not end with " + clientSubject)
	case strings.HasPrefix(a.UserID, pairwisePrefix):
		// Nor one user for another.
		return errors.New("token: the identifier of a user must not begin with " + pairwisePrefix)
	case a.RequireAuthTime && a.AuthTime.IsZero():
		return errors.New("token: an authorization that requires auth_time has none")
	}
	return nil
}

// code is what an authorization code carries.
type code struct {
	family        string
	expires       time.Time
	authorization Authorization
}

// newFamilyID returns a random family identifier of at least 128 bits.
func newFamilyID() string { return rand.Text() }

// Code returns an authorization code for a. Nothing is stored. The code is good
// for [Config].CodeLifetime. An error means that a lacks a required member.
func (i *Issuer) Code(t *tenant.Tenant, a Authorization) (string, error) {
	if err := a.validate(); err != nil {
		return "", err
	}
	c := code{family: newFamilyID(), expires: i.now().Add(i.codeLifetime), authorization: a}
	return i.codes.SealString(c.encode(), t.ID()), nil
}

// openCode returns what a code of tenant t carries.
func (i *Issuer) openCode(t *tenant.Tenant, sealed string) (code, error) {
	raw, err := i.codes.OpenString(sealed, t.ID())
	if err != nil {
		return code{}, err
	}
	return decodeCode(raw)
}

func (c *code) encode() []byte {
	e := newEncoder()
	e.string(c.family)
	e.time(c.expires)
	c.authorization.encode(&e)
	e.string(c.authorization.Nonce)
	e.bool(c.authorization.RequireAuthTime)
	e.string(c.authorization.RedirectURI)
	e.string(c.authorization.CodeChallenge)
	e.bool(c.authorization.Offline)
	if session := c.authorization.Session; session.IsZero() {
		e.string("")
	} else {
		e.string(string(session[:]))
	}
	return e
}

func decodeCode(raw []byte) (code, error) {
	d := newDecoder(raw)
	var c code
	c.family = d.string()
	c.expires = d.time()
	c.authorization.decode(d)
	c.authorization.Nonce = d.string()
	c.authorization.RequireAuthTime = d.bool()
	c.authorization.RedirectURI = d.string()
	c.authorization.CodeChallenge = d.string()
	c.authorization.Offline = d.bool()
	session := d.string()
	if err := d.done(); err != nil {
		return code{}, err
	}
	if session != "" && len(session) != len(c.authorization.Session) {
		return code{}, errors.New("token: the session of a code is no digest")
	}
	copy(c.authorization.Session[:], session)
	return c, nil
}

// encode writes what codes and refresh tokens have in common.
func (a *Authorization) encode(e *encoder) {
	e.string(a.ClientID)
	e.string(a.UserID)
	e.string(a.ConnectionID)
	e.string(a.GrantID)
	e.string(a.SID)
	e.strings(a.Scope)
	e.string(a.Audience)
	e.claims(a.UserInfoClaims)
	e.claims(a.IDTokenClaims)
	e.time(a.AuthTime)
	e.string(a.ACR)
	e.strings(a.AMR)
}

func (a *Authorization) decode(d *decoder) {
	a.ClientID = d.string()
	a.UserID = d.string()
	a.ConnectionID = d.string()
	a.GrantID = d.string()
	a.SID = d.string()
	a.Scope = d.strings()
	a.Audience = d.string()
	a.UserInfoClaims = d.claims()
	a.IDTokenClaims = d.claims()
	a.AuthTime = d.time()
	a.ACR = d.string()
	a.AMR = d.strings()
}
