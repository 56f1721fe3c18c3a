package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

const (
	maxRules     = 100 // values of a member
	maxRuleValue = 256 // bytes of a value
)

// What an application that registers itself may have at all.
var (
	ruledGrantTypes  = []string{"authorization_code", "refresh_token", "implicit", "client_credentials"}
	ruledAuthMethods = []string{"none", "client_secret_post", "client_secret_basic", "client_secret_jwt", "private_key_jwt"}
)

// CheckRegistrationRules returns which member of r breaks which rule. An entry that can
// never match is an error, because it would be a limit that is not there, or not the
// one that was meant.
func CheckRegistrationRules(r *store.RegistrationRules) error {
	if r == nil {
		return nil
	}
	oneOf := func(values []string) func(string) error {
		return func(s string) error {
			if !slices.Contains(values, s) {
				return fmt.Errorf("must have none but %s", strings.Join(values, ", "))
			}
			return nil
		}
	}
	for _, list := range []struct {
		member string
		values []string
		check  func(string) error
	}{
		{"grant_types", r.GrantTypes, oneOf(ruledGrantTypes)},
		{"scopes", r.Scopes, checkRuledScope},
		{"token_endpoint_auth_methods", r.AuthMethods, oneOf(ruledAuthMethods)},
		{"redirect_schemes", r.RedirectSchemes, checkRuledScheme},
		{"redirect_hosts", r.RedirectHosts, checkRuledHost},
		{"refused_redirect_hosts", r.RefusedRedirectHosts, checkRuledHost},
		{"refused_names", r.RefusedNames, checkRuledName},
	} {
		if len(list.values) > maxRules {
			return fmt.Errorf("%s must have at most %d values", list.member, maxRules)
		}
		for _, value := range list.values {
			if len(value) > maxRuleValue {
				return fmt.Errorf("%s must have values of at most %d bytes", list.member, maxRuleValue)
			}
			if err := list.check(value); err != nil {
				return fmt.Errorf("%s %w", list.member, err)
			}
		}
	}
	switch r.Logos {
	case "", store.LogosNone, store.LogosOfRedirectHosts:
	default:
		return fmt.Errorf("logos must be %q or %q", store.LogosNone, store.LogosOfRedirectHosts)
	}
	// Refresh tokens alone are nothing that an application can begin with.
	if len(r.GrantTypes) == 1 && r.GrantTypes[0] == "refresh_token" {
		return errors.New("grant_types must have more than refresh_token")
	}
	return nil
}

func checkRuledScope(s string) error {
	if scope, err := oauth.ParseScope(s); err != nil || len(scope) != 1 {
		return errors.New("must have scope values")
	}
	return nil
}

func checkRuledScheme(s string) error {
	uri := s + "://host/"
	if strings.Contains(s, ":") || s != strings.ToLower(s) {
		return errors.New("must have schemes in lower case, without a colon")
	}
	if _, err := oauth.ClassifyRedirectURI(uri); err != nil {
		return errors.New("must have schemes that redirect URIs can have")
	}
	return nil
}

func checkRuledHost(s string) error {
	host := strings.TrimPrefix(s, "*.")
	if host == "" || oauth.RedirectHost("https://"+host+"/") != host || host != s && !strings.Contains(host, ".") {
		return errors.New("must have hosts in lower case, with a port only if it is not the scheme's own, or *. and a name with a dot")
	}
	return nil
}

func checkRuledName(s string) error {
	if checkText(s, maxText) != nil || oauth.Skeleton(s) == "" {
		return errors.New("must have names with a letter or digit")
	}
	return nil
}
