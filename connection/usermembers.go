package connection

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file maps users to what the management API shows of them, and back.

const (
	maxUserText     = 1000
	maxUserMetadata = 16 << 10 // bytes
)

// userView is a user on the wire. The password hash never is.
type userView struct {
	UserID        string         `json:"user_id"`
	Email         string         `json:"email,omitempty"`
	EmailVerified bool           `json:"email_verified"`
	Username      string         `json:"username,omitempty"`
	Blocked       bool           `json:"blocked"`
	Identities    []userIdentity `json:"identities"`
	LinkedTo      string         `json:"linked_to,omitempty"`

	Name                string         `json:"name,omitempty"`
	GivenName           string         `json:"given_name,omitempty"`
	FamilyName          string         `json:"family_name,omitempty"`
	MiddleName          string         `json:"middle_name,omitempty"`
	Nickname            string         `json:"nickname,omitempty"`
	PreferredUsername   string         `json:"preferred_username,omitempty"`
	ProfileURL          string         `json:"profile,omitempty"`
	Picture             string         `json:"picture,omitempty"`
	Website             string         `json:"website,omitempty"`
	Gender              string         `json:"gender,omitempty"`
	Birthdate           string         `json:"birthdate,omitempty"`
	Zoneinfo            string         `json:"zoneinfo,omitempty"`
	Locale              string         `json:"locale,omitempty"`
	PhoneNumber         string         `json:"phone_number,omitempty"`
	PhoneNumberVerified bool           `json:"phone_number_verified,omitempty"`
	Address             *store.Address `json:"address,omitempty"`

	UserMetadata json.RawMessage `json:"user_metadata,omitempty"`
	AppMetadata  json.RawMessage `json:"app_metadata,omitempty"`
	CreatedAt    time.Time       `json:"created_at"`
	UpdatedAt    time.Time       `json:"updated_at"`
}

// userIdentity says by which connection a user signs in.
type userIdentity struct {
	Connection string `json:"connection"`
	UserID     string `json:"user_id"`
	Provider   string `json:"provider"`
	IsSocial   bool   `json:"isSocial"`
}

