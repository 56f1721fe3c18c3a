package management

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// This file implements OpenAPI 3.1 as far as it takes to describe the management API.
// The document follows from the handlers: paths and methods from where they are, scopes
// from what admits a request, schemas from the types that are decoded and sent.

// Document returns the OpenAPI document of resources, by their paths below that of the
// API. server is the URL of the API, which may be relative to that of the document.
func Document(server string, resources map[string]Described) ([]byte, error) {
	d := document{schemas: schema{"Error": viewSchema(reflect.TypeFor[errorBody]())}}
	paths := schema{}
	for base, resource := range resources {
		for below, methods := range resource.Operations() {
			item := schema{}
			for method, handler := range methods {
				op, ok := handler.(*Operation)
				if !ok || op.doc.Summary == "" {
					return nil, fmt.Errorf("management: %s %s%s is not described", method, base, below)
				}
				item[strings.ToLower(method)] = d.operation(method, base+below, op)
			}
			if parameters := pathParameters(base + below); len(parameters) > 0 {
				item["parameters"] = parameters
			}
			paths[base+below] = item
		}
	}
	return json.Marshal(schema{
		"openapi": "3.1.1",
		"info": schema{
			"title": "Management API", "version": "v2",
			"description": "Answers are JSON. An error has statusCode, error, message and, where the status does not say it all, errorCode.",
		},
		"servers": []schema{{"url": server}},
		"paths":   paths,
		"components": schema{
			"schemas": d.schemas,
			"securitySchemes": schema{"token": schema{
				"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
				"description": "An access token for the audience of this API, by client_credentials.",
			}},
			"headers": schema{
				"ETag":                  header("The entity tag of the record.", "string"),
				"Retry-After":           header("After how many seconds to try again.", "integer"),
				"X-RateLimit-Limit":     header("How many requests may come at once.", "integer"),
				"X-RateLimit-Remaining": header("How many more may come now.", "integer"),
				"X-RateLimit-Reset":     header("When as many as the limit may come again, or, with 429, the next one: seconds since 1970.", "integer"),
			},
		},
	})
}

type document struct{ schemas schema }

func header(description, typ string) schema {
	return schema{"description": description, "schema": schema{"type": typ}}
}

func pathParameters(path string) []schema {
	var parameters []schema
	for segment := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			parameters = append(parameters, schema{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": schema{"type": "string"}})
		}
	}
	return parameters
}

