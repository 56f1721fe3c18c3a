package main

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/opkit/opkit/token"
)

const (
	apiPath  = "/demo-api/appointments"
	audience = "appointments:api"
)

type appointment struct {
	At    string `json:"at"`
	With  string `json:"with"`
	Place string `json:"place"`
}

type contact struct {
	Name  string `json:"name"`
	Phone string `json:"phone"`
}

// bookings is what the API answers. Contacts need a scope of their own.
type bookings struct {
	For          string        `json:"for"`
	Appointments []appointment `json:"appointments"`
	Contacts     []contact     `json:"contacts,omitempty"`
}

// newDemoAPI returns the API that applications call for their users. All it knows
// of the provider is the issuer, whose keys it fetches. Scripts of allowedOrigin
// may call it.
func newDemoAPI(issuer, allowedOrigin string, client *http.Client) (http.Handler, error) {
	verifier, err := token.NewVerifier(token.VerifierConfig{Issuer: issuer, Audience: audience, HTTPClient: client})
	if err != nil {
		return nil, err
	}
	list := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accessToken, ok := token.AccessTokenFromContext(r.Context())
		if !ok {
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		answer := bookings{For: accessToken.Subject, Appointments: []appointment{
			{At: "2026-11-30T09:30:00Z", With: "Dr. Okonkwo", Place: "Harbour Street 12"},
			{At: "2026-12-04T16:00:00Z", With: "Salon Vesper", Place: "Mill Lane 3"},
		}}
		if slices.ContainsFunc([]string{"contacts", "read:contacts"}, accessToken.HasScope) {
			answer.Contacts = []contact{{Name: "Grace", Phone: "+1 555 0100"}, {Name: "Katherine", Phone: "+1 555 0101"}}
		}
		writeJSON(w, answer)
	})
	mux := http.NewServeMux()
	mux.Handle("GET "+apiPath, verifier.Require("appointments")(list))
	return allowOrigin(allowedOrigin, mux), nil
}

// allowOrigin lets scripts of one origin call next with a token.
func allowOrigin(origin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if origin != "" && r.Header.Get("Origin") == origin {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Headers", "Authorization")
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
			if r.Method == http.MethodOptions {
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// originOf returns the origin of an address.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
