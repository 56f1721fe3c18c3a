package opkit_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

var faultsInTheBrowser = []faultScenario{
	{name: "authorize, nobody is signed in", prepare: func(w *faultWorld) func() *response {
		app := w.register(nil)
		return func() *response { return newBrowser(w.t).get(w.authorizeURL(app)) }
	}},
	{name: "authorize, signed in", want: http.StatusFound, prepare: func(w *faultWorld) func() *response {
		app := w.application()
		return func() *response { return w.user.get(w.authorizeURL(app)) }
	}},
	// The error is an answer, too, and the pushed request is used up by it.
	{name: "authorize, pushed", stays: "UpdateTicket ConsumeTicket", again: http.StatusBadRequest, want: http.StatusFound, prepare: func(w *faultWorld) func() *response {
		app := w.application()
		uri := w.push(app).json(w.t)["request_uri"].(string)
		return func() *response {
			return w.user.get(w.endpoint.Authorization + "?" + url.Values{"client_id": {app.id}, "request_uri": {uri}}.Encode())
		}
	}},
	// Failed attempts are counted before they fail. Nobody has the session's cookie.
	{name: "login", tolerates: "DeleteTicket", stays: "PutTicket DeleteTicket CreateSession", prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		page := b.get(w.authorizeURL(w.register(nil)))
		return func() *response { return b.login(page, "ada", password) }
	}},
	{name: "login with a wrong password", want: http.StatusUnauthorized, prepare: func(w *faultWorld) func() *response {
		b, app := newBrowser(w.t), w.register(nil)
		page := b.get(w.authorizeURL(app))
		// Somebody else each time, whom no earlier attempt has locked out.
		return func() *response { return b.login(page, app.id, "not "+password) }
	}},
	{name: "sign-in elsewhere, begun", want: http.StatusFound, prepare: func(w *faultWorld) func() *response {
		u := w.elsewhere()
		return func() *response { return newBrowser(w.t).get(u.authorizeURL(u.app, "connection", "fake")) }
	}},
	// A sign-in that was noted is not finished again. What is known of the user is true,
	// and nobody has the session's cookie.
	{name: "sign-in elsewhere, finished", stays: "PutTicket CreateUser CreateSession", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		u, b := w.elsewhere(), newBrowser(w.t)
		subject := fmt.Sprint("u", len(u.users()))
		u.fake.set(func() {
			u.fake.claims, u.fake.info = map[string]any{"sub": subject}, map[string]any{"sub": subject, "email": subject + "@example.org"}
		})
		back := u.answered(u.sent(b))
		return func() *response {
			u.fake.set(func() { u.fake.redeemed = map[string]bool{} })
			return b.get(back)
		}
	}},
	// The password counts as an attempt before it is right, and the answer is spent before
	// the accounts are joined. Asking again for what was joined finds it so.
	{name: "accounts joined", tolerates: "DeleteTicket", stays: "PutTicket DeleteTicket CreateUser CreateSession", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		u, b := w.elsewhere(), newBrowser(w.t)
		u = &fakeWorld{world: u.world, fake: u.fake, app: u.app, upstream: w.linking()}
		subject := fmt.Sprint("linked", len(u.users()))
		u.fake.set(func() {
			u.fake.claims, u.fake.info = map[string]any{"sub": subject}, map[string]any{"sub": subject, "email": "ada@example.com"}
		})
		page := u.asked(b)
		return func() *response { return b.link(page, "join", password) }
	}},
	// That somebody uses the application is noted first.
	{name: "consent, allowed", stays: "UpdateClient", want: http.StatusSeeOther, prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		page := b.login(b.get(w.authorizeURL(w.register(nil))), "ada", password)
		return func() *response { return b.decide(page, "allow") }
	}},
	{name: "consent, denied", want: http.StatusSeeOther, prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		page := b.login(b.get(w.authorizeURL(w.register(nil))), "ada", password)
		return func() *response { return b.decide(page, "deny") }
	}},
	{name: "authorize, by a document", prepare: func(w *faultWorld) func() *response {
		app := w.published()
		return func() *response { return newBrowser(w.t).get(w.authorizeURL(app)) }
	}},
	// Only now is there a record. What the user allowed is allowed.
	{name: "consent, by a document", stays: "CreateClient CreateGrant", want: http.StatusSeeOther, prepare: func(w *faultWorld) func() *response {
		w.application()
		page := w.user.get(w.authorizeURL(w.published()))
		return func() *response { return w.user.decide(page, "allow") }
	}},
	{name: "applications", prepare: func(w *faultWorld) func() *response {
		w.application()
		return func() *response { return w.user.get(w.endpoint.Applications) }
	}},
	// It is removed, and then the page cannot be shown.
	{name: "applications, removed", stays: "DeleteGrant", prepare: func(w *faultWorld) func() *response {
		w.application()
		action, fields := form(w.t, w.user.get(w.endpoint.Applications))
		return func() *response { return w.user.post(action, fields) }
	}},
	// What dies first are the tokens.
	{name: "logout", stays: "RevokeFamilies", want: http.StatusFound, prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		_, tokens := w.loggedIn(b, nil)
		return func() *response {
			return b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout))
		}
	}},
	{name: "logout, confirmed", stays: "RevokeFamilies", prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		w.loggedIn(b, nil)
		action, fields := form(w.t, b.get(w.endSession()))
		return func() *response { return b.post(action, fields) }
	}},
	{name: "legacy logout", prepare: func(w *faultWorld) func() *response {
		b := newBrowser(w.t)
		w.loggedIn(b, nil)
		return func() *response { return b.get(w.endpoint.LegacyLogout) }
	}},
}

