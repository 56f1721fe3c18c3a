package connection

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file reads and checks the options of upstream connections. Their names are those
// that management SDKs send.

const (
	maxUpstreamText    = 512
	maxUpstreamDomains = 100
	maxUpstreamScopes  = 50
	maxUpstreamParams  = 20
)

// upstreamOptions are the options that decide something here.
type upstreamOptions struct {
	preset   *preset
	strategy string

	ClientID     string       `json:"client_id"`
	ClientSecret sealedOption `json:"client_secret"`
	AppSecret    sealedOption `json:"app_secret"`
	AuthMethod   string       `json:"token_endpoint_auth_method"`

	Issuer                string `json:"issuer"`
	DiscoveryURL          string `json:"discovery_url"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	UserinfoEndpoint      string `json:"userinfo_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
	// What the strategy oauth2 calls two of them.
	AuthorizationURL string `json:"authorizationURL"`
	TokenURL         string `json:"tokenURL"`

	// Domain names a tenant of Auth0. TenantDomain and what follows are Microsoft's,
	// TeamID and KeyID Apple's.
	Domain            string   `json:"domain"`
	TenantDomain      string   `json:"tenant_domain"`
	CommonEndpoint    bool     `json:"waad_common_endpoint"`
	UseCommonEndpoint bool     `json:"useCommonEndpoint"`
	AllowedTenants    []string `json:"allowed_tenants"`
	TrustEmail        string   `json:"should_trust_email_verified_connection"`
	TeamID            string   `json:"team_id"`
	KeyID             string   `json:"kid"`

	Scope      scopeOption `json:"scope"`
	Algorithms []string    `json:"id_token_signed_response_algs"`
	PKCE       *bool       `json:"pkce_enabled"`
	Settings   struct {
		PKCE string `json:"pkce"`
	} `json:"connection_settings"`

	IconURL        string                   `json:"icon_url"`
	DomainAliases  []string                 `json:"domain_aliases"`
	AttributeMap   attributeMap             `json:"attribute_map"`
	Linking        bool                     `json:"account_linking"`
	OwnRedirectURI bool                     `json:"own_redirect_uri"`
	KeepTokens     bool                     `json:"keep_tokens"`
	SetAttributes  string                   `json:"set_user_root_attributes"`
	NotKept        []string                 `json:"non_persistent_attrs"`
	UpstreamParams map[string]upstreamParam `json:"upstream_params"`
}

// Values of set_user_root_attributes.
const (
	attributesEachLogin  = "on_each_login"
	attributesFirstLogin = "on_first_login"
	attributesNever      = "never_on_login"
)

// attributeMap says which claim of the upstream becomes which member of the profile.
type attributeMap struct {
	Mode       string            `json:"mapping_mode"`
	Attributes map[string]string `json:"attributes"`
}

// upstreamParam is a parameter that is added to requests: with a fixed value, or with
// that of a parameter of the client's request.
type upstreamParam struct {
	Value string `json:"value"`
	Alias string `json:"alias"`
}

// scopeOption is a string with spaces, or an array.
type scopeOption []string

func (s *scopeOption) UnmarshalJSON(raw []byte) error {
	var text string
	if josejson.Unmarshal(raw, &text) == nil {
		*s = strings.Fields(text)
		return nil
	}
	var list []string
	err := josejson.Unmarshal(raw, &list)
	*s = list
	return err
}

// scopes returns what is asked for.
func (o *upstreamOptions) scopes() []string {
	scopes := slices.Clone([]string(o.Scope))
	if len(scopes) == 0 {
		scopes = slices.Clone(o.preset.scopes)
	}
	if o.preset.oidc && !slices.Contains(scopes, oauth.ScopeOpenID) {
		scopes = append([]string{oauth.ScopeOpenID}, scopes...)
	}
	return scopes
}

// usesPKCE: S256, unless it was switched off.
func (o *upstreamOptions) usesPKCE() bool {
	return o.Settings.PKCE != "disabled" && (o.PKCE == nil || *o.PKCE)
}

