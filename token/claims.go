package token

import (
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// ClaimSet is a set of the claims of OpenID Connect Core §5.1 other than sub. That
// is what a client can ask for by name (§5.5).
type ClaimSet uint32

// The members of a ClaimSet. Tokens carry sets, so that a new claim goes to the
// end.
const (
	claimName ClaimSet = 1 << iota
	claimGivenName
	claimFamilyName
	claimMiddleName
	claimNickname
	claimPreferredUsername
	claimProfile
	claimPicture
	claimWebsite
	claimGender
	claimBirthdate
	claimZoneinfo
	claimLocale
	claimUpdatedAt
	claimEmail
	claimEmailVerified
	claimAddress
	claimPhoneNumber
	claimPhoneNumberVerified

	allClaims = claimPhoneNumberVerified<<1 - 1
)

// claimNames are the names of the claims in the order of their bits, and never
// changed.
var claimNames = [...]string{
	"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website",
	"gender", "birthdate", "zoneinfo", "locale", "updated_at", "email", "email_verified", "address", "phone_number",
	"phone_number_verified",
}

// scopeClaims says what each scope asks for (OpenID Connect Core §5.4).
var scopeClaims = [...]struct {
	scope  string
	claims ClaimSet
}{
	{oauth.ScopeProfile, claimEmail - 1}, // all that come before
	{oauth.ScopeEmail, claimEmail | claimEmailVerified},
	{oauth.ScopeAddress, claimAddress},
	{oauth.ScopePhone, claimPhoneNumber | claimPhoneNumberVerified},
}

// ClaimsOf returns the claims with these names. Names that are not of a member are
// ignored.
func ClaimsOf(names ...string) ClaimSet {
	var set ClaimSet
	for _, name := range names {
		for i := range claimNames {
			if claimNames[i] == name {
				set |= 1 << i
			}
		}
	}
	return set
}

// ClaimsOfScope returns the claims that scope asks for (OpenID Connect Core §5.4).
func ClaimsOfScope(scope oauth.Scope) ClaimSet {
	var set ClaimSet
	for i := range scopeClaims {
		if scope.Has(scopeClaims[i].scope) {
			set |= scopeClaims[i].claims
		}
	}
	return set
}

// Has reports whether s includes every member of other.
func (s ClaimSet) Has(other ClaimSet) bool { return s&other == other }

// Names returns the names of the members in a fixed order, nil for none.
func (s ClaimSet) Names() []string {
	var names []string
	for i := range claimNames {
		if s.Has(1 << i) {
			names = append(names, claimNames[i])
		}
	}
	return names
}

// standardClaims are the values of the claims that a ClaimSet can have. Members
// without a value are left out (OpenID Connect Core §5.3.2).
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

// userClaims returns the claims about the user for an ID token, nil for none: those
// that were asked for there by name (OpenID Connect Core §5.5). Those of the scopes
// are there only if no access token is issued to fetch them with (§5.4); onlyWay
// says so.
func (m *minting) userClaims(onlyWay bool) *standardClaims {
	set := m.authorization.IDTokenClaims
	if onlyWay || m.issuer.userClaimsInIDToken {
		set |= ClaimsOfScope(m.authorization.Scope)
	}
	if set == 0 {
		return nil
	}
	c := claimsFor(m.user, set)
	return &c
}

// claimsFor returns the values of the user's claims in set.
func claimsFor(user *store.User, set ClaimSet) standardClaims {
	p := &user.Profile
	text := func(claim ClaimSet, value string) string {
		if set.Has(claim) {
			return value
		}
		return ""
	}
	c := standardClaims{
		Name:              text(claimName, p.Name),
		GivenName:         text(claimGivenName, p.GivenName),
		FamilyName:        text(claimFamilyName, p.FamilyName),
		MiddleName:        text(claimMiddleName, p.MiddleName),
		Nickname:          text(claimNickname, p.Nickname),
		PreferredUsername: text(claimPreferredUsername, p.PreferredUsername),
		Profile:           text(claimProfile, p.ProfileURL),
		Picture:           text(claimPicture, p.Picture),
		Website:           text(claimWebsite, p.Website),
		Gender:            text(claimGender, p.Gender),
		Birthdate:         text(claimBirthdate, p.Birthdate),
		Zoneinfo:          text(claimZoneinfo, p.Zoneinfo),
		Locale:            text(claimLocale, p.Locale),
		Email:             text(claimEmail, user.Email),
		PhoneNumber:       text(claimPhoneNumber, p.PhoneNumber),
	}
	if set.Has(claimUpdatedAt) {
		c.UpdatedAt = unix(user.UpdatedAt)
	}
	if set.Has(claimEmailVerified) && user.Email != "" {
		c.EmailVerified = &user.EmailVerified
	}
	if set.Has(claimAddress) && p.Address != nil && *p.Address != (store.Address{}) {
		c.Address = p.Address
	}
	if set.Has(claimPhoneNumberVerified) && p.PhoneNumber != "" {
		c.PhoneNumberVerified = &p.PhoneNumberVerified
	}
	return c
}
