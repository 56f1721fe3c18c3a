package token

import (
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// standardClaims are the claims of OpenID Connect Core §5.1 other than sub.
// Members without a value are left out (§5.3.2).
type standardClaims struct {
	// Scope profile.
	Name              string `json:"name,omitempty"`
	GivenName         string `json:"given_name,omitempty"`
	FamilyName        string `json:"family_name,omitempty"`
	MiddleName        string `json:"middle_name,omitempty"`
	Nickname          string `json:"nickname,omitempty"`
	PreferredUsername string `json:"preferred_username,omitempty"`
	Profile           string `json:"profile,omitempty"`
	Picture           string `json:"picture,omitempty"`
	Website           string `json:"website,omitempty"`
	Gender            string `json:"gender,omitempty"`
	Birthdate         string `json:"birthdate,omitempty"`
	Zoneinfo          string `json:"zoneinfo,omitempty"`
	Locale            string `json:"locale,omitempty"`
	UpdatedAt         int64  `json:"updated_at,omitempty"`

	// Scope email. A pointer, because false has to be said.
	Email         string `json:"email,omitempty"`
	EmailVerified *bool  `json:"email_verified,omitempty"`

	// Scope address.
	Address *store.Address `json:"address,omitempty"`

	// Scope phone.
	PhoneNumber         string `json:"phone_number,omitempty"`
	PhoneNumberVerified *bool  `json:"phone_number_verified,omitempty"`
}

// userClaims returns the claims of the scopes for an ID token, nil for none.
// OpenID Connect Core §5.4 has them there only if no access token is issued to
// fetch them with; onlyWay says so.
func (m *minting) userClaims(onlyWay bool) *standardClaims {
	if !onlyWay && !m.issuer.userClaimsInIDToken {
		return nil
	}
	c := claimsFor(m.user, m.authorization.Scope)
	return &c
}

// claimsFor returns the user's claims that scope asks for (OpenID Connect Core
// §5.4).
func claimsFor(user *store.User, scope oauth.Scope) standardClaims {
	var c standardClaims
	p := &user.Profile
	if scope.Has(oauth.ScopeProfile) {
		c.Name = p.Name
		c.GivenName = p.GivenName
		c.FamilyName = p.FamilyName
		c.MiddleName = p.MiddleName
		c.Nickname = p.Nickname
		c.PreferredUsername = p.PreferredUsername
		c.Profile = p.ProfileURL
		c.Picture = p.Picture
		c.Website = p.Website
		c.Gender = p.Gender
		c.Birthdate = p.Birthdate
		c.Zoneinfo = p.Zoneinfo
		c.Locale = p.Locale
		c.UpdatedAt = unix(user.UpdatedAt)
	}
	if scope.Has(oauth.ScopeEmail) && user.Email != "" {
		c.Email = user.Email
		c.EmailVerified = &user.EmailVerified
	}
	if scope.Has(oauth.ScopeAddress) && p.Address != nil && *p.Address != (store.Address{}) {
		c.Address = p.Address
	}
	if scope.Has(oauth.ScopePhone) && p.PhoneNumber != "" {
		c.PhoneNumber = p.PhoneNumber
		c.PhoneNumberVerified = &p.PhoneNumberVerified
	}
	return c
}
