package clientauth

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Methods are the supported values of token_endpoint_auth_method.
var Methods = []string{"client_secret_basic", "client_secret_post", "none"}

// Authenticator authenticates clients.
type Authenticator struct {
	Clients store.ClientStore
	Tickets store.TicketStore
	Tenants *tenant.Directory
	Now     func() time.Time
	Logger  *slog.Logger
}

// Authenticate returns the client that made the request, or an oauth error
// invalid_client (401, WWW-Authenticate: Basic set on w only if Basic was tried).
// The returned client is shared and must not be modified.
func (a *Authenticator) Authenticate(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) (*store.Client, error) {
	panic("not built")
}
