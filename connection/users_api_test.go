package connection

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const userScopes = "read:users create:users update:users delete:users"

func (w *world) users(method, path, body string) answer {
	w.t.Helper()
	h := w.UsersManagement()
	if strings.HasPrefix(path, "-by-email") {
		h = w.UsersByEmail()
	}
	return w.call(h, method, "/api/v2/users"+path, w.bearer(userScopes), body)
}

// refusesUser sends a request that has to fail in exactly that way.
func (w *world) refusesUser(status int, code, message, method, path, body string) {
	w.t.Helper()
	want := map[string]any{"statusCode": float64(status), "error": http.StatusText(status), "message": message, "errorCode": code}
	if code == "" {
		delete(want, "errorCode")
	}
	if a := w.users(method, path, body); a.status != status || cmp.Diff(any(want), a.body) != "" {
		w.t.Errorf("%s %s %s: %d (-want +got):\n%s", method, path, body, a.status, cmp.Diff(any(want), a.body))
	}
}

func (w *world) allUsers() []store.User {
	w.t.Helper()
	list, err := w.stores.UserAdmin.Users(context.Background(), tenant.DefaultID, "", store.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

const usersPath = "/auth0%7Cgrace"

func TestAUserOnTheWire(t *testing.T) {
	w := newWorld(t, nil)
	now := w.clock.now.Format(time.RFC3339)
	want := map[string]any{
		"user_id": "auth0|grace", "email": "grace@example.com", "email_verified": false, "username": "grace", "blocked": false,
		"identities":    []any{map[string]any{"connection": "Username-Password-Authentication", "user_id": "grace", "provider": "auth0", "isSocial": false}},
		"name":          "Grace Hopper",
		"address":       map[string]any{"country": "US"},
		"user_metadata": map[string]any{"rank": "Rear Admiral"}, "created_at": now, "updated_at": now,
	}
	created := w.users("POST", "", `{"connection":"Username-Password-Authentication","user_id":"grace","email":"Grace@Example.com","username":"GRACE",
		"password":"`+password+`","name":"Grace Hopper","address":{"country":"US"},"user_metadata":{"rank":"Rear Admiral"}}`)
	if diff := cmp.Diff(any(want), created.body); created.status != 201 || diff != "" {
		t.Fatalf("%d (-want +got):\n%s", created.status, diff)
	}
	if _, err := w.login("grace@example.com", password); err != nil {
		t.Error(err)
	}
	w.refusesUser(409, "user_exists", "A user with the same email, username or identifier already exists.", "POST", "",
		`{"connection":"Username-Password-Authentication","email":"grace@example.com","password":"`+password+`"}`)

	for _, step := range []struct {
		body   string
		change map[string]any
	}{
		{`{}`, nil},
		{`{"connection":"Username-Password-Authentication","user_id":"auth0|grace","email_verified":true}`, map[string]any{"email_verified": true}},
		{`{"email":"hopper@example.com"}`, map[string]any{"email": "hopper@example.com", "email_verified": false}},
		{`{"email":"admiral@example.com","email_verified":true}`, map[string]any{"email": "admiral@example.com", "email_verified": true}},
		{`{"username":null}`, map[string]any{"username": nil}},
		{`{"nickname":"Amazing Grace","picture":"https://example.com/g.png","phone_number_verified":true}`, map[string]any{
			"nickname": "Amazing Grace", "picture": "https://example.com/g.png", "phone_number_verified": true}},
		{`{"nickname":null,"picture":"","address":null,"phone_number_verified":false}`, map[string]any{"nickname": nil, "picture": nil, "address": nil, "phone_number_verified": nil}},
		{`{"user_metadata":{"ship":"Hopper"},"app_metadata":{"plan":{"tier":1}}}`, map[string]any{
			"user_metadata": map[string]any{"rank": "Rear Admiral", "ship": "Hopper"}, "app_metadata": map[string]any{"plan": map[string]any{"tier": 1.0}}}},
		{`{"user_metadata":{"rank":null},"app_metadata":null}`, map[string]any{"user_metadata": map[string]any{"ship": "Hopper"}, "app_metadata": nil}},
		{`{"blocked":true}`, map[string]any{"blocked": true}},
	} {
		if step.change != nil {
			w.clock.now = w.clock.now.Add(time.Minute)
		}
		for member, value := range step.change {
			if want[member] = value; value == nil {
				delete(want, member)
			}
		}
		if step.change != nil {
			want["updated_at"] = w.clock.now.Format(time.RFC3339)
		}
		if got := w.users("PATCH", usersPath, step.body); got.status != 200 || cmp.Diff(any(want), got.body) != "" {
			t.Errorf("%s: %d (-want +got):\n%s", step.body, got.status, cmp.Diff(any(want), got.body))
		}
		if got := w.users("GET", usersPath, ""); got.status != 200 || cmp.Diff(any(want), got.body) != "" {
			t.Errorf("%s, read: %d (-want +got):\n%s", step.body, got.status, cmp.Diff(any(want), got.body))
		}
	}
	if _, err := w.login("admiral@example.com", password); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("a blocked user: %v", err)
	}
	for range 2 {
		if a := w.users("DELETE", usersPath, ""); a.status != 204 {
			t.Error(a.status)
		}
	}
	w.refusesUser(404, "inexistent_user", "The user does not exist.", "GET", usersPath, "")
	w.refusesUser(404, "inexistent_user", "The user does not exist.", "PATCH", usersPath, `{}`)
}

// access gives a user a session, a grant and a family.
func (w *world) access(userID string) (sid store.Digest, family string) {
	w.t.Helper()
	ctx := context.Background()
	sid = store.DigestOf("session of " + userID)
	g := store.Grant{TenantID: tenant.DefaultID, ID: "grant-" + userID, UserID: userID, ClientID: "app"}
	f := store.Family{TenantID: tenant.DefaultID, ID: "family-" + userID, GrantID: g.ID, UserID: userID, ClientID: "app", ExpiresAt: w.clock.now.Add(time.Hour)}
	if err := w.stores.Grants.CreateGrant(ctx, g); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.stores.Grants.StartFamily(ctx, f, w.clock.now); err != nil {
		w.t.Fatal(err)
	}
	if err := w.stores.Sessions.CreateSession(ctx, store.Session{TenantID: tenant.DefaultID, ID: sid, SID: "sid-" + userID, UserID: userID, ExpiresAt: w.clock.now.Add(time.Hour)}); err != nil {
		w.t.Fatal(err)
	}
	return sid, f.ID
}

// has reports what is left of it.
func (w *world) has(userID string, sid store.Digest, family string) (session, tokens, grant bool) {
	ctx := context.Background()
	_, err := w.stores.Sessions.Session(ctx, tenant.DefaultID, sid, w.clock.now)
	session = err == nil
	_, err = w.stores.Grants.Family(ctx, tenant.DefaultID, family, w.clock.now)
	tokens = err == nil
	_, err = w.stores.Grants.Grant(ctx, tenant.DefaultID, "grant-"+userID, "", w.clock.now)
	return session, tokens, err == nil
}

func TestAPasswordThatAnAdministratorSetsSignsTheUserOut(t *testing.T) {
	w := newWorld(t, nil)
	other, err := w.CreateUser(t.Context(), store.User{TenantID: tenant.DefaultID, ConnectionID: w.conn.ID, Email: "other@example.com"}, password)
	if err != nil {
		t.Fatal(err)
	}
	sid, family := w.access(w.user.ID)
	otherSID, otherFamily := w.access(other.ID)
	path := "/" + strings.ReplaceAll(w.user.ID, "|", "%7C")
	if a := w.users("PATCH", path, `{"name":"Ada"}`); a.status != 200 {
		t.Error(a.status, a.text)
	}
	if session, tokens, grant := w.has(w.user.ID, sid, family); !session || !tokens || !grant {
		t.Errorf("after a name: session %v, tokens %v, grant %v", session, tokens, grant)
	}
	if a := w.users("PATCH", path, `{"password":"another battery staple"}`); a.status != 200 || strings.Contains(a.text, "argon2id") || strings.Contains(a.text, "another") {
		t.Error(a.status, a.text)
	}
	if session, tokens, grant := w.has(w.user.ID, sid, family); session || tokens || !grant {
		t.Errorf("after a password: session %v, tokens %v, grant %v", session, tokens, grant)
	}
	if session, tokens, grant := w.has(other.ID, otherSID, otherFamily); !session || !tokens || !grant {
		t.Errorf("another user: session %v, tokens %v, grant %v", session, tokens, grant)
	}
	if _, err := w.login("ada", password); !errors.Is(err, ErrInvalidCredentials) {
		t.Error(err)
	}
	if _, err := w.login("ada", "another battery staple"); err != nil {
		t.Error(err)
	}
}

// hangsUp is a store whose caller is gone as soon as a user was changed.
type hangsUp struct {
	store.UserAdmin
	hangUp func()
}

func (s *hangsUp) UpdateUser(ctx context.Context, u store.User) error {
	err := s.UserAdmin.UpdateUser(ctx, u)
	s.hangUp()
	return err
}

func TestAPasswordSignsTheUserOutThoughTheAdministratorHangsUp(t *testing.T) {
	admin := &hangsUp{hangUp: func() {}}
	w := newWorld(t, func(cfg *Config) {
		admin.UserAdmin = cfg.Stores.UserAdmin
		cfg.Stores.UserAdmin = admin
	})
	sid, family := w.access(w.user.ID)
	h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		admin.hangUp = cancel
		w.UsersManagement().ServeHTTP(rw, r.WithContext(ctx))
	})
	w.call(h, "PATCH", "/api/v2/users/"+strings.ReplaceAll(w.user.ID, "|", "%7C"), w.bearer(userScopes), `{"password":"another battery staple"}`)
	if _, err := w.login("ada", "another battery staple"); err != nil {
		t.Fatal(err)
	}
	if session, tokens, grant := w.has(w.user.ID, sid, family); session || tokens || !grant {
		t.Errorf("session %v, tokens %v, grant %v", session, tokens, grant)
	}
}

