package dcr

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Config is what a Registrar needs.
type Config struct {
	Stores  store.Stores
	Tenants *tenant.Directory
	Secrets [][]byte
	Now     func() time.Time
	Logger  *slog.Logger
}

// Registrar registers applications.
type Registrar struct{ cfg Config }

func New(cfg Config) (*Registrar, error) { panic("not built") }

// Registration serves POST /oidc/register.
func (r *Registrar) Registration() http.Handler { panic("not built") }