func (d *document) operation(method, path string, op *Operation) schema {
	doc := op.doc
	o := schema{
		"summary":     doc.Summary,
		"operationId": operationID(method, path),
		"tags":        []string{strings.Split(path, "/")[1]},
		"security":    []schema{{"token": []string{op.scope}}},
	}
	if parameters := d.parameters(method, doc); len(parameters) > 0 {
		o["parameters"] = parameters
	}
	errors := append([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}, doc.Errors...)
	if doc.Body != nil {
		s := valueSchema(doc.Body)
		if len(doc.Required) > 0 {
			s["required"] = doc.Required
		}
		o["requestBody"] = schema{"required": !doc.Optional, "content": content(s)}
		errors = append(errors, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if doc.Tagged && method != http.MethodPost {
		errors = append(errors, http.StatusPreconditionFailed)
	}
	responses := schema{}
	for _, status := range errors {
		h := schema{}
		switch status {
		case http.StatusUnauthorized, http.StatusForbidden:
			h["WWW-Authenticate"] = header("The challenge (RFC 6750).", "string")
		case http.StatusTooManyRequests:
			h = limits("Retry-After")
		}
		responses[strconv.Itoa(status)] = response(http.StatusText(status), h, reference("Error"))
	}
	success := schema(nil)
	if doc.Answer.view != nil {
		success = d.answer(doc.Answer)
	}
	headers := limits()
	if doc.Tagged && method != http.MethodDelete {
		headers["ETag"] = schema{"$ref": "#/components/headers/ETag"}
	}
	status := max(doc.Status, http.StatusOK)
	responses[strconv.Itoa(status)] = response(http.StatusText(status), headers, success)
	if doc.Tagged && method == http.MethodGet {
		responses["304"] = response("If-None-Match names the record as it is.", headers, nil)
	}
	o["responses"] = responses
	return o
}

func limits(more ...string) schema {
	h := schema{}
	for _, name := range append([]string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}, more...) {
		h[name] = schema{"$ref": "#/components/headers/" + name}
	}
	return h
}

func response(description string, headers, body schema) schema {
	r := schema{"description": description}
	if len(headers) > 0 {
		r["headers"] = headers
	}
	if body != nil {
		r["content"] = content(body)
	}
	return r
}

func content(s schema) schema { return schema{"application/json": schema{"schema": s}} }

func reference(name string) schema { return schema{"$ref": "#/components/schemas/" + name} }

// answer returns the schema of an answer, whose records have one in the components.
func (d *document) answer(a Answer) schema {
	d.schemas[a.name] = viewSchema(reflect.TypeOf(a.view))
	record := reference(a.name)
	all := schema{"type": "array", "items": record}
	next := schema{
		"type": "object", "required": []string{a.member},
		"properties": schema{a.member: all, "next": schema{"type": "string"}},
	}
	switch a.form {
	case array:
		return all
	case byCheckpoint:
		return next
	case paged:
		number := schema{"type": "integer"}
		totals := schema{
			"type": "object", "required": []string{"start", "limit", "length", "total", a.member},
			"properties": schema{"start": number, "limit": number, "length": number, "total": number, a.member: all},
		}
		return schema{"anyOf": []schema{all, totals, next}}
	}
	return record
}

func (d *document) parameters(method string, doc Doc) []schema {
	var list []schema
	add := func(in, name, description string, required bool, s schema) {
		p := schema{"name": name, "in": in, "schema": s}
		if description != "" {
			p["description"] = description
		}
		if required {
			p["required"] = true
		}
		list = append(list, p)
	}
	for _, q := range doc.Query {
		s := schema{"type": "string"}
		if len(q.Values) > 0 {
			s["enum"] = q.Values
		}
		if q.Repeats {
			s = schema{"type": "array", "items": s}
		}
		add("query", q.Name, q.Description, q.Required, s)
	}
	size := schema{"type": "integer", "minimum": 1, "maximum": maxPerPage, "default": defaultPerPage}
	if doc.Answer.form == paged {
		add("query", "page", "The page to answer with, from 0.", false, schema{"type": "integer", "minimum": 0})
		add("query", "per_page", "How many records a page has.", false, size)
		add("query", "include_totals", "Whether to say how many records there are.", false, schema{"type": "string", "enum": []string{"true", "false"}})
	}
	if doc.Answer.form == paged || doc.Answer.form == byCheckpoint {
		add("query", "take", "How many records to answer with, by checkpoint.", false, size)
		add("query", "from", "The next of the answer before.", false, schema{"type": "string"})
	}
	if doc.Tagged && method != http.MethodPost {
		add("header", "If-None-Match", "Entity tags that the record must not have.", false, schema{"type": "string"})
		add("header", "If-Match", "Entity tags of which the record must have one.", false, schema{"type": "string"})
	}
	return list
}

// operationID names an operation: get_clients_by_id.
func operationID(method, path string) string {
	words := []string{strings.ToLower(method)}
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			segment = "by_" + strings.TrimSuffix(name, "}")
		}
		words = append(words, strings.ReplaceAll(segment, "-", "_"))
	}
	return strings.Join(words, "_")
}

// Scopes returns the scopes that the operations of resources ask for, in order.
func Scopes(resources map[string]Described) []string {
	scopes := map[string]bool{}
	for _, resource := range resources {
		for _, methods := range resource.Operations() {
			for _, handler := range methods {
				if op, ok := handler.(*Operation); ok {
					scopes[op.scope] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(scopes))
}
