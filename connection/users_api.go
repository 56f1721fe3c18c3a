package connection

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// UsersManagement serves the users of database and upstream connections to
// administrators:
//
//	GET    /api/v2/users        read:users    200  filters connection (a name) and q
//	POST   /api/v2/users        create:users  201  409 if the email or username is taken
//	GET    /api/v2/users/{id}   read:users    200
//	PATCH  /api/v2/users/{id}   update:users  200
//	DELETE /api/v2/users/{id}   delete:users  204  also if there is none; sessions and grants go too
//
// q finds by exact value: email:"ada@example.com", username:"ada" or user_id:"auth0|…".
// There is no other search: a store need not have an index for it.
//
// A PATCH merges user_metadata and app_metadata, at the first level. One with a
// password signs the user out everywhere. One that changes the email address takes
// back email_verified, unless it says so. The connection never changes. Of a
// user of an upstream connection, blocked and the two kinds of metadata can be changed;
// such users are not created here.
//
// The handler may be mounted under any path that ends in the wildcard {id} or,
// without wildcards, where the last segment is "users" or the identifier.
func (d *Directory) UsersManagement() http.Handler {
	guard := d.cfg.Tenants.Guard()
	return management.Resource{
		Name: userCollection,
		Collection: management.Methods{
			http.MethodGet: guard.Require(tenant.ScopeReadUsers, d.listUsers).Describe(management.Doc{
				Summary: "List users",
				Answer:  management.Paged(userCollection, "User", userView{}), Errors: []int{501},
				Query: []management.Parameter{{Name: "connection", Description: "The name of a connection."}, {Name: "q", Description: `email:"…", username:"…" or user_id:"…"`}},
			}),
			http.MethodPost: guard.Require(tenant.ScopeCreateUsers, d.postUser).Describe(management.Doc{
				Summary: "Create a user",
				Body:    userBody{}, Required: []string{"connection", "password"}, Status: http.StatusCreated,
				Answer: management.Object("User", userView{}), Tagged: true, Errors: []int{409, 501},
			}),
		},
		One: management.Methods{
			http.MethodGet: guard.Require(tenant.ScopeReadUsers, d.getUser).Describe(management.Doc{
				Summary: "Read a user",
				Answer:  management.Object("User", userView{}), Tagged: true, Errors: []int{404, 501},
			}),
			http.MethodPatch: guard.Require(tenant.ScopeUpdateUsers, d.patchUser).Describe(management.Doc{
				Summary: "Change a user",
				Body:    userBody{}, Answer: management.Object("User", userView{}), Tagged: true,
				Errors: []int{404, 409, 501},
			}),
			http.MethodDelete: guard.Require(tenant.ScopeDeleteUsers, d.deleteUser).Describe(management.Doc{
				Summary: "Delete a user",
				Status:  http.StatusNoContent, Tagged: true, Errors: []int{501},
			}),
		},
	}
}

// UsersByEmail serves GET /api/v2/users-by-email?email=…: read:users, 200 with an
// array of the users that have the address, of all connections.
func (d *Directory) UsersByEmail() http.Handler {
	return management.Methods{http.MethodGet: d.cfg.Tenants.Guard().Require(tenant.ScopeReadUsers, d.usersByEmail).Describe(management.Doc{
		Summary: "Find users by email address",
		Answer:  management.Array("User", userView{}),
		Query:   []management.Parameter{{Name: "email", Required: true}}, Errors: []int{501},
	})}
}

const userCollection = "users"

var (
	errNoUser       = management.Errorf(http.StatusNotFound, "inexistent_user", "The user does not exist.")
	errUserTaken    = management.Errorf(http.StatusConflict, "user_exists", "A user with the same email, username or identifier already exists.")
	errUserChanging = management.Errorf(http.StatusConflict, "user_changed", "The user was changed at the same time, try again.")
	errForeignUsers = management.Errorf(http.StatusNotImplemented, "users_elsewhere", "Users are kept by the application that this provider is part of.")
	errUsersBusy    = management.Errorf(http.StatusServiceUnavailable, "busy", "Too many passwords are being processed, try again later.")
)

// answerableUser turns the errors that an administrator may read into answers.
func answerableUser(err error) error {
	if e, ok := errors.AsType[*InvalidError](err); ok {
		return management.InvalidBody("%s %s", e.Field, e.Rule)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errNoUser
	case errors.Is(err, store.ErrExists):
		return errUserTaken
	case errors.Is(err, store.ErrConflict):
		return errUserChanging
	case errors.Is(err, errNoUserAdmin):
		return errForeignUsers
	case errors.Is(err, ErrBusy):
		return errUsersBusy
	}
	return err
}

// userInPath returns the identifier in a request's path.
func userInPath(r *http.Request) (string, error) {
	id := management.PathID(r, userCollection)
	if !validSubject(id) {
		return "", errNoUser
	}
	return id, nil
}

