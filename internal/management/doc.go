// Package management is the plumbing that every management endpoint shares:
// bearer token and scope check, strict JSON, paging, the error shape. It has no
// endpoints of its own; each room serves the resources that it owns.
package management
