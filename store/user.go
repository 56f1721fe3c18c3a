package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// User is a person that can sign in through a connection. ID is the value of the
// sub claim (before any pairwise mapping) and is never reused.
type User struct {
	TenantID     string `json:"tenant_id"`
	ID           string `json:"id"`
	ConnectionID string `json:"connection_id"`
	// Username and Email are what the user may type to sign in. Both are kept as
	// the connection folded them (lower case) and are unique in the connection
	// unless empty; one user's Username never equals another's Email.
	Username      string `json:"username,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified,omitempty"`
	// PasswordHash is a PHC string or another format that a password hook of the
	// connection understands. Empty: the user has no password and cannot sign in
	// with one.
	PasswordHash string `json:"password_hash,omitempty"`
	// PasswordSetAt is when the password was set that the user has now. Zero: when the
	// user was created.
	PasswordSetAt time.Time `json:"password_set_at,omitzero"`
	Blocked       bool      `json:"blocked,omitempty"`
	// UpstreamTokens are what another provider gave out for the user, where the
	// connection keeps that.
	UpstreamTokens Sealed `json:"upstream_tokens,omitempty"`
	// LinkedTo is the ID of the user whom this one's sign-ins are for: the user joined an
	// account at another provider to the one here. Empty: for this one.
	LinkedTo string `json:"linked_to,omitempty"`
	// LinkedAt is when that was. Zero: at CreatedAt.
	LinkedAt time.Time `json:"linked_at,omitzero"`
	// LinkedPasswordSetAt is PasswordSetAt of that user at that time.
	LinkedPasswordSetAt time.Time `json:"linked_password_set_at,omitzero"`
	Profile             Profile   `json:"profile"`
	// AppMetadata and UserMetadata are JSON objects of the host.
	AppMetadata  json.RawMessage `json:"app_metadata,omitempty"`
	UserMetadata json.RawMessage `json:"user_metadata,omitempty"`
	Version      int64           `json:"version"`
	CreatedAt    time.Time       `json:"created_at"`
	UpdatedAt    time.Time       `json:"updated_at"`
}

// Profile holds the standard claims of OpenID Connect Core §5.1 other than sub,
// email, email_verified and updated_at.
type Profile struct {
	Name                string   `json:"name,omitempty"`
	GivenName           string   `json:"given_name,omitempty"`
	FamilyName          string   `json:"family_name,omitempty"`
	MiddleName          string   `json:"middle_name,omitempty"`
	Nickname            string   `json:"nickname,omitempty"`
	PreferredUsername   string   `json:"preferred_username,omitempty"`
	ProfileURL          string   `json:"profile,omitempty"`
	Picture             string   `json:"picture,omitempty"`
	Website             string   `json:"website,omitempty"`
	Gender              string   `json:"gender,omitempty"`
	Birthdate           string   `json:"birthdate,omitempty"`
	Zoneinfo            string   `json:"zoneinfo,omitempty"`
	Locale              string   `json:"locale,omitempty"`
	PhoneNumber         string   `json:"phone_number,omitempty"`
	PhoneNumberVerified bool     `json:"phone_number_verified,omitempty"`
	Address             *Address `json:"address,omitempty"`
}

// Address is the address claim of OpenID Connect Core §5.1.1.
type Address struct {
	Formatted     string `json:"formatted,omitempty"`
	StreetAddress string `json:"street_address,omitempty"`
	Locality      string `json:"locality,omitempty"`
	Region        string `json:"region,omitempty"`
	PostalCode    string `json:"postal_code,omitempty"`
	Country       string `json:"country,omitempty"`
}

// Clone returns a copy that shares nothing with u.
func (u User) Clone() User {
	if u.Profile.Address != nil {
		address := *u.Profile.Address
		u.Profile.Address = &address
	}
	u.UpstreamTokens = slices.Clone(u.UpstreamTokens)
	u.AppMetadata = slices.Clone(u.AppMetadata)
	u.UserMetadata = slices.Clone(u.UserMetadata)
	return u
}

// UserStore reads users. A host with users of its own implements these two
// methods over its table and leaves [Stores.UserAdmin] nil.
type UserStore interface {
	// User returns the user. ErrNotFound: there is none, or it was deleted.
	User(ctx context.Context, tenant, id string) (User, error)
	// UserByLogin returns the connection's user whose Username or Email equals
	// login, which the caller has folded to lower case.
	UserByLogin(ctx context.Context, tenant, connection, login string) (User, error)
}

// UserAdmin changes users. Without one, users are created, changed and deleted
// outside opkit.
type UserAdmin interface {
	// CreateUser stores u. ErrExists: the ID, or the username or email in that
	// connection, is taken.
	CreateUser(ctx context.Context, u User) error
	// UpdateUser replaces the user by compare-and-swap. ErrExists: the new
	// username or email is taken.
	UpdateUser(ctx context.Context, u User) error
	// DeleteUser removes the user.
	DeleteUser(ctx context.Context, tenant, id string) error
	// Users lists a connection's users, or all of the tenant's if connection is
	// empty.
	Users(ctx context.Context, tenant, connection string, page Page) ([]User, error)
}