// connectionsByID returns the tenant's connections, few as they are.
func (d *Directory) connectionsByID(ctx context.Context, tenantID string) (map[string]*store.Connection, error) {
	all, err := d.all(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*store.Connection, len(all))
	for i := range all {
		byID[all[i].ID] = &all[i]
	}
	return byID, nil
}

// databaseUser returns a user of a database or upstream connection, and the connection.
// Users who sign in otherwise, and those whose connection is gone, are not managed here.
func (d *Directory) databaseUser(ctx context.Context, tenantID, id string) (store.User, *store.Connection, error) {
	if d.cfg.Stores.UserAdmin == nil {
		return store.User{}, nil, errForeignUsers
	}
	u, err := d.cfg.Stores.Users.User(ctx, tenantID, id)
	if err != nil {
		return store.User{}, nil, answerableUser(err)
	}
	conn, err := d.connectionOfUser(ctx, &u)
	return u, conn, err
}

// connectionOfUser returns a user's connection, the zero one if it is gone.
func (d *Directory) connectionOfUser(ctx context.Context, u *store.User) (*store.Connection, error) {
	byID, err := d.connectionsByID(ctx, u.TenantID)
	if err != nil {
		return nil, err
	}
	if conn := byID[u.ConnectionID]; conn != nil {
		return conn, nil
	}
	return &store.Connection{}, nil
}

func (d *Directory) listUsers(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	if d.cfg.Stores.UserAdmin == nil {
		return errForeignUsers
	}
	query := r.URL.Query()
	for _, name := range []string{"connection", "q"} {
		if len(query[name]) > 1 {
			return management.InvalidQuery("%s appears more than once", name)
		}
	}
	byID, err := d.connectionsByID(r.Context(), caller.TenantID)
	if err != nil {
		return err
	}
	in := ""
	if name := query.Get("connection"); name != "" {
		for id, conn := range byID {
			if conn.Name == name {
				in = id
			}
		}
		if in == "" {
			return management.InvalidQuery("connection must be the name of a connection")
		}
	}
	list := management.List[store.User]{
		Name: userCollection,
		Fetch: func(ctx context.Context, page store.Page) ([]store.User, error) {
			return d.cfg.Stores.UserAdmin.Users(ctx, caller.TenantID, in, page)
		},
		ID: func(u *store.User) string { return u.ID },
		View: func(u *store.User) any {
			conn := byID[u.ConnectionID]
			if conn == nil {
				conn = &store.Connection{}
			}
			return viewUser(u, conn)
		},
	}
	if q := query.Get("q"); q != "" {
		found, err := d.findUsers(r.Context(), caller.TenantID, q, byID)
		if err != nil {
			return err
		}
		found = slices.DeleteFunc(found, func(u store.User) bool { return in != "" && u.ConnectionID != in })
		list.Fetch = func(_ context.Context, page store.Page) ([]store.User, error) {
			i := 0
			for i < len(found) && found[i].ID <= page.After {
				i++
			}
			return found[i:min(len(found), i+page.Size())], nil
		}
	}
	return list.Serve(w, r)
}

