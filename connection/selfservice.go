package connection

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is what people do about their own accounts: sign up, replace a password
// that they forgot, and prove that an email address is theirs. Whoever calls it sends
// the links and limits how many.

const (
	resetKind        = "password-reset"
	verificationKind = "email-verification"
)

// How long a link is good.
const (
	ResetLifetime        = time.Hour
	VerificationLifetime = 5 * 24 * time.Hour
)

var (
	// ErrTicket says that a link was used, has expired, was never given out, or that
	// what it was given out for has changed since.
	ErrTicket = errors.New("connection: the ticket is not good (any more)")
	// ErrNoSignup says that nobody may sign up to a connection.
	ErrNoSignup = errors.New("connection: nobody may sign up")
)

// ticket is what a link stands for. It dies with the address that it was sent to, and
// one for a new password with the password that it replaces.
type ticket struct {
	UserID   string       `json:"user"`
	Email    string       `json:"email"`
	Password store.Digest `json:"password,omitzero"`
}

// SignUp creates a user of a database connection on the user's own word: nothing is
// verified. It is for pages; see [Directory.CreateUser] for everything else.
//
// The error is ErrNoSignup, a [*InvalidError], store.ErrExists if the email or username
// is taken, [ErrBusy], or a system error. That it is store.ErrExists takes as long to
// say as that it is not.
func (d *Directory) SignUp(ctx context.Context, t *tenant.Tenant, conn *store.Connection, u store.User, password string) (store.User, error) {
	options, err := databaseOptionsOf(conn)
	if err != nil {
		return store.User{}, err
	}
	switch {
	case !options.signup() || d.cfg.Stores.UserAdmin == nil || conn.TenantID != t.ID():
		return store.User{}, ErrNoSignup
	case u.Email == "":
		return store.User{}, invalid("email", "is required")
	case password == "":
		return store.User{}, invalid("password", "is required")
	case len(u.UserMetadata) > maxUserMetadata:
		return store.User{}, invalid("user_metadata", "must have at most %d bytes", maxUserMetadata)
	}
	for name, text := range map[string]string{
		"name": u.Profile.Name, "given_name": u.Profile.GivenName, "family_name": u.Profile.FamilyName,
		"nickname": u.Profile.Nickname, "picture": u.Profile.Picture,
	} {
		if err := checkUserText(name, text, name == "picture"); err != nil {
			return store.User{}, err
		}
	}
	u.TenantID, u.ConnectionID = t.ID(), conn.ID
	u.ID, u.PasswordHash, u.EmailVerified, u.Blocked, u.AppMetadata = "", "", false, false, nil
	return d.CreateUser(ctx, u, password)
}

// RequestReset returns the user with that email address and a ticket that is good for
// one new password, for [ResetLifetime] and as long as the password stays.
//
// store.ErrNotFound: there is no such user, the user is blocked, or the connection does
// not let users change passwords. Whoever asked must not learn it.
func (d *Directory) RequestReset(ctx context.Context, t *tenant.Tenant, conn *store.Connection, email string) (store.User, string, error) {
	options, err := databaseOptionsOf(conn)
	if err != nil {
		return store.User{}, "", err
	}
	email = foldLogin(email)
	if !options.reset() || d.cfg.Stores.UserAdmin == nil || conn.TenantID != t.ID() {
		return store.User{}, "", store.ErrNotFound
	}
	user, known, err := d.find(ctx, conn, email)
	if err != nil {
		return store.User{}, "", err
	}
	if !known || user.Blocked || user.Email != email {
		return store.User{}, "", store.ErrNotFound
	}
	value, err := d.putTicket(ctx, resetKind, &user, ResetLifetime)
	return user, value, err
}

// ResetFor returns the user who may set a new password with a ticket, which stays as
// it is. ErrTicket, or a system error.
func (d *Directory) ResetFor(ctx context.Context, t *tenant.Tenant, value string) (store.User, error) {
	found, err := d.cfg.Stores.Tickets.Ticket(ctx, t.ID(), resetKind, store.DigestOf(value), d.now())
	if err != nil {
		return store.User{}, ticketError(err)
	}
	return d.holder(ctx, t, &found)
}