// algorithms are those that an ID token may be signed with. None of them uses the
// client's secret.
func (o *upstreamOptions) algorithms() []jose.SignatureAlgorithm {
	if len(o.Algorithms) == 0 {
		return idTokenAlgorithms
	}
	var out []jose.SignatureAlgorithm
	for _, name := range o.Algorithms {
		out = append(out, jose.SignatureAlgorithm(name))
	}
	return out
}

var idTokenAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.PS256, jose.EdDSA}

// discovered reports whether the upstream's metadata has to be read.
func (o *upstreamOptions) discovered() bool {
	return o.preset.oidc && (o.AuthorizationEndpoint == "" || o.TokenEndpoint == "" || o.JWKSURI == "" || o.Issuer == "")
}

// upstreamOptionsOf reads stored options.
func upstreamOptionsOf(c *store.Connection) (*upstreamOptions, error) {
	p, ok := presets[c.Strategy]
	if !ok {
		return nil, fmt.Errorf("connection: %s is no upstream", c.ID)
	}
	o := &upstreamOptions{preset: p, strategy: c.Strategy}
	if len(c.Options) > 0 {
		if err := josejson.Unmarshal(c.Options, o); err != nil {
			return nil, fmt.Errorf("connection: options of %s: %w", c.ID, err)
		}
	}
	o.applyPreset()
	return o, nil
}

// upstreamRules validate single members. What is not among them is kept and does
// nothing, as for databases.
var upstreamRules = map[string]optionRule{
	"client_id":              optionText,
	"issuer":                 optionHTTPS,
	"discovery_url":          optionHTTPS,
	"authorization_endpoint": optionHTTPS,
	"token_endpoint":         optionHTTPS,
	"userinfo_endpoint":      optionHTTPS,
	"jwks_uri":               optionHTTPS,
	"authorizationURL":       optionHTTPS,
	"tokenURL":               optionHTTPS,
	"icon_url":               optionHTTPS,

	"token_endpoint_auth_method": optionOneOf("client_secret_basic", "client_secret_post"),
	"set_user_root_attributes":   optionOneOf(attributesEachLogin, attributesFirstLogin, attributesNever),
	// An ID token that comes through the browser may have been put there by anybody.
	"type": optionOneOf("back_channel"),
	"connection_settings": func(raw json.RawMessage) string {
		var v struct {
			PKCE string `json:"pkce"`
		}
		if josejson.Unmarshal(raw, &v) != nil || !slices.Contains([]string{"", "auto", "S256", "disabled"}, v.PKCE) {
			return "must be an object whose pkce is auto, S256 or disabled"
		}
		return ""
	},
	"pkce_enabled":                  optionBool,
	"keep_tokens":                   optionBool,
	"account_linking":               optionBool,
	"own_redirect_uri":              optionBool,
	"non_persistent_attrs":          optionStrings,
	"scope":                         optionScope,
	"id_token_signed_response_algs": optionAlgorithms,
	"domain_aliases":                optionDomains,
	"attribute_map":                 optionAttributeMap,
	"upstream_params":               optionUpstreamParams,
	"team_id":                       optionText,
	"kid":                           optionText,
	"tenant_domain":                 optionText,
	"domain":                        optionDomain,
	"waad_common_endpoint":          optionBool,
	"useCommonEndpoint":             optionBool,
	"allowed_tenants":               optionStrings,
	"scripts":                       optionNoScripts,

	"should_trust_email_verified_connection": optionOneOf(entraNeverVerified, entraAlwaysVerified),
	"customHeaders":                          optionNoHeaders,
}

