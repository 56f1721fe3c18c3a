package management

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// schema is a JSON Schema (2020-12), as OpenAPI 3.1 has it.
type schema map[string]any

// bodySchema returns the schema of a request body: of exactly the members that [Decode]
// takes, because it reads the same type in the same way.
func bodySchema(t reflect.Type) schema {
	if target := nullableTarget(t); target != nil {
		return orNull(bodySchema(target))
	}
	if t == rawMessage {
		return schema{"type": "object"} // what every such member is checked to be
	}
	switch t.Kind() {
	case reflect.Pointer:
		return bodySchema(t.Elem())
	case reflect.Struct:
		properties := schema{}
		for name, index := range fieldsOf(t) {
			properties[name] = bodySchema(t.Field(index).Type)
		}
		return schema{"type": "object", "properties": properties, "additionalProperties": false}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": bodySchema(t.Elem())}
	case reflect.Slice:
		return schema{"type": "array", "items": bodySchema(t.Elem())}
	}
	return scalarSchema(t)
}

// Members are those of a body that is not decoded as a struct ([DecodeMembers]): a value
// of the type of each. [OrNull] is for those that may be null.
type Members map[string]any

// OrNull is a member that may be null, or what Of is a value of.
type OrNull struct{ Of any }

// valueSchema returns the schema of a body of which v is a value.
func valueSchema(v any) schema {
	switch v := v.(type) {
	case Members:
		properties := schema{}
		for name, member := range v {
			properties[name] = valueSchema(member)
		}
		return schema{"type": "object", "properties": properties, "additionalProperties": false}
	case OrNull:
		return orNull(valueSchema(v.Of))
	}
	return bodySchema(reflect.TypeOf(v))
}

func orNull(s schema) schema {
	if name, ok := s["type"].(string); ok {
		s["type"] = []string{name, "null"}
	}
	return s
}

// nullableTarget returns what a Nullable holds, nil for other types.
func nullableTarget(t reflect.Type) reflect.Type {
	if !reflect.PointerTo(t).Implements(reflect.TypeFor[nullable]()) {
		return nil
	}
	value, _ := t.FieldByName("Value")
	return value.Type
}

func scalarSchema(t reflect.Type) schema {
	switch t.Kind() {
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.Int, reflect.Int64:
		return schema{"type": "integer"}
	}
	panic("management: no schema for a " + t.String())
}

// viewSchema returns the schema of what is sent for a value of the type: a member that
// is not left out when it is empty is required. Others may come with a later version.
func viewSchema(t reflect.Type) schema {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return schema{"type": "object"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return viewSchema(t.Elem())
	case reflect.Struct:
		properties, required := schema{}, []string{}
		addMembers(t, properties, &required)
		s := schema{"type": "object", "properties": properties}
		if len(required) > 0 {
			s["required"] = required
		}
		return s
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": viewSchema(t.Elem())}
	case reflect.Slice:
		return schema{"type": "array", "items": viewSchema(t.Elem())}
	}
	return scalarSchema(t)
}

// addMembers adds the members of a struct, those of embedded ones last: what is nearer
// counts.
func addMembers(t reflect.Type, properties schema, required *[]string) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			if embeds := field.Type; embeds.Kind() == reflect.Pointer {
				embedded = append(embedded, embeds.Elem())
			} else {
				embedded = append(embedded, embeds)
			}
			continue
		case name == "" || name == "-":
			continue
		}
		if _, nearer := properties[name]; nearer {
			continue
		}
		properties[name] = viewSchema(field.Type)
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
	for _, e := range embedded {
		addMembers(e, properties, required)
	}
}