// viewUser shows a user; conn is the user's connection, zero if it is gone.
func viewUser(u *store.User, conn *store.Connection) userView {
	p := &u.Profile
	id, provider := u.ID, StrategyDatabase
	if IsUpstream(conn) {
		provider = conn.Strategy
	}
	if rest, ok := strings.CutPrefix(id, provider+"|"); ok {
		id = rest
	}
	return userView{
		UserID: u.ID, Email: u.Email, EmailVerified: u.EmailVerified, Username: u.Username, Blocked: u.Blocked, LinkedTo: u.LinkedTo,
		Identities: []userIdentity{{Connection: conn.Name, UserID: id, Provider: provider, IsSocial: isSocial(conn)}},
		Name:       p.Name, GivenName: p.GivenName, FamilyName: p.FamilyName, MiddleName: p.MiddleName, Nickname: p.Nickname,
		PreferredUsername: p.PreferredUsername, ProfileURL: p.ProfileURL, Picture: p.Picture, Website: p.Website, Gender: p.Gender,
		Birthdate: p.Birthdate, Zoneinfo: p.Zoneinfo, Locale: p.Locale, PhoneNumber: p.PhoneNumber,
		PhoneNumberVerified: p.PhoneNumberVerified, Address: p.Address,
		UserMetadata: u.UserMetadata, AppMetadata: u.AppMetadata, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
}

// isSocial reports whether SDKs call a connection social: anybody may have an account
// there.
func isSocial(conn *store.Connection) bool {
	p := presets[conn.Strategy]
	return p != nil && p.social
}

// userBody is what an administrator sends. null removes a text.
type userBody struct {
	Connection    *string                     `json:"connection"`
	UserID        *string                     `json:"user_id"`
	Password      *string                     `json:"password"`
	Email         management.Nullable[string] `json:"email"`
	EmailVerified *bool                       `json:"email_verified"`
	// VerifyEmail is what SDKs ask for. No mail is sent from here.
	VerifyEmail *bool                       `json:"verify_email"`
	Username    management.Nullable[string] `json:"username"`
	Blocked     *bool                       `json:"blocked"`

	Name                management.Nullable[string]         `json:"name"`
	GivenName           management.Nullable[string]         `json:"given_name"`
	FamilyName          management.Nullable[string]         `json:"family_name"`
	MiddleName          management.Nullable[string]         `json:"middle_name"`
	Nickname            management.Nullable[string]         `json:"nickname"`
	PreferredUsername   management.Nullable[string]         `json:"preferred_username"`
	ProfileURL          management.Nullable[string]         `json:"profile"`
	Picture             management.Nullable[string]         `json:"picture"`
	Website             management.Nullable[string]         `json:"website"`
	Gender              management.Nullable[string]         `json:"gender"`
	Birthdate           management.Nullable[string]         `json:"birthdate"`
	Zoneinfo            management.Nullable[string]         `json:"zoneinfo"`
	Locale              management.Nullable[string]         `json:"locale"`
	PhoneNumber         management.Nullable[string]         `json:"phone_number"`
	PhoneNumberVerified *bool                               `json:"phone_number_verified"`
	Address             management.Nullable[*store.Address] `json:"address"`

	UserMetadata management.Nullable[json.RawMessage] `json:"user_metadata"`
	AppMetadata  management.Nullable[json.RawMessage] `json:"app_metadata"`
}

// applyTo changes what the body mentions, except for the password.
func (b *userBody) applyTo(u *store.User) error {
	if b.VerifyEmail != nil && *b.VerifyEmail {
		return invalid("verify_email", "must be false: the management API sends no mail")
	}
	before := u.Email
	b.Email.ApplyTo(&u.Email)
	b.Username.ApplyTo(&u.Username)
	switch {
	case b.EmailVerified != nil:
		u.EmailVerified = *b.EmailVerified
	case foldLogin(u.Email) != before:
		u.EmailVerified = false // another address, which nobody proved
	}
	if b.Blocked != nil {
		u.Blocked = *b.Blocked
	}
	p := &u.Profile
	for _, text := range []struct {
		member string
		sent   management.Nullable[string]
		target *string
		link   bool
	}{
		{"name", b.Name, &p.Name, false},
		{"given_name", b.GivenName, &p.GivenName, false},
		{"family_name", b.FamilyName, &p.FamilyName, false},
		{"middle_name", b.MiddleName, &p.MiddleName, false},
		{"nickname", b.Nickname, &p.Nickname, false},
		{"preferred_username", b.PreferredUsername, &p.PreferredUsername, false},
		{"profile", b.ProfileURL, &p.ProfileURL, true},
		{"picture", b.Picture, &p.Picture, true},
		{"website", b.Website, &p.Website, true},
		{"gender", b.Gender, &p.Gender, false},
		{"birthdate", b.Birthdate, &p.Birthdate, false},
		{"zoneinfo", b.Zoneinfo, &p.Zoneinfo, false},
		{"locale", b.Locale, &p.Locale, false},
		{"phone_number", b.PhoneNumber, &p.PhoneNumber, false},
	} {
		if !text.sent.Sent {
			continue
		}
		if err := checkUserText(text.member, text.sent.Value, text.link); err != nil {
			return err
		}
		*text.target = text.sent.Value
	}
	if b.PhoneNumberVerified != nil {
		p.PhoneNumberVerified = *b.PhoneNumberVerified
	}
	if b.Address.Sent {
		p.Address = b.Address.Value
		if a := p.Address; a != nil {
			for _, s := range []string{a.StreetAddress, a.Locality, a.Region, a.PostalCode, a.Country} {
				if err := checkUserText("address", s, false); err != nil {
					return err
				}
			}
			if err := checkUserText("address", strings.ReplaceAll(a.Formatted, "\n", " "), false); err != nil { // OpenID Connect Core §5.1.1: may have lines
				return err
			}
		}
	}
	var err error
	if u.UserMetadata, err = mergeMetadata("user_metadata", u.UserMetadata, b.UserMetadata); err != nil {
		return err
	}
	u.AppMetadata, err = mergeMetadata("app_metadata", u.AppMetadata, b.AppMetadata)
	return err
}

func checkUserText(member, s string, link bool) error {
	if !isText(s, maxUserText) {
		return invalid(member, "must have at most %d characters and no control characters", maxUserText)
	}
	if link && s != "" {
		if err := oauth.CheckURI(s, "https", "http"); err != nil {
			return invalid(member, "must be an http or https URL")
		}
	}
	return nil
}

// mergeMetadata merges an object into another one, at the first level, as SDKs expect:
// null removes a member, or all of them.
func mergeMetadata(member string, old json.RawMessage, sent management.Nullable[json.RawMessage]) (json.RawMessage, error) {
	if !sent.Sent {
		return old, nil
	}
	merged := map[string]json.RawMessage{}
	if sent.Null {
		return nil, nil
	}
	if len(old) > 0 {
		if err := json.Unmarshal(old, &merged); err != nil {
			return nil, err
		}
	}
	var change map[string]json.RawMessage
	if json.Unmarshal(sent.Value, &change) != nil {
		return nil, invalid(member, "must be an object")
	}
	for name, value := range change {
		if bytes.Equal(value, []byte("null")) {
			delete(merged, name)
			continue
		}
		merged[name] = value
	}
	if len(merged) == 0 {
		return nil, nil
	}
	out, err := json.Marshal(merged)
	if err == nil && len(out) > maxUserMetadata {
		return nil, invalid(member, "must have at most %d bytes", maxUserMetadata)
	}
	return out, err
}
