// Package tool finds and runs what tests of the examples need beside Go. Where a tool is
// missing a test is skipped and says so; with CI set it fails.
package tool