// checkUpstreamOptions validates the options of an upstream connection and seals the
// secrets in it. before is the connection as it was, nil if it is new.
func (d *Directory) checkUpstreamOptions(c, before *store.Connection) (json.RawMessage, error) {
	if !d.servesUpstreams() {
		return nil, invalid("strategy", "cannot be %s: this provider keeps no users of others", c.Strategy)
	}
	members, err := optionMembers(c.Options)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(members)) { // the same error each time
		rule, known := upstreamRules[name]
		switch {
		case string(members[name]) == "null":
			if !slices.Contains(upstreamSecrets, name) {
				delete(members, name)
			}
		case slices.Contains(secretOptions, name) && !slices.Contains(upstreamSecrets, name) && !isEmptyJSON(members[name]):
			return nil, invalid("options."+name, "is not supported")
		case known:
			if text := rule(members[name]); text != "" {
				return nil, invalid("options."+name, "%s", text)
			}
		}
	}
	// Read without the secrets, which may be in clear still.
	plain := maps.Clone(members)
	for _, name := range upstreamSecrets {
		delete(plain, name)
	}
	o, err := readUpstream(c, plain)
	if err != nil {
		return nil, invalid("options", "must be an object with members of the right types")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	moved := false
	if before != nil {
		old, err := upstreamOptionsOf(before)
		if err != nil {
			return nil, err
		}
		if err := o.checkNamespace(old); err != nil {
			return nil, err
		}
		moved = old.credentialTarget() != o.credentialTarget()
	}
	if err := d.sealOptions(c, before, members, moved); err != nil {
		return nil, err
	}
	if c.Strategy == StrategyApple && members["app_secret"] == nil {
		return nil, invalid("options.app_secret", "is required: the private key that Apple gave out")
	}
	return json.Marshal(members)
}

func readUpstream(c *store.Connection, members map[string]json.RawMessage) (*upstreamOptions, error) {
	raw, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	reading := *c
	reading.Options = raw
	return upstreamOptionsOf(&reading)
}

// check applies the rules about more than one member.
func (o *upstreamOptions) check() error {
	if o.ClientID == "" {
		return invalid("options.client_id", "is required: it is what the upstream calls this provider")
	}
	if err := o.checkPreset(); err != nil {
		return err
	}
	if o.preset.oidc {
		return o.checkOIDC()
	}
	switch {
	case o.AuthorizationEndpoint == "":
		return invalid("options.authorizationURL", "is required")
	case o.TokenEndpoint == "":
		return invalid("options.tokenURL", "is required")
	case o.UserinfoEndpoint == "":
		return invalid("options.userinfo_endpoint", "is required: it is where the upstream says who the user is")
	}
	return nil
}

func (o *upstreamOptions) checkOIDC() error {
	switch {
	case o.Issuer == "" && o.DiscoveryURL == "":
		return invalid("options.issuer", "is required unless there is a discovery_url")
	case o.DiscoveryURL != "" && !strings.HasSuffix(o.DiscoveryURL, wellKnown):
		return invalid("options.discovery_url", "must end in %s", wellKnown)
	case strings.ContainsAny(o.Issuer, "?#"): // OpenID Connect Discovery §3
		return invalid("options.issuer", "must have no query and no fragment")
	}
	return nil
}

// namespace is what says who a user is: the member that decides it, and its value. Who
// could change that could sign in as any user of the connection.
func (o *upstreamOptions) namespace() [2][2]string {
	if !o.preset.oidc {
		return [2][2]string{{"userinfo_endpoint", o.UserinfoEndpoint}, {"attribute_map", o.subjectPath()}}
	}
	issuer := [2]string{"issuer", strings.TrimSuffix(o.Issuer, "/")}
	if o.Issuer == "" {
		issuer = [2]string{"discovery_url", strings.TrimSuffix(o.DiscoveryURL, wellKnown)}
	}
	if o.strategy == StrategyEntra {
		issuer[0] = "tenant_domain"
	}
	if o.JWKSURI != "" {
		return [2][2]string{issuer, {"jwks_uri", o.JWKSURI}}
	}
	return [2][2]string{issuer, {"discovery_url", o.metadataAddress()}} // which names the keys
}

// checkNamespace refuses options under which the users would be others than before.
func (o *upstreamOptions) checkNamespace(before *upstreamOptions) error {
	was := before.namespace()
	for i, now := range o.namespace() {
		switch {
		case now[1] == was[i][1]:
		case now[0] == "attribute_map":
			return invalid("options.attribute_map", "cannot take sub from somewhere else: users are known by it. Make another connection")
		default:
			return invalid("options."+now[0], "cannot name another server: users are known by what this one calls them. Make another connection")
		}
	}
	return nil
}

// credentialTarget is who learns the secret.
func (o *upstreamOptions) credentialTarget() string {
	return strings.Join([]string{o.Issuer, o.DiscoveryURL, o.TokenEndpoint}, "\n")
}
