// Command mcp is an MCP server that is protected by opkit, and opkit itself as its
// authorization server, in one process on one address:
//
//	go run ./examples/mcp
//
// Point an MCP client at http://127.0.0.1:8092/mcp. It finds out by itself where to
// register (or publishes its metadata at its client_id), sends the user to the login
// page, and calls tools with a token that is good for this server alone. The tool
// add_note needs more than the others: the client asks the user again (step-up).
//
// server.go is what an MCP server needs to be protected, provider.go what the provider
// needs. docs/mcp.md tells the same with words.
package main
