package connection

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/httpx"
)

// maxOptions bounds the options of a connection in bytes.
const maxOptions = 16 << 10

// databaseOptions are the options of a database connection that decide something
// here.
type databaseOptions struct {
	RequiresUsername bool   `json:"requires_username"`
	PasswordPolicy   string `json:"passwordPolicy"`
	// DisableSignup has to be false, not left out, for people to sign up.
	DisableSignup *bool `json:"disable_signup"`
	// DisableReset keeps users from replacing a password that they forgot.
	DisableReset bool `json:"disable_self_service_change_password"`
	// BruteForceProtection is on unless it was switched off.
	BruteForceProtection *bool `json:"brute_force_protection"`
	PasswordComplexity   struct {
		MinLength int `json:"min_length"`
	} `json:"password_complexity_options"`
	Validation struct {
		Username *struct {
			Min int `json:"min"`
			Max int `json:"max"`
		} `json:"username"`
	} `json:"validation"`
}

func (o *databaseOptions) bruteForceProtection() bool {
	return o.BruteForceProtection == nil || *o.BruteForceProtection
}

func (o *databaseOptions) reset() bool { return !o.DisableReset }

func (o *databaseOptions) signup() bool { return o.DisableSignup != nil && !*o.DisableSignup }

// usernameLength returns how many characters a username may have.
func (o *databaseOptions) usernameLength() (low, high int) {
	if o.Validation.Username == nil {
		return 1, defaultMaxUsername
	}
	return o.Validation.Username.Min, o.Validation.Username.Max
}

// parseDatabaseOptions reads stored options. Names are compared exactly: an
// unknown member that differs in case must not count.
func parseDatabaseOptions(raw json.RawMessage) (databaseOptions, error) {
	var o databaseOptions
	if len(raw) == 0 {
		return o, nil
	}
	if err := josejson.Unmarshal(raw, &o); err != nil {
		return databaseOptions{}, err
	}
	return o, nil
}

// optionRule returns what a value must be, empty if it is.
type optionRule func(json.RawMessage) string

// databaseOptionRules validate the members that the management SDKs know. The
// package has no use for many of them. They are kept as they are given, like
// members that are not known at all, so that a client that writes back what it
// read changes nothing; that they do nothing is documented at [Directory.Create].
var databaseOptionRules = map[string]optionRule{
	"disable_signup":                       optionBool,
	"requires_username":                    optionBool,
	"import_mode":                          optionBool,
	"brute_force_protection":               optionBool,
	"enable_script_context":                optionBool,
	"disable_self_service_change_password": optionBool,
	"realm_fallback":                       optionBool,
	"strategy_version":                     optionInteger(1, 1<<31-1),
	"set_user_root_attributes":             optionString,
	"non_persistent_attrs":                 optionStrings,
	"precedence":                           optionStrings,
	"mfa":                                  optionObject,
	"password_history":                     optionObject,
	"password_no_personal_info":            optionObject,
	"password_dictionary":                  optionObject,
	"password_options":                     optionObject,
	"upstream_params":                      optionObject,
	"authentication_methods":               optionObject,
	"passkey_options":                      optionObject,
	"attributes":                           optionObject,
	"passwordPolicy":                       optionPasswordPolicy,
	"password_complexity_options":          optionComplexity,
	"validation":                           optionValidation,

	// Nothing here runs scripts, and what a script needs is secret.
	"enabledDatabaseCustomization": func(raw json.RawMessage) string {
		var on bool
		if josejson.Unmarshal(raw, &on) != nil || on {
			return "must be false: scripts are not supported"
		}
		return ""
	},
}

// secretOptions are members that hold secrets. No strategy here needs one but those of
// upstream connections, which are sealed; the others are refused. Should a record have
// one, it is not shown.
var secretOptions = []string{"configuration", "customScripts", "custom_password_hash", "client_secret", "app_secret", "api_key", "private_key", "password", "twilio_token"}

