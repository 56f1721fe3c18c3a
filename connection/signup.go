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

// This file is signing up by mail. Nothing is made until somebody who reads mail at the
// address says so and chooses the password there: who asks learns nothing of who has an
// account, and nobody can prepare one for somebody else.

const signUpKind = "sign-up"

// SignUpLifetime is how long the link to finish a sign-up is good.
const SignUpLifetime = 24 * time.Hour

// PendingUser is who may finish a sign-up.
type PendingUser struct {
	Email            string
	ConnectionID     string
	RequiresUsername bool
}

// signUpTicket is what the link of a sign-up stands for.
type signUpTicket struct {
	ConnectionID string `json:"connection"`
	Email        string `json:"email"`
}

// CheckSignUp says what is wrong with a sign-up, whoever has an account already:
// [ErrNoSignup], a [*InvalidError] about the address, or a system error.
func (d *Directory) CheckSignUp(t *tenant.Tenant, conn *store.Connection, email string) error {
	options, err := databaseOptionsOf(conn)
	if err != nil {
		return err
	}
	if !options.signup() || d.cfg.Stores.UserAdmin == nil || conn.TenantID != t.ID() {
		return ErrNoSignup
	}
	if email = foldLogin(email); email == "" {
		return invalid("email", "is required")
	}
	return checkEmail(email)
}

// RequestSignUp returns a ticket with which an account with that email address can be
// made, for [SignUpLifetime]. store.ErrExists, together with the user: the address is
// taken, which whoever asked must not learn. Other errors are those of CheckSignUp.
func (d *Directory) RequestSignUp(ctx context.Context, t *tenant.Tenant, conn *store.Connection, email string) (store.User, string, error) {
	if err := d.CheckSignUp(t, conn, email); err != nil {
		return store.User{}, "", err
	}
	email = foldLogin(email)
	user, known, err := d.find(ctx, conn, email)
	switch {
	case err != nil:
		return store.User{}, "", err
	case known:
		return user, "", store.ErrExists
	}
	data, err := json.Marshal(signUpTicket{ConnectionID: conn.ID, Email: email})
	if err != nil {
		return store.User{}, "", err
	}
	value, now := rand.Text(), d.now()
	err = d.cfg.Stores.Tickets.PutTicket(ctx, store.Ticket{
		TenantID: t.ID(), Kind: signUpKind, ID: store.DigestOf(value), Data: data, Version: 1, CreatedAt: now, ExpiresAt: now.Add(SignUpLifetime),
	}, now)
	if err != nil {
		return store.User{}, "", err
	}
	return store.User{TenantID: t.ID(), ConnectionID: conn.ID, Email: email}, value, nil
}

// SignUpFor returns who may finish a sign-up with a ticket, which stays as it is.
// ErrTicket, also if nobody may sign up any more, or a system error.
func (d *Directory) SignUpFor(ctx context.Context, t *tenant.Tenant, value string) (PendingUser, error) {
	found, err := d.cfg.Stores.Tickets.Ticket(ctx, t.ID(), signUpKind, store.DigestOf(value), d.now())
	if err != nil {
		return PendingUser{}, ticketError(err)
	}
	pending, _, err := d.pending(ctx, &found)
	return pending, err
}

// pending reads a ticket and checks anew what it was given out for.
func (d *Directory) pending(ctx context.Context, found *store.Ticket) (PendingUser, *store.Connection, error) {
	var data signUpTicket
	if err := json.Unmarshal(found.Data, &data); err != nil {
		return PendingUser{}, nil, fmt.Errorf("connection: data of a ticket: %w", err)
	}
	conn, err := d.cfg.Stores.Connections.Connection(ctx, found.TenantID, data.ConnectionID)
	if errors.Is(err, store.ErrNotFound) {
		err = ErrTicket
	}
	if err != nil {
		return PendingUser{}, nil, err
	}
	options, err := databaseOptionsOf(&conn)
	switch {
	case err != nil:
		return PendingUser{}, nil, err
	case !options.signup() || d.cfg.Stores.UserAdmin == nil:
		return PendingUser{}, nil, ErrTicket
	}
	return PendingUser{data.Email, conn.ID, options.RequiresUsername}, &conn, nil
}

// FinishSignUp creates the user that a ticket was given out for, whose email address the
// ticket proves, and spends the ticket.
//
// The error is ErrTicket, also if somebody has the address by now; a [*InvalidError]
// about the password or the username, which leaves the ticket as it is; [ErrBusy], or a
// system error. That a username is taken is said only if nothing else is wrong. Whoever
// calls it limits how often.
func (d *Directory) FinishSignUp(ctx context.Context, t *tenant.Tenant, value, username, password string) (store.User, error) {
	found, err := d.cfg.Stores.Tickets.Ticket(ctx, t.ID(), signUpKind, store.DigestOf(value), d.now())
	if err != nil {
		return store.User{}, ticketError(err)
	}
	pending, conn, err := d.pending(ctx, &found)
	if err != nil {
		return store.User{}, err
	}
	options, err := databaseOptionsOf(conn)
	if err != nil {
		return store.User{}, err
	}
	u := store.User{TenantID: t.ID(), ConnectionID: conn.ID, Email: pending.Email, EmailVerified: true, Username: foldLogin(username)}
	if err := d.checkUser(&u, &options); err != nil {
		return store.User{}, err
	}
	if password == "" {
		return store.User{}, invalid("password", "is required")
	}
	if err := d.checkNew(ctx, password, &options, &u); err != nil {
		return store.User{}, err
	}
	// Last, that no more is told than to somebody who could have the account right away.
	if u.Username != "" {
		switch _, taken, err := d.find(ctx, conn, u.Username); {
		case err != nil:
			return store.User{}, err
		case taken:
			return store.User{}, invalid("username", "is taken")
		}
	}
	if u.PasswordHash, err = d.hashChecked(ctx, password); err != nil {
		return store.User{}, err
	}
	if _, err := d.cfg.Stores.Tickets.ConsumeTicket(ctx, t.ID(), signUpKind, store.DigestOf(value), d.now()); err != nil {
		return store.User{}, ticketError(err)
	}
	u, err = d.CreateUser(ctx, u, "")
	if errors.Is(err, store.ErrExists) { // since the ticket was given out
		err = ErrTicket
	}
	return u, err
}