// Reset replaces the password of the user that a ticket was given out for, spends the
// ticket, and notes that the email address is the user's: the ticket reached them
// there. Sessions and grants stay, see [Directory.EndAccess].
//
// The error is ErrTicket, a [*InvalidError] about the password, which leaves the ticket
// as it is, [ErrBusy], or a system error.
func (d *Directory) Reset(ctx context.Context, t *tenant.Tenant, value, password string) (store.User, error) {
	user, err := d.ResetFor(ctx, t, value)
	if err != nil {
		return store.User{}, err
	}
	options, err := d.databaseOf(ctx, t.ID(), user.ConnectionID)
	if err != nil {
		return store.User{}, err
	}
	if password == "" {
		return store.User{}, invalid("password", "is required")
	}
	if err := d.checkNew(ctx, password, &options, &user); err != nil {
		return store.User{}, err
	}
	spent, err := d.cfg.Stores.Tickets.ConsumeTicket(ctx, t.ID(), resetKind, store.DigestOf(value), d.now())
	if err != nil {
		return store.User{}, ticketError(err)
	}
	data, err := decodeTicket(&spent)
	if err != nil {
		return store.User{}, err
	}
	return d.changeUser(ctx, t.ID(), data.UserID, password, func(u *store.User) error {
		if err := data.checkHolder(u); err != nil {
			return err
		}
		u.EmailVerified = true
		return nil
	})
}

// RequestVerification returns a ticket with which the user proves to read mail at
// their address, good for [VerificationLifetime].
func (d *Directory) RequestVerification(ctx context.Context, user *store.User) (string, error) {
	return d.putTicket(ctx, verificationKind, user, VerificationLifetime)
}

// VerificationFor returns the user whose address a ticket verifies. The ticket stays as
// it is. ErrTicket, or a system error.
func (d *Directory) VerificationFor(ctx context.Context, t *tenant.Tenant, value string) (store.User, error) {
	found, err := d.cfg.Stores.Tickets.Ticket(ctx, t.ID(), verificationKind, store.DigestOf(value), d.now())
	if err != nil {
		return store.User{}, ticketError(err)
	}
	return d.holder(ctx, t, &found)
}

// Verify notes that the email address that a ticket was sent to is the user's, and
// spends the ticket. ErrTicket, or a system error.
func (d *Directory) Verify(ctx context.Context, t *tenant.Tenant, value string) (store.User, error) {
	spent, err := d.cfg.Stores.Tickets.ConsumeTicket(ctx, t.ID(), verificationKind, store.DigestOf(value), d.now())
	if err != nil {
		return store.User{}, ticketError(err)
	}
	data, err := decodeTicket(&spent)
	if err != nil {
		return store.User{}, err
	}
	user, err := d.UpdateUser(ctx, t.ID(), data.UserID, func(u *store.User) error {
		if u.Email != data.Email {
			return ErrTicket
		}
		u.EmailVerified = true
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = ErrTicket
	}
	return user, err
}

// putTicket stores a ticket for the user and returns its value.
func (d *Directory) putTicket(ctx context.Context, kind string, user *store.User, lifetime time.Duration) (string, error) {
	data := ticket{UserID: user.ID, Email: user.Email}
	if kind == resetKind {
		data.Password = store.DigestOf(user.PasswordHash)
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	value, now := rand.Text(), d.now()
	return value, d.cfg.Stores.Tickets.PutTicket(ctx, store.Ticket{
		TenantID: user.TenantID, Kind: kind, ID: store.DigestOf(value), Data: encoded, Version: 1, CreatedAt: now, ExpiresAt: now.Add(lifetime),
	}, now)
}

// holder returns the user that a ticket was given out for, if it still is good.
func (d *Directory) holder(ctx context.Context, t *tenant.Tenant, found *store.Ticket) (store.User, error) {
	data, err := decodeTicket(found)
	if err != nil {
		return store.User{}, err
	}
	user, err := d.cfg.Stores.Users.User(ctx, t.ID(), data.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return store.User{}, ErrTicket
	}
	if err == nil {
		err = data.checkHolder(&user)
	}
	if err != nil {
		return store.User{}, err
	}
	return user, nil
}

func (data *ticket) checkHolder(u *store.User) error {
	if u.Blocked || u.Email != data.Email || !data.Password.IsZero() && data.Password != store.DigestOf(u.PasswordHash) {
		return ErrTicket
	}
	return nil
}

func decodeTicket(found *store.Ticket) (ticket, error) {
	var data ticket
	if err := json.Unmarshal(found.Data, &data); err != nil {
		return ticket{}, fmt.Errorf("connection: data of a ticket: %w", err)
	}
	return data, nil
}

// ticketError is ErrTicket for a ticket that is not there or was used.
func ticketError(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConsumed) {
		return ErrTicket
	}
	return err
}
