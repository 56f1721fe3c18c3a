package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/opkit/opkit/token"
)

// The scopes of this server. Each tool needs one; without a tool, reading is enough.
const (
	scopeRead  = "notes:read"
	scopeWrite = "notes:write"
)

var toolScopes = map[string][]string{"add_note": {scopeRead, scopeWrite}}

// protect returns the handler of the MCP server behind the provider's tokens, and that
// of its metadata.
func protect(server http.Handler, resource, issuer string) (protected, metadata http.Handler, err error) {
	api := token.ProtectedResource{
		Resource: resource, AuthorizationServers: []string{issuer}, Scopes: []string{scopeRead, scopeWrite}, Name: "Notes",
	}
	if metadata, err = api.Handler(); err != nil {
		return nil, nil, err
	}
	verifier, err := token.NewVerifier(token.VerifierConfig{
		Issuer: issuer, Audience: resource, ResourceMetadata: api.MetadataURL(),
	})
	if err != nil {
		return nil, nil, err
	}
	server = withTokenInfo(server)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scopes, err := scopesFor(r)
		if err != nil {
			http.Error(w, "the request could not be read", http.StatusBadRequest)
			return
		}
		verifier.Require(scopes...)(server).ServeHTTP(w, r)
	}), metadata, nil
}

// maxMessage bounds an MCP message in bytes.
const maxMessage = 1 << 20

// scopesFor returns what a request needs: what its tool needs, if it calls one.
func scopesFor(r *http.Request) ([]string, error) {
	if r.Method != http.MethodPost {
		return []string{scopeRead}, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxMessage))
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var message struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	// A batch, or no JSON at all, is refused by the server behind.
	if json.Unmarshal(body, &message) == nil && message.Method == "tools/call" {
		if scopes, ok := toolScopes[message.Params.Name]; ok {
			return scopes, nil
		}
	}
	return []string{scopeRead}, nil
}

// withTokenInfo tells the MCP SDK whose token was verified, so that tools can ask, and
// sessions stay with their user.
func withTokenInfo(next http.Handler) http.Handler {
	return auth.RequireBearerToken(func(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
		t, ok := token.AccessTokenFromContext(ctx)
		if !ok {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{UserID: t.Subject, Scopes: t.Scopes, Expiration: t.ExpiresAt}, nil
	}, nil)(next)
}

// notes are what the tools work on: everybody has their own.
type notes struct {
	mu     sync.Mutex
	byUser map[string][]string
}

type noteInput struct {
	Text string `json:"text" jsonschema:"the text of the note"`
}

type noteList struct {
	Notes []string `json:"notes"`
}

// newServer returns the MCP server. There is nothing about tokens in it but whose
// request it is.
func newServer() http.Handler {
	n := &notes{byUser: map[string][]string{}}
	server := mcp.NewServer(&mcp.Implementation{Name: "notes", Title: "Notes", Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "list_notes", Description: "Lists your notes"}, n.list)
	mcp.AddTool(server, &mcp.Tool{Name: "add_note", Description: "Adds a note"}, n.add)
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
}

func (n *notes) list(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, noteList, error) {
	user := req.Extra.TokenInfo.UserID
	n.mu.Lock()
	defer n.mu.Unlock()
	return nil, noteList{append([]string{}, n.byUser[user]...)}, nil
}

func (n *notes) add(_ context.Context, req *mcp.CallToolRequest, in noteInput) (*mcp.CallToolResult, noteList, error) {
	const most = 100
	user := req.Extra.TokenInfo.UserID
	n.mu.Lock()
	defer n.mu.Unlock()
	if in.Text == "" || len(n.byUser[user]) == most {
		return nil, noteList{}, fmt.Errorf("a note needs a text, and there may be %d", most)
	}
	n.byUser[user] = append(n.byUser[user], in.Text)
	return nil, noteList{append([]string{}, n.byUser[user]...)}, nil
}
