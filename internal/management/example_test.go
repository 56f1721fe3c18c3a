package management_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
)

// A resource that can be changed: its PATCH merges, and null resets the colour.
func Example() {
	lamp := struct {
		Colour string `json:"colour"`
		On     bool   `json:"on"`
	}{"red", true}

	guard := &management.Guard{
		Verify: func(r *http.Request, token string) (management.Caller, error) {
			if token != "secret" {
				return management.Caller{}, management.InvalidToken(errors.New("unknown"))
			}
			return management.Caller{ClientID: "me", Scopes: []string{"update:lamp"}}, nil
		},
	}
	resource := management.Methods{
		http.MethodPatch: guard.Require("update:lamp", func(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
			patch, err := management.Decode[struct {
				Colour management.Nullable[string] `json:"colour"`
				On     *bool                       `json:"on"`
			}](w, r)
			if err != nil {
				return err
			}
			patch.Colour.ApplyTo(&lamp.Colour)
			if patch.On != nil {
				lamp.On = *patch.On
			}
			httpx.WriteJSON(w, http.StatusOK, lamp)
			return nil
		}),
	}

	for _, body := range []string{`{"on":false}`, `{"colour":null}`, `{"color":"blue"}`, `{"on":"yes"}`} {
		r := httptest.NewRequest(http.MethodPatch, "/lamp", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer secret")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		resource.ServeHTTP(w, r)
		fmt.Print(w.Body)
	}
	// Output:
	// {"colour":"red","on":false}
	// {"colour":"","on":false}
	// {"statusCode":400,"error":"Bad Request","message":"the request body has the unknown member color","errorCode":"invalid_body"}
	// {"statusCode":400,"error":"Bad Request","message":"on must be a boolean","errorCode":"invalid_body"}
}