// checkOptions validates the options of a strategy and returns them without
// superfluous space, nil if there are none.
func checkOptions(strategy string, raw json.RawMessage) (json.RawMessage, error) {
	members, err := optionMembers(raw)
	if err != nil {
		return nil, err
	}
	for _, name := range secretOptions {
		if value, ok := members[name]; ok && !isEmptyJSON(value) {
			return nil, invalid("options."+name, "is not supported")
		}
	}
	if strategy == StrategyHost && len(members) > 0 {
		return nil, invalid("options", "must be empty: a host connection has none")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) { // the same error each time
		rule, known := databaseOptionRules[name]
		if !known || string(members[name]) == "null" {
			continue
		}
		if text := rule(members[name]); text != "" {
			return nil, invalid("options."+name, "%s", text)
		}
	}
	if len(members) == 0 {
		return nil, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, invalid("options", "must be a JSON object")
	}
	return compact.Bytes(), nil
}

// optionMembers returns the members of options, which may be empty.
func optionMembers(raw json.RawMessage) (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if len(raw) == 0 {
		return members, nil
	}
	if len(raw) > maxOptions {
		return nil, invalid("options", "must have at most %d bytes", maxOptions)
	}
	// Depth and repeated members, at every level.
	var tree map[string]any
	if httpx.DecodeJSON(raw, &tree) != nil || josejson.Unmarshal(raw, &members) != nil {
		return nil, invalid("options", "must be a JSON object without repeated members, nested at most 32 deep")
	}
	return members, nil
}

// shownOptions returns options as they may be sent.
func shownOptions(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return json.RawMessage("{}")
	}
	shown := len(members)
	for _, name := range secretOptions {
		delete(members, name)
	}
	if len(members) == shown {
		return raw
	}
	out, _ := json.Marshal(members) // parsed a moment ago: cannot fail
	return out
}

func isEmptyJSON(raw json.RawMessage) bool {
	return slices.Contains([]string{"null", "{}", "[]", `""`}, string(bytes.TrimSpace(raw)))
}

func optionBool(raw json.RawMessage) string {
	var v bool
	if josejson.Unmarshal(raw, &v) != nil {
		return "must be a boolean"
	}
	return ""
}

func optionString(raw json.RawMessage) string {
	var v string
	if josejson.Unmarshal(raw, &v) != nil {
		return "must be a string"
	}
	return ""
}

func optionStrings(raw json.RawMessage) string {
	var v []string
	if josejson.Unmarshal(raw, &v) != nil {
		return "must be an array of strings"
	}
	return ""
}

func optionObject(raw json.RawMessage) string {
	if !strings.HasPrefix(string(raw), "{") {
		return "must be an object"
	}
	return ""
}

func optionInteger(low, high int) optionRule {
	text := "must be an integer from " + strconv.Itoa(low) + " to " + strconv.Itoa(high)
	return func(raw json.RawMessage) string {
		var v int
		if josejson.Unmarshal(raw, &v) != nil || v < low || v > high {
			return text
		}
		return ""
	}
}

func optionPasswordPolicy(raw json.RawMessage) string {
	var v string
	if josejson.Unmarshal(raw, &v) == nil {
		if _, known := passwordPolicies[v]; known {
			return ""
		}
	}
	return "must be none, low, fair, good or excellent"
}

func optionComplexity(raw json.RawMessage) string {
	var v struct {
		MinLength json.RawMessage `json:"min_length"`
	}
	if josejson.Unmarshal(raw, &v) != nil {
		return "must be an object"
	}
	if text := optionInteger(1, 128)(v.MinLength); v.MinLength != nil && text != "" {
		return "has a min_length that " + text
	}
	return ""
}

func optionValidation(raw json.RawMessage) string {
	var v struct {
		Username json.RawMessage `json:"username"`
	}
	if josejson.Unmarshal(raw, &v) != nil {
		return "must be an object"
	}
	if v.Username == nil || string(v.Username) == "null" {
		return ""
	}
	var length struct {
		Min *int `json:"min"`
		Max *int `json:"max"`
	}
	if josejson.Unmarshal(v.Username, &length) != nil || length.Min == nil || length.Max == nil ||
		*length.Min < 1 || *length.Max > defaultMaxUsername || *length.Min > *length.Max {
		return "has a username that must be an object with the integers min and max, from 1 to " + strconv.Itoa(defaultMaxUsername)
	}
	return ""
}
