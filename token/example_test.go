package token_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/opkit/opkit/token"
)

// An API that admits requests with an access token for its own identifier and
// with the scope that each of its resources needs.
func ExampleVerifier_Require() {
	verifier, err := token.NewVerifier(token.VerifierConfig{
		Issuer:   "https://login.example.com",
		Audience: "appointments:api",
	})
	if err != nil {
		log.Fatal(err)
	}
	contacts := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _ := token.AccessTokenFromContext(r.Context())
		fmt.Fprintf(w, "contacts of %s", at.Subject)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /contacts", verifier.Require("read:contacts")(contacts))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/contacts", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 Bearer realm="appointments:api"
}

// A hook that adds the user's plan to ID tokens and to access tokens of one API.
func ExampleClaimsFunc() {
	plans := map[string]string{"user-1": "gold"}
	var hook token.ClaimsFunc = func(ctx context.Context, in token.ClaimsInput) (token.CustomClaims, error) {
		if in.User == nil {
			return token.CustomClaims{}, nil
		}
		plan := map[string]any{"https://example.com/plan": plans[in.User.ID]}
		out := token.CustomClaims{IDToken: plan}
		if in.Audience == "appointments:api" {
			out.AccessToken = plan
		}
		return out, nil
	}
	_ = token.Config{Claims: hook}
}
