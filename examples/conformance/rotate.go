package main

import (
	"fmt"
	"net/http"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/tenant"
)

// rotatePath is where a key rotation is asked for: the module
// oidcc-server-rotate-keys waits until somebody did.
const rotatePath = "/rotate-keys"

// withRotation adds the hook to a provider. It asks for no password: whoever can
// reach it is on this machine.
func withRotation(p *opkit.Provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != rotatePath {
			p.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "POST rotates the signing keys", http.StatusMethodNotAllowed)
			return
		}
		for _, algorithm := range []string{"ES256", "RS256"} {
			// At once: the next module may come within seconds.
			next, err := p.Tenants().RotateSigningKey(r.Context(), tenant.DefaultID, tenant.Rotation{Algorithm: algorithm, Immediate: true})
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "%s %s\n", next.Algorithm, next.ID)
		}
	})
}
