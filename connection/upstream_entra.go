package connection

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// This file is about Microsoft Entra ID. Its metadata names the issuer by the identifier
// of a tenant, whatever name of it the address has, or, for all tenants, by a template.

const (
	entraAuthority = "https://login.microsoftonline.com/"
	entraTemplate  = entraAuthority + "{tenantid}/v2.0"
	entraCommon    = "common"
	// Values of should_trust_email_verified_connection.
	entraNeverVerified  = "never_set_emails_as_verified"
	entraAlwaysVerified = "always_set_emails_as_verified"
)

var (
	entraTenantID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	entraTenant   = regexp.MustCompile(`^[0-9a-zA-Z](?:[0-9a-zA-Z.-]{0,250}[0-9a-zA-Z])?$`)
)

var entra = &preset{
	oidc: true, label: "Microsoft", scopes: []string{"openid", "profile", "email"}, complete: true,
	prepare: func(o *upstreamOptions) {
		o.Issuer = ""
		o.DiscoveryURL = entraAuthority + o.entraTenant() + "/v2.0" + wellKnown
	},
	check: func(o *upstreamOptions) error {
		switch {
		case o.TenantDomain == "" && !o.entraAllTenants():
			return invalid("options.tenant_domain", "is required unless waad_common_endpoint is true")
		case o.TenantDomain != "" && (!entraTenant.MatchString(o.TenantDomain) || entraReserved(o.TenantDomain)):
			return invalid("options.tenant_domain", "must be a domain or the identifier of a tenant; waad_common_endpoint stands for all of them")
		case len(o.AllowedTenants) > 0 && !o.entraAllTenants():
			return invalid("options.allowed_tenants", "is for connections with waad_common_endpoint")
		case o.entraAllTenants() && o.TrustEmail == entraAlwaysVerified:
			// Whoever has a tenant writes what they like into the addresses of its users.
			return invalid("options.should_trust_email_verified_connection", "must be %s for a connection to all tenants", entraNeverVerified)
		}
		for _, id := range o.AllowedTenants {
			if !entraTenantID.MatchString(id) {
				return invalid("options.allowed_tenants", "must be identifiers of tenants, in lower case")
			}
		}
		return nil
	},
	accepts: func(o *upstreamOptions, issuer string) bool {
		if o.entraAllTenants() {
			return issuer == entraTemplate
		}
		id, ok := entraIssuer(issuer)
		return ok && (!entraTenantID.MatchString(o.TenantDomain) || id == o.TenantDomain)
	},
	issued: func(o *upstreamOptions, server *upstreamServer, token *idToken) bool {
		id, ok := entraIssuer(token.Issuer)
		// Issuer and tenant have to agree, or one tenant could speak for another.
		if !ok || claimText(token.Claims["tid"], 64) != id {
			return false
		}
		if o.entraAllTenants() {
			return len(o.AllowedTenants) == 0 || slices.Contains(o.AllowedTenants, id)
		}
		return token.Issuer == server.Issuer
	},
	refine: func(o *upstreamOptions, claims map[string]json.RawMessage, _ *UpstreamAnswer, identity *UpstreamIdentity) {
		identity.Subject = claimText(claims["tid"], 64) + ":" + identity.Subject
		// An address is whatever the tenant's administrator, or the user, wrote. xms_edov
		// says that the tenant owns its domain.
		owned := claimTrue(claims["xms_edov"]) || string(claims["xms_edov"]) == "1" || string(claims["xms_edov"]) == `"1"`
		identity.EmailVerified = identity.Email != "" && (owned || o.TrustEmail == entraAlwaysVerified && !o.entraAllTenants())
	},
}

func (o *upstreamOptions) entraAllTenants() bool { return o.CommonEndpoint || o.UseCommonEndpoint }

func (o *upstreamOptions) entraTenant() string {
	if o.entraAllTenants() {
		return entraCommon
	}
	return o.TenantDomain
}

// entraReserved reports whether a name stands for more than one tenant.
func entraReserved(name string) bool {
	return slices.Contains([]string{entraCommon, "organizations", "consumers"}, strings.ToLower(name))
}

// entraIssuer returns the tenant of an issuer.
func entraIssuer(issuer string) (id string, ok bool) {
	id, found := strings.CutPrefix(issuer, entraAuthority)
	id, version := strings.CutSuffix(id, "/v2.0")
	return id, found && version && entraTenantID.MatchString(id)
}