var faultsAtEndpoints = []faultScenario{
	{name: "metadata", prepare: func(w *faultWorld) func() *response {
		return func() *response { return newBrowser(w.t).get(w.issuer + "/.well-known/openid-configuration") }
	}},
	{name: "jwks", prepare: func(w *faultWorld) func() *response {
		return func() *response { return newBrowser(w.t).get(w.endpoint.JWKS) }
	}},
	{name: "register", want: http.StatusCreated, prepare: func(w *faultWorld) func() *response {
		return func() *response {
			return w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"redirect_uris":["https://a.example/"]}`)
		}
	}},
	// The use is given back.
	{name: "register with an initial access token", stays: "UpdateTicket", want: http.StatusCreated, prepare: func(w *faultWorld) func() *response {
		token := w.manage(http.MethodPost, "/initial-access-tokens", `{"uses":2}`).json(w.t)["token"].(string)
		return func() *response {
			return w.sendJSON(http.MethodPost, w.endpoint.Registration, token, `{"redirect_uris":["https://a.example/"]}`)
		}
	}},
	{name: "read a registration", prepare: func(w *faultWorld) func() *response {
		_, uri, token := w.manageable()
		return func() *response { return w.sendJSON(http.MethodGet, uri, token, "") }
	}},
	{name: "replace a registration", prepare: func(w *faultWorld) func() *response {
		id, uri, token := w.manageable()
		return func() *response {
			return w.sendJSON(http.MethodPut, uri, token, `{"client_id":"`+id+`","redirect_uris":["https://b.example/"]}`)
		}
	}},
	// What is gone is gone; the rest goes with whoever looks for it next.
	{name: "delete a registration", stays: "RevokeFamilies DeleteClient", again: http.StatusUnauthorized, want: http.StatusNoContent, prepare: func(w *faultWorld) func() *response {
		_, uri, token := w.manageable()
		return func() *response { return w.sendJSON(http.MethodDelete, uri, token, "") }
	}},
	{name: "push", want: http.StatusCreated, prepare: func(w *faultWorld) func() *response {
		app := w.register(nil)
		return func() *response { return w.push(app) }
	}},
	// Of a code that may have been spent nobody gets tokens.
	{name: "redeem a code", again: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		app := w.register(nil)
		code := w.authorize(app).Get("code")
		return func() *response { return w.redeem(app, code) }
	}},
	{name: "redeem a code twice", want: http.StatusBadRequest, prepare: func(w *faultWorld) func() *response {
		app := w.register(nil)
		code := w.authorize(app).Get("code")
		w.redeem(app, code)
		return func() *response { return w.redeem(app, code) }
	}},
	{name: "refresh", prepare: func(w *faultWorld) func() *response {
		app, tokens := w.offline()
		return func() *response {
			return w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
		}
	}},
	{name: "refresh, by a document", prepare: func(w *faultWorld) func() *response {
		app := w.published()
		tokens := w.redeem(app, w.authorize(app, "scope", "openid offline_access").Get("code")).json(w.t)
		return func() *response {
			return w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
		}
	}},
	{name: "client credentials", prepare: func(w *faultWorld) func() *response {
		return func() *response {
			return w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", w.issuer+"/api/v2/")
		}
	}},
	{name: "userinfo", prepare: func(w *faultWorld) func() *response {
		_, tokens := w.offline()
		return func() *response { return w.userinfo(tokens["access_token"].(string)) }
	}},
	{name: "introspection", prepare: func(w *faultWorld) func() *response {
		app, tokens := w.offline()
		return func() *response {
			return w.as(app, w.endpoint.Introspection, "token", tokens["refresh_token"].(string))
		}
	}},
	{name: "revocation", prepare: func(w *faultWorld) func() *response {
		app, tokens := w.offline()
		return func() *response { return w.as(app, w.endpoint.Revocation, "token", tokens["refresh_token"].(string)) }
	}},
}

// manageable registers an application that may change its registration.
func (w *faultWorld) manageable() (id, uri, token string) {
	w.t.Helper()
	res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"redirect_uris":["https://a.example/"]}`).json(w.t)
	return res["client_id"].(string), res["registration_client_uri"].(string), res["registration_access_token"].(string)
}

// managing is a scenario of the management API. In path and body, $id is what create
// makes in the collection, and $n a number that nothing else has.
func managing(method, collection, path, body, create string, want int) faultScenario {
	number := 0
	return faultScenario{name: method + " " + collection + path, want: want, stays: removals(method), again: conflict(method), prepare: func(w *faultWorld) func() *response {
		number++
		replace := func(id string) *strings.Replacer {
			return strings.NewReplacer("$n", fmt.Sprint(number), "$id", id, "$connection", w.connection.ID, "$audience", apiAudience)
		}
		id := ""
		if create != "" {
			id = url.PathEscape(w.made(collection, replace("").Replace(create)))
		}
		r := replace(id)
		return func() *response { return w.manage(method, collection+r.Replace(path), r.Replace(body)) }
	}}
}

// removals are what a deletion begins with.
func removals(method string) string {
	if method == http.MethodDelete {
		return "RevokeFamilies DeleteClient"
	}
	return ""
}

// conflict is how it is found out that something was made after all.
func conflict(method string) int {
	if method == http.MethodPost {
		return http.StatusConflict
	}
	return 0
}

var faultsInManagement = []faultScenario{
	managing("GET", "/tenants/settings", "", "", "", 200),
	managing("PATCH", "/tenants/settings", "", `{"default_audience":""}`, "", 200),

	managing("GET", "/connections", "", "", "", 200),
	managing("POST", "/connections", "", `{"name":"c$n","strategy":"auth0"}`, "", 201),
	managing("GET", "/connections", "/$id", "", `{"name":"c$n","strategy":"auth0"}`, 200),
	managing("PATCH", "/connections", "/$id", `{"is_domain_connection":true}`, `{"name":"c$n","strategy":"auth0"}`, 200),
	managing("DELETE", "/connections", "/$id", "", `{"name":"c$n","strategy":"auth0"}`, 202),

	managing("GET", "/users", "", "", "", 200),
	managing("POST", "/users", "", userBody, "", 201),
	managing("GET", "/users", "/$id", "", userBody, 200),
	managing("PATCH", "/users", "/$id", `{"blocked":true}`, userBody, 200),
	managing("DELETE", "/users", "/$id", "", userBody, 204),
	managing("GET", "/users-by-email", "?email=ada@example.com", "", "", 200),

	managing("GET", "/clients", "", "", "", 200),
	managing("POST", "/clients", "", clientBody, "", 201),
	managing("GET", "/clients", "/$id", "", clientBody, 200),
	managing("PATCH", "/clients", "/$id", `{"name":"Changed"}`, clientBody, 200),
	managing("DELETE", "/clients", "/$id", "", clientBody, 204),
	managing("POST", "/clients", "/$id/rotate-secret", "", clientBody, 200),

	managing("GET", "/resource-servers", "", "", "", 200),
	managing("POST", "/resource-servers", "", `{"identifier":"https://api$n.example"}`, "", 201),
	managing("GET", "/resource-servers", "/$id", "", `{"identifier":"https://api$n.example"}`, 200),
	managing("PATCH", "/resource-servers", "/$id", `{"name":"Changed"}`, `{"identifier":"https://api$n.example"}`, 200),
	managing("DELETE", "/resource-servers", "/$id", "", `{"identifier":"https://api$n.example"}`, 204),

	managing("GET", "/client-grants", "", "", "", 200),
	granting("POST", "", 201),
	granting("GET", "", 200),
	granting("PATCH", `{"scope":[]}`, 200),
	granting("DELETE", "", 204),

	managing("GET", "/keys/signing", "", "", "", 200),
	managing("POST", "/keys/signing", "/rotate", "", "", 201),

	managing("POST", "/initial-access-tokens", "", `{"uses":2}`, "", 201),
	managing("GET", "/initial-access-tokens", "/$id", "", `{"uses":2}`, 200),
	managing("DELETE", "/initial-access-tokens", "/$id", "", `{"uses":2}`, 204),
}

const (
	userBody   = `{"connection":"Username-Password-Authentication","username":"user$n","email":"user$n@example.com","password":"correct horse battery staple"}`
	clientBody = `{"name":"Client $n","callbacks":["https://a.example/"]}`
)

// granting is a scenario of client grants, each of a client of its own.
func granting(method, body string, want int) faultScenario {
	return faultScenario{name: method + " /client-grants", want: want, again: conflict(method), prepare: func(w *faultWorld) func() *response {
		grant, _ := json.Marshal(map[string]any{
			"client_id": w.made("/clients", strings.ReplaceAll(clientBody, "$n", "")), "audience": apiAudience, "scope": []string{"contacts"},
		})
		if method == http.MethodPost {
			return func() *response { return w.manage(method, "/client-grants", string(grant)) }
		}
		id := w.made("/client-grants", string(grant))
		return func() *response { return w.manage(method, "/client-grants/"+id, body) }
	}}
}