func TestADeletedUserLeavesNothing(t *testing.T) {
	w := newWorld(t, nil)
	sid, family := w.access(w.user.ID)
	if a := w.users("DELETE", "/"+strings.ReplaceAll(w.user.ID, "|", "%7C"), ""); a.status != 204 {
		t.Fatal(a.status, a.text)
	}
	if session, tokens, grant := w.has(w.user.ID, sid, family); session || tokens || grant {
		t.Errorf("session %v, tokens %v, grant %v", session, tokens, grant)
	}
	if list := w.allUsers(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestUsersAreFoundByExactValuesOnly(t *testing.T) {
	w := newWorld(t, nil)
	second, err := w.Create(t.Context(), store.Connection{TenantID: tenant.DefaultID, Name: "partners", Strategy: StrategyDatabase})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []store.User{
		{ID: "auth0|2", Email: "ada@example.com", ConnectionID: second.ID},
		{ID: "auth0|3", Email: "grace@example.com", Username: "grace", ConnectionID: second.ID},
	} {
		u.TenantID = tenant.DefaultID
		if _, err := w.CreateUser(t.Context(), u, password); err != nil {
			t.Fatal(err)
		}
	}
	first := w.user.ID
	quoted := func(s string) string { return strings.NewReplacer(`"`, "%22", "|", "%7C", " ", "%20").Replace(s) }
	for query, want := range map[string][]string{
		"":                          {first, "auth0|2", "auth0|3"},
		"connection=partners":       {"auth0|2", "auth0|3"},
		`q=email:"Ada@example.com"`: {first, "auth0|2"},
		`q=email:ada@example.com&search_engine=v3`:      {first, "auth0|2"},
		`q=email:"ada@example.com"&connection=partners`: {"auth0|2"},
		`q=username:"grace"`:                            {"auth0|3"},
		`q=username:"ada@example.com"`:                  nil,
		`q=user_id:"auth0|3"`:                           {"auth0|3"},
		`q=user_id:"auth0|9"`:                           nil,
	} {
		a := w.users("GET", "?take=100&"+quoted(query), "")
		got := map[string]bool{}
		list, _ := a.member("users").([]any)
		for _, u := range list {
			got[u.(map[string]any)["user_id"].(string)] = true
		}
		expected := map[string]bool{}
		for _, id := range want {
			expected[id] = true
		}
		if diff := cmp.Diff(expected, got); a.status != 200 || diff != "" || len(list) != len(want) {
			t.Errorf("%s: %d %s (-want +got):\n%s", query, a.status, a.text, diff)
		}
	}
	a := w.users("GET", "-by-email?email=ADA@example.com", "")
	if list, ok := a.body.([]any); !ok || len(list) != 2 {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := w.users("GET", "-by-email?email=nobody@example.com", ""); a.status != 200 || a.text != "[]\n" && a.text != "[]" {
		t.Errorf("%d %q", a.status, a.text)
	}
	const q = `q must be email:"…", username:"…" or user_id:"…", with an exact value`
	for query, message := range map[string]string{
		"q=ada": q, `q=email:"ad*"`: q, `q=email:`: q, `q=name:"x"`: q, `q=email:"a"%20OR%20email:"b"`: q, `q=email:"a`: q,
		"q=email:a&q=email:b": "q appears more than once",
		"connection=nothing":  "connection must be the name of a connection",
	} {
		w.refusesUser(400, "invalid_query_string", message, "GET", "?"+quoted(query), "")
	}
	for _, query := range []string{"", "?email=", "?email=x", "?email=a@b.example&email=c@d.example"} {
		w.refusesUser(400, "invalid_query_string", "email must be an email address", "GET", "-by-email"+query, "")
	}
}

func TestTheManagementOfUsersRefuses(t *testing.T) {
	w, host := hostWorld(t, Host{})
	before := w.allUsers()
	one := "/" + strings.ReplaceAll(w.user.ID, "|", "%7C")
	create := func(members string) string {
		return `{"connection":"Username-Password-Authentication","email":"g@example.com","password":"` + password + `"` + members + `}`
	}
	for _, c := range []struct{ method, path, body, message string }{
		{"POST", "", `{}`, "connection is required: the name of a database connection"},
		{"POST", "", `{"connection":"Username-Password-Authentication"}`, "password is required"},
		{"POST", "", `{"connection":"nothing","password":"` + password + `"}`, "connection must be the name of a database connection"},
		{"POST", "", `{"connection":"` + host.Name + `","password":"` + password + `"}`, "connection must be the name of a database connection"},
		{"POST", "", `{"connection":"Username-Password-Authentication","password":"` + password + `"}`, "email is required unless there is a username"},
		{"POST", "", `{"connection":"Username-Password-Authentication","password":"short","email":"g@example.com"}`, "password must have at least 8 characters"},
		{"POST", "", `{"connection":"Username-Password-Authentication","password":1,"email":"g@example.com"}`, "password must be a string"},
		{"POST", "", `{"connection":"Username-Password-Authentication","password":"` + password + `","email":"no address"}`, "email must be an email address"},
		{"POST", "", create(`,"username":"a@b"`), "username must consist of letters, digits and _+-.!#$'^`~"},
		{"POST", "", create(`,"user_id":""`), "user_id must not be empty"},
		{"POST", "", create(`,"user_id":"a b"`), "user_id must have 1 to 255 visible ASCII characters"},
		{"POST", "", create(`,"password_hash":"x"`), "the request body has the unknown member password_hash"},
		{"POST", "", create(`,"tenant_id":"other"`), "the request body has the unknown member tenant_id"},
		{"POST", "", create(`,"blocked":"yes"`), "blocked must be a boolean"},
		{"POST", "", create(`,"verify_email":true`), "verify_email must be false: the management API sends no mail"},
		{"POST", "", create(`,"name":"a\nb"`), "name must have at most 1000 characters and no control characters"},
		{"POST", "", create(`,"picture":"javascript:alert(1)"`), "picture must be an http or https URL"},
		{"POST", "", create(`,"user_metadata":[]`), "user_metadata must be an object"},
		{"POST", "", create(`,"user_metadata":{"a":"` + strings.Repeat("x", 16<<10) + `"}`), "user_metadata must have at most 16384 bytes"},
		{"POST", "", create(`,"address":{"planet":"x"}`), "the request body has the unknown member address.planet"},
		{"PATCH", one, `{"connection":"partners"}`, "connection cannot be changed"},
		{"PATCH", one, `{"user_id":"other"}`, "user_id cannot be changed"},
		{"PATCH", one, `{"password":""}`, "password must not be empty"},
		{"PATCH", one, `{"password":null}`, "password must be a string"},
		{"PATCH", one, `{"name":"ok","password":"short"}`, "password must have at least 8 characters"},
		{"PATCH", one, `{"name":"ok","email":null,"username":null}`, "email is required unless there is a username"},
	} {
		w.refusesUser(400, "invalid_body", c.message, c.method, c.path, c.body)
	}
	w.refusesUser(404, "inexistent_user", "The user does not exist.", "GET", "/nobody", "")
	w.refusesUser(404, "inexistent_user", "The user does not exist.", "PATCH", "/"+strings.Repeat("a", 300), `{}`)
	w.refusesUser(405, "", "This resource does not support the method.", "PUT", one, `{}`)
	if diff := cmp.Diff(before, w.allUsers()); diff != "" {
		t.Errorf("a refused request changed something:\n%s", diff)
	}
}

func TestTheManagementOfUsersWantsTheScopeOfEachMethod(t *testing.T) {
	w := newWorld(t, nil)
	before := w.allUsers()
	one := "/" + strings.ReplaceAll(w.user.ID, "|", "%7C")
	for _, c := range []struct{ method, path, body, scope string }{
		{"GET", "", "", "read:users"}, {"GET", one, "", "read:users"}, {"GET", "-by-email?email=ada@example.com", "", "read:users"},
		{"POST", "", `{"connection":"Username-Password-Authentication","email":"g@example.com","password":"` + password + `"}`, "create:users"},
		{"PATCH", one, `{"blocked":true}`, "update:users"}, {"DELETE", one, "", "delete:users"},
	} {
		h := w.UsersManagement()
		if strings.HasPrefix(c.path, "-by-email") {
			h = w.UsersByEmail()
		}
		others := strings.ReplaceAll(userScopes, c.scope, "")
		if a := w.call(h, c.method, "/api/v2/users"+c.path, w.bearer(others), c.body); a.status != 403 || a.member("errorCode") != "insufficient_scope" {
			t.Errorf("%s %s without %s: %d %s", c.method, c.path, c.scope, a.status, a.text)
		}
		if a := w.call(h, c.method, "/api/v2/users"+c.path, "", c.body); a.status != 401 {
			t.Errorf("%s %s without a token: %d", c.method, c.path, a.status)
		}
	}
	if diff := cmp.Diff(before, w.allUsers()); diff != "" {
		t.Error(diff)
	}
}

func TestUsersOfTheHostAreNotManagedHere(t *testing.T) {
	w := newWorld(t, nil)
	d := w.node(func(cfg *Config) { cfg.Stores.UserAdmin = nil })
	for method, body := range map[string]string{
		"GET": "", "POST": `{"connection":"Username-Password-Authentication","email":"g@example.com","password":"` + password + `"}`,
	} {
		if a := w.call(d.UsersManagement(), method, "/api/v2/users", w.bearer(userScopes), body); a.status != 501 || a.member("errorCode") != "users_elsewhere" {
			t.Errorf("%s: %d %s", method, a.status, a.text)
		}
	}
	if err := d.DeleteUser(t.Context(), tenant.DefaultID, w.user.ID); err == nil {
		t.Error("deleted")
	}
}

func TestAUserOfAnotherTenantIsNotThere(t *testing.T) {
	w := newWorld(t, nil)
	theirs := store.User{TenantID: "other", ID: "auth0|theirs", ConnectionID: w.conn.ID, Email: "t@example.com"}
	if err := w.stores.UserAdmin.CreateUser(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	w.refusesUser(404, "inexistent_user", "The user does not exist.", "GET", "/auth0%7Ctheirs", "")
	w.refusesUser(404, "inexistent_user", "The user does not exist.", "PATCH", "/auth0%7Ctheirs", `{"blocked":true}`)
	if a := w.users("DELETE", "/auth0%7Ctheirs", ""); a.status != 204 {
		t.Error(a.status)
	}
	got, err := w.stores.Users.User(t.Context(), "other", theirs.ID)
	if err != nil || got.Blocked {
		t.Errorf("%+v, %v", got, err)
	}
}
