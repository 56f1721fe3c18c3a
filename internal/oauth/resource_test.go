package oauth

import "testing"

func TestSameResource(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"https://mcp.example", "https://mcp.example/", true},
		{"https://mcp.example/", "https://mcp.example", true},
		{"https://mcp.example:8443", "https://mcp.example:8443/", true},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/", false},
		{"https://mcp.example?a=b", "https://mcp.example/?a=b", false},
		{"https://mcp.example#", "https://mcp.example/#", false},
		{"https://mcp.example", "https://MCP.example/", false},
		{"https://mcp.example", "http://mcp.example/", false},
		{"appointments:api", "appointments:api/", false},
		{"api", "api/", false},
		{"", "/", false},
		{"appointments:api", "appointments:api", true},
	} {
		if got := SameResource(tc.a, tc.b); got != tc.same {
			t.Errorf("SameResource(%q, %q) = %v", tc.a, tc.b, got)
		}
		if got := SameResource(tc.b, tc.a); got != tc.same {
			t.Errorf("SameResource(%q, %q) = %v", tc.b, tc.a, got)
		}
	}
}
