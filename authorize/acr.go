package authorize

import (
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file is about the authentication context class that a request asks for:
// acr_values (OpenID Connect Core §3.1.2.1), the claim acr (§5.5.1.1), and the
// error of OpenID Connect Core Unmet Authentication Requirements 1.0.

const maxACRValues = 32

// errUnmet is for what no login here can meet, or this one did not.
var errUnmet = oauth.Errorf(oauth.CodeUnmetAuthenticationRequirements, "no authentication context class that the claim acr requires was achieved")

// parseACR finds the classes that the request asks for, best first. Those of the
// claim acr count alone: how the two go together is not specified.
func (q *request) parseACR() error {
	asked := strings.Fields(q.params.Get("acr_values"))
	if len(asked) > maxACRValues {
		return oauth.Errorf(oauth.CodeInvalidRequest, "acr_values has more than %d values", maxACRValues)
	}
	switch {
	case len(q.claims.acr) > 0:
		q.acrValues, q.acrRequired = q.claims.acr, q.claims.acrEssential
	case len(asked) > 0:
		q.acrValues = asked
	default:
		q.acrValues = q.client.Extra().DefaultACRValues
	}
	return nil
}

// acrOf returns what tokens say of a login: the first class that was asked for and
// that it satisfies, or else the one that it achieved.
func (a *Authorizer) acrOf(q *request, achieved string) string {
	for _, asked := range q.acrValues {
		if a.cfg.Connections.SatisfiesACR(achieved, asked) {
			return asked
		}
	}
	return achieved
}

// meetsACR reports whether a login is good enough for the request. One that is not
// required is a wish.
func (a *Authorizer) meetsACR(q *request, achieved string) bool {
	return !q.acrRequired || slices.Contains(q.acrValues, a.acrOf(q, achieved))
}

// reaching returns those of usable with which the user can log in as the request
// requires. That there are none is known before anybody types a password.
func (a *Authorizer) reaching(q *request, usable []store.Connection) ([]store.Connection, error) {
	if !q.acrRequired || len(usable) == 0 {
		return usable, nil
	}
	reaching := slices.DeleteFunc(slices.Clone(usable), func(c store.Connection) bool {
		return !slices.ContainsFunc(q.acrValues, func(asked string) bool { return a.cfg.Connections.ReachesACR(&c, asked) })
	})
	if len(reaching) == 0 {
		return nil, errUnmet
	}
	return reaching, nil
}
