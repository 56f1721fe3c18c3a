package connection

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/oauth"
)

// This file holds the rules of single members among the options of upstream connections.

func optionText(raw json.RawMessage) string {
	var v string
	if josejson.Unmarshal(raw, &v) != nil || !isText(v, maxUpstreamText) {
		return "must be a string of at most 512 characters, none of them a control character"
	}
	return ""
}

func optionHTTPS(raw json.RawMessage) string {
	var v string
	if josejson.Unmarshal(raw, &v) != nil {
		return "must be a string"
	}
	if v == "" {
		return ""
	}
	if err := oauth.CheckURI(v, "https"); err != nil {
		return "must be an https URL: it " + err.Error()
	}
	if strings.Contains(v, "#") {
		return "must be an https URL without a fragment"
	}
	return ""
}

func optionOneOf(values ...string) optionRule {
	return func(raw json.RawMessage) string {
		var v string
		if josejson.Unmarshal(raw, &v) != nil || !slices.Contains(values, v) {
			return "must be " + strings.Join(values, " or ")
		}
		return ""
	}
}

func optionScope(raw json.RawMessage) string {
	var v scopeOption
	if v.UnmarshalJSON(raw) != nil || len(v) > maxUpstreamScopes {
		return "must be a string or an array of strings, at most 50 scopes"
	}
	if _, err := oauth.ParseScope(strings.Join(v, " ")); err != nil || slices.Contains(v, "") {
		return "must consist of scopes as RFC 6749 §3.3 has them"
	}
	return ""
}

func optionAlgorithms(raw json.RawMessage) string {
	var v []string
	ok := josejson.Unmarshal(raw, &v) == nil && len(v) > 0
	for _, name := range v {
		ok = ok && slices.Contains(idTokenAlgorithms, jose.SignatureAlgorithm(name))
	}
	if !ok {
		return "must be an array of RS256, ES256, PS256 or EdDSA"
	}
	return ""
}

func optionDomains(raw json.RawMessage) string {
	var v []string
	ok := josejson.Unmarshal(raw, &v) == nil && len(v) <= maxUpstreamDomains
	seen := map[string]bool{}
	for _, domain := range v {
		ascii, is := asciiDomain(domain)
		ok = ok && is && domain == strings.ToLower(domain) && !seen[ascii]
		seen[ascii] = true
	}
	if !ok {
		return "must be an array of at most 100 domain names in lower case, none of them twice"
	}
	return ""
}

// isDomainName accepts names of at least two labels, in lower case; those in other
// scripts in their ASCII form.
func isDomainName(s string) bool {
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return len(labels) > 1 && len(s) <= 253
}

func optionDomain(raw json.RawMessage) string {
	var v string
	if josejson.Unmarshal(raw, &v) != nil || v != "" && !isDomainName(v) {
		return "must be a domain name in lower case"
	}
	return ""
}

func optionAttributeMap(raw json.RawMessage) string {
	var v attributeMap
	if josejson.Unmarshal(raw, &v) != nil || !slices.Contains([]string{"", "bind_all", "basic_profile", "use_map"}, v.Mode) {
		return "must be an object with mapping_mode, one of bind_all, basic_profile and use_map, and attributes, an object of strings"
	}
	for _, name := range slices.Sorted(maps.Keys(v.Attributes)) {
		if !slices.Contains(mappedAttributes, name) {
			return "has an attribute that is not one of " + strings.Join(mappedAttributes, ", ")
		}
		if _, ok := claimPath(v.Attributes[name]); !ok {
			return "has an attribute that is neither the name of a claim nor ${context.tokenset.NAME} or ${context.userinfo.NAME}"
		}
	}
	return ""
}

// reservedParams are those that a request has anyway: another value would take the
// protection away that they give, or send the answer elsewhere.
var reservedParams = []string{
	"client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge",
	"code_challenge_method", "request", "request_uri", "registration", "max_age", "claims", "id_token_hint", "code", "iss", "dpop_jkt",
}

// aliasedParams are those that a client's request may fill in.
var aliasedParams = []string{"acr_values", "display", "login_hint", "ui_locales"}

func optionUpstreamParams(raw json.RawMessage) string {
	var v map[string]upstreamParam
	if josejson.Unmarshal(raw, &v) != nil || len(v) > maxUpstreamParams {
		return "must be an object of at most 20 objects, each with value or alias, a string"
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		p := v[name]
		switch {
		case name == "" || !isText(name, maxUpstreamText) || slices.Contains(reservedParams, name):
			return "has a parameter that requests have anyway, or that cannot be a name"
		case (p.Value == "") == (p.Alias == "") || !isText(p.Value, maxUpstreamText):
			return "has a parameter without exactly one of value and alias"
		case p.Alias != "" && !slices.Contains(aliasedParams, p.Alias):
			return "has an alias that is not one of " + strings.Join(aliasedParams, ", ")
		}
	}
	return ""
}

func optionNoScripts(raw json.RawMessage) string {
	if !isEmptyJSON(raw) {
		return "must be empty: scripts are not supported. userinfo_endpoint and attribute_map say where the profile comes from"
	}
	return ""
}

func optionNoHeaders(raw json.RawMessage) string {
	if !isEmptyJSON(raw) {
		return "must be empty: headers of your own are not supported"
	}
	return ""
}