// findUsers returns the users that a search is about, in order of their identifiers.
func (d *Directory) findUsers(ctx context.Context, tenantID, q string, byID map[string]*store.Connection) ([]store.User, error) {
	field, value, _ := strings.Cut(q, ":")
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		value, ok = strings.CutSuffix(quoted, `"`)
		if !ok {
			value = ""
		}
	}
	if value == "" || strings.ContainsAny(value, "\"*?\\ ") {
		field = ""
	}
	switch field {
	case "user_id":
		if !validSubject(value) {
			return nil, nil
		}
		u, err := d.cfg.Stores.Users.User(ctx, tenantID, value)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return []store.User{u}, err
	case "email", "username":
	default:
		return nil, management.InvalidQuery(`q must be email:"…", username:"…" or user_id:"…", with an exact value`)
	}
	login := foldLogin(value)
	var found []store.User
	for id, conn := range byID {
		if conn.Strategy == StrategyHost || !findable(login) {
			continue
		}
		u, err := d.cfg.Stores.Users.UserByLogin(ctx, tenantID, id, login)
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		if field == "email" && u.Email == login || field == "username" && u.Username == login {
			found = append(found, u)
		}
	}
	slices.SortFunc(found, func(a, b store.User) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

func (d *Directory) usersByEmail(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	if d.cfg.Stores.UserAdmin == nil {
		return errForeignUsers
	}
	emails := r.URL.Query()["email"]
	if len(emails) != 1 || checkEmail(foldLogin(emails[0])) != nil {
		return management.InvalidQuery("email must be an email address")
	}
	byID, err := d.connectionsByID(r.Context(), caller.TenantID)
	if err != nil {
		return err
	}
	found, err := d.findUsers(r.Context(), caller.TenantID, "email:"+foldLogin(emails[0]), byID)
	if err != nil {
		return err
	}
	views := []userView{}
	for i := range found {
		views = append(views, viewUser(&found[i], byID[found[i].ConnectionID]))
	}
	httpx.WriteJSON(w, http.StatusOK, views)
	return nil
}

func (d *Directory) getUser(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id, err := userInPath(r)
	if err != nil {
		return err
	}
	u, conn, err := d.databaseUser(r.Context(), caller.TenantID, id)
	if err != nil {
		return err
	}
	return writeUser(w, r, http.StatusOK, &u, conn)
}

func tagOfUser(u *store.User, conn *store.Connection) management.Tag {
	return management.TagOf(u.Version, viewUser(u, conn))
}

func writeUser(w http.ResponseWriter, r *http.Request, status int, u *store.User, conn *store.Connection) error {
	return management.WriteRecord(w, r, status, tagOfUser(u, conn), viewUser(u, conn))
}

func (d *Directory) postUser(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	body, err := management.Decode[userBody](w, r)
	if err != nil {
		return err
	}
	switch {
	case body.Connection == nil:
		return management.InvalidBody("connection is required: the name of a database connection")
	case body.Password == nil || *body.Password == "":
		return management.InvalidBody("password is required")
	}
	conn, err := d.named(r.Context(), caller.TenantID, *body.Connection)
	if errors.Is(err, store.ErrNotFound) || err == nil && conn.Strategy != StrategyDatabase {
		return management.InvalidBody("connection must be the name of a database connection")
	}
	if err != nil {
		return err
	}
	u := store.User{TenantID: caller.TenantID, ConnectionID: conn.ID}
	if body.UserID != nil {
		// As SDKs send it, without what the strategy puts in front.
		if *body.UserID == "" {
			return management.InvalidBody("user_id must not be empty")
		}
		u.ID = StrategyDatabase + "|" + strings.TrimPrefix(*body.UserID, StrategyDatabase+"|")
	}
	if err := body.applyTo(&u); err != nil {
		return answerableUser(err)
	}
	u, err = d.CreateUser(r.Context(), u, *body.Password)
	if err != nil {
		return answerableUser(err)
	}
	d.auditUser(r, caller, "user created", u.ID)
	return writeUser(w, r, http.StatusCreated, &u, &conn)
}

func (d *Directory) patchUser(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id, err := userInPath(r)
	if err != nil {
		return err
	}
	body, err := management.Decode[userBody](w, r)
	if err != nil {
		return err
	}
	_, conn, err := d.databaseUser(r.Context(), caller.TenantID, id)
	if err != nil {
		return err
	}
	password := ""
	switch {
	case body.Connection != nil && *body.Connection != conn.Name:
		return management.InvalidBody("connection cannot be changed")
	case body.UserID != nil && *body.UserID != id:
		return management.InvalidBody("user_id cannot be changed")
	case body.Password != nil && *body.Password == "":
		return management.InvalidBody("password must not be empty")
	case body.Password != nil:
		password = *body.Password
	}
	ctx := r.Context()
	if password != "" { // whoever hangs up does not stop it between the password and the sessions
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), deletionTimeout)
		defer cancel()
		ctx = detached
	}
	u, err := d.changeUser(ctx, caller.TenantID, id, password, func(u *store.User) error {
		if err := management.CheckMatch(r, tagOfUser(u, conn)); err != nil {
			return err
		}
		return body.applyTo(u)
	})
	if err != nil {
		return answerableUser(err)
	}
	if password != "" {
		// Whoever knew the former one must not stay signed in.
		if err := d.EndAccess(ctx, caller.TenantID, id); err != nil {
			return err
		}
	}
	if u.Blocked && u.LinkedTo != "" {
		if err := d.EndAccess(ctx, caller.TenantID, u.LinkedTo); err != nil {
			return err
		}
	}
	d.auditUser(r, caller, "user changed", id)
	return writeUser(w, r, http.StatusOK, &u, conn)
}

func (d *Directory) deleteUser(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id, err := userInPath(r)
	if err != nil {
		return management.WriteAbsent(w, r)
	}
	if d.cfg.Stores.UserAdmin != nil {
		var conn *store.Connection
		if err := management.Claim(r, func() (u store.User, err error) {
			if u, err = d.cfg.Stores.Users.User(r.Context(), caller.TenantID, id); err == nil {
				conn, err = d.connectionOfUser(r.Context(), &u)
			}
			return u, err
		}, func(u *store.User) management.Tag { return tagOfUser(u, conn) }, func(u store.User) error {
			return d.cfg.Stores.UserAdmin.UpdateUser(r.Context(), u)
		}); err != nil {
			return err
		}
	}
	if err := d.DeleteUser(r.Context(), caller.TenantID, id); err != nil {
		return answerableUser(err)
	}
	d.auditUser(r, caller, "user deleted", id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// auditUser records what an administrator did.
func (d *Directory) auditUser(r *http.Request, caller management.Caller, what, id string) {
	d.cfg.Logger.InfoContext(r.Context(), what, "tenant", caller.TenantID, "client_id", caller.ClientID, "user", id)
	audit.Emit(r.Context(), d.cfg.Audit, audit.Event{
		Time: d.now(), TenantID: caller.TenantID, Type: audit.Management, Outcome: audit.Allowed, Actor: caller.ClientID, UserID: id, Reasons: []string{what},
	})
}
